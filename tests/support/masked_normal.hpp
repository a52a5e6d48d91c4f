// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <diem/backend/batch.hpp>
#include <diem/linop/covariance.hpp>
#include <diem/linop/mask.hpp>
#include <diem/posterior/observation.hpp>

/// Observations that a small EM of the tests learns from.
namespace diem::test {

/// Items of N(0, I) in four dimensions, of which 60 % of the values are seen with noise of variance 0.01.
template <Backend B>
struct masked_normal {
    batch<B> x, masks, y;
    linop::mask<B> mask;
    linop::isotropic_covariance noise{4, 0.01};

    masked_normal(B& b, index_t items)
        : x(b, 4, items), masks(b, 4, items), y(b, 4, items), mask(linop::mask<B>::per_item(masks.view())) {
        b.fill_normal({.seed = 2, .lane = random_lane::user}, x.view());
        linop::draw_mask<B>(b, {.seed = 4, .lane = random_lane::user}, 0.6, 1, masks.view());
        posterior::simulate<B>(b, mask, noise, x.cview(), {.seed = 5, .lane = 4}, y.view());
    }
    [[nodiscard]] auto observed(B& b) const { return posterior::observe(b, y.cview(), mask, noise); }
};

}  // namespace diem::test
