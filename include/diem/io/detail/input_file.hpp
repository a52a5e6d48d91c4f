// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <system_error>
#include <utility>

#include <diem/core/error.hpp>

namespace diem::io::detail {

static_assert(std::endian::native == std::endian::little, "diem::io reads and writes little-endian files in place");

/// A file of known size, read at given offsets; every failure is an io_error with path and offset.
class input_file {
public:
    explicit input_file(std::filesystem::path path) : path_(std::move(path)) {
        std::error_code code;
        if (!std::filesystem::is_regular_file(path_, code))
            throw io_error(path_.string() + ": no such file, or not a regular file");
        size_ = std::filesystem::file_size(path_, code);
        if (code) throw io_error(path_.string() + ": " + code.message());
        stream_.open(path_, std::ios::binary);
        if (!stream_) throw io_error(path_.string() + ": cannot be opened for reading");
    }

    [[nodiscard]] std::uint64_t size() const { return size_; }
    [[nodiscard]] const std::filesystem::path& path() const { return path_; }

    [[noreturn]] void fail(std::uint64_t offset, const std::string& what) const {
        throw io_error(path_.string() + ": offset " + std::to_string(offset) + ": " + what);
    }
    /// Fills `target` from `offset`; `what` names it in errors.
    void read(std::uint64_t offset, std::span<std::byte> target, const std::string& what) {
        if (offset > size_ || target.size() > size_ - offset)
            fail(offset, what + " needs " + std::to_string(target.size()) + " bytes, but the file ends at " +
                             std::to_string(size_));
        stream_.seekg(static_cast<std::streamoff>(offset));
        stream_.read(reinterpret_cast<char*>(target.data()), static_cast<std::streamsize>(target.size()));
        if (!stream_) {
            stream_.clear();
            fail(offset, what + ": read error");
        }
    }
    /// `count` bytes as text. `count` is checked against the file before anything is allocated.
    [[nodiscard]] std::string read_text(std::uint64_t offset, std::uint64_t count, const std::string& what) {
        if (offset > size_ || count > size_ - offset)
            fail(offset,
                 what + " needs " + std::to_string(count) + " bytes, but the file ends at " + std::to_string(size_));
        std::string text(static_cast<std::size_t>(count), '\0');
        read(offset, std::as_writable_bytes(std::span(text)), what);
        return text;
    }

private:
    std::filesystem::path path_;
    std::uint64_t size_ = 0;
    std::ifstream stream_;
};

}  // namespace diem::io::detail
