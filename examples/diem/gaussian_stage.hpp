// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <diem/prior/exact_draws.hpp>
#include <diem/prior/learn.hpp>

#include "diem/stages.hpp"

namespace program {

using namespace diem;

template <Backend B>
learn_result<B> gaussian_stage<B>::fit(B& b, const prior::gaussian_fit_options& o, const measured<B>& m,
                                       const run_type<B>& run) {
    if (const auto* mask = m.a.as_mask())
        return prior::learn_gaussian(b, posterior::observe(b, m.y, *mask, m.noise), o, run);
    auto bounded = o;
    bounded.batch = batch_of(o, m);
    return prior::learn_gaussian(b, m.observed(b), bounded, run);
}

template <Backend B>
prior::noise_level gaussian_stage<B>::noise(B& b, const learned_prior<B>& prior, const measured<B>& m,
                                            std::uint64_t seed) {
    return prior::noise_level_of(b, *prior.estimate(), m.observed(b), {.seed = seed ^ 0x6e6f697365});
}

template <Backend B>
bool gaussian_stage<B>::draw_exactly(B& b, const learned_prior<B>& prior, const measured<B>& m, std::uint64_t seed,
                                     view_t<B> x, posterior::sample_state& state, const go_on_function& go_on,
                                     const parallel::any_communicator& ranks) {
    const auto observed = m.observed(b);
    const auto& g = *prior.estimate();
    const prior::exact_draws<B, std::remove_cvref_t<decltype(observed)>> draws(b, g, observed);
    random_key key{.seed = seed, .lane = random_lane::prior_sample};
    for (; state.done < x.items(); ++key.step) {
        const auto to = x.item_range(state.done, m.items());
        const auto result = draws(b, g, key, to, 256, ranks, [&] { return go_on(state); });
        if (!result.finished) return false;
        if (draws.in_basis()) g.basis()->apply(b, const_view_t<B>(to), to);
        for (std::size_t k = 0; k < state.statuses.size(); ++k) state.statuses[k] += result.statuses[k];
        state.done += m.items();
        if (!go_on(state) && state.done < x.items()) return false;
    }
    return true;
}

}  // namespace program
