// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include <diem/core/check.hpp>
#include <diem/io/array.hpp>
#include <diem/io/cfl.hpp>

/// \file
/// Measurements of magnetic resonance, whatever the file: slices of coils of k-space. Height is the readout (frequency encoding),
/// width the phase encoding: a mask of columns is one of lines of phase encoding, as in fastMRI. Zero frequency is at
/// (height / 2, width / 2).
/// \snippet tests/examples/io.cpp io/kspace.hpp

namespace diem::io {

/// Which frequencies were measured: `values` (1 or slices, 1 or height, width), 0 and 1; an extent of 1 stands for all.
using kspace_mask = array<std::uint8_t>;

/// K-space of one file.
struct kspace_data {
    array<std::complex<float>> values;   ///< (slices, coils, height, width); zero where nothing was measured
    kspace_mask measured;                ///< by the file's mask and padding, else where not all coils are exactly zero
    bool stated = false;                 ///< the file says what was measured: a mask, limits of the encoding
    std::string format;                  ///< "array", "BART", "fastMRI" or "ISMRMRD"
    index_t readout = 0;                 ///< height without readout oversampling; 0: as it is
    array<std::complex<float>> noise{};  ///< (coils, samples) of a noise scan, or empty
    array<std::complex<float>> calibration{};  ///< lines for calibration alone, as `values`, or empty
    std::vector<std::string> notes{};          ///< what else the file says, for people

    [[nodiscard]] index_t slices() const { return values.shape.at(0); }
    [[nodiscard]] index_t coils() const { return values.shape.at(1); }
    [[nodiscard]] index_t height() const { return values.shape.at(2); }
    [[nodiscard]] index_t width() const { return values.shape.at(3); }
};

/// What the axes of an array without names are: of three, the first is the coils of one slice, or slices of one coil.
enum class third_axis { coils, slices };

/// (height, width), (coils or slices, height, width) or (slices, coils, height, width) as the last. Throws io_error naming
/// `name` for other shapes.
template <class T>
[[nodiscard]] array<T> as_slices(array<T> a, third_axis third, const std::string& name) {
    const std::string was = to_string(a.shape);
    if (a.shape.size() == 2) a.shape.insert(a.shape.begin(), {1, 1});
    if (a.shape.size() == 3) a.shape.insert(a.shape.begin() + (third == third_axis::coils ? 0 : 1), 1);
    if (a.shape.size() != 4 || a.size() == 0)
        throw io_error(name + ": shape " + was + ", expected (height, width), (" +
                       (third == third_axis::coils ? "coils" : "slices") +
                       ", height, width) or (slices, coils, height, width)");
    return a;
}

/// An array of BART as (slices, coils, READ, PHS1): READ (dimension 0) is the height, PHS1 (1) the width, COIL (3) and SLICE (13)
/// as named. Throws io_error naming `name` where another dimension is above 1.
[[nodiscard]] inline array<std::complex<float>> cfl_slices(array<std::complex<float>> a, const std::string& name) {
    constexpr const char* names[] = {"READ", "PHS1",   "PHS2", "COIL",  "MAPS",  "TE",    "COEFF", "COEFF2",
                                     "ITER", "CSHIFT", "TIME", "TIME2", "LEVEL", "SLICE", "AVG",   "BATCH"};
    const std::size_t axes = a.shape.size();
    const auto extent = [&](std::size_t dimension) { return dimension < axes ? a.shape[axes - 1 - dimension] : 1; };
    for (std::size_t k = 0; k < std::max<std::size_t>(axes, 1); ++k)
        if (extent(k) > 1 && k != 0 && k != 1 && k != 3 && k != 13)
            throw io_error(name + ": dimension " + std::to_string(k) + " (" + (k < 16 ? names[k] : "?") + ") is " +
                           std::to_string(extent(k)) + ", expected 1: slices of coils of READ x PHS1 alone");
    a.shape = {extent(13), extent(3), extent(1), extent(0)};
    return swap_last_axes(a);
}

/// (slices, coils, height, width) as an array of BART, which `save_cfl` writes with READ = height, PHS1 = width; `samples`, AVG
/// (14), is the slowest where it is above 1: the first extent is then samples x slices.
[[nodiscard]] inline array<std::complex<float>> to_cfl_slices(const array<std::complex<float>>& a,
                                                              index_t samples = 1) {
    check_value("to_cfl_slices", a.shape.size() == 4 && samples > 0 && a.shape[0] % samples == 0,
                "expected (slices, coils, height, width)");
    auto out = swap_last_axes(a);  // (slices, coils, PHS1, READ)
    out.shape = {samples, a.shape[0] / samples, 1, 1, 1, 1, 1, 1, 1, 1, 1, a.shape[1], 1, a.shape[3], a.shape[2]};
    return out;
}

/// The same mask with the fewest numbers: one for all slices, one row for all rows, where they are equal.
[[nodiscard]] inline kspace_mask smallest(const kspace_mask& m) {
    const index_t n = m.shape[0], h = m.shape[1], w = m.shape[2];
    const auto equal = [&](index_t a, index_t b, index_t count) {
        return std::equal(m.data.begin() + a, m.data.begin() + a + count, m.data.begin() + b);
    };
    bool columns = true, shared = true;
    for (index_t r = 0; r < n * h && columns; ++r) columns = equal(r * w, r / h * h * w, w);
    for (index_t i = 1; i < n && shared; ++i) shared = equal(i * h * w, 0, h * w);
    kspace_mask out({shared ? 1 : n, columns ? 1 : h, w});
    for (index_t k = 0; k < out.size(); ++k) out[k] = m[columns ? k / w * h * w + k % w : k];
    return out;
}

/// Whether frequency (row, column) of a slice was measured.
[[nodiscard]] inline bool is_measured(const kspace_mask& m, index_t slice, index_t row, index_t column) {
    const index_t i = m.shape[0] == 1 ? 0 : slice, r = m.shape[1] == 1 ? 0 : row;
    return m[(i * m.shape[1] + r) * m.shape[2] + column] != 0;
}

/// Where not all coils are exactly zero: nothing that was measured is. values: (slices, coils, height, width).
[[nodiscard]] inline kspace_mask measured_by_zeros(const array<std::complex<float>>& values) {
    const index_t n = values.shape.at(0), c = values.shape.at(1), h = values.shape.at(2), w = values.shape.at(3);
    kspace_mask m({n, h, w});
    for (index_t k = 0; k < values.size(); ++k)
        if (values[k] != std::complex<float>()) m[k / (c * h * w) * h * w + k % (h * w)] = 1;
    return smallest(m);
}

/// What both say was measured. Throws io_error naming `name` where the numbers of slices, rows or columns differ.
[[nodiscard]] inline kspace_mask both_measured(const kspace_mask& a, const kspace_mask& b, const std::string& name) {
    shape_type shape(3);
    for (std::size_t k = 0; k < 3; ++k) {
        shape[k] = std::max(a.shape.at(k), b.shape.at(k));
        const bool one = k < 2 && (a.shape[k] == 1 || b.shape[k] == 1);
        if (a.shape[k] != b.shape[k] && !one)
            throw io_error(name + ": a mask of (slices, rows, columns) " + to_string(a.shape) +
                           " does not fit one of " + to_string(b.shape));
    }
    kspace_mask m(shape);
    for (index_t i = 0, k = 0; i < shape[0]; ++i)
        for (index_t r = 0; r < shape[1]; ++r)
            for (index_t w = 0; w < shape[2]; ++w, ++k) m[k] = is_measured(a, i, r, w) && is_measured(b, i, r, w);
    return m;
}

/// Share of the frequencies that were measured.
[[nodiscard]] inline double share_of(const kspace_mask& m) {
    index_t seen = 0;
    for (const auto v : m.data) seen += v != 0;
    return static_cast<double>(seen) / static_cast<double>(std::max<index_t>(m.size(), 1));
}

/// Zeros where nothing was measured. Throws io_error where what is left is not finite.
inline void clear_unmeasured(array<std::complex<float>>& values, const kspace_mask& m, const std::string& name) {
    const index_t c = values.shape.at(1), h = values.shape.at(2), w = values.shape.at(3);
    for (index_t k = 0; k < values.size(); ++k) {
        const index_t slice = k / (c * h * w);
        if (!is_measured(m, slice, k / w % h, k % w))
            values[k] = 0;
        else if (!std::isfinite(values[k].real()) || !std::isfinite(values[k].imag()))
            throw io_error(name + ": slice " + std::to_string(slice) + " holds numbers that are not finite");
    }
}

}  // namespace diem::io
