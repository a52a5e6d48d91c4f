// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <complex>
#include <string>
#include <utility>
#include <vector>

#include <diem/linop/mri.hpp>
#include <diem/mri/kspace.hpp>

/// \file
/// Combinations of coils.
/// \snippet tests/examples/mri.cpp mri/coil_matrix.hpp

namespace diem::mri {

/// A complex matrix on the host, row by row.
struct coil_matrix {
    index_t rows = 0, cols = 0;
    std::vector<std::complex<double>> values;
    coil_matrix() = default;
    coil_matrix(index_t r, index_t c) : rows(r), cols(c), values(static_cast<std::size_t>(r * c)) {}
    [[nodiscard]] std::complex<double>& operator()(index_t r, index_t c) {
        return values[static_cast<std::size_t>(r * cols + c)];
    }
    [[nodiscard]] const std::complex<double>& operator()(index_t r, index_t c) const {
        return values[static_cast<std::size_t>(r * cols + c)];
    }
};

namespace detail {

/// y_r = sum over c of M_rc x_c, all complex; `runs` has one image an item.
struct mix_coils {
    linop::detail::pixel_runs runs;
    index_t rows, cols, x_stride, y_stride;
    template <class T>
    DIEM_HOST_DEVICE void operator()(index_t i, const T* matrix, const T* x, T* y) const {
        const index_t line = i / rows, row = i - line * rows;
        const auto r = runs(line);
        const index_t pixels = runs.height * runs.width;
        T* const to = y + r.item * y_stride + 2 * (row * pixels + r.first);
        for (index_t k = 0; k < 2 * runs.length; ++k) to[k] = 0;
        for (index_t c = 0; c < cols; ++c) {
            const T re = matrix[2 * (row * cols + c)], im = matrix[2 * (row * cols + c) + 1];
            const T* const from = x + r.item * x_stride + 2 * (c * pixels + r.first);
            for (index_t k = 0; k < 2 * runs.length; k += 2) {
                to[k] += re * from[k] - im * from[k + 1];
                to[k + 1] += re * from[k + 1] + im * from[k];
            }
        }
    }
};

/// Complex samples in float64, as they are or times i. Index: sample.
struct widen_samples {
    bool turned;
    template <class T>
    DIEM_HOST_DEVICE void operator()(index_t i, const T* x, double* y) const {
        const auto re = static_cast<double>(x[2 * i]), im = static_cast<double>(x[2 * i + 1]);
        y[2 * i] = turned ? -im : re;
        y[2 * i + 1] = turned ? re : im;
    }
};

/// X X^H of an item (coils, samples, 2), in float64.
template <Backend B>
coil_matrix gram(B& b, const_view_t<B> x, index_t coils) {
    const index_t samples = x.features() / (2 * coils);
    batch<B, double> plain(b, 2 * samples, coils), turned(b, 2 * samples, coils), re(b, coils, coils),
        im(b, coils, coils);
    b.launch(coils * samples, 2, widen_samples{false}, x.data(), plain.view().data());
    b.launch(coils * samples, 2, widen_samples{true}, x.data(), turned.view().data());
    // (X X^H)_cd = sum of x_c conj(x_d): its real part <x_c, x_d>, its imaginary part <x_c, i x_d>.
    b.gemm(1.0, plain.cview(), op::transpose, plain.cview(), op::none, 0.0, re.view());
    b.gemm(1.0, plain.cview(), op::transpose, turned.cview(), op::none, 0.0, im.view());
    const auto real = to_host(b, re), imaginary = to_host(b, im);
    coil_matrix out(coils, coils);
    for (index_t c = 0; c < coils; ++c)
        for (index_t d = 0; d < coils; ++d) {
            const auto at = static_cast<std::size_t>(d * coils + c);
            out(c, d) = {real[at], imaginary[at]};
        }
    return out;
}

}  // namespace detail

/// y = M x at every frequency (or pixel): k-space or maps of M.cols coils to M.rows coils. x: size.coils coils an item.
/// Throws shape_error where sizes do not fit.
template <Backend B>
[[nodiscard]] batch<B> mix_coils(B& b, const coil_matrix& m, const_view_t<B> x, const kspace_size& size) {
    detail::check_kspace("mix_coils", size, x);
    check_size("mix_coils", "the matrix's columns", m.cols, size.coils);
    std::vector<scalar_t<B>> numbers;
    for (const auto& v : m.values) {
        numbers.push_back(static_cast<scalar_t<B>>(v.real()));
        numbers.push_back(static_cast<scalar_t<B>>(v.imag()));
    }
    const auto matrix = to_backend(b, numbers, static_cast<index_t>(numbers.size()), 1);
    batch<B> y(b, 2 * m.rows * size.pixels(), x.items());
    const auto runs = linop::detail::runs_of<B>(size.height, size.width, 1);
    b.launch(runs.count(x.items()) * m.rows, 2 * m.cols * runs.length,
             detail::mix_coils{runs, m.rows, m.cols, x.stride(), y.view().stride()}, matrix.view().data(), x.data(),
             y.view().data());
    return y;
}

}  // namespace diem::mri
