// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <diem/core/error.hpp>

/// \file
/// Files that appear whole or not at all. POSIX.
/// \snippet tests/examples/io.cpp io/atomic.hpp

namespace diem::io {

/// Writes to `path` under a temporary name in the same folder; `commit()` flushes it to the disk and renames it. Until
/// then, and where anything fails, a file already at `path` stays as it is, and the temporary file is removed.
///
/// Throws io_error with the path and the system's reason. A link at `path` is followed; a device, pipe or socket is not replaced.
class atomic_file {
public:
    explicit atomic_file(const std::filesystem::path& path) : path_(resolve(path)) {
        std::error_code code;
        if (std::filesystem::is_other(path_, code))
            throw io_error(path_.string() + ": is a device, pipe or socket, which a file would replace");
        for (int attempt = 0; attempt < 1000 && descriptor_ < 0; ++attempt) {
            temporary_ = path_;
            temporary_ += ".tmp-" + std::to_string(::getpid()) + "-" + std::to_string(attempt);
            descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
            if (descriptor_ < 0 && errno != EEXIST) break;
        }
        if (descriptor_ < 0) fail("cannot create " + temporary_.string());
    }
    atomic_file(const atomic_file&) = delete;
    atomic_file& operator=(const atomic_file&) = delete;
    ~atomic_file() {
        if (descriptor_ >= 0) ::close(descriptor_);
        if (!committed_ && !temporary_.empty()) ::unlink(temporary_.c_str());
    }

    void write(std::span<const std::byte> bytes) {
        while (!bytes.empty()) {
            const ssize_t count = ::write(descriptor_, bytes.data(), bytes.size());
            if (count < 0) {
                if (errno == EINTR) continue;
                fail("cannot write at offset " + std::to_string(offset_));
            }
            offset_ += static_cast<std::size_t>(count);
            bytes = bytes.subspan(static_cast<std::size_t>(count));
        }
    }
    void write(std::string_view text) { write(std::as_bytes(std::span(text.data(), text.size()))); }
    [[nodiscard]] std::size_t offset() const { return offset_; }
    /// Where the file is until `commit`, for libraries that write to a path themselves (truncating, not replacing it).
    [[nodiscard]] const std::filesystem::path& temporary() const { return temporary_; }

    /// The file is at `path` and on the disk when this returns.
    void commit() {
        if (::fsync(descriptor_) != 0) fail("cannot flush");
        const int descriptor = std::exchange(descriptor_, -1);
        if (::close(descriptor) != 0) fail("cannot close");
        if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail("cannot rename " + temporary_.string());
        committed_ = true;
        sync_folder();
    }

private:
    static std::filesystem::path resolve(const std::filesystem::path& path) {
        std::error_code code;
        if (!std::filesystem::is_symlink(path, code)) return path;
        const auto target = std::filesystem::weakly_canonical(path, code);
        return code ? path : target;
    }
    [[noreturn]] void fail(const std::string& what) const {
        throw io_error(path_.string() + ": " + what + ": " + std::strerror(errno));
    }
    /// So that the new name survives a power cut. Some file systems refuse this; the file itself is safe by then.
    void sync_folder() const {
        const auto folder = path_.has_parent_path() ? path_.parent_path() : std::filesystem::path(".");
        const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (descriptor < 0) return;
        ::fsync(descriptor);
        ::close(descriptor);
    }

    std::filesystem::path path_;
    std::filesystem::path temporary_;
    int descriptor_ = -1;
    std::size_t offset_ = 0;
    bool committed_ = false;
};

/// Throws io_error, as `atomic_file` would, unless a file can be written at `path`: asked before hours of work, not after
/// them. Nothing stays behind.
inline void probe_writable(const std::filesystem::path& path) {
    std::error_code code;
    if (std::filesystem::is_directory(path, code)) throw io_error(path.string() + ": is a folder");
    atomic_file(path).write("probe");  // never committed
}

/// Removes what writers of `atomic_file` that were killed have left in a folder, and says how many files those were: regular
/// files named NAME.tmp-PID-COUNT, digits alone, where PID is no other process that runs on this machine, or, as numbers
/// come again, nothing was written for an hour. Call it under a `folder_lock`, or with `of`: those of one NAME alone.
inline std::size_t remove_leftovers(const std::filesystem::path& folder, std::string_view of = {}) {
    const auto digits = [](std::string_view text) {
        return !text.empty() && text.size() < 10 && text.find_first_not_of("0123456789") == std::string_view::npos;
    };
    std::size_t removed = 0;
    std::error_code code;
    for (std::filesystem::directory_iterator entry(folder, code), end; !code && entry != end; entry.increment(code)) {
        const std::string name = entry->path().filename().string();
        const auto at = name.rfind(".tmp-");
        if (at == std::string::npos || at == 0 || (!of.empty() && std::string_view(name).substr(0, at) != of)) continue;
        const std::string_view tail = std::string_view(name).substr(at + 5);
        const auto dash = tail.find('-');
        if (dash == std::string_view::npos || !digits(tail.substr(0, dash)) || !digits(tail.substr(dash + 1))) continue;
        const auto pid = static_cast<pid_t>(std::stol(std::string(tail.substr(0, dash))));
        struct stat status = {};
        if (::lstat(entry->path().c_str(), &status) != 0 || !S_ISREG(status.st_mode)) continue;
        const bool runs = pid > 0 && pid != ::getpid() && (::kill(pid, 0) == 0 || errno == EPERM);
        if (runs && std::time(nullptr) - status.st_mtime < 3600) continue;
        if (::unlink(entry->path().c_str()) == 0) ++removed;
    }
    return removed;
}

/// The whole of a small file at once.
inline void write_atomically(const std::filesystem::path& path, std::span<const std::byte> bytes) {
    atomic_file file(path);
    file.write(bytes);
    file.commit();
}
inline void write_atomically(const std::filesystem::path& path, std::string_view text) {
    write_atomically(path, std::as_bytes(std::span(text.data(), text.size())));
}

}  // namespace diem::io
