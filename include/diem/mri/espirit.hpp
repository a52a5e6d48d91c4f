// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <diem/mri/measured.hpp>

/// \file
/// Coil maps by ESPIRiT.
/// \snippet tests/examples/mri.cpp mri/espirit.hpp

namespace diem::mri {

struct espirit_options {
    index_t calibration = 24;  ///< side of the square in the centre of k-space, fully measured
    index_t kernel = 6;        ///< side of the kernels
    double threshold = 0.02;   ///< singular values of the calibration matrix below this share of the largest are noise
    double crop = 0.95;        ///< maps are zero where the eigenvalue is not above this
};

namespace detail {

/// Column (2 block + turned) of the real form of the calibration matrix: the patch of a block, every coil's kernel x kernel
/// frequencies as (re, im), or the same times i. Index: column.
struct calibration_patch {
    index_t width, pixels, coils, kernel, blocks,
        first;  ///< blocks: along a side; first: frequency of the square's corner
    template <class T>
    DIEM_HOST_DEVICE void operator()(index_t i, const T* kspace, double* column) const {
        const index_t block = i / 2, y = block / blocks, x = block - y * blocks;
        double* to = column + i * 2 * coils * kernel * kernel;
        for (index_t c = 0; c < coils; ++c)
            for (index_t r = 0; r < kernel; ++r) {
                const T* from = kspace + 2 * (c * pixels + first + (y + r) * width + x);
                for (index_t s = 0; s < kernel; ++s, from += 2, to += 2) {
                    const auto re = static_cast<double>(from[0]), im = static_cast<double>(from[1]);
                    to[0] = i % 2 == 0 ? re : -im;
                    to[1] = i % 2 == 0 ? im : re;
                }
            }
    }
};

/// The correlation of the kernels: R_cd(t) = sum over s of P_(c, s + t), (d, s), P the projection on their span, for d <= c and
/// |t| < kernel in both axes. Written as the matrix of a sum over vertical shifts: column (2 ty + turned), row ((2 tx + turned')
/// pairs + pair) (re, im), where `turned` stands for a factor of i. Index: (pair, ty, tx).
struct correlate_kernels {
    index_t kernel, pairs, size;  ///< size: 2 coils kernel^2
    template <class T>
    DIEM_HOST_DEVICE void operator()(index_t i, const double* projection, T* out) const {
        const index_t shifts = 2 * kernel - 1, pair = i / (shifts * shifts), shift = i - pair * shifts * shifts;
        const index_t ty = shift / shifts, tx = shift - ty * shifts, dy = ty - kernel + 1, dx = tx - kernel + 1;
        index_t c = 0, before = 0;
        while (before + c + 1 <= pair) before += ++c;
        const index_t d = pair - before, area = kernel * kernel;
        double re = 0, im = 0;
        for (index_t y = dy < 0 ? -dy : 0; y < kernel && y + dy < kernel; ++y)
            for (index_t x = dx < 0 ? -dx : 0; x < kernel && x + dx < kernel; ++x) {
                const double* at =
                    projection + 2 * (c * area + (y + dy) * kernel + x + dx) + 2 * (d * area + y * kernel + x) * size;
                re += at[0];
                im += at[1];
            }
        re /= static_cast<double>(area);
        im /= static_cast<double>(area);
        const index_t rows = 4 * shifts * pairs;
        const auto put = [&](index_t turned, index_t column, double a, double b) {
            T* const to = out + (2 * ty + column) * rows + 2 * ((2 * tx + turned) * pairs + pair);
            to[0] = static_cast<T>(a);
            to[1] = static_cast<T>(b);
        };
        put(0, 0, re, im);
        put(1, 0, -im, re);
        put(0, 1, -im, re);
        put(1, 1, -re, -im);
    }
};

/// cos and sin of 2 pi (t - kernel + 1) (x - n / 2) / n. Column: x; rows 2 t, 2 t + 1. Index: (x, t).
struct shift_phases {
    index_t kernel, n;
    template <class T>
    DIEM_HOST_DEVICE void operator()(index_t i, T* out) const {
        const index_t shifts = 2 * kernel - 1, x = i / shifts, t = i - x * shifts;
        const index_t turns = (t - kernel + 1) * (x - n / 2) % n;  // exact, before the rounding of pi
        const double angle = 6.283185307179586476925286766559 * static_cast<double>(turns) / static_cast<double>(n);
        out[2 * i] = static_cast<T>(std::cos(angle));
        out[2 * i + 1] = static_cast<T>(std::sin(angle));
    }
};

/// y = M x of a Hermitian matrix whose rows up to the diagonal follow one another; all complex. Returns |y|^2.
template <class T>
DIEM_HOST_DEVICE T hermitian_product(index_t n, const T* m, const T* x, T* y) {
    T norm = 0;
    for (index_t c = 0; c < n; ++c) {
        const T xr = x[2 * c], xi = x[2 * c + 1];
        T re = 0, im = 0;
        for (index_t d = 0; d < c; ++d, m += 2) {
            re += m[0] * x[2 * d] - m[1] * x[2 * d + 1];
            im += m[0] * x[2 * d + 1] + m[1] * x[2 * d];
            y[2 * d] += m[0] * xr + m[1] * xi;
            y[2 * d + 1] += m[0] * xi - m[1] * xr;
        }
        y[2 * c] = re + m[0] * xr;
        y[2 * c + 1] = im + m[0] * xi;
        m += 2;
    }
    for (index_t k = 0; k < 2 * n; ++k) norm += y[k] * y[k];
    return norm;
}

/// The leading eigenvector of every pixel's matrix by power iteration, its first coil real; zero where the eigenvalue is not
/// above `crop`. It begins with the column of the largest diagonal entry, which the eigenvector is never orthogonal to where it
/// is unique. Index: pixel, of `first` on.
struct leading_eigenvector {
    static constexpr int most_iterations = 200;
    index_t coils, pixels, first;
    double crop;
    template <class T>
    DIEM_HOST_DEVICE void operator()(index_t i, const T* matrices, T* work, T* maps) const {
        const T* const m = matrices + i * coils * (coils + 1);
        T *v = work + i * 4 * coils, *w = v + 2 * coils;
        T* const to = maps + 2 * (first + i);
        T bound = 0, top = 0;  // the Frobenius norm is not below the eigenvalue
        index_t start = 0, entry = 0;
        for (index_t c = 0; c < coils; ++c) {
            for (index_t d = 0; d < c; ++d, ++entry)
                bound += 2 * (m[2 * entry] * m[2 * entry] + m[2 * entry + 1] * m[2 * entry + 1]);
            const T diagonal = m[2 * entry++];
            bound += diagonal * diagonal;
            if (diagonal > top) {
                top = diagonal;
                start = c;
            }
        }
        const T least = static_cast<T>(crop);
        T eigenvalue = 0;
        if (top > 0 && !(bound <= least * least)) {
            for (index_t c = 0; c < 2 * coils; ++c) v[c] = 0;
            v[2 * start] = 1;
            for (int k = 0; k < most_iterations; ++k) {
                eigenvalue = std::sqrt(hermitian_product(coils, m, v, w));
                const T scale = 1 / eigenvalue;
                T change = 0;
                for (index_t c = 0; c < 2 * coils; ++c) {
                    w[c] *= scale;
                    change += (w[c] - v[c]) * (w[c] - v[c]);
                }
                T* const swapped = v;
                v = w;
                w = swapped;
                constexpr T still = 4 * std::numeric_limits<T>::epsilon();
                if (change <= still * still) break;
            }
        }
        const bool inside = eigenvalue > least;
        const T size = std::sqrt(v[0] * v[0] + v[1] * v[1]);
        const T re = inside && size > 0 ? v[0] / size : T(1), im = inside && size > 0 ? v[1] / size : T(0);
        for (index_t c = 0; c < coils; ++c) {
            to[2 * c * pixels] = inside ? v[2 * c] * re + v[2 * c + 1] * im : T(0);
            to[2 * c * pixels + 1] = inside ? v[2 * c + 1] * re - v[2 * c] * im : T(0);
        }
        if (inside && size > 0) to[1] = 0;
    }
};

/// Column k of x by scale[k]. Index: column.
struct scale_column {
    index_t rows;
    DIEM_HOST_DEVICE void operator()(index_t i, const double* scale, double* x) const {
        for (index_t k = 0; k < rows; ++k) x[i * rows + k] *= scale[i];
    }
};

/// First of the eigenvalues (ascending, each twice) that are above `threshold`^2 of the largest; all of them where that is 0.
inline index_t first_kept(const std::vector<double>& values, double threshold) {
    const auto n = static_cast<index_t>(values.size());
    const auto pair = [&](index_t i) {
        return (values[static_cast<std::size_t>(i)] + values[static_cast<std::size_t>(i) + 1]) / 2;
    };
    const double top = pair(n - 2);
    index_t first = n;
    while (first > 0 && top > 0 && pair(first - 2) > threshold * threshold * top) first -= 2;
    return first;
}

/// The projection on the span of the calibration matrix's right singular vectors, of one slice, in its real form: 2 n x 2 n, n =
/// coils kernel^2. The smaller of A A^H and A^H A is decomposed.
template <Backend B>
batch<B, double> kernel_projection(B& b, const_view_t<B> kspace, const kspace_size& size, const espirit_options& o) {
    const index_t side = o.calibration - o.kernel + 1, columns = 2 * side * side;
    const index_t n = 2 * size.coils * o.kernel * o.kernel, smaller = std::min(n, columns);
    const index_t corner = centre_corner(size, o.calibration);
    batch<B, double> x(b, n, columns), v(b, smaller, smaller), w(b, smaller, 1), p(b, n, n);
    b.launch(columns, n, calibration_patch{size.width, size.pixels(), size.coils, o.kernel, side, corner},
             kspace.data(), x.view().data());
    const op left = n <= columns ? op::none : op::transpose, right = n <= columns ? op::transpose : op::none;
    b.gemm(1.0, x.cview(), left, x.cview(), right, 0.0, v.view());
    b.eigh(v.view(), w.flat());
    const auto values = to_host(b, w);
    const index_t first = first_kept(values, o.threshold), kept = smaller - first;
    const auto vectors = v.cview().item_range(first, kept);
    if (n <= columns) {
        b.gemm(1.0, vectors, op::none, vectors, op::transpose, 0.0, p.view());
        return p;
    }
    std::vector<double> scale(values.begin() + first, values.end());
    for (double& s : scale) s = 1 / std::sqrt(s);
    const auto scales = to_backend(b, scale, kept, 1);
    batch<B, double> f(b, n, kept);
    b.gemm(1.0, x.cview(), op::none, vectors, op::none, 0.0, f.view());
    b.launch(kept, n, scale_column{n}, scales.view().data(), f.view().data());
    b.gemm(1.0, f.cview(), op::none, f.cview(), op::transpose, 0.0, p.view());
    return p;
}

/// Maps of one slice.
template <Backend B>
void espirit_slice(B& b, const_view_t<B> kspace, const kspace_size& size, const espirit_options& o, view_t<B> maps) {
    const index_t shifts = 2 * o.kernel - 1, pairs = size.coils * (size.coils + 1) / 2;
    batch<B> r(b, 4 * shifts * pairs, 2 * shifts), by_row(b, 4 * shifts * pairs, size.height);
    {
        const auto p = kernel_projection(b, kspace, size, o);
        b.launch(pairs * shifts * shifts, o.kernel * o.kernel, correlate_kernels{o.kernel, pairs, p.features()},
                 p.view().data(), r.view().data());
    }
    const auto phases = [&](index_t n) {
        batch<B> out(b, 2 * shifts, n);
        b.launch(n * shifts, 32, shift_phases{o.kernel, n}, out.view().data());
        return out;
    };
    const auto down = phases(size.height), across = phases(size.width);
    b.gemm(1, r.cview(), op::none, down.cview(), op::none, 0, by_row.view());

    // The matrices of some rows of pixels at a time: those of a whole slice of many coils are large.
    constexpr index_t numbers = index_t{1} << 21;
    const index_t most = std::clamp<index_t>(numbers / (2 * pairs * size.width), 1, size.height);
    batch<B> matrices(b, 2 * pairs, most * size.width), work(b, 4 * size.coils, most * size.width);
    for (index_t row = 0; row < size.height; row += most) {
        const index_t count = std::min(most, size.height - row);
        b.gemm_batched(
            1, const_matrices_t<B>(as_matrices(by_row.cview().item_range(row, count), 2 * pairs, 2 * shifts)), op::none,
            const_matrices_t<B>(across.view().data(), 2 * shifts, size.width, 2 * shifts, 0, count), op::none, 0,
            matrices_t<B>(matrices.view().data(), 2 * pairs, size.width, 2 * pairs, 2 * pairs * size.width, count));
        b.launch(count * size.width, 64 * pairs,
                 leading_eigenvector{size.coils, size.pixels(), row * size.width, o.crop}, matrices.view().data(),
                 work.view().data(), maps.data());
    }
}

}  // namespace detail

/// Sensitivity maps of the coils from the centre of k-space by ESPIRiT, one set for each slice. The patches of the fully measured
/// centre span a subspace (singular values above `threshold`); the image of its kernels gives each pixel a Hermitian matrix of
/// coils x coils, whose leading eigenvector, eigenvalue 1 where the model holds, is the maps there. They have norm 1 over the
/// coils and are zero where the eigenvalue is not above `crop`: outside the body. The phase is free; the first coil's is set to
/// zero, so that the image has the phase which the first (or first virtual) coil sees.
///
/// kspace: (coils, height, width, 2) an item. Result: the same shape. Only the calibration square is read; of k-space that is
/// zero there the maps are zero. Eigenvectors are found to the rounding of the scalar over the gap of the eigenvalues.
///
/// M. Uecker et al., ESPIRiT -- an eigenvalue approach to autocalibrating parallel MRI, 2014. The sum over kernels of their
/// images' products is summed before the transform, as a trigonometric polynomial of degree kernel - 1.
/// Throws shape_error where an item has another size; value_error where an option is out of range, the calibration square
/// is larger than k-space or not all measured, or k-space is not finite.
template <Backend B>
[[nodiscard]] batch<B> espirit(B& b, const_view_t<B> kspace, const kspace_size& size,
                               const espirit_options& options = {}) {
    detail::check_kspace("espirit", size, kspace);
    const auto number = [](auto v) { return std::to_string(v); };
    check_value("espirit", options.kernel >= 1, "kernel is " + number(options.kernel) + ", expected at least 1");
    check_value(
        "espirit", options.calibration >= options.kernel,
        "calibration is " + number(options.calibration) + ", expected at least the kernel's " + number(options.kernel));
    check_value("espirit", options.calibration <= std::min(size.height, size.width),
                "calibration is " + number(options.calibration) + ", larger than the k-space of " +
                    number(size.height) + " x " + number(size.width));
    check_value("espirit", options.threshold >= 1e-6 && options.threshold < 1,
                "threshold is " + number(options.threshold) + ", expected a number in [1e-6, 1)");
    check_value("espirit", options.crop >= 0 && options.crop <= 1,
                "crop is " + number(options.crop) + ", expected a number in [0, 1]");
    linop::check_entries<linop::finite_entry>("espirit", b, "kspace", kspace);
    batch<B> maps(b, size.numbers(), kspace.items());
    const auto mask = measured_mask<B>(b, kspace, size);
    for (index_t i = 0; i < kspace.items(); ++i) {
        const index_t area = options.calibration * options.calibration;
        const index_t seen =
            detail::count_in_centre(to_host(b, mask.cview().item_range(i, 1)), size, options.calibration);
        check_value(
            "espirit", seen == area || seen == 0,
            "item " + number(i) + ": " + number(area - seen) + " of the " + number(area) +
                " frequencies of the calibration square are not measured (zero in all coils); calibration_width " +
                "finds the largest square");
        detail::espirit_slice<B>(b, kspace.item_range(i, 1), size, options, maps.view().item_range(i, 1));
    }
    return maps;
}

}  // namespace diem::mri
