// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string>
#include <utility>

#include <diem/core/error.hpp>

/// \file
/// One process at a time in a folder of results. POSIX.
/// \snippet tests/examples/io.cpp io/folder_lock.hpp

namespace diem::io {

/// Holds a folder for as long as it lives: flock on a file in it, which the kernel frees when the process ends,
/// however it ends. The file says who holds it; it stays behind, empty, for removing it would let two processes hold two
/// files of one name.
/// Throws io_error: the folder cannot be written, or is held; the message says by which process on which machine. On file
/// systems without locks (some network ones) there is none: `held()` is then false.
class folder_lock {
public:
    static constexpr const char* file_name = ".diem-lock";

    explicit folder_lock(const std::filesystem::path& folder) {
        const auto path = folder / file_name;
        descriptor_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
        if (descriptor_ < 0) throw io_error(path.string() + ": cannot be opened: " + std::strerror(errno));
        int status = 0;
        do {
            status = ::flock(descriptor_, LOCK_EX | LOCK_NB);
        } while (status != 0 && errno == EINTR);
        if (status != 0) {
            const int reason = errno;
            const std::string holder = text();
            ::close(std::exchange(descriptor_, -1));
            if (reason == EWOULDBLOCK)
                throw io_error(folder.string() + ": another process is at work in this folder" +
                               (holder.empty() ? "" : ": " + holder));
            if (reason != ENOTSUP && reason != EINVAL && reason != ENOLCK)
                throw io_error(path.string() + ": cannot be locked: " + std::strerror(reason));
            return;
        }
        char host[256] = "unknown";
        ::gethostname(host, sizeof(host) - 1);
        const std::string who = "process " + std::to_string(::getpid()) + " on " + host + "\n";
        // For messages alone: a full disk must not keep anyone from working.
        if (::ftruncate(descriptor_, 0) != 0 ||
            ::pwrite(descriptor_, who.data(), who.size(), 0) != static_cast<ssize_t>(who.size()))
            errno = 0;
    }
    folder_lock(folder_lock&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
    folder_lock& operator=(folder_lock&& other) noexcept {
        std::swap(descriptor_, other.descriptor_);
        return *this;
    }
    ~folder_lock() {
        if (descriptor_ < 0) return;
        if (::ftruncate(descriptor_, 0) != 0) errno = 0;
        ::close(descriptor_);
    }

    [[nodiscard]] bool held() const { return descriptor_ >= 0; }

private:
    [[nodiscard]] std::string text() const {
        char buffer[300];
        const ssize_t count = ::pread(descriptor_, buffer, sizeof(buffer), 0);
        std::string who(buffer, count > 0 ? static_cast<std::size_t>(count) : 0);
        return who.substr(0, who.find('\n'));
    }

    int descriptor_ = -1;
};

}  // namespace diem::io
