// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <utility>

#include <diem/diffusion/schedule.hpp>
#include <diem/posterior/guidance.hpp>

/// \file
/// Diffusion posterior sampling (DPS), for comparison.
/// \snippet tests/examples/posterior.cpp posterior/dps.hpp

namespace diem::posterior {

struct dps_options {
    double zeta =
        0.5;  ///< length of the guidance step, in units of the data (which have a standard deviation of about 1)
    /// Part of the way from x_t to x_hat that the sampler's step goes: tau = 1 - sigma_s^2 / sigma_t^2 of `ddpm`, one
    /// number for a log-linear schedule. `dps_tau` computes it.
    double tau = 1;
};

/// tau of a `ddpm` step where `steps` of them go from sigma_max to sigma_min with equal ratios.
[[nodiscard]] inline double dps_tau(double sigma_min, double sigma_max, index_t steps) {
    check_positive("dps_tau", "sigma_min", sigma_min);
    check_value("dps_tau", sigma_max > sigma_min && steps >= 1, "sigma_max <= sigma_min, or steps < 1");
    return 1 - std::pow(sigma_min / sigma_max, 2.0 / static_cast<double>(steps));
}

namespace detail {
struct over_norm {  // c = squared norm -> scale / norm; 0 where that is 0
    double scale;
    DIEM_HOST_DEVICE void operator()(index_t i, double* c) const { c[i] = c[i] > 0 ? scale / std::sqrt(c[i]) : 0; }
};
}  // namespace detail

/// Diffusion posterior sampling: a step of fixed length down the gradient of |r|, r = y - A x_hat, after each step of
/// the sampler,
///
///     x_s = ddpm(x_t) + zeta (1 + sigma^2) J'A'r / |r|.
///
/// As a denoiser: x_hat + zeta (1 + sigma^2) / tau J'A'r / |r|, which `ddpm` turns into that step; its last call
/// (`final_denoise`) has no step to go with, so switch it off. The factor 1 + sigma^2 is that of the published step, which
/// is made in the variance-preserving coordinates x_t / sqrt(1 + sigma^2), with sigma_s^2 about sigma_t^2. Sigma_y is not used. One sigma for all items.
/// Source: Chung et al., arXiv 2209.14687, Alg. 1. One forward pass, one VJP.
template <Backend B, diffusion::ScoreModel<B> Model, class Observation>
class dps : public guidance<B, Model, Observation> {
    using base = guidance<B, Model, Observation>;

public:
    dps(B& /*b*/, Model& model, Observation observation, const dps_options& options = {})
        : base("dps", model, std::move(observation), 0), options_(options) {
        check_value("dps", options.zeta >= 0 && options.zeta - options.zeta == 0, "zeta is not finite and >= 0");
        check_value("dps", options.tau > 0 && options.tau <= 1, "tau is not in (0, 1]");
    }

    void denoise(B& b, const_view_t<B> x_t, typename base::level sigma, view_t<B> x_hat) {
        this->check(x_t, x_hat);
        check_value("dps", sigma.shared(), "one sigma for all items is needed");
        const auto linear = this->model_.linearize(b, x_t, sigma);
        const auto at = this->innovation_of(b, linear.mean());
        const batch<B>& r = at.value;
        const batch<B> u = this->adjoint(b, at.derivative, r);
        batch<B> w(b, u.features(), u.items());
        linear.jacobian().apply_adjoint(b, u.view(), w.view());

        batch<B, double> c(b, r.items(), 1);
        b.dot(r.view(), r.view(), c.flat());
        const double scale = options_.zeta * (1 + sigma.common() * sigma.common()) / options_.tau;
        b.launch(c.features(), 1, detail::over_norm{scale}, c.view().data());
        b.copy(linear.mean(), x_hat);
        b.axpby(std::as_const(c).flat(), w.cview(), 1.0, x_hat);
    }

private:
    dps_options options_;
};

template <Backend B, class Model, class Observation>
dps(B&, Model&, Observation) -> dps<B, Model, Observation>;
template <Backend B, class Model, class Observation>
dps(B&, Model&, Observation, const dps_options&) -> dps<B, Model, Observation>;

}  // namespace diem::posterior
