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
std::optional<index_t> gaussian_stage<B>::draw_exactly(B& b, const learned_prior<B>& prior, const measured<B>& m,
                                                       std::uint64_t seed, view_t<B> x,
                                                       const parallel::any_communicator& ranks,
                                                       const std::function<bool(index_t)>& go_on) {
    const auto* mask = m.a.as_mask();
    if (prior.has_network() || mask == nullptr || prior.estimate()->basis()) return std::nullopt;
    const auto observed = posterior::observe(b, m.y, *mask, m.noise);
    random_key key{.seed = seed, .lane = random_lane::prior_sample};
    index_t done = 0;
    for (bool more = true; more && done < x.items(); ++key.step) {
        prior::draw_posteriors(b, *prior.estimate(), observed, key, x.item_range(done, m.items()), 256, ranks);
        done += m.items();
        if (go_on) more = go_on(done);
    }
    return done;
}

}  // namespace program
