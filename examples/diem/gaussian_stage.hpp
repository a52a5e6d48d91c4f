// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <diem/prior/gaussian_innovation.hpp>
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
void gaussian_stage<B>::draw_corrected(B& b, const learned_prior<B>& prior, const measured<B>& m, std::uint64_t seed,
                                       view_t<B> x) {
    prior::draw_corrected(b, *prior.estimate(), m.observed(b), {.seed = seed}, x);
}

template <Backend B>
prior::noise_level gaussian_stage<B>::noise(B& b, const learned_prior<B>& prior, const measured<B>& m,
                                            std::uint64_t seed) {
    return prior::noise_level_of(b, *prior.estimate(), m.observed(b), {.seed = seed ^ 0x6e6f697365});
}

template <Backend B>
bool gaussian_stage<B>::draw_exactly(B& b, const learned_prior<B>& prior, const measured<B>& m, std::uint64_t seed,
                                     view_t<B> x, const parallel::any_communicator& ranks) {
    const auto* mask = m.a.as_mask();
    if (prior.has_network() || mask == nullptr || prior.estimate()->basis()) return false;
    const auto observed = posterior::observe(b, m.y, *mask, m.noise);
    random_key key{.seed = seed, .lane = random_lane::prior_sample};
    for (index_t first = 0; first < x.items(); first += m.items(), ++key.step)
        prior::draw_posteriors(b, *prior.estimate(), observed, key, x.item_range(first, m.items()), 256, ranks);
    return true;
}

}  // namespace program
