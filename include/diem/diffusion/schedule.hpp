// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <concepts>

#include <diem/core/check.hpp>

/// \file
/// Noise schedules: x_t = alpha(t) (x + sigma(t) z) for t in [0, 1].
///
/// Score models and samplers work in the variance exploding (VE) form x + sigma z, whatever the schedule. A variance
/// preserving (VP) one, x_t = alpha x + beta z with alpha^2 + beta^2 = 1, is the same process seen through x_t / alpha,
/// with sigma = beta / alpha: sampling under it means to visit its noise levels, and a model trained on its x_t is given
/// alpha times the VE state.
/// \snippet tests/examples/diffusion.cpp diffusion/schedule.hpp

namespace diem::diffusion {

/// `sigma(t)`  noise level of the VE form, in data units, increasing, > 0 at t = 0
/// `alpha(t)`  factor by which the schedule's own x_t is the VE one: 1 for VE schedules
template <class S>
concept Schedule = requires(const S& s, double t) {
    { s.sigma(t) } -> std::convertible_to<double>;
    { s.alpha(t) } -> std::convertible_to<double>;
};

/// t_i = 1 - i / steps, i = 0 .. steps: step i goes from t_i to t_{i+1}, the last one ends at t = 0.
[[nodiscard]] inline double time_at(index_t i, index_t steps) {
    return static_cast<double>(steps - i) / static_cast<double>(steps);
}

namespace detail {
struct sigma_range {
    double sigma_min, sigma_max;
    void check(const char* where) const {
        check_positive(where, "sigma_min", sigma_min);
        check_positive(where, "sigma_max", sigma_max);
        check_value(where, sigma_min < sigma_max, "sigma_min is not less than sigma_max");
    }
};
}  // namespace detail

/// sigma(t) = sigma_min^(1 - t) sigma_max^t: even steps in log sigma. The paper's schedule.
class ve_log_linear {
public:
    explicit ve_log_linear(double sigma_min = 1e-3, double sigma_max = 1e2)
        : log_min_(std::log(sigma_min)), log_max_(std::log(sigma_max)) {
        detail::sigma_range{sigma_min, sigma_max}.check("ve_log_linear");
    }
    [[nodiscard]] double sigma(double t) const { return std::exp(log_min_ + (log_max_ - log_min_) * t); }
    [[nodiscard]] double alpha(double /*t*/) const { return 1; }

private:
    double log_min_, log_max_;
};

/// sigma(t) = (sigma_min^(1/rho) + t (sigma_max^(1/rho) - sigma_min^(1/rho)))^rho: Karras et al., "Elucidating the design
/// space of diffusion-based generative models", NeurIPS 2022, eq. 5. Their N noise levels are the grid of N - 1 steps
/// here, and their closing Euler step to sigma = 0 is the sampler's final denoiser call.
class edm {
public:
    explicit edm(double sigma_min = 2e-3, double sigma_max = 80, double rho = 7)
        : root_min_(std::pow(sigma_min, 1 / rho)), root_max_(std::pow(sigma_max, 1 / rho)), rho_(rho) {
        detail::sigma_range{sigma_min, sigma_max}.check("edm");
        check_positive("edm", "rho", rho);
    }
    [[nodiscard]] double sigma(double t) const { return std::pow(root_min_ + t * (root_max_ - root_min_), rho_); }
    [[nodiscard]] double alpha(double /*t*/) const { return 1; }

private:
    double root_min_, root_max_, rho_;
};

/// The cosine schedule of Nichol and Dhariwal (ICML 2021), alpha = cos theta, beta = sin theta, hence sigma = tan theta. theta
/// is linear in t from atan(sigma_min) to atan(sigma_max): this takes the place of their offset s and of their clipping
/// at the end.
class vp_cosine {
public:
    explicit vp_cosine(double sigma_min = 1e-3, double sigma_max = 1e2)
        : angle_min_(std::atan(sigma_min)), angle_max_(std::atan(sigma_max)) {
        detail::sigma_range{sigma_min, sigma_max}.check("vp_cosine");
    }
    [[nodiscard]] double sigma(double t) const { return std::tan(angle(t)); }
    [[nodiscard]] double alpha(double t) const { return std::cos(angle(t)); }
    /// Standard deviation of the noise in the schedule's own x_t = alpha x + beta z.
    [[nodiscard]] double beta(double t) const { return std::sin(angle(t)); }

private:
    [[nodiscard]] double angle(double t) const { return angle_min_ + t * (angle_max_ - angle_min_); }
    double angle_min_, angle_max_;
};

}  // namespace diem::diffusion
