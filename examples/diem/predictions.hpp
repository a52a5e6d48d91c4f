// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>

#include <diem/core/error.hpp>
#include <diem/prior/held_out.hpp>

#include "diem/fit_report.hpp"
#include "diem/held_out.hpp"
#include "diem/stages.hpp"

namespace program {

/// Samples of each observation that is predicted, and how many observations are: as many draws as a lap makes, or what intervals
/// need.
inline constexpr index_t predictions = 19;
template <Backend B>
[[nodiscard]] index_t predicted_items(const learned_prior<B>& prior, const measured<B>& m) {
    constexpr index_t least = 128, most = 512;
    const index_t lap = m.items() * prior.drawing.sampling.samples_per_observation;
    // Without a network of large images as many as take no longer.
    const index_t some = prior.has_network() ? lap / predictions : (index_t{1} << 18) / m.features();
    return std::min(m.items(), std::clamp(some, prior.has_network() ? least : least / 4, most));
}

/// How the values that were kept back lie among predictions of them; none where `go_on(done, total)`, asked after each sample of
/// all, says so, or a signal ends it.
template <Backend B>
[[nodiscard]] std::optional<diem::prior::held_out_figures> predict_held(
    B& b, const learned_prior<B>& prior, const measured<B>& m, std::uint64_t seed, const std::atomic<bool>* cancel,
    const std::function<bool(index_t, index_t)>& go_on, const diem::parallel::any_communicator& ranks = {}) {
    using namespace diem;
    const index_t n = predicted_items(prior, m);
    const measured<B> part{{}, m.y.item_range(0, n), m.a.items(0, n), m.noise.items(0, n), m.image, m.share};
    auto how = prior.sample_options(b);
    how.sampling.samples_per_observation = 1;
    how.cancel = cancel;
    struct stopped {};
    try {
        return prior::compare_held_out(
            b, posterior::observe(b, m.held->y.item_range(0, n), m.held->a.items(0, n), m.noise.items(0, n)),
            m.held->weights.cview().item_range(0, n), predictions, {.seed = seed}, [&](index_t s, view_t<B> x) {
                const std::uint64_t own = seed + static_cast<std::uint64_t>(s + 1) * 0x9e3779b97f4a7c15U;
                posterior::sample_state state;
                const auto always = [](const auto&) { return true; };
                if (!draw_posterior(b, prior, part, how, own, x, state, always, ranks)) throw stopped();
                if (!go_on(s + 1, predictions)) throw stopped();
            });
    } catch (const stopped&) {
        return std::nullopt;
    }
}

/// The same for a report. False where it was stopped; where predictions cannot be compared, the report says why.
template <Backend B, class... Rest>
[[nodiscard]] bool report_predictions(fit_report& report, B& b, const learned_prior<B>& prior, const measured<B>& m,
                                      const Rest&... rest) {
    try {
        const auto figures = predict_held(b, prior, m, rest...);
        if (figures) report.predicted(*figures);
        return figures.has_value();
    } catch (const diem::value_error& e) {
        report.json()["held_out_values"].update({{"known", false}, {"words", e.what()}});
        return true;
    }
}

}  // namespace program
