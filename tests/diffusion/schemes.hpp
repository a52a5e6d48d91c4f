// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include <diem/diffusion/gaussian.hpp>
#include <diem/diffusion/sampler.hpp>

namespace diem::test {

/// N(mu, diag(d) + u u') with variances 0.25 and 4 + 0.25 along a unit vector: 5 features.
inline constexpr double low_variance = 0.25, high_variance = 4.25;
template <class B>
diffusion::gaussian<B> correlated(B& b) {
    using T = scalar_t<B>;
    const std::vector<T> u{T(0.4), T(0.8), T(-1.2), T(0.8), T(1.6 * 0.66143782776614765)};  // length 2
    return {b, to_backend(b, std::vector<T>{1, -1, T(0.5), 2, 0}, 5, 1),
            to_backend(b, std::vector<T>(5, T(low_variance)), 5, 1), to_backend(b, u, 5, 1)};
}
enum class scheme { ddpm, ddim, pc, heun, dpm_solver_2m, dpm_solver_2m_sde };
template <class F>
void for_each_scheme(const F& f) {
    f(scheme::ddpm, diffusion::ddpm{});
    f(scheme::ddim, diffusion::ddim{});
    f(scheme::pc, diffusion::predictor_corrector{});
    f(scheme::heun, diffusion::heun{});
    f(scheme::dpm_solver_2m, diffusion::dpm_solver_2m{});
    f(scheme::dpm_solver_2m_sde, diffusion::dpm_solver_2m_sde{});
}

}  // namespace diem::test
