// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <diem/backend/batch.hpp>
#include <diem/backend/capabilities.hpp>
#include <diem/solver/detail/host_rows.hpp>

/// \file
/// The two steps of short recurrences that touch a vector twice: in one pass where one core takes a whole item, else by
/// primitives of the backend. As with `axpby`, an operand whose coefficient is zero is not read.

namespace diem::solver::detail {

struct add_dot_row {
    index_t n;
    template <class T>
    void operator()(index_t i, const double* a, const T* x, T* y, double* yy) const {
        yy[i] =
            a[i] != 0 ? row_add_dot(static_cast<T>(a[i]), x + i * n, y + i * n, n) : row_dot(y + i * n, y + i * n, n);
    }
};
/// y += a x, then yy = y'y; per item, contiguous.
template <Backend B>
void add_dot(B& b, vector_t<B, double> a, const_view_t<B> x, view_t<B> y, vector_t<B, double> yy) {
    if constexpr (HostThreaded<B>) {
        b.launch(x.items(), 4 * x.features(), add_dot_row{x.features()}, a.data(), x.data(), y.data(), yy.data());
    } else {
        b.axpby(a, x, 1.0, y);
        b.dot(const_view_t<B>(y), const_view_t<B>(y), yy);
    }
}

struct advance_row {
    index_t n, x_stride;
    template <class T>
    void operator()(index_t i, const double* alpha, const double* fresh, const double* beta, const T* z, T* p, T* x,
                    double* pp) const {
        const T a = static_cast<T>(alpha[i]);
        if (fresh[i] != 0)
            pp[i] = row_advance(a, static_cast<T>(beta[i]), z + i * n, p + i * n, x + i * x_stride, n);
        else if (a != 0)
            row_add(a, p + i * n, x + i * x_stride, n);
    }
};
/// x += alpha p, then p = z + beta p where `fresh` is 1, and p = p where it is 0 (and beta 1). Where one core takes a whole
/// item, pp = p'p comes with it.
template <Backend B>
void advance(B& b, vector_t<B, double> alpha, vector_t<B, double> fresh, vector_t<B, double> beta, const_view_t<B> z,
             view_t<B> p, view_t<B> x, [[maybe_unused]] vector_t<B, double> pp) {
    if constexpr (HostThreaded<B>) {
        b.launch(z.items(), 6 * z.features(), advance_row{z.features(), x.stride()}, alpha.data(), fresh.data(),
                 beta.data(), z.data(), p.data(), x.data(), pp.data());
    } else {
        b.axpby(alpha, const_view_t<B>(p), 1.0, x);
        b.axpby(fresh, z, beta, p);
    }
}

}  // namespace diem::solver::detail
