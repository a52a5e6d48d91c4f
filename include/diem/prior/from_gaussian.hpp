// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <type_traits>

#include <diem/backend/batch.hpp>
#include <diem/core/random.hpp>
#include <diem/posterior/options.hpp>
#include <diem/posterior/sample.hpp>
#include <diem/prior/exact_draws.hpp>

/// \file
/// Posterior samples that begin where the prior is no longer a Gaussian.
/// \snippet tests/examples/prior.cpp prior/from_gaussian.hpp

namespace diem::prior {

/// The same options, but sampling begins with a draw of the estimate's own posterior p(x | y), at the first level where
/// `blended` takes the network's covariance: above it, where noise hides all but what a Gaussian tells, its steps would lead
/// there, at the cost of a network pass and a solve each. Unchanged where nothing is left out: the covariance is not
/// `blended`, or there is no estimate. Refers to the observations and the estimate.
template <Backend B, class Observation>
[[nodiscard]] posterior::sample_options<B> from_gaussian(posterior::sample_options<B> how,
                                                         const Observation& observed) {
    if (how.mmps.cov_x != posterior::covariance::blended || how.estimate == nullptr) return how;
    how.start.sigma = how.mmps.switch_sigma;
    how.start.draw = [&observed, &estimate = *how.estimate](B& b, const random_key& key, index_t first, view_t<B> x) {
        const auto part = observed.items(first % observed.items(), x.items());
        const exact_draws<B, std::remove_const_t<decltype(part)>> draws(b, estimate, part);
        return draws.values(b, estimate, key.with_lane(random_lane::prior_sample), x, x.items()).statuses;
    };
    return how;
}

}  // namespace diem::prior
