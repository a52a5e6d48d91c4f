// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <limits>

#include <diem/core/view.hpp>
#include <diem/posterior/sample.hpp>

/// \file
/// What a lap tells about itself.
/// \snippet tests/examples/prior.cpp prior/diagnostics.hpp

namespace diem::prior {

/// What a lap of diffusion EM tells about itself: its E-step with the prior it began with, then its M-step. NaN: not
/// measured.
struct lap_diagnostics {
    index_t lap = 0;      ///< from 0
    index_t samples = 0;  ///< drawn
    index_t removed = 0;  ///< of them, as out of range, before training
    /// Mean over samples of (y - A x)' Sigma_y^-1 (y - A x) / rows: near 1 where the samples fit the data.
    double data_residual = std::numeric_limits<double>::quiet_NaN();
    double outside_share = 0;     ///< samples with a value beyond `em_options::low`, `high`
    double non_finite_share = 0;  ///< samples with a value that is not finite; replaced by others before training
    /// Solves of one item at one step, by `solver::solver_status` (shares).
    decltype(posterior::solver_counts::status) solver_shares{};
    /// Root mean square over features of the change, since the last lap, of the samples' mean and standard deviation,
    /// over the root mean square of the standard deviation, or ten of the sampler's sigma_min where that is more.
    double change = std::numeric_limits<double>::quiet_NaN();
    /// Of the samples that are learned from, mean over features: it falls where a sampler or a lap loses variance.
    double variance = std::numeric_limits<double>::quiet_NaN();
    double loss = std::numeric_limits<double>::quiet_NaN();  ///< recent mean at the end of training
    double e_seconds = 0, m_seconds = 0;
};

/// The part of it that samples yield; `outside`: samples out of range.
[[nodiscard]] inline lap_diagnostics diagnostics_of(const posterior::sample_state& s, double outside = 0) {
    lap_diagnostics d;
    const auto n = static_cast<double>(std::max<index_t>(s.done, 1));
    d.samples = s.done;
    d.data_residual = s.data_residual();
    d.outside_share = outside / n;
    d.non_finite_share = s.non_finite / n;
    for (std::size_t k = 0; k < d.solver_shares.size(); ++k)
        d.solver_shares[k] = s.share(static_cast<solver::solver_status>(k));
    d.e_seconds = s.seconds;
    return d;
}

}  // namespace diem::prior
