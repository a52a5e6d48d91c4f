// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>

#include <diem/backend/concept.hpp>
#include <diem/core/view.hpp>
#include <diem/prior/diagnostics.hpp>
#include <diem/prior/diffusion_prior.hpp>

namespace diem::prior {

enum class em_status {
    completed,
    cancelled,  ///< `em_options::cancel` was set: resume to go on
    rejected,   ///< a lap went wrong: the prior is the last good one, `report` says why
};

[[nodiscard]] constexpr const char* to_string(em_status s) {
    return s == em_status::completed ? "completed" : s == em_status::cancelled ? "cancelled" : "rejected";
}

template <Backend B>
struct em_result {
    diffusion_prior<B> prior;  ///< the last good one
    em_status status = em_status::completed;
    std::string report;  ///< one or two lines for people
    std::optional<lap_diagnostics> rejected_lap;
};

/// Where a lap stands, for display.
struct em_progress {
    index_t lap = 0;
    bool sampling = true;         ///< else training
    index_t done = 0, total = 0;  ///< samples or steps
    double loss = 0;              ///< running mean, in training
};

/// A monitor is any object with any of these members:
///     progress(const em_progress&)                               after a batch of samples, and after a reported step
///     lap_end(const lap_diagnostics&, const_view_t<B> samples, const diffusion_prior<B>& next)   after a good lap
struct no_em_monitor {};

}  // namespace diem::prior
