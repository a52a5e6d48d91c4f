// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <diem/core/check.hpp>
#include <diem/io/array.hpp>
#include <diem/io/cfl.hpp>
#include <diem/io/slices.hpp>

/// \file
/// Measurements of magnetic resonance, whatever the file: slices of coils of k-space. Height is the readout (frequency encoding),
/// width the phase encoding: a mask of columns is one of lines of phase encoding, as in fastMRI. Zero frequency is at
/// (height / 2, width / 2).
/// \snippet tests/examples/io.cpp io/kspace.hpp

namespace diem::io {

/// Which frequencies were measured: `values` (1 or slices, 1 or height, width), 0 and 1; an extent of 1 stands for all.
using kspace_mask = array<std::uint8_t>;

/// What a file says of its k-space.
struct kspace_facts {
    bool stated = false;                 ///< the file says what was measured: a mask, limits of the encoding
    std::string format;                  ///< "array", "BART", "fastMRI" or "ISMRMRD"
    index_t readout = 0;                 ///< height without readout oversampling; 0: as it is
    array<std::complex<float>> noise{};  ///< (coils, samples) of a noise scan, or empty
    std::vector<std::string> notes{};    ///< what else the file says, for people
};
/// K-space of one file.
struct kspace_data : kspace_facts {
    array<std::complex<float>> values;  ///< (slices, coils, height, width); zero where nothing was measured
    kspace_mask measured;               ///< by the file's mask and padding, else where not all coils are exactly zero
    array<std::complex<float>> calibration{};  ///< lines for calibration alone, as `values`, or empty

    [[nodiscard]] index_t slices() const { return values.shape.at(0); }
    [[nodiscard]] index_t coils() const { return values.shape.at(1); }
    [[nodiscard]] index_t height() const { return values.shape.at(2); }
    [[nodiscard]] index_t width() const { return values.shape.at(3); }
};
/// The same in its file, read a slice at a time.
struct kspace_source : kspace_facts {
    complex_slices values;
    std::function<kspace_mask()> measured;  ///< where zeros tell, it reads all slices
    complex_slices calibration{};
};
[[nodiscard]] inline kspace_data load(const kspace_source& s, kspace_mask measured) {
    kspace_data k{{static_cast<const kspace_facts&>(s)}, s.values.all(), std::move(measured)};
    if (!s.calibration.empty()) k.calibration = s.calibration.all();
    return k;
}
[[nodiscard]] inline kspace_data load(const kspace_source& s) { return load(s, s.measured()); }

/// What the axes of an array without names are: of three, the first is the coils of one slice, or slices of one coil.
enum class third_axis { coils, slices };

/// (height, width), (coils or slices, height, width) or (slices, coils, height, width) as the last. Throws io_error naming
/// `name` for other shapes.
[[nodiscard]] inline shape_type slices_shape(shape_type shape, third_axis third, const std::string& name) {
    const std::string was = to_string(shape);
    if (shape.size() == 2) shape.insert(shape.begin(), {1, 1});
    if (shape.size() == 3) shape.insert(shape.begin() + (third == third_axis::coils ? 0 : 1), 1);
    if (shape.size() != 4 || element_count(shape) == 0)
        throw io_error(name + ": shape " + was + ", expected (height, width), (" +
                       (third == third_axis::coils ? "coils" : "slices") +
                       ", height, width) or (slices, coils, height, width)");
    return shape;
}
template <class T>
[[nodiscard]] array<T> as_slices(array<T> a, third_axis third, const std::string& name) {
    a.shape = slices_shape(std::move(a.shape), third, name);
    return a;
}

/// The shape of an array of BART, see `load_cfl_shape`, as (slices, coils, PHS1, READ). Throws io_error naming `name` where
/// another dimension than READ (0), PHS1 (1), COIL (3) and SLICE (13) is above 1.
[[nodiscard]] inline shape_type cfl_slices_shape(const shape_type& shape, const std::string& name) {
    constexpr const char* names[] = {"READ", "PHS1",   "PHS2", "COIL",  "MAPS",  "TE",    "COEFF", "COEFF2",
                                     "ITER", "CSHIFT", "TIME", "TIME2", "LEVEL", "SLICE", "AVG",   "BATCH"};
    const std::size_t axes = shape.size();
    const auto extent = [&](std::size_t dimension) { return dimension < axes ? shape[axes - 1 - dimension] : 1; };
    for (std::size_t k = 0; k < std::max<std::size_t>(axes, 1); ++k)
        if (extent(k) > 1 && k != 0 && k != 1 && k != 3 && k != 13)
            throw io_error(name + ": dimension " + std::to_string(k) + " (" + (k < 16 ? names[k] : "?") + ") is " +
                           std::to_string(extent(k)) + ", expected 1: slices of coils of READ x PHS1 alone");
    return {extent(13), extent(3), extent(1), extent(0)};
}
/// An array of BART as (slices, coils, READ, PHS1): READ is the height, PHS1 the width. Throws as `cfl_slices_shape`.
[[nodiscard]] inline array<std::complex<float>> cfl_slices(array<std::complex<float>> a, const std::string& name) {
    a.shape = cfl_slices_shape(a.shape, name);
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
[[nodiscard]] inline kspace_mask smallest(kspace_mask m) {
    const index_t n = m.shape[0], h = m.shape[1], w = m.shape[2];
    const auto equal = [&](index_t a, index_t b, index_t count) {
        return std::equal(m.data.begin() + a, m.data.begin() + a + count, m.data.begin() + b);
    };
    bool columns = true, shared = true;
    for (index_t r = 0; r < n * h && columns; ++r) columns = equal(r * w, r / h * h * w, w);
    for (index_t i = 1; i < n && shared; ++i) shared = equal(i * h * w, 0, h * w);
    if ((!shared || n == 1) && (!columns || h == 1)) return m;
    kspace_mask out({shared ? 1 : n, columns ? 1 : h, w});
    for (index_t k = 0; k < out.size(); ++k) out[k] = m[columns ? k / w * h * w + k % w : k];
    return out;
}

/// Whether frequency (row, column) of a slice was measured.
[[nodiscard]] inline bool is_measured(const kspace_mask& m, index_t slice, index_t row, index_t column) {
    const index_t i = m.shape[0] == 1 ? 0 : slice, r = m.shape[1] == 1 ? 0 : row;
    return m[(i * m.shape[1] + r) * m.shape[2] + column] != 0;
}

/// The smallest mask of masks of slices that come one after another, (height, width) each: rows are kept once while all are alike.
class mask_collector {
public:
    mask_collector(index_t slices, index_t height, index_t width) : height_(height), mask_({slices, 1, width}) {}
    /// The next slice's.
    void add(const std::vector<std::uint8_t>& slice) {
        const index_t w = mask_.shape[2];
        for (index_t r = 1; r < height_ && mask_.shape[1] == 1; ++r)
            if (!std::equal(slice.begin(), slice.begin() + w, slice.begin() + r * w)) unfold();
        std::copy_n(slice.begin(), mask_.shape[1] * w, mask_.data.begin() + next_++ * mask_.shape[1] * w);
    }
    [[nodiscard]] kspace_mask mask() && { return smallest(std::move(mask_)); }

private:
    void unfold() {
        kspace_mask all({mask_.shape[0], height_, mask_.shape[2]});
        for (index_t k = 0; k < next_ * height_ * all.shape[2]; ++k)
            all[k] = is_measured(mask_, k / (height_ * all.shape[2]), 0, k % all.shape[2]);
        mask_ = std::move(all);
    }
    index_t height_, next_ = 0;
    kspace_mask mask_;
};

/// Where not all coils are exactly zero: nothing that was measured is.
[[nodiscard]] inline kspace_mask measured_by_zeros(const complex_slices& values) {
    const index_t one = values.height() * values.width();
    mask_collector all(values.slices(), values.height(), values.width());
    std::vector<std::uint8_t> seen(static_cast<std::size_t>(one));
    for (index_t i = 0; i < values.slices(); ++i) {
        const auto slice = values(i);
        std::fill(seen.begin(), seen.end(), 0);
        for (index_t k = 0; k < slice.size(); ++k)
            if (slice[k] != std::complex<float>()) seen[static_cast<std::size_t>(k % one)] = 1;
        all.add(seen);
    }
    return std::move(all).mask();
}
[[nodiscard]] inline kspace_mask measured_by_zeros(const array<std::complex<float>>& values) {
    return measured_by_zeros(complex_slices(values.shape, values.data, nullptr));
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

/// Zeros where nothing was measured; `first`: the slice that the first of them is. Throws io_error where what is left is not finite.
inline void clear_unmeasured(array<std::complex<float>>& values, const kspace_mask& m, const std::string& name,
                             index_t first = 0) {
    const index_t c = values.shape.at(1), h = values.shape.at(2), w = values.shape.at(3);
    for (index_t k = 0; k < values.size(); ++k) {
        const index_t slice = first + k / (c * h * w);
        if (!is_measured(m, slice, k / w % h, k % w))
            values[k] = 0;
        else if (!std::isfinite(values[k].real()) || !std::isfinite(values[k].imag()))
            throw io_error(name + ": slice " + std::to_string(slice) + " holds numbers that are not finite");
    }
}
/// The same of slices when they are read; where they lie in memory they are read at once, and left there if nothing changes.
[[nodiscard]] inline complex_slices cleared(const complex_slices& values, const kspace_mask& m,
                                            const std::string& name) {
    const auto clear = [m = std::make_shared<const kspace_mask>(m), name](index_t i, array<std::complex<float>> slice) {
        clear_unmeasured(slice, *m, name, i);
        return slice;
    };
    const auto same = [&](index_t i) {
        const auto is = clear(i, values(i));
        return std::memcmp(is.data.data(), values.values().data() + i * values.features(),
                           is.data.size() * sizeof(is.data[0])) == 0;
    };
    index_t equal = 0;
    if (!values.values().empty())
        while (equal < values.slices() && same(equal)) ++equal;
    return equal == values.slices() ? values : values.changed(values.height(), values.width(), clear);
}

}  // namespace diem::io
