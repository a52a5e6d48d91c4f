// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>

#include <diem/prior/learn.hpp>

#include "diem/stages.hpp"

namespace program {

using namespace diem;

template <Backend B>
learn_result<B> gaussian_stage<B>::fit(B& b, const prior::gaussian_fit_options& o, const measured<B>& m,
                                       const prior::run<B>& run) {
    if (const auto* mask = m.a.as_mask())
        return prior::learn_gaussian(b, posterior::observe(b, m.y.cview(), *mask, m.noise), o, run);
    // The matrices of a batch take at most about 256 MiB.
    auto bounded = o;
    const index_t each = 2 * m.features() * m.y.features() + m.y.features() * m.y.features();
    bounded.batch = std::clamp<index_t>((index_t{1} << 26) / std::max<index_t>(each, 1), 1, o.batch);
    return prior::learn_gaussian(b, m.observed(b), bounded, run);
}

template <Backend B>
bool gaussian_stage<B>::draw_masked(B& b, const diffusion::gaussian<B>& model, const measured<B>& m, std::uint64_t seed,
                                    view_t<B> x) {
    const auto* mask = m.a.as_mask();
    if (mask == nullptr) return false;
    const auto observed = posterior::observe(b, m.y.cview(), *mask, m.noise);
    random_key key{.seed = seed, .lane = random_lane::prior_sample};
    for (index_t first = 0; first < x.items(); first += m.items(), ++key.step)
        prior::draw_posteriors(b, model, observed, key, x.item_range(first, m.items()));
    return true;
}

}  // namespace program
