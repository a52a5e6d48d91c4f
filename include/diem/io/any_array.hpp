// SPDX-License-Identifier: Apache-2.0
#pragma once

// What other libraries are needed for is left out where they are: DIEM_HAS_HDF5, DIEM_HAS_FITS, DIEM_HAS_TIFF and DIEM_HAS_PNG
// say what is here (CMake's target diem::formats sets them). <diem/diem.hpp> leaves this header out.

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <diem/core/error.hpp>
#include <diem/io/array.hpp>
#include <diem/io/array_place.hpp>
#include <diem/io/cfl.hpp>
#include <diem/io/file_kind.hpp>
#include <diem/io/npy.hpp>
#if defined(DIEM_HAS_HDF5)
#include <diem/io/matlab.hpp>
#endif
#if defined(DIEM_HAS_FITS)
#include <diem/io/fits.hpp>
#endif
#if defined(DIEM_HAS_TIFF)
#include <diem/io/tiff.hpp>
#endif
#if defined(DIEM_HAS_PNG)
#include <diem/io/png.hpp>
#endif

/// \file
/// Arrays of any format that this build knows: read by what the file is, written by what its name ends in.
/// \snippet tests/examples/io.cpp io/any_array.hpp

namespace diem::io {

/// "npy, cfl (BART), HDF5, ...": the formats of this build.
[[nodiscard]] inline std::string array_formats() {
    std::string list = "npy, cfl (BART)";
#if defined(DIEM_HAS_HDF5)
    list += ", HDF5, MATLAB v7.3";
#endif
#if defined(DIEM_HAS_FITS)
    list += ", FITS";
#endif
#if defined(DIEM_HAS_TIFF)
    list += ", TIFF";
#endif
#if defined(DIEM_HAS_PNG)
    list += ", a folder of PNGs";
#endif
    return list;
}

namespace detail {
[[noreturn]] inline void not_built(const std::filesystem::path& path, const std::string& format,
                                   const std::string& package) {
    throw io_error(path.string() + ": is " + format + ", which this build cannot read or write: it was built without " +
                   package + " (it knows " + array_formats() + ")");
}
/// Where FILE::NAME is given of a file that holds one array.
inline void require_no_name(const std::filesystem::path& path, const std::string& name) {
    if (!name.empty())
        throw io_error(path.string() + ": \"::" + name +
                       "\" names an array of an HDF5, MATLAB or FITS file, which this is not");
}
}  // namespace detail

/// Reads FILE, or, of an HDF5, MATLAB or FITS file with several arrays, FILE::NAME. Complex data come as pairs, see `numbers`.
/// A folder is a stack of its PNGs; images come as (items, height, width) or (items, height, width, channels).
/// Throws io_error, naming what the file is where it is none of these formats.
template <class T>
[[nodiscard]] numbers<T> load_array(const std::filesystem::path& given) {
    const auto [path, name] = place_of(given);
    std::error_code code;
    const std::string extension = lower_extension(path);
    if (std::filesystem::is_directory(path, code)) {
        detail::require_no_name(path, name);
#if defined(DIEM_HAS_PNG)
        const auto stack = load_png_stack(path);
        return {array<T>(stack.shape, std::vector<T>(stack.data.begin(), stack.data.end())), false};
#else
        detail::not_built(path, "a folder of images", "stb");
#endif
    }
    if (extension == ".cfl" || extension == ".hdr") {
        detail::require_no_name(path, name);
        const auto values = load_cfl(path);
        const auto pairs = as_pairs(values);
        return {array<T>(pairs.shape, std::vector<T>(pairs.data.begin(), pairs.data.end())), true};
    }
    const file_kind kind = kind_of(path);
    if (kind != file_kind::hdf5 && kind != file_kind::matlab_hdf5 && kind != file_kind::fits)
        detail::require_no_name(path, name);
    if (kind == file_kind::npy) return load_npy_numbers<T>(path);
    if (kind == file_kind::hdf5 || kind == file_kind::matlab_hdf5) {
#if defined(DIEM_HAS_HDF5)
        return kind == file_kind::hdf5 ? load_hdf5<T>(path, name) : load_matlab<T>(path, name);
#else
        detail::not_built(path, std::string(describe(kind)), "HDF5");
#endif
    }
    if (kind == file_kind::fits) {
#if defined(DIEM_HAS_FITS)
        return {load_fits<T>(path, name), false};
#else
        detail::not_built(path, "a FITS file", "cfitsio");
#endif
    }
    if (kind == file_kind::tiff) {
#if defined(DIEM_HAS_TIFF)
        return {load_tiff<T>(path), false};
#else
        detail::not_built(path, "a TIFF image", "libtiff");
#endif
    }
    if (kind == file_kind::png) {
#if defined(DIEM_HAS_PNG)
        const auto image = load_png(path);
        shape_type shape{1, image.shape[0], image.shape[1]};
        if (image.shape[2] > 1) shape.push_back(image.shape[2]);
        return {array<T>(shape, std::vector<T>(image.data.begin(), image.data.end())), false};
#else
        detail::not_built(path, "a PNG image", "stb");
#endif
    }
    const auto what = describe(kind);
    throw io_error(path.string() + ": is " + (what.empty() ? "of no kind that is known here" : std::string(what)) +
                   ", expected one of: " + array_formats());
}

/// Real data alone. Throws io_error where the file holds complex numbers.
template <class T>
[[nodiscard]] array<T> load_real_array(const std::filesystem::path& path) {
    auto any = load_array<T>(path);
    if (any.complex) throw io_error(path.string() + ": holds complex numbers, expected real ones");
    return std::move(any.values);
}

/// How numbers become pixels, where the format has bytes: low is black, high white.
struct pixel_range {
    double low = 0, high = 255;
};

/// Writes by the extension: .npy, .cfl, .h5 or .hdf5 (data set NAME of FILE::NAME, else "data"), .mat (variable NAME, else
/// "x"), .fits or .fit, .tif or .tiff (floats), .png (a folder of 8-bit images, which needs a range). Atomic, each file.
/// Throws io_error for another extension, a format that this build does not know, or one without complex numbers.
inline void save_array(const std::filesystem::path& given, const numbers<float>& data,
                       const std::optional<pixel_range>& range = std::nullopt) {
    const auto [path, name] = place_of(given);
    const std::string extension = lower_extension(path);
    const auto real_only = [&](const char* format) {
        if (data.complex) throw io_error(path.string() + ": " + format + " has no complex numbers");
    };
    const auto complex_values = [&] {
        if (data.complex) return from_pairs(data.values);
        array<std::complex<float>> values;
        values.shape = data.values.shape;
        values.data.assign(data.values.data.begin(), data.values.data.end());
        return values;
    };
    if (extension != ".h5" && extension != ".hdf5" && extension != ".mat") detail::require_no_name(path, name);
    if (extension == ".npy") {
        if (data.complex)
            save_npy(path, complex_values());
        else
            save_npy(path, data.values);
    } else if (extension == ".cfl") {
        save_cfl(path, complex_values());
    } else if (extension == ".h5" || extension == ".hdf5" || extension == ".mat") {
#if defined(DIEM_HAS_HDF5)
        const bool matlab = extension == ".mat";
        const std::string set = !name.empty() ? name : matlab ? "x" : "data";
        const auto save = [&](const auto& values) {
            if (matlab)
                save_matlab(path, set, values);
            else
                save_hdf5(path, set, values);
        };
        if (data.complex)
            save(complex_values());
        else
            save(data.values);
#else
        detail::not_built(path, "an HDF5 file", "HDF5");
#endif
    } else if (extension == ".fits" || extension == ".fit") {
        real_only("FITS");
#if defined(DIEM_HAS_FITS)
        save_fits(path, data.values);
#else
        detail::not_built(path, "a FITS file", "cfitsio");
#endif
    } else if (extension == ".tif" || extension == ".tiff") {
        real_only("TIFF");
#if defined(DIEM_HAS_TIFF)
        save_tiff(path, data.values);
#else
        detail::not_built(path, "a TIFF image", "libtiff");
#endif
    } else if (extension == ".png") {
        real_only("PNG");
#if defined(DIEM_HAS_PNG)
        if (!range || !(range->low < range->high))
            throw io_error(path.string() + ": PNG holds bytes; say which numbers are black and white");
        save_png_stack(path, data.values, range->low, range->high);
#else
        (void)range;
        detail::not_built(path, "a PNG image", "stb");
#endif
    } else {
        throw io_error(path.string() + ": an array cannot be written as \"" + extension +
                       "\"; known: .npy, .cfl, .h5, .mat, .fits, .tif, .png");
    }
}

}  // namespace diem::io
