// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstddef>
#include <limits>
#include <string>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/core/random.hpp>
#include <diem/diffusion/concept.hpp>
#include <diem/testing/adjoint.hpp>
#include <diem/testing/report.hpp>

/// \file
/// Whether a score model is right.
/// \snippet tests/examples/testing.cpp testing/score_model.hpp

namespace diem::testing {

struct score_model_options {
    double sigma = 1;               ///< noise level, data units
    index_t items = 3;              ///< of the batch
    double scale = 1;               ///< of x: x_t is drawn as sqrt(scale^2 + sigma^2) z
    double step = 0;                ///< of the differences, as a part of that; 0: eps^(1/3) of the scalar
    double tolerance = 0;           ///< of derivatives, relative; 0: 30 eps^(2/3), what central differences leave
    double denoise_tolerance = 64;  ///< of `linearize().mean()` and `denoise`, in units of epsilon
    double symmetry = HUGE_VAL;     ///< the largest asymmetry to pass: a learned Jacobian is not symmetric
    random_key key{.seed = 73};
};

namespace detail {
[[nodiscard]] inline double largest_ratio(const std::vector<double>& difference, const std::vector<double>& scale) {
    double worst = 0;
    for (std::size_t i = 0; i < difference.size(); ++i) worst = worse(ratio(std::abs(difference[i]), scale[i]), worst);
    return worst;
}
}  // namespace detail

/// What a `ScoreModel` promises, at one noise level:
/// - `denoise`: `linearize(..).mean()` is the x_hat of `denoise`, so that the score (x_hat - x_t) / sigma^2 is one
///   function;
/// - `vjp`: <J'u, z> = <u, (d(x_t + h z) - d(x_t - h z)) / 2h>, the central difference;
/// - `vjp again`: a second VJP of one linearisation, after x_t has changed, gives the same;
/// - `items`: a NaN in one item does not reach another one;
/// - `symmetry`: |<J'u, z> - <J'z, u>|, reported and, by default, never failed: exact denoisers have 0, learned ones
///   have not;
/// - `jvp`, of a `HasJvp`: <u, J z> = <J'u, z>.
/// Relative to the norms of the vectors multiplied. u and z are normal draws. For tests: some ten forward passes.
template <Backend B, diffusion::ScoreModel<B> M>
[[nodiscard]] report check_score_model(B& b, M& model, const score_model_options& o = {}) {
    using T = scalar_t<B>;
    const double eps = static_cast<double>(std::numeric_limits<T>::epsilon());
    const double spread = std::sqrt(o.scale * o.scale + o.sigma * o.sigma);
    const double h = (o.step > 0 ? o.step : std::cbrt(eps)) * spread;
    const double tolerance = o.tolerance > 0 ? o.tolerance : 30 * std::cbrt(eps) * std::cbrt(eps);
    const index_t d = model.features(), n = o.items;
    batch<B> x_t(b, d, n), x_hat(b, d, n), u(b, d, n), z(b, d, n), moved(b, d, n), difference(b, d, n), other(b, d, n);
    b.fill_normal(o.key, x_t.view());
    b.axpby(0.0, x_t.cview(), spread, x_t.view());
    b.fill_normal(o.key.with_step(1), u.view());
    b.fill_normal(o.key.with_step(2), z.view());
    report out;

    model.denoise(b, x_t.cview(), o.sigma, x_hat.view());
    b.copy(x_t.cview(), moved.view());
    const auto linear = model.linearize(b, moved.cview(), o.sigma);
    const auto expected = to_host(b, x_hat);
    out.add("denoise",
            detail::ratio(detail::largest_difference(to_host(b, linear.mean()), expected), detail::largest(expected)),
            o.denoise_tolerance * eps, "linearize(x_t).mean() = denoise(x_t)");

    batch<B> vjp_u(b, d, n), vjp_z(b, d, n);
    const auto& jacobian = linear.jacobian();
    jacobian.apply_adjoint(b, u.cview(), vjp_u.view());
    jacobian.apply_adjoint(b, z.cview(), vjp_z.view());
    b.copy(x_t.cview(), moved.view());
    b.axpby(h, z.cview(), 1.0, moved.view());
    model.denoise(b, moved.cview(), o.sigma, difference.view());
    b.axpby(-2 * h, z.cview(), 1.0, moved.view());
    model.denoise(b, moved.cview(), o.sigma, other.view());
    b.axpby(-1 / (2 * h), other.cview(), 1 / (2 * h), difference.view());
    const auto left = detail::dots(b, vjp_u, z), right = detail::dots(b, u, difference),
               swapped = detail::dots(b, vjp_z, u);
    const auto uu = detail::dots(b, u, u), zz = detail::dots(b, z, z), ju = detail::dots(b, vjp_u, vjp_u),
               jz = detail::dots(b, vjp_z, vjp_z), dd = detail::dots(b, difference, difference),
               hh = detail::dots(b, x_hat, x_hat);
    std::vector<double> by_difference, by_symmetry, scale, symmetric_scale;
    for (std::size_t i = 0; i < left.size(); ++i) {
        by_difference.push_back(left[i] - right[i]);
        by_symmetry.push_back(left[i] - swapped[i]);
        // A difference of x_hat keeps its rounding, also where the derivative is small.
        scale.push_back(std::sqrt(uu[i] * dd[i]) + std::sqrt(ju[i] * zz[i]) + std::sqrt(hh[i] * uu[i]) / spread);
        symmetric_scale.push_back(std::sqrt(uu[i] * jz[i]) + std::sqrt(ju[i] * zz[i]));
    }
    out.add("vjp", detail::largest_ratio(by_difference, scale), tolerance,
            "<J'u, z> = <u, central difference along z>");
    out.add("symmetry", detail::largest_ratio(by_symmetry, symmetric_scale), o.symmetry, "<J'u, z> - <J'z, u>");

    const auto before = to_host(b, vjp_u);
    jacobian.apply_adjoint(b, u.cview(), other.view());
    out.add("vjp again", detail::ratio(detail::largest_difference(to_host(b, other), before), detail::largest(before)),
            o.denoise_tolerance * eps, "the same VJP twice, x_t changed in between");
    if constexpr (diffusion::HasJvp<M, B>) {
        jacobian.apply(b, z.cview(), other.view());
        const auto jvp = detail::dots(b, u, other);
        std::vector<double> apart;
        for (std::size_t i = 0; i < jvp.size(); ++i) apart.push_back(jvp[i] - left[i]);
        out.add("jvp", detail::largest_ratio(apart, symmetric_scale), o.denoise_tolerance * eps, "<u, J z> = <J'u, z>");
    }
    double felt = 0;
    for (index_t k = 0; k < n; ++k) {
        b.copy(x_t.cview(), moved.view());
        b.fill(moved.view().item_range(k, 1), std::numeric_limits<T>::quiet_NaN());
        model.denoise(b, moved.cview(), o.sigma, other.view());
        b.copy(x_hat.cview().item_range(k, 1), other.view().item_range(k, 1));
        const double e = detail::largest_difference(to_host(b, other), expected);
        felt += e <= o.denoise_tolerance * eps * detail::largest(expected) ? 0 : 1;
    }
    out.add("items", felt, 0, "items whose NaN changes the result of another one");
    return out;
}

}  // namespace diem::testing
