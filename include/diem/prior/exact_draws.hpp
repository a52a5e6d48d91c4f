// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <type_traits>
#include <utility>

#include <diem/backend/batch.hpp>
#include <diem/backend/concept.hpp>
#include <diem/core/random.hpp>
#include <diem/diffusion/gaussian.hpp>
#include <diem/linop/concept.hpp>
#include <diem/parallel/communicator.hpp>
#include <diem/posterior/in_basis.hpp>
#include <diem/posterior/observation.hpp>
#include <diem/posterior/sample.hpp>
#include <diem/prior/gaussian_e_steps.hpp>
#include <diem/prior/gaussian_innovation.hpp>

/// \file
/// Draws from p(x | y) under a Gaussian prior, without a diffusion sampler: whatever A is, in the way that costs least.
/// \snippet tests/examples/prior.cpp prior/exact_draws.hpp

namespace diem::prior {

/// What drawing came to.
struct exact_draw_result {
    double log_evidence =
        std::numeric_limits<double>::quiet_NaN();  ///< sum_i log p(y_i); NaN where no closed form gave it
    corrected_counts statuses{};                   ///< of solves, where there were any
    bool finished = true;                          ///< not where go_on() said no
};

namespace detail {

template <class Observation>
inline constexpr bool may_be_mask = linop::ElementwiseOperator<typename Observation::noise_type> &&
                                    requires(const typename Observation::operator_type& a) { *a.as_mask(); };

/// Whether A and Sigma_y are element-wise, or A says by `as_mask` that it is a mask.
template <class Observation>
[[nodiscard]] bool is_mask(const Observation& observed) {
    if constexpr (is_elementwise<Observation>)
        return true;
    else if constexpr (may_be_mask<Observation>)
        return observed.forward_operator().as_mask() != nullptr;
    else
        return false;
}
/// f(observed), with A as the mask that it is, where any operator says so: the closed form is cheaper by it.
template <Backend B, class Observation, class F>
auto by_masks(B& b, const Observation& observed, const F& f) {
    if constexpr (!is_elementwise<Observation> && may_be_mask<Observation>)
        if (const auto* mask = observed.forward_operator().as_mask())
            return f(posterior::observe(b, observed.y(), *mask, observed.noise()));
    return f(observed);
}

}  // namespace detail

/// By the closed form where A and Sigma_y are element-wise (a mask, also where A is any operator that says it is one, by
/// `as_mask`), or A'A is diagonal in the prior's basis; else by `draw_corrected`. Refers to the observations.
template <Backend B, class Observation>
class exact_draws {
public:
    exact_draws(B& b, const diffusion::gaussian<B>& prior, const Observation& observed) : observed_(observed) {
        if (prior.basis()) coefficients_ = posterior::basis_observation<B>::make(b, observed, *prior.basis());
        closed_ = coefficients_.has_value() || (!prior.basis() && detail::is_mask(observed));
    }
    /// Whether there is a closed form, which gives the evidence too.
    [[nodiscard]] bool closed() const { return closed_; }
    /// Whether draws are coefficients in the prior's basis.
    [[nodiscard]] bool in_basis() const { return coefficients_.has_value(); }

    /// One draw of each observation into x (D x n), or its coefficients. `block`: observations at once; `ranks` share them, and all
    /// get all draws. `go_on`: asked after each block. Throws value_error.
    template <parallel::Communicator C = parallel::self, class GoOn = always_go_on>
    exact_draw_result operator()(B& b, const diffusion::gaussian<B>& prior, const random_key& key, view_t<B> x,
                                 index_t block, const C& ranks = {}, const GoOn& go_on = {}) const {
        const auto by = [&](const diffusion::gaussian<B>& g, const auto& observed) {
            const auto evidence = detail::draws_while(b, g, observed, key, x, block, ranks, go_on);
            exact_draw_result result{.finished = evidence.has_value()};
            if (evidence) result.log_evidence = *evidence;
            return result;
        };
        if (coefficients_) return by(prior.coefficients(b), coefficients_->observed(b));
        if constexpr (detail::is_elementwise<Observation> || detail::may_be_mask<Observation>)
            if (closed_)
                return detail::by_masks(b, observed_, [&](const auto& observed) {
                    if constexpr (detail::is_elementwise<std::remove_cvref_t<decltype(observed)>>)
                        return by(prior, observed);
                    else
                        return exact_draw_result{};  // not a mask: never closed
                });
        const auto statuses = draw_corrected(b, prior, observed_, key, x, block, ranks, go_on);
        exact_draw_result result{.finished = statuses.has_value()};
        if (statuses) result.statuses = *statuses;
        return result;
    }
    /// The same, of x itself in any case.
    template <parallel::Communicator C = parallel::self, class GoOn = always_go_on>
    exact_draw_result values(B& b, const diffusion::gaussian<B>& prior, const random_key& key, view_t<B> x,
                             index_t block, const C& ranks = {}, const GoOn& go_on = {}) const {
        const auto result = (*this)(b, prior, key, x, block, ranks, go_on);
        if (result.finished && in_basis()) prior.basis()->apply_adjoint(b, const_view_t<B>(x), x);
        return result;
    }

private:
    const Observation& observed_;
    std::optional<posterior::basis_observation<B>> coefficients_;
    bool closed_ = false;
};

/// `posterior::sample` without a sampler: sample s n + i is of observation i. draws(key, to) draws one of each, as `exact_draws`, and
/// says what that came to; where it did not finish, nothing is kept of those drawn at this time. `observer` is then called
/// for each `block` of them, as (state, drawn_batch), false leaves after the last. Returns whether all are drawn. Throws
/// shape_error, value_error.
template <Backend B, class Observation, class Draws, class Observer, parallel::Communicator C = parallel::self>
bool sample_by_draws(B& b, const Draws& draws, const Observation& observed, std::uint64_t seed, view_t<B> x,
                     posterior::sample_state& state, index_t block, const Observer& observer, const C& ranks = {}) {
    const index_t n = observed.items();
    const auto plan = posterior::detail::batches_to_draw(state, x.items(), block, n);
    for (auto next = plan.begin(); next != plan.end();) {
        const auto start = std::chrono::steady_clock::now();
        const index_t set = next->first / n * n;
        const auto end = std::find_if(next, plan.end(), [&](const auto& range) { return range.first >= set + n; });
        index_t missing = 0;
        for (auto at = next; at != end; ++at) missing += at->count;
        batch<B> aside(b, x.features(), missing < n ? n : 0);  // where some of them are there
        const view_t<B> to = missing < n ? aside.view() : x.item_range(set, n);
        const random_key key{
            .seed = seed, .lane = random_lane::prior_sample, .step = static_cast<std::uint32_t>(set / n)};
        const exact_draw_result result = draws(key, to);
        if (!result.finished) return false;
        bool stay = true;
        for (; next != end; ++next) {
            auto range = *next;
            const index_t first = range.first - set;
            const view_t<B> part = x.item_range(range.first, range.count);
            if (missing < n) b.copy(const_view_t<B>(to.item_range(first, range.count)), part);
            const auto finite = posterior::detail::add_figures(
                posterior::detail::figures_of<B>(b, observed.items(first, range.count), const_view_t<B>(part)), range);
            if (first == 0)
                for (std::size_t k = 0; k < result.statuses.size(); ++k) range.statuses[k] = result.statuses[k];
            if (next + 1 == end)
                range.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
            state.add(range);
            const bool own = first / block % ranks.size() == ranks.rank();
            stay =
                observer(std::as_const(state), posterior::drawn_batch<B>{part, finite, range, own, next + 1 != end}) &&
                stay;
        }
        if (!stay && state.drawn() < x.items()) return false;
    }
    return true;
}

/// The same under a Gaussian prior, by `exact_draws`; `go_on` is asked after each block that is drawn.
template <Backend B, class Observation, class Observer, class GoOn, parallel::Communicator C = parallel::self>
bool sample_exactly(B& b, const diffusion::gaussian<B>& prior, const Observation& observed, std::uint64_t seed,
                    view_t<B> x, posterior::sample_state& state, index_t block, const Observer& observer,
                    const GoOn& go_on, const C& ranks = {}) {
    const exact_draws<B, Observation> draws(b, prior, observed);
    const auto one_of_each = [&](const random_key& key, view_t<B> to) {
        return draws.values(b, prior, key, to, block, ranks, go_on);
    };
    return sample_by_draws(b, one_of_each, observed, seed, x, state, block, observer, ranks);
}

}  // namespace diem::prior
