// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <limits>

#include <diem/backend/batch.hpp>
#include <diem/core/random.hpp>
#include <diem/linop/nonlinear.hpp>
#include <diem/testing/adjoint.hpp>
#include <diem/testing/report.hpp>

/// \file
/// Whether an operator that is not linear is right.
/// \snippet tests/examples/testing.cpp testing/nonlinear.hpp

namespace diem::testing {

struct nonlinear_options {
    index_t items = 3;       ///< of the batch; an operator with a number of items of its own is tried on that many
    double scale = 1;        ///< of x, which is drawn as scale z
    double step = 0;         ///< of the differences, as a part of scale; 0: eps^(1/3) of the scalar
    double tolerance = 0;    ///< of derivatives, relative; 0: 30 eps^(2/3), what central differences leave
    double rounding = 64;    ///< of everything else, in units of epsilon
    bool derivative = true;  ///< false where `linearize` has another one on purpose, as that of rounding
    random_key key{.seed = 79};
};

/// What a `NonlinearOperator` promises, at one x:
/// - `value`: that of `linearize` is the result of `apply`;
/// - `derivative`: <u, H z> = <u, (f(x + h z) - f(x - h z)) / 2h>;
/// - `adjoint`: that of H, see `adjoint_error`, after x has changed;
/// - `slices`: items(first, count) does what the whole does there.
/// Where f has kinks, some entries of a draw may be astride of one: choose another key or a smaller scale.
template <Backend B, linop::NonlinearOperator<B> F>
[[nodiscard]] report check_nonlinear_operator(B& b, const F& f, const nonlinear_options& o = {}) {
    const double eps = static_cast<double>(std::numeric_limits<scalar_t<B>>::epsilon());
    const double h = (o.step > 0 ? o.step : std::cbrt(eps)) * o.scale;
    const index_t n = f.items() >= 0 ? f.items() : o.items, rows = f.rows(), cols = f.cols();
    batch<B> x(b, cols, n), z(b, cols, n), moved(b, cols, n), u(b, rows, n), y(b, rows, n), other(b, rows, n),
        hz(b, rows, n);
    b.fill_normal(o.key, x.view());
    b.axpby(0.0, x.cview(), o.scale, x.view());
    b.fill_normal(o.key.with_step(1), z.view());
    b.fill_normal(o.key.with_step(2), u.view());
    report out;

    b.copy(x.cview(), moved.view());
    const auto linear = f.linearize(b, moved.cview());
    f.apply(b, x.cview(), y.view());
    const auto expected = to_host(b, y);
    const double size = detail::largest(expected);
    out.add("value", detail::ratio(detail::largest_difference(to_host(b, linear.value), expected), size),
            o.rounding * eps, "linearize(x).value = f(x)");

    b.fill(moved.view(), scalar_t<B>(0));
    out.add("adjoint", adjoint_error(b, linear.derivative, o.key.with_step(3), n), o.rounding * eps,
            "<H z, u> = <z, H'u>");
    if (o.derivative) {
        linear.derivative.apply(b, z.cview(), hz.view());
        b.copy(x.cview(), moved.view());
        b.axpby(h, z.cview(), 1.0, moved.view());
        f.apply(b, moved.cview(), y.view());
        b.axpby(-2 * h, z.cview(), 1.0, moved.view());
        f.apply(b, moved.cview(), other.view());
        b.axpby(-1.0, other.cview(), 1.0, y.view());  // first, so that equal values leave nothing
        b.axpby(0.0, y.cview(), 1 / (2 * h), y.view());
        const auto left = detail::dots(b, hz, u), right = detail::dots(b, y, u), uu = detail::dots(b, u, u),
                   dd = detail::dots(b, y, y);
        double worst = 0;
        for (std::size_t i = 0; i < left.size(); ++i)
            worst = detail::worse(detail::ratio(std::abs(left[i] - right[i]), std::sqrt(uu[i] * dd[i])), worst);
        out.add("derivative", worst, o.tolerance > 0 ? o.tolerance : 30 * std::cbrt(eps) * std::cbrt(eps),
                "<u, H z> = <u, central difference along z>");
    }
    b.fill(other.view(), std::numeric_limits<scalar_t<B>>::quiet_NaN());
    for (index_t k = 0; k < n; ++k) f.items(k, 1).apply(b, x.cview().item_range(k, 1), other.view().item_range(k, 1));
    out.add("slices", detail::ratio(detail::largest_difference(to_host(b, other), expected), size), o.rounding * eps,
            "items(k, 1) does what the whole does there");
    return out;
}

}  // namespace diem::testing
