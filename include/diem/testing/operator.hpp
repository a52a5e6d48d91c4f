// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/core/error.hpp>
#include <diem/linop/concept.hpp>
#include <diem/testing/adjoint.hpp>
#include <diem/testing/report.hpp>

/// \file
/// Whether a linear operator is right.
/// \snippet tests/examples/testing.cpp testing/operator.hpp

namespace diem::testing {

struct operator_options {
    index_t items = 3;         ///< of the batch; an operator with a number of items of its own is tried on that many
    double tolerance = 64;     ///< of everything that rounds, in units of the scalar's epsilon, relative
    bool wrong_sizes = false;  ///< also pass wrong sizes: one that does not check them writes outside its memory
    random_key key{.seed = 71};
};

namespace detail {

/// A linear operator behind functions, so that the checks are compiled once per backend.
template <Backend B>
struct erased_operator {
    using function = std::function<void(const_view_t<B>, view_t<B>)>;
    index_t rows, cols, items;
    bool symmetric;
    function apply, adjoint;
    std::function<erased_operator(index_t, index_t)> slice;

    [[nodiscard]] erased_operator transposed() const { return {cols, rows, items, symmetric, adjoint, apply, {}}; }
};
template <Backend B, linop::LinearOperator<B> A>
[[nodiscard]] erased_operator<B> erase(B& b, const A& a) {
    return {a.rows(),
            a.cols(),
            a.items(),
            linop::SymmetricOperator<A, B>,
            [&b, a](const_view_t<B> x, view_t<B> y) { a.apply(b, x, y); },
            [&b, a](const_view_t<B> y, view_t<B> x) { a.apply_adjoint(b, y, x); },
            [&b, a](index_t first, index_t count) { return erase(b, a.items(first, count)); }};
}

template <class Error, class F>
[[nodiscard]] int not_thrown(const F& f) {
    try {
        f();
    } catch (const Error&) {
        return 0;
    }
    return 1;
}

/// What holds for A and, with its functions exchanged, for A'.
template <Backend B>
void check_map(B& b, const erased_operator<B>& a, index_t n, const operator_options& o, const std::string& name,
               report& out) {
    using T = scalar_t<B>;
    const T nan = std::numeric_limits<T>::quiet_NaN();
    const double tolerance = o.tolerance * static_cast<double>(std::numeric_limits<T>::epsilon());
    const auto draw = [&](std::uint32_t step) {
        batch<B> x(b, a.cols, n);
        b.fill_normal(o.key.with_step(step), x.view());
        return x;
    };
    const auto product = [&](const batch<B>& in) {
        batch<B> y(b, a.rows, n);
        b.fill(y.view(), nan);
        a.apply(in.view(), y.view());
        return y;
    };
    const auto x = draw(1), z = draw(2);
    const auto ax = product(x);
    auto az = product(z);
    const auto ax_host = to_host(b, ax);
    const double scale = largest(ax_host) + largest(to_host(b, az));
    out.add(name + " overwrites", scale == scale ? 0 : 1, 0,
            "the result does not depend on what was in its place, and is finite");

    auto mixed = draw(2);  // 3 x - z / 2
    b.axpby(3.0, x.cview(), -0.5, mixed.view());
    b.axpby(3.0, ax.cview(), -0.5, az.view());
    out.add(name + " linear", ratio(largest_difference(to_host(b, product(mixed)), to_host(b, az)), scale),
            4 * tolerance, name + "(3 x - z / 2) = 3 " + name + " x - " + name + " z / 2");

    double felt = 0;
    for (index_t k = 0; k < n; ++k) {
        auto changed = draw(1);
        b.fill(changed.view().item_range(k, 1), nan);
        auto y = product(changed);
        b.copy(ax.cview().item_range(k, 1), y.view().item_range(k, 1));
        felt += to_host(b, y) == ax_host ? 0 : 1;
    }
    out.add(name + " items", felt, 0, "items whose NaN changes the result of another one");

    if (n > 0) {
        batch<B> wide(b, a.cols + 3, n), wide_out(b, a.rows + 3, n);
        b.fill(wide.view(), nan);
        b.fill(wide_out.view(), T(7));
        b.copy(x.cview(), wide.view().feature_range(2, a.cols));
        a.apply(wide.cview().feature_range(2, a.cols), wide_out.view().feature_range(1, a.rows));
        const auto strided = to_host(b, wide_out.cview().feature_range(1, a.rows));
        out.add(name + " strided views", ratio(largest_difference(strided, ax_host), scale), tolerance,
                "items `stride` apart, more than their size");
        double touched = 0;
        for (const index_t j : {index_t{0}, a.rows + 1, a.rows + 2})
            for (const T v : to_host(b, wide_out.cview().feature_range(j, 1))) touched += v == T(7) ? 0 : 1;
        out.add(name + " gaps", touched, 0, "numbers between two items that were written");
    }
    if (o.wrong_sizes) {
        batch<B> in(b, a.cols + 1, n), y(b, a.rows + 1, n), good(b, a.rows, n), more(b, a.rows, n + 1);
        const int accepted = not_thrown<shape_error>([&] { a.apply(in.cview(), good.view()); }) +
                             not_thrown<shape_error>([&] { a.apply(x.cview(), y.view()); }) +
                             not_thrown<shape_error>([&] { a.apply(x.cview(), more.view()); });
        out.add(name + " sizes", accepted, 0, "wrong sizes of three that were not a shape_error");
    }
}

template <Backend B>
[[nodiscard]] report check_erased(B& b, const erased_operator<B>& a, const operator_options& o) {
    const double tolerance = o.tolerance * static_cast<double>(std::numeric_limits<scalar_t<B>>::epsilon());
    const index_t n = a.items < 0 ? o.items : a.items;
    report out;
    check_map(b, a, n, o, "A", out);
    check_map(b, a.transposed(), n, o, "A'", out);
    out.add("adjoint", detail::adjoint_error(b, a.rows, a.cols, n, o.key.with_step(3), a.apply, a.adjoint), tolerance,
            "<A x, y> = <x, A'y>, relative");

    batch<B> x(b, a.cols, n), y(b, a.rows, n), ax(b, a.rows, n), aty(b, a.cols, n);
    b.fill_normal(o.key.with_step(3), x.view());
    b.fill_normal(o.key.with_step(4), y.view());
    a.apply(x.view(), ax.view());
    a.adjoint(y.view(), aty.view());
    const double scale = largest(to_host(b, ax)), adjoint_scale = largest(to_host(b, aty));
    if (a.symmetric) {
        double error = std::numeric_limits<double>::infinity();
        if (a.rows == a.cols) {
            batch<B> atx(b, a.cols, n);
            a.adjoint(x.view(), atx.view());
            error = ratio(largest_difference(to_host(b, atx), to_host(b, ax)), scale);
        }
        out.add("symmetric", error, tolerance, "A x = A'x, as its tag promises");
    }
    double apart = 0, sizes = 0;
    for (index_t first = 0; first <= n; ++first)
        for (const index_t count : {index_t{0}, index_t{1}, n - first}) {
            if (first + count > n) continue;
            const auto part = a.slice(first, count);
            sizes += part.rows == a.rows && part.cols == a.cols && (part.items < 0 || part.items == count) ? 0 : 1;
            batch<B> px(b, a.rows, count), pty(b, a.cols, count);
            part.apply(x.cview().item_range(first, count), px.view());
            part.adjoint(y.cview().item_range(first, count), pty.view());
            const auto difference = [&](const batch<B>& p, const batch<B>& whole, double s) {
                return ratio(largest_difference(to_host(b, p), to_host(b, whole.view().item_range(first, count))), s);
            };
            apart = worse(difference(px, ax, scale), worse(difference(pty, aty, adjoint_scale), apart));
        }
    out.add("slices", apart, tolerance, "items(first, count) does what the whole does there");
    out.add("sizes of slices", sizes, 0, "slices whose rows, cols or items differ");
    if (o.wrong_sizes && a.items >= 0)
        out.add("slices outside", not_thrown<error>([&] { (void)a.slice(0, n + 1); }), 0, "more items than there are");
    return out;
}

}  // namespace detail

/// All that a `LinearOperator` promises: it is linear, overwrites its result, bears views with gaps, no item feels
/// another one, A' is its adjoint (and equal, where tagged symmetric), slices do as the whole. For tests: it makes some
/// 50 products, and keeps batches of all items. `report.passed()` says whether all of it holds, `report.text()` what
/// was found.
template <Backend B, linop::LinearOperator<B> A>
[[nodiscard]] report check_operator(B& b, const A& a, const operator_options& options = {}) {
    return detail::check_erased(b, detail::erase(b, a), options);
}

}  // namespace diem::testing
