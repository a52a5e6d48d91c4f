// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

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
    return prior::sample_exactly(
        b, *prior.estimate(), m.observed(b), seed, x, state, 256,
        [&](const auto& now, const auto&) { return go_on(now); }, [&] { return go_on(state); }, ranks);
}

}  // namespace program
