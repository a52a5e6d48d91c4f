// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/backend/concept.hpp>
#include <diem/backend/team.hpp>
#include <diem/core/check.hpp>
#include <diem/core/macros.hpp>
#include <diem/core/random.hpp>
#include <diem/diffusion/gaussian.hpp>
#include <diem/parallel/communicator.hpp>
#include <diem/posterior/sample.hpp>
#include <diem/prior/exact_draws.hpp>
#include <diem/prior/gaussian_mixture.hpp>
#include <diem/prior/mixture_options.hpp>
#include <diem/prior/some_items.hpp>

/// \file
/// Draws from p(x | y) under a mixture of Gaussians, without a sampler.
/// \snippet tests/examples/prior.cpp prior/mixture_draws.hpp

namespace diem::prior {

namespace detail {

struct scatter_items {  // the other way round, of the component alone
    int component;
    index_t features, from_stride, to_stride;
    template <class Team, class T>
    DIEM_HOST_DEVICE void operator()(index_t i, const Team& team, const int* index, const int* of, const T* from,
                                     T* to) const {
        if (of[index[i]] != component) return;
        for (index_t j = team.first(); j < features; j += team.step())
            to[index[i] * to_stride + j] = from[i * from_stride + j];
    }
};

}  // namespace detail

/// Draws from p(x | y_i) under a mixture: a component by its responsibility, then `exact_draws` under it; where A is no mask, of all
/// observations under each component, of which one is kept. Refers to both.
template <Backend B, class Observation>
class mixture_draws {
public:
    template <parallel::Communicator C = parallel::self>
    mixture_draws(B& b, const gaussian_mixture<B>& mixture, const Observation& observed, index_t block = 256,
                  const C& ranks = {})
        : mixture_(mixture), items_(b, observed), features_(observed.forward_operator().cols()),
          shares_(responsibilities_of(b, mixture, observed, block, ranks)) {}

    /// See exact_draws.
    template <parallel::Communicator C = parallel::self, class GoOn = always_go_on>
    exact_draw_result operator()(B& b, const random_key& key, view_t<B> x, index_t block, const C& ranks = {},
                                 const GoOn& go_on = {}) const {
        const index_t d = features_, count = mixture_.components();
        const auto n = static_cast<index_t>(shares_.of.size()) / count;
        check_shape("prior::mixture_draws", "x", x, d, n);
        std::vector<int> of;
        std::vector<std::vector<int>> members(static_cast<std::size_t>(count));
        for (index_t i = 0; i < n; ++i) {
            const double* const share = shares_.of.data() + i * count;
            double left = uniform<double>(key.with_lane(random_lane::mixture), static_cast<std::uint32_t>(i), 0);
            int k = 0;
            while (k + 1 < count && (left -= share[k]) > 0) ++k;
            of.push_back(k);
            members[static_cast<std::size_t>(k)].push_back(static_cast<int>(i));
        }
        exact_draw_result result{.log_evidence = shares_.log_evidence};
        const auto chosen = to_backend(b, of, n, 1);
        for (int k = 0; k < count && result.finished; ++k)
            items_.at(b, members[static_cast<std::size_t>(k)], [&](const auto& part, const std::vector<int>& index) {
                const auto& g = mixture_.component[static_cast<std::size_t>(k)];
                batch<B> drawn(b, d, part.items());
                const exact_draws draws(b, g, part);
                const auto one = draws(
                    b, g, key.with_step(key.step * static_cast<std::uint32_t>(count) + static_cast<std::uint32_t>(k)),
                    drawn.view(), block, ranks, go_on);
                result.finished = one.finished;
                for (std::size_t s = 0; s < one.statuses.size(); ++s) result.statuses[s] += one.statuses[s];
                const auto where = to_backend(b, index, part.items(), 1);
                launch_rows(b, part.items(), d, d, detail::scatter_items{k, d, d, x.stride()}, where.cview().data(),
                            chosen.cview().data(), drawn.cview().data(), x.data());
            });
        return result;
    }

private:
    const gaussian_mixture<B>& mixture_;
    detail::some_items<B, Observation> items_;
    index_t features_;
    responsibilities shares_;
};

/// `sample_by_draws` under the mixture that EM finds from a Gaussian, see `fit_mixture`; it is not kept, and found again where a run
/// is resumed that has not drawn all.
template <Backend B, class Observation, class Observer, class Tell, class GoOn,
          parallel::Communicator C = parallel::self>
bool sample_by_mixture(B& b, const diffusion::gaussian<B>& start, const Observation& observed, const mixture_options& o,
                       std::uint64_t seed, view_t<B> x, posterior::sample_state& state, index_t block,
                       const Observer& observer, const Tell& tell, const GoOn& go_on, const C& ranks = {}) {
    if (state.drawn() == x.items()) return true;
    const auto mixture = fit_mixture(b, start, observed, o, block, seed, tell, go_on, ranks);
    if (!mixture) return false;
    if (!go_on()) return false;
    const mixture_draws<B, Observation> draws(b, *mixture, observed, block, ranks);
    return sample_by_draws(
        b, [&](const random_key& key, view_t<B> to) { return draws(b, key, to, block, ranks, go_on); }, observed, seed,
        x, state, block, observer, ranks);
}

}  // namespace diem::prior
