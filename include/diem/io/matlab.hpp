// SPDX-License-Identifier: Apache-2.0
#pragma once

// Needs HDF5's C library (Debian: libhdf5-dev): <diem/diem.hpp> leaves this header out.

#include <algorithm>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <diem/io/array.hpp>
#include <diem/io/detail/hdf5.hpp>
#include <diem/io/hdf5_writer.hpp>

/// \file
/// Arrays in HDF5 files of any kind, and in MATLAB's v7.3 files, which are HDF5, too.
/// \snippet tests/examples/io.cpp io/matlab.hpp

namespace diem::io {

namespace detail {
/// The data set asked for, or the only one that holds numbers. Throws io_error.
[[nodiscard]] inline std::string only_numbers(const hdf5_file& file, const std::string& name) {
    if (!name.empty()) return name;
    std::vector<std::string> good;
    const auto names = file.names();
    for (const std::string& candidate : names) try {
            (void)file.describe(candidate);
            good.push_back(candidate);
        } catch (const io_error&) {
            if (names.size() == 1) throw;  // which says more
        }
    if (good.size() == 1) return good.front();
    std::string list;
    for (const std::string& candidate : good) list += (list.empty() ? "" : ", ") + candidate;
    throw io_error(file.path().string() + ": " +
                   (good.empty()
                        ? "holds no data set of numbers at its top"
                        : "holds several data sets; say which, after the file's name and two colons: " + list));
}
}  // namespace detail

/// A data set as it is, row-major; `name` may be left out where there is one alone. Throws io_error with file and data set.
template <class T>
[[nodiscard]] numbers<T> load_hdf5(const std::filesystem::path& path, const std::string& name = "") {
    const detail::hdf5_file file(path);
    const std::string set = detail::only_numbers(file, name);
    if (file.describe(set).complex) return {as_pairs(file.read<std::complex<T>>(set)), true};
    return {file.read<T>(set), false};
}
/// Writes one data set, atomically.
template <class T>
void save_hdf5(const std::filesystem::path& path, const std::string& name, const array<T>& values) {
    hdf5_writer out(path);
    out.add(name, values.shape, std::span<const T>(values.data));
    out.commit();
}

/// A variable of a MATLAB v7.3 file. MATLAB's first index runs fastest and HDF5's last, so a MATLAB array of size
/// [a, b, c] lies in the file as (c, b, a); here it is (a, b, c) again, its element (i, j, k) MATLAB's (i+1, j+1, k+1).
template <class T>
[[nodiscard]] numbers<T> load_matlab(const std::filesystem::path& path, const std::string& name = "") {
    const auto turned = [](auto values) {
        std::reverse(values.shape.begin(), values.shape.end());
        values.data = from_column_major(values.data, values.shape);
        return values;
    };
    const detail::hdf5_file file(path);
    const std::string set = detail::only_numbers(file, name);
    if (file.describe(set).complex) return {as_pairs(turned(file.read<std::complex<T>>(set))), true};
    return {turned(file.read<T>(set)), false};
}
/// Writes one variable (float: single, double: double), atomically. Fewer than two axes become columns, as in MATLAB.
template <class T>
void save_matlab(const std::filesystem::path& path, const std::string& name, array<T> values) {
    while (values.shape.size() < 2) values.shape.push_back(1);
    // The row-major array of the reversed extents is MATLAB's array: as column-major, it is this one transposed.
    shape_type reversed(values.shape.rbegin(), values.shape.rend());
    array<T> turned(reversed, from_column_major(values.data, reversed));
    constexpr std::size_t block = 512;
    hdf5_writer out(path);
    out.add(name, reversed, std::span<const T>(turned.data), "real", "imag");
    const bool wide = sizeof(T) == sizeof(double) * (is_complex_v<T> ? 2 : 1);
    out.text_attribute(name, "MATLAB_class", wide ? "double" : "single");
    std::string text = "MATLAB 7.3 MAT-file, written by diem";
    text.resize(124, ' ');
    text += std::string("\0\2IM", 4);
    text.resize(block, '\0');
    out.commit(text);
}

}  // namespace diem::io
