// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstddef>
#include <utility>
#include <vector>

#include <diem/core/check.hpp>

/// \file
/// What a network predicts, what it is given, and how it is told the noise level: enough to see it as a denoiser of x_t = x + s z.
/// \snippet tests/examples/model.cpp model/parameterization.hpp

namespace diem::model {

/// x_hat = c_skip x_t + c_out net(c_in x_t, c_noise), d = sigma_data:
///
///     residual   c_skip = d^2 / (s^2 + d^2), c_out = s d / sqrt(s^2 + d^2)     EDM's F, and diem's own networks
///     noise      c_skip = 1, c_out = -s                                        eps
///     score      c_skip = 1, c_out = s                                         s times the score
///     velocity   c_skip = 1 / (s^2 + 1), c_out = -s / sqrt(s^2 + 1)            v = (z - s x) / sqrt(s^2 + 1)
///     data       c_skip = 0, c_out = 1                                         x_0
enum class prediction { residual, noise, score, velocity, data };
/// c_in: 1 / sqrt(s^2 + d^2), 1 / sqrt(s^2 + 1) (variance preserving) or 1 (variance exploding).
enum class input_scale { residual, preserving, exploding };
/// c_noise:
///
///     logarithm   scale log(s / reference)
///     linear_vp   steps t with s^2 = exp(beta_d t^2 / 2 + beta_min t) - 1: the time of the continuous linear VP process
///     table       the step k whose sigma is s, between two steps linear in log s, beyond the ends the first or last step
enum class noise_label { logarithm, linear_vp, table };

struct parameterization {
    prediction predicts = prediction::residual;
    input_scale input = input_scale::residual;
    noise_label label = noise_label::logarithm;
    double scale = 1, reference = 1;                    ///< logarithm
    double beta_d = 19.9, beta_min = 0.1, steps = 999;  ///< linear_vp
    std::vector<double> sigmas{};                       ///< table: of steps 0, 1, .., ascending
};

struct preconditioning {
    double sigma_data = 1;    ///< standard deviation of the data; 1 in the paper
    bool recompute = false;   ///< linearisations keep block inputs only: less memory, one more forward per derivative
    parameterization form{};  ///< of networks trained elsewhere
};

/// Throws value_error.
inline void check_parameterization(const parameterization& p) {
    const auto check = [](bool ok, const char* what) { check_value("model::parameterization", ok, what); };
    const auto positive = [](double v) { return std::isfinite(v) && v > 0; };
    check(positive(p.scale) && positive(p.reference), "scale or reference is not positive");
    check(positive(p.beta_d) && std::isfinite(p.beta_min) && p.beta_min >= 0 && positive(p.steps),
          "beta_d or steps is not positive, or beta_min is negative");
    if (p.label != noise_label::table) return;
    check(p.sigmas.size() >= 2, "sigmas has fewer than two entries");
    for (std::size_t k = 0; k < p.sigmas.size(); ++k)
        check(positive(p.sigmas[k]) && (k == 0 || p.sigmas[k] > p.sigmas[k - 1]),
              "sigmas are not positive and ascending");
}

}  // namespace diem::model
