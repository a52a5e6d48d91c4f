// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>

#include "diem/stages.hpp"

namespace program {

using namespace diem;

template <Backend B>
em::fit_result<gaussian<B>> gaussian_stage<B>::fit(B& b, const support::gaussian_settings& s, const measured<B>& m,
                                                   std::uint64_t seed) {
    if (const auto* mask = m.a.as_mask())
        return support::fit_gaussian_stage(b, s, posterior::observe(b, m.y.cview(), *mask, m.noise), seed);
    // The matrices of a batch take at most about 256 MiB.
    auto settings = s;
    const index_t each = 2 * m.features() * m.y.features() + m.y.features() * m.y.features();
    settings.batch = std::clamp<index_t>((index_t{1} << 26) / std::max<index_t>(each, 1), 1, s.batch);
    return support::fit_gaussian_stage(b, settings, m.observed(b), seed);
}

template <Backend B>
bool gaussian_stage<B>::draw_masked(B& b, const gaussian<B>& model, const measured<B>& m, std::uint64_t seed,
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
