// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include <diem/linop/concept.hpp>

#include "support/backends.hpp"
#include "support/catch.hpp"

/// Everything that any linear operator must satisfy, on any backend.
namespace diem::test {

template <Backend B>
[[nodiscard]] batch<B> random_batch(B& b, index_t features, index_t items, std::uint32_t step) {
    batch<B> out(b, features, items);
    b.fill_normal(random_key{71, random_lane::user, step}, out.view());
    return out;
}
/// Uniform in [low, high).
template <Backend B>
[[nodiscard]] batch<B> random_positive(B& b, index_t features, index_t items, std::uint32_t step, double low = 0.5,
                                       double high = 2) {
    batch<B> u(b, features, items), ones(b, features, items);
    b.fill_uniform(random_key{72, random_lane::user, step}, u.view());
    b.fill(ones.view(), scalar_t<B>(1));
    b.axpby(low, ones.cview(), high - low, u.view());
    return u;
}

/// max |a - b| <= tolerance * scale; NaN fails.
template <class T>
[[nodiscard]] bool close(const std::vector<T>& a, const std::vector<T>& b, double scale, double tolerance) {
    if (a.size() != b.size()) return false;
    for (std::size_t k = 0; k < a.size(); ++k)
        if (!(std::abs(static_cast<double>(a[k]) - static_cast<double>(b[k])) <= tolerance * scale)) return false;
    return true;
}
template <class T>
[[nodiscard]] double largest(const std::vector<T>& values) {
    double top = 0;
    for (const T v : values) top = std::max(top, std::abs(static_cast<double>(v)));
    return top;
}

/// A linear operator behind functions, so that the checks are compiled once per backend.
template <Backend B>
struct any_operator {
    using function = std::function<void(const_view_t<B>, view_t<B>)>;
    index_t rows, cols, items;
    bool symmetric;
    function apply, adjoint;
    std::function<any_operator(index_t, index_t)> slice;

    [[nodiscard]] any_operator transposed() const {
        return {cols, rows, items, symmetric, adjoint, apply, [s = slice](index_t first, index_t count) {
                    return s(first, count).transposed();
                }};
    }
};
template <Backend B, linop::LinearOperator<B> A>
[[nodiscard]] any_operator<B> erase(B& b, const A& a) {
    return {a.rows(),
            a.cols(),
            a.items(),
            linop::SymmetricOperator<A, B>,
            [&b, a](const_view_t<B> x, view_t<B> y) { a.apply(b, x, y); },
            [&b, a](const_view_t<B> y, view_t<B> x) { a.apply_adjoint(b, y, x); },
            [&b, a](index_t first, index_t count) { return erase(b, a.items(first, count)); }};
}

/// What holds for A and, with its functions exchanged, for A'.
template <Backend B>
void check_linear_map(B& b, const any_operator<B>& a, index_t count) {
    using T = scalar_t<B>;
    const double tolerance = 64 * static_cast<double>(std::numeric_limits<T>::epsilon());
    const T nan = std::numeric_limits<T>::quiet_NaN();
    const index_t rows = a.rows, cols = a.cols;
    const auto x = random_batch(b, cols, count, 1), z = random_batch(b, cols, count, 2);
    const auto product = [&](const batch<B>& in) {
        batch<B> out(b, rows, in.items());
        b.fill(out.view(), nan);  // must be overwritten, not added to
        a.apply(in.view(), out.view());
        return out;
    };
    const auto ax = product(x), az = product(z);
    const auto ax_host = to_host(b, ax);
    const double scale = largest(ax_host) + largest(to_host(b, az));

    INFO("linear");
    auto mixed = random_batch(b, cols, count, 2);  // 3 x - z / 2
    b.axpby(3.0, x.cview(), -0.5, mixed.view());
    auto expected = product(z);
    b.axpby(3.0, ax.cview(), -0.5, expected.view());
    CHECK(close(to_host(b, product(mixed)), to_host(b, expected), 4 * scale, tolerance));

    INFO("no item feels another one");
    for (index_t k = 0; k < count; ++k) {
        auto changed = random_batch(b, cols, count, 1);
        b.fill(changed.view().item_range(k, 1), nan);
        auto out = product(changed);
        b.copy(ax.cview().item_range(k, 1), out.view().item_range(k, 1));
        CHECK(to_host(b, out) == ax_host);
    }

    INFO("views with gaps");
    if (count > 0) {
        batch<B> wide(b, cols + 3, count), wide_out(b, rows + 3, count);
        b.fill(wide.view(), nan);
        b.fill(wide_out.view(), T(7));
        b.copy(x.cview(), wide.view().feature_range(2, cols));
        a.apply(wide.cview().feature_range(2, cols), wide_out.view().feature_range(1, rows));
        CHECK(close(to_host(b, wide_out.cview().feature_range(1, rows)), ax_host, scale, tolerance));
        for (const index_t j : {index_t{0}, rows + 1, rows + 2})
            for (const T v : to_host(b, wide_out.cview().feature_range(j, 1))) CHECK(v == T(7));
    }

    INFO("sizes are checked");
    batch<B> in(b, cols + 1, count), out(b, rows + 1, count), good(b, rows, count), more(b, rows, count + 1);
    CHECK_THROWS_AS(a.apply(in.cview(), good.view()), shape_error);
    CHECK_THROWS_AS(a.apply(x.cview(), out.view()), shape_error);
    CHECK_THROWS_AS(a.apply(x.cview(), more.view()), shape_error);
}

template <Backend B>
void check_erased_operator(B& b, const any_operator<B>& a, index_t count) {
    using T = scalar_t<B>;
    const double tolerance = 64 * static_cast<double>(std::numeric_limits<T>::epsilon());
    const index_t rows = a.rows, cols = a.cols;
    if (a.items >= 0) REQUIRE(a.items == count);
    {
        INFO("A");
        check_linear_map(b, a, count);
    }
    {
        INFO("A'");
        check_linear_map(b, a.transposed(), count);
    }

    const auto x = random_batch(b, cols, count, 3), y = random_batch(b, rows, count, 4);
    batch<B> ax(b, rows, count), aty(b, cols, count);
    a.apply(x.view(), ax.view());
    a.adjoint(y.view(), aty.view());
    const auto ax_host = to_host(b, ax), aty_host = to_host(b, aty);
    const auto dots = [&](const batch<B>& u, const batch<B>& v) {
        batch<B, double> out(b, u.items(), 1);
        b.dot(u.view(), v.view(), out.flat());
        return to_host(b, out);
    };
    INFO("<A x, y> = <x, A' y>");
    const auto left = dots(ax, y), right = dots(x, aty), axax = dots(ax, ax), yy = dots(y, y), xx = dots(x, x),
               aa = dots(aty, aty);
    for (std::size_t i = 0; i < left.size(); ++i)
        CHECK(std::abs(left[i] - right[i]) <= tolerance * (std::sqrt(axax[i] * yy[i]) + std::sqrt(xx[i] * aa[i])));

    if (a.symmetric) {
        INFO("A = A'");
        REQUIRE(rows == cols);
        batch<B> atx(b, cols, count);
        a.adjoint(x.view(), atx.view());
        CHECK(close(to_host(b, atx), ax_host, largest(ax_host), tolerance));
    }

    INFO("slices");
    for (index_t first = 0; first <= count; ++first)
        for (const index_t length : {index_t{0}, index_t{1}, count - first}) {
            if (first + length > count) continue;
            const auto part = a.slice(first, length);
            CHECK(part.rows == rows);
            CHECK(part.cols == cols);
            batch<B> px(b, rows, length), pty(b, cols, length);
            part.apply(x.cview().item_range(first, length), px.view());
            part.adjoint(y.cview().item_range(first, length), pty.view());
            CHECK(close(to_host(b, px), to_host(b, ax.cview().item_range(first, length)), largest(ax_host), tolerance));
            CHECK(close(to_host(b, pty), to_host(b, aty.cview().item_range(first, length)), largest(aty_host),
                        tolerance));
        }
    if (a.items >= 0) CHECK_THROWS_AS(a.slice(0, count + 1), error);
}

/// Linearity, adjointness, symmetry where promised, independence of items, slices, views with gaps, checks of sizes; on a batch
/// of `count` items (the operator's own number, where it has one).
template <Backend B, linop::LinearOperator<B> A>
void check_operator(B& b, const A& a, index_t count, const std::string& name = {}) {
    INFO(name << " " << a.rows() << " x " << a.cols() << ", " << count << " items");
    check_erased_operator(b, erase(b, a), count);
}

}  // namespace diem::test
