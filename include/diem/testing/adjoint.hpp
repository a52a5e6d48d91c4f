// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/core/random.hpp>
#include <diem/linop/concept.hpp>
#include <diem/testing/report.hpp>

/// \file
/// Whether an adjoint is one.
/// \snippet tests/examples/testing.cpp testing/adjoint.hpp

namespace diem::testing {

namespace detail {

template <Backend B>
[[nodiscard]] std::vector<double> dots(B& b, const batch<B>& u, const batch<B>& v) {
    batch<B, double> out(b, u.items(), 1);
    b.dot(u.view(), v.view(), out.flat());
    return to_host(b, out);
}

/// The worst item's |<A x, y> - <x, A'y>| / (|A x| |y| + |x| |A'y|), with products (b, in, out).
template <Backend B, class Forward, class Backward>
[[nodiscard]] double adjoint_error(B& b, index_t rows, index_t cols, index_t items, const random_key& key,
                                   const Forward& forward, const Backward& backward) {
    batch<B> x(b, cols, items), y(b, rows, items), ax(b, rows, items), aty(b, cols, items);
    const auto compare = [&] {
        forward(x.cview(), ax.view());
        backward(y.cview(), aty.view());
        const auto left = dots(b, ax, y), right = dots(b, x, aty), axax = dots(b, ax, ax), yy = dots(b, y, y),
                   xx = dots(b, x, x), aa = dots(b, aty, aty);
        double worst = 0;
        for (std::size_t i = 0; i < left.size(); ++i)
            worst = worse(ratio(std::abs(left[i] - right[i]), std::sqrt(axax[i] * yy[i]) + std::sqrt(xx[i] * aa[i])),
                          worst);
        return worst;
    };
    b.fill_normal(key, x.view());
    b.fill_normal(key.with_step(key.step + 1), y.view());
    double worst = compare();
    // Independent draws are nearly orthogonal where rows are many, so that even a wrong factor hardly shows; y = A x
    // and x = A'y show it in full.
    batch<B> first(b, cols, items);
    b.copy(aty.cview(), first.view());
    b.copy(ax.cview(), y.view());
    worst = worse(compare(), worst);
    b.fill_normal(key.with_step(key.step + 1), y.view());
    b.copy(first.cview(), x.view());
    return worse(compare(), worst);
}

}  // namespace detail

/// How far `apply_adjoint` is from the adjoint of `apply`: the largest of
///     |<A x, y> - <x, A'y>| / (|A x| |y| + |x| |A'y|)
/// over items and over three pairs of x and y: normal draws of `key`, (x, A x) and (A'y, y). 0 is exact, rounding gives
/// some epsilon of the scalar, a wrong sign or factor s of A' gives |1 - s| / (1 + |s|). Tries the operator's first
/// `items` items, or as many as it has. NaN where A makes numbers that are not finite. Three products with A and A'
/// each.
template <Backend B, linop::LinearOperator<B> A>
[[nodiscard]] double adjoint_error(B& b, const A& a, const random_key& key, index_t items = 2) {
    const auto error = [&](const auto& part, index_t n) {
        return detail::adjoint_error(
            b, part.rows(), part.cols(), n, key, [&](const_view_t<B> x, view_t<B> y) { part.apply(b, x, y); },
            [&](const_view_t<B> y, view_t<B> x) { part.apply_adjoint(b, y, x); });
    };
    if (a.items() < 0) return error(a, items);
    const index_t n = std::min<index_t>(items, a.items());
    return error(a.items(0, n), n);
}

/// What float32 products of a million terms stay below, and no wrong factor of 1.001 does.
inline constexpr double adjoint_bound = 3e-4;

/// Throws value_error, beginning with `where`, unless `adjoint_error` <= bound: with an adjoint that is not one,
/// solvers converge to something else and nothing says so. For programs that are handed an operator.
template <Backend B, linop::LinearOperator<B> A>
void require_adjoint(B& b, const A& a, const random_key& key, std::string_view where = "require_adjoint",
                     double bound = adjoint_bound) {
    const double error = adjoint_error(b, a, key);
    if (error <= bound) return;
    char numbers[96];
    std::snprintf(numbers, sizeof numbers, "differ by %.3g of |A x| |y| + |x| |A'y|, bound %.3g", error, bound);
    throw value_error(std::string(where) + ": apply_adjoint is not the adjoint of apply: <A x, y> and <x, A'y> " +
                      (error == error ? numbers : "are not finite"));
}

}  // namespace diem::testing
