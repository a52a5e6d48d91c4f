// SPDX-License-Identifier: Apache-2.0
#pragma once

// Needs cfitsio (Debian: libcfitsio-dev): <diem/diem.hpp> leaves this header out.

#include <fitsio.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <limits>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include <diem/core/check.hpp>
#include <diem/io/array.hpp>
#include <diem/io/atomic.hpp>
#include <diem/io/detail/input_file.hpp>
#include <diem/io/file_kind.hpp>

/// \file
/// Images of FITS files (astronomy). NAXIS1 is the last axis here: the memory is the same.
/// \snippet tests/examples/io.cpp io/fits.hpp

namespace diem::io {

namespace detail {
/// Closes a FITS file without a word, and says what went wrong.
struct fits_handle {
    fitsfile* file = nullptr;
    int status = 0;
    fits_handle() = default;
    fits_handle(const fits_handle&) = delete;
    fits_handle& operator=(const fits_handle&) = delete;
    ~fits_handle() {
        int ignored = 0;
        if (file != nullptr) fits_close_file(file, &ignored);
        fits_clear_errmsg();
    }
    void require(const std::filesystem::path& path, const std::string& what) const {
        if (status == 0) return;
        char text[FLEN_STATUS] = "";
        fits_get_errstatus(status, text);
        throw io_error(path.string() + ": " + what + ": " + text);
    }
};
/// EXTNAME of the unit the file stands at; "" for none.
[[nodiscard]] inline std::string fits_name(fitsfile* file) {
    char text[FLEN_VALUE] = "";
    int status = 0;
    fits_read_key(file, TSTRING, "EXTNAME", text, nullptr, &status);
    return status == 0 ? text : "";
}
/// Equal but for capitals, which mean nothing in EXTNAME.
[[nodiscard]] inline bool same_letters(std::string_view a, std::string_view b) {
    const auto small = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
    return std::equal(a.begin(), a.end(), b.begin(), b.end(), [&](char x, char y) { return small(x) == small(y); });
}
template <class T>
inline constexpr int fits_type = std::is_same_v<T, double> ? TDOUBLE : TFLOAT;
}  // namespace detail

/// The first image of the file that is not empty, or the one of this EXTNAME or number (0: the primary one); BZERO and BSCALE applied;
/// blank integers and NaN are NaN; not compressed. Reads the bytes of this very file: none of cfitsio's filters, commands and web
/// addresses in names. Throws io_error.
template <class T>
[[nodiscard]] array<T> load_fits(const std::filesystem::path& path, const std::string& name = "") {
    static_assert(std::is_floating_point_v<T>);
    detail::input_file input(path);
    if (kind_of(input.read_text(0, std::min<std::uint64_t>(input.size(), 512), "first bytes"), input.size()) !=
        file_kind::fits)
        detail::not_this_kind(input, "a FITS file");
    std::string bytes = input.read_text(0, input.size(), "file");
    bytes.resize((bytes.size() / 2880 + 2) * 2880, '\0');  // whole records and one more: cfitsio reads in such pieces
    void* memory = bytes.data();
    std::size_t size = bytes.size();
    detail::fits_handle f;
    fits_open_memfile(&f.file, "diem", READONLY, &memory, &size, 0, nullptr, &f.status);
    f.require(path, "is no readable FITS file");
    std::string others;
    int units = 0;
    fits_get_num_hdus(f.file, &units, &f.status);
    f.require(path, "its header units cannot be counted");
    for (int unit = 1; unit <= units; ++unit) {
        int kind = 0, axes = 0, type = 0;
        fits_movabs_hdu(f.file, unit, &kind, &f.status);
        f.require(path, "header unit " + std::to_string(unit));
        if (kind != IMAGE_HDU) continue;
        std::vector<LONGLONG> extents(999, 0);
        fits_get_img_paramll(f.file, static_cast<int>(extents.size()), &type, &axes, extents.data(), &f.status);
        f.require(path, "header unit " + std::to_string(unit));
        if (axes == 0) continue;
        const std::string number = std::to_string(unit - 1), title = detail::fits_name(f.file);
        if (!name.empty() && name != number && !detail::same_letters(name, title)) {
            others += (others.empty() ? "" : ", ") + number + (title.empty() ? "" : " (" + title + ")");
            continue;
        }
        shape_type shape(extents.begin(), extents.begin() + axes);
        std::reverse(shape.begin(), shape.end());
        index_t count = 0;
        const std::uint64_t width = static_cast<std::uint64_t>(std::abs(type)) / 8;
        // Their decoders write past the end of memory where the data are damaged (cfitsio 4.2).
        if (fits_is_compressed_image(f.file, &f.status) != 0)
            input.fail(0, "FITS image is compressed in tiles; unpack it first (funpack)");
        if (!element_count(shape, count) ||
            static_cast<std::uint64_t>(count) > std::numeric_limits<index_t>::max() / 8 ||
            static_cast<std::uint64_t>(count) * width > input.size())
            input.fail(0, "image of shape " + to_string(shape) + " is more than the file holds");
        if (count == 0 && name.empty()) continue;
        LONGLONG head = 0, data = 0, end = 0;
        fits_get_hduaddrll(f.file, &head, &data, &end, &f.status);
        f.require(path, "header unit " + std::to_string(unit));
        if (data < 0 || data + count * static_cast<LONGLONG>(width) > static_cast<LONGLONG>(input.size()))
            input.fail(input.size(), "FITS file is truncated");
        array<T> result(shape);
        T blank = std::numeric_limits<T>::quiet_NaN();
        int any = 0;
        fits_read_img(f.file, detail::fits_type<T>, 1, count, &blank, result.data.data(), &any, &f.status);
        f.require(path, "image of shape " + to_string(shape));
        return result;
    }
    throw io_error(path.string() + ": holds no image" +
                   (name.empty() ? "" : " \"" + name + "\"; it has " + (others.empty() ? "none" : others)));
}

/// Writes one image of float or double, atomically. Throws shape_error, io_error.
template <class T>
void save_fits(const std::filesystem::path& path, const array<T>& values) {
    static_assert(std::is_floating_point_v<T>);
    check_size("save_fits", "elements", values.size(), element_count(values.shape));
    if (values.shape.empty() || values.shape.size() > 999)
        throw shape_error("save_fits: shape " + to_string(values.shape) + ", expected 1 to 999 axes");
    std::vector<LONGLONG> extents(values.shape.rbegin(), values.shape.rend());
    void* memory = nullptr;
    std::size_t size = 0;
    const auto release = [](void* p) { std::free(p); };
    {
        detail::fits_handle f;
        fits_create_memfile(&f.file, &memory, &size, 1 << 20, std::realloc, &f.status);
        fits_create_imgll(f.file, std::is_same_v<T, double> ? DOUBLE_IMG : FLOAT_IMG, static_cast<int>(extents.size()),
                          extents.data(), &f.status);
        if (values.size() > 0)
            fits_write_img(f.file, detail::fits_type<T>, 1, values.size(), const_cast<T*>(values.data.data()),
                           &f.status);
        LONGLONG head = 0, data = 0, end = 0;
        fits_flush_file(f.file, &f.status);
        fits_get_hduaddrll(f.file, &head, &data, &end, &f.status);
        if (f.status != 0) {
            const int status = f.status;
            int ignored = 0;
            fits_close_file(f.file, &ignored);
            f.file = nullptr;
            release(memory);
            f.status = status;
            f.require(path, "cannot be made");
        }
        size = static_cast<std::size_t>(end);  // the memory has grown in steps
    }
    try {
        write_atomically(path, std::span(static_cast<const std::byte*>(memory), size));
    } catch (...) {
        release(memory);
        throw;
    }
    release(memory);
}

}  // namespace diem::io
