// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <utility>

#include "diem/stages.hpp"

namespace program {

using namespace diem;

template <Backend B>
support::em_plan network_stage<B>::plan(B& b, const network& net, const prior::em_options& em, index_t observations) {
    return support::plan_em_of(b, net, em, observations);
}

template <Backend B>
learn_result<B> network_stage<B>::fit(B& b, learned_prior<B> start, const network& net, const measured<B>& m,
                                      const prior::em_options& em, const run_type<B>& run) {
    return prior::fit_diffusion(b, std::move(start), net, m.observed(b), em, run);
}

template <Backend B>
bool network_stage<B>::draw(B& b, const learned_prior<B>& prior, const diffusion::sampling_options& sampling,
                            const random_key& key, view_t<B> x, const std::atomic<bool>* cancel) {
    return prior::sample(b, prior, sampling, key, x, cancel);
}

template <Backend B>
bool network_stage<B>::draw_posterior(B& b, const learned_prior<B>& prior, const measured<B>& m,
                                      const posterior::sample_options<B>& how, const random_key& key, view_t<B> x,
                                      posterior::sample_state& state, const go_on_function& go_on,
                                      const parallel::any_communicator& ranks) {
    const auto observed = m.observed(b);
    return posterior::sample<B>(
        b, prior, observed, how.start.sigma > 0 ? diem::prior::from_gaussian<B>(how, observed) : how, key, x, state,
        [&](const auto& s, const auto&) { return go_on(s); }, ranks);
}

}  // namespace program
