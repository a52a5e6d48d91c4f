// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <string>
#include <vector>

#include <diem/prior/diagnostics.hpp>

/// \file
/// When a lap of diffusion EM is taken for broken.
/// \snippet tests/examples/prior.cpp prior/guard.hpp

namespace diem::prior {

/// Bounds beyond which a lap is rejected, and the prior before it is the result.
struct guard_options {
    double max_outside_share = 0.5;      ///< of samples; where samples out of range are neither clipped nor removed
    double max_removed_share = 0.5;      ///< of samples, where those out of range are removed
    double max_non_finite_share = 0.01;  ///< of samples
    double max_residual = 1e4;           ///< of the data residual: samples that miss the data by 100 sigma_y
    double max_residual_ratio = 30;      ///< of the data residual to max(1, the least of earlier laps)
    double max_loss_ratio = 2;           ///< of the running loss to max(0.1, the least final loss of earlier laps)
    double max_change = 2;               ///< `lap_diagnostics::change`; a healthy lap is far below 1
    double max_breakdown_share = 1;      ///< of solves that end in breakdown or non_finite; 1 never rejects
};

namespace detail {

[[nodiscard]] inline std::string shown(double v) {
    char text[32];
    std::snprintf(text, sizeof text, std::abs(v) < 1e7 ? "%.6f" : "%.6g", v);
    return text;
}

/// Why an E-step is taken for broken; empty where it is not. `bounded`: samples out of range are clipped or removed.
[[nodiscard]] inline std::string e_step_fault(const lap_diagnostics& d, const std::vector<lap_diagnostics>& earlier,
                                              const guard_options& g, bool bounded) {
    if (!(d.non_finite_share <= g.max_non_finite_share))
        return "share of samples that are not finite: " + shown(d.non_finite_share);
    if (!bounded && !(d.outside_share <= g.max_outside_share))
        return "share of samples outside the data range: " + shown(d.outside_share);
    const double removed = static_cast<double>(d.removed) / static_cast<double>(std::max<index_t>(d.samples, 1));
    if (!(removed <= g.max_removed_share)) return "share of samples removed as out of range: " + shown(removed);
    if (!std::isfinite(d.data_residual)) return "the data residual is not finite";
    if (!bounded && !(d.data_residual <= g.max_residual)) return "data residual " + shown(d.data_residual);
    double least = std::numeric_limits<double>::infinity();
    for (const auto& e : earlier)
        if (std::isfinite(e.data_residual)) least = std::min(least, e.data_residual);
    if (!bounded && std::isfinite(least) && !(d.data_residual <= g.max_residual_ratio * std::max(1.0, least)))
        return "data residual " + shown(d.data_residual) + ", before at least " + shown(least);
    if (d.change > g.max_change) return "the samples' moments changed by " + shown(d.change) + " of their spread";
    double broken = 0;
    for (const auto s : {solver::solver_status::breakdown, solver::solver_status::non_finite})
        broken += d.solver_shares[static_cast<std::size_t>(s)];
    if (!(broken <= g.max_breakdown_share)) return "share of solves that broke down: " + shown(broken);
    return {};
}

/// Least final loss of earlier laps, at least a tenth of an untrained network's, which is near 1: below that, as of data that are
/// all the same, no change is a fault. Infinity where there is none.
[[nodiscard]] inline double least_loss(const std::vector<lap_diagnostics>& earlier) {
    double least = std::numeric_limits<double>::infinity();
    for (const auto& e : earlier)
        if (std::isfinite(e.loss)) least = std::min(least, e.loss);
    return std::max(least, 0.1);
}

}  // namespace detail
}  // namespace diem::prior
