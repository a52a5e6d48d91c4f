// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <optional>

#include "diem/stages.hpp"
#include "support/diffusion_stage.hpp"
#include "support/progress.hpp"

namespace program {

using namespace diem;

template <Backend B>
support::em_plan network_stage<B>::plan(B& b, network<B>& model, const prior::em_options& em, index_t observations) {
    static_assert(nn::Network<model::any_network<B>, B>);
    return support::plan_em(b, model, em, observations);
}

template <Backend B>
prior::em_result<B> network_stage<B>::fit(B& b, network<B>& model, const measured<B>& m, gaussian<B>& initial,
                                          const prior::em_options& em, const lap_function& lap_end) {
    static_assert(linop::LinearOperator<support::any_operator<B>, B>);
    return support::fit_diffusion_stage(
        b, model, m.observed(b), initial, em,
        [&](const prior::lap_diagnostics& d, const auto&, const learned_prior<B>& next) { lap_end(d, next); });
}

template <Backend B>
void network_stage<B>::draw(B& b, network<B>& model, const_vector_t<B> mean, const prior::sampling_options& sampling,
                            std::uint64_t seed, view_t<B> x, const char* label) {
    std::optional<support::progress> bar;
    if (label != nullptr) bar.emplace(label, static_cast<long>(x.items()));
    const random_key key{.seed = seed};
    for (index_t first = 0; first < x.items(); first += sampling.batch) {
        const index_t count = std::min(sampling.batch, x.items() - first);
        prior::sample_prior<B>(b, model, sampling, mean, key.skip_items(static_cast<std::uint32_t>(first)),
                               x.item_range(first, count));
        if (bar) bar->update(static_cast<long>(first + count));
    }
}

template <Backend B>
posterior_draws<B> network_stage<B>::draw_posterior(B& b, network<B>* model, gaussian<B>* estimate,
                                                    const_vector_t<B> mean, const measured<B>& m,
                                                    const posterior::mmps_options& mmps,
                                                    const prior::sampling_options& sampling, std::uint64_t seed) {
    posterior_draws<B> draws{batch<B>(b, m.features(), m.items() * sampling.samples_per_observation), {}};
    prior::e_step_state state;
    support::progress bar("posterior samples", static_cast<long>(draws.x.items()));
    const auto with = [&](auto& prior_model) {
        prior::sample_posteriors(b, prior_model, m.observed(b), estimate, mmps, sampling, {}, mean, seed,
                                 draws.x.view(), state, [&](const prior::e_step_state& s) {
                                     bar.update(static_cast<long>(s.done));
                                     return true;
                                 });
    };
    if (model != nullptr)
        with(*model);
    else
        with(*estimate);
    draws.diagnostics = prior::diagnostics_of(state);
    return draws;
}

}  // namespace program
