// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <diem/core/check.hpp>
#include <diem/core/error.hpp>
#include <diem/io/array.hpp>
#include <diem/io/detail/input_file.hpp>
#include <diem/io/dtype.hpp>
#include <diem/io/npy.hpp>

/// \file
/// Arrays that stay on the disk: the system reads the pages that are touched, and drops them where it needs room. POSIX.
/// A file that another process cuts short, or a disk that fails, while it is mapped ends the process by SIGBUS.
/// \snippet tests/examples/io.cpp io/mapped.hpp

namespace diem::io {

namespace detail {

/// A descriptor that is closed at the end; what is mapped of the file stays.
class descriptor {
public:
    explicit descriptor(int number) : number_(number) {}
    descriptor(const descriptor&) = delete;
    descriptor& operator=(const descriptor&) = delete;
    ~descriptor() {
        if (number_ >= 0) ::close(number_);
    }
    [[nodiscard]] int number() const { return number_; }

private:
    int number_;
};

/// The first `bytes` of a file, above 0, until the last copy is gone; null, with errno, where the system refuses.
[[nodiscard]] inline std::shared_ptr<void> map_file(const descriptor& file, std::size_t bytes, bool writable) {
    void* const p = ::mmap(nullptr, bytes, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, file.number(), 0);
    if (p == MAP_FAILED) return nullptr;
    return {p, [bytes](void* begin) { ::munmap(begin, bytes); }};
}

}  // namespace detail

/// An array in a file, read only.
template <class T>
struct mapped_array {
    shape_type shape;
    std::shared_ptr<const void> file;  ///< what keeps the values there
    std::span<const T> values;
};

/// Whether the values lie in the file as they do in memory: little-endian, in C order, and T itself, or pairs of it for
/// complex numbers.
template <class T>
[[nodiscard]] bool can_map(const npy_header& h) {
    const bool pairs =
        (std::is_same_v<T, float> && h.type == dtype::c64) || (std::is_same_v<T, double> && h.type == dtype::c128);
    return (h.type == dtype_of<T>() || pairs) && !h.big_endian && (!h.column_major || h.shape.size() < 2) &&
           h.offset % alignof(T) == 0;
}

/// An npy file of which `can_map` is true; of complex numbers the shape has a last extent of 2. Throws io_error: that is not
/// so, the file is none of npy, or its size is not what its header says.
template <class T>
[[nodiscard]] mapped_array<T> map_npy(const std::filesystem::path& path) {
    const npy_header header = load_npy_header(path);
    const auto fail = [&](const std::string& what) { throw io_error(path.string() + ": " + what); };
    if (!can_map<T>(header)) fail("elements are " + header.descr + ", or in an order that cannot be mapped");
    mapped_array<T> out{header.shape, {}, {}};
    if (is_complex(header.type)) out.shape.push_back(2);
    const auto count = static_cast<std::size_t>(element_count(out.shape));
    if (count == 0) return out;
    const std::size_t bytes = static_cast<std::size_t>(header.offset) + count * sizeof(T);
    const detail::descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    struct stat status = {};
    if (file.number() < 0 || ::fstat(file.number(), &status) != 0) fail(std::strerror(errno));
    if (static_cast<std::uint64_t>(status.st_size) != bytes)
        fail("has " + std::to_string(status.st_size) + " bytes, " + std::to_string(bytes) + " a moment ago");
    const auto begin = detail::map_file(file, bytes, false);
    if (begin == nullptr) fail(std::string("cannot be mapped: ") + std::strerror(errno));
    const auto* first = static_cast<const std::byte*>(begin.get()) + header.offset;
    out.file = begin;
    out.values = {reinterpret_cast<const T*>(first), count};
    return out;
}

/// The values of an npy file in C order as real numbers, pairs of complex ones, into `target`, a piece at a time. Throws io_error as
/// `load_npy_numbers`, and where the order is another.
template <class T>
void read_npy_into(const std::filesystem::path& path, std::span<T> target) {
    constexpr std::size_t piece = std::size_t{1} << 18;
    detail::input_file file(path);
    const npy_header header = detail::read_npy_header(file);
    const bool pairs = is_complex(header.type);
    if (header.column_major && header.shape.size() > 1) file.fail(0, "is in Fortran order");
    check_size("io::read_npy_into", "target", static_cast<index_t>(target.size()),
               element_count(header.shape) * (pairs ? 2 : 1));
    // Complex numbers are read as twice as many real ones.
    const dtype type = header.type == dtype::c64 ? dtype::f32 : header.type == dtype::c128 ? dtype::f64 : header.type;
    detail::require_convertible<T>(file, type, "npy element type " + header.descr);
    const std::size_t each = info(type).size;
    std::vector<std::byte> bytes(std::min(piece, target.size()) * each);
    for (std::size_t done = 0; done < target.size(); done += piece) {
        const auto part = target.subspan(done, std::min(piece, target.size() - done));
        const auto here = std::span(bytes).first(part.size() * each);
        file.read(header.offset + done * each, here, "npy data");
        if (header.big_endian) detail::swap_bytes(here, each);
        if (const auto bad = detail::convert<T>(type, here.data(), part))
            file.fail(header.offset + (done + *bad) * each, "value outside the range of the type asked for");
    }
}

/// Blocks of memory in files without a name in `folder`, which vanish with the process, however it ends. Room on the disk is
/// taken at once: null where there is not as much. Throws io_error: nothing can be written there.
[[nodiscard]] inline std::function<std::shared_ptr<void>(std::size_t)> file_blocks(
    const std::filesystem::path& folder) {
    return [folder](std::size_t bytes) -> std::shared_ptr<void> {
        const auto fail = [&](const char* what) {
            throw io_error(folder.string() + ": " + what + ": " + std::strerror(errno));
        };
        int number = -1;
#if defined(O_TMPFILE)
        number = ::open(folder.c_str(), O_TMPFILE | O_RDWR | O_EXCL | O_CLOEXEC, 0600);
#endif
        if (number < 0) {  // a file system without such files
            std::string name = (folder / "memory.tmp-XXXXXX").string();
            number = ::mkstemp(name.data());
            if (number < 0) fail("cannot keep arrays in files there");
            ::unlink(name.c_str());
        }
        const detail::descriptor file(number);
#if defined(__linux__)
        if (const int code = ::posix_fallocate(number, 0, static_cast<off_t>(bytes)); code != 0) {
            if (code == ENOSPC || code == EFBIG) return nullptr;
            errno = code;
            fail("cannot take room for arrays");
        }
#else
        if (::ftruncate(number, static_cast<off_t>(bytes)) != 0) fail("cannot take room for arrays");
#endif
        auto block = detail::map_file(file, bytes, true);
        if (block == nullptr) fail("arrays in files cannot be mapped");
        return block;
    };
}

}  // namespace diem::io
