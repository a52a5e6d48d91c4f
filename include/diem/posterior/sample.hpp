// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <tuple>
#include <type_traits>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/core/check.hpp>
#include <diem/core/random.hpp>
#include <diem/diffusion/gaussian.hpp>
#include <diem/diffusion/sampling.hpp>
#include <diem/linop/covariance.hpp>
#include <diem/parallel/buffers.hpp>
#include <diem/parallel/communicator.hpp>
#include <diem/posterior/mmps.hpp>
#include <diem/posterior/observation.hpp>

/// \file
/// Posterior samples of many observations by MMPS, in batches: the call that users make, and the E-step of EM.
/// \snippet tests/examples/posterior.cpp posterior/sample.hpp

namespace diem::posterior {

/// What a sampler can begin with instead of noise: `draw` fills x (D x count) with draws of samples first, first + 1, ... of a
/// call's; noise of the first level that is not above `sigma` is added, and the steps before it are left out. Without `draw`
/// sampling begins with noise. Returns how the solves for them ended, which count with those of the steps. See `prior::from_gaussian`.
template <Backend B>
struct start_draws {
    double sigma = 0;  ///< above 0 without `draw`: where draws would be wanted
    std::function<decltype(solver_counts::status)(B& b, const random_key& key, index_t first, view_t<B> x)> draw{};
};

/// How to draw. A learned prior fills all of it in, see `prior::learned::sample_options`.
template <Backend B>
struct sample_options {
    diffusion::sampling_options sampling{};
    mmps_options mmps{};
    /// Of the prior: sampling starts with its covariance, and some `mmps` options need it. Without it the start lacks variance
    /// in directions that are not measured, see `diffusion::sample_options`.
    const diffusion::gaussian<B>* estimate = nullptr;
    const_vector_t<B> mean{};                   ///< D: where the sampler starts; empty: at the estimate's mean, or zero
    const std::atomic<bool>* cancel = nullptr;  ///< see `diffusion::sample`
    start_draws<B> start{};                     ///< where given, what sampling begins with, at its sigma
};

/// Samples first, first + 1, ... of one batch, and what came of them: sums over its samples.
struct drawn_range {
    index_t first = 0, count = 0;
    double residual = 0;                         ///< of (y - A x)' Sigma_y^-1 (y - A x) / rows over the finite ones
    double non_finite = 0;                       ///< samples with a value, or a residual, that is not finite
    decltype(solver_counts::status) statuses{};  ///< solves of one item at one step by `solver::solver_status`
    double seconds = 0;  ///< its share of what the slowest rank took for batches drawn at the same time

    [[nodiscard]] index_t end() const { return first + count; }
};

/// How far `sample` has come, with sums over the samples before `done`, in their order.
struct sample_state {
    index_t done = 0;       ///< samples before this one are drawn
    double residual = 0;    ///< see `drawn_range`
    double non_finite = 0;  ///< see `drawn_range`
    decltype(solver_counts::status) statuses{};
    double seconds = 0;
    std::vector<drawn_range> ahead{};  ///< batches drawn beyond `done`, in their order

    /// A batch that is drawn, none of which was before. The sums are the same in whatever order batches come.
    void add(const drawn_range& drawn) {
        const auto before = [](const drawn_range& a, const drawn_range& c) { return a.first < c.first; };
        ahead.insert(std::upper_bound(ahead.begin(), ahead.end(), drawn, before), drawn);
        auto next = ahead.cbegin();
        for (; next != ahead.cend() && next->first == done; ++next) {
            done += next->count;
            residual += next->residual;
            non_finite += next->non_finite;
            for (std::size_t k = 0; k < statuses.size(); ++k) statuses[k] += next->statuses[k];
            seconds += next->seconds;
        }
        ahead.erase(ahead.cbegin(), next);
    }
    /// Samples drawn, also beyond `done`.
    [[nodiscard]] index_t drawn() const {
        index_t n = done;
        for (const auto& range : ahead) n += range.count;
        return n;
    }
    /// Mean data residual of the finite samples: near 1 where they fit the data; hidden entries count as fitted.
    [[nodiscard]] double data_residual() const {
        const double finite = static_cast<double>(done) - non_finite;
        return finite > 0 ? residual / finite : std::numeric_limits<double>::quiet_NaN();
    }
    /// Share of the solves that ended with this status.
    [[nodiscard]] double share(solver::solver_status s) const {
        double all = 0;
        for (const double count : statuses) all += count;
        return all > 0 ? statuses[static_cast<std::size_t>(s)] / all : 0;
    }
};

/// A batch just drawn, for the observer of `sample`, which may change the samples.
template <Backend B>
struct drawn_batch {
    view_t<B> x;                      ///< D x count
    const std::vector<bool>& finite;  ///< of each sample
    const drawn_range& range;         ///< which samples these are
    bool own = true;                  ///< drawn by this rank
    bool more = false;                ///< another batch follows that was drawn at the same time
};

struct no_observer {};

namespace detail {

struct residual_of {  // r = y - r
    template <class V>
    DIEM_HOST_DEVICE void operator()(V& r, const V& y) const {
        r = y - r;
    }
};
/// Of sample i: its weighted squared residual over the rows, and whether a number is not finite. out: 2 x n.
template <class T>
struct examine_sample {
    index_t features, stride, rows;
    DIEM_HOST_DEVICE void operator()(index_t i, const T* x, const double* product, double* out) const {
        const T* item = x + i * stride;
        bool finite = product[i] - product[i] == 0;
        for (index_t j = 0; j < features; ++j) finite = finite && item[j] - item[j] == 0;
        out[2 * i] = rows > 0 ? product[i] / static_cast<double>(rows) : 0;
        out[2 * i + 1] = finite ? 0 : 1;
    }
};

/// What samples x of an observation show: 2 x n numbers, see `examine_sample`.
template <Backend B, class Observation>
std::vector<double> figures_of(B& b, const Observation& observed, const_view_t<B> x) {
    const index_t n = x.items(), rows = observed.y().features();
    batch<B> r(b, rows, n);
    batch<B, double> product(b, n, 1), out(b, 2, n);
    observed.forward_operator().apply(b, x, r.view());
    b.map(residual_of{}, r.view(), observed.y());
    linop::mahalanobis(b, observed.noise(), r.cview(), product.flat());
    b.launch(n, x.features(), examine_sample<scalar_t<B>>{x.features(), x.stride(), rows}, x.data(),
             product.cview().data(), out.view().data());
    return to_host(b, out);
}
/// Adds these to the sums; says of each sample whether it is finite.
inline std::vector<bool> add_figures(const std::vector<double>& found, drawn_range& sums) {
    std::vector<bool> finite(found.size() / 2);
    for (std::size_t i = 0; i < finite.size(); ++i) {
        finite[i] = found[2 * i + 1] == 0;
        if (finite[i])
            sums.residual += found[2 * i];
        else
            sums.non_finite += 1;
    }
    return finite;
}

/// What is still to be drawn of `total` samples: batches of at most `most`, none over a multiple of n.
inline std::vector<drawn_range> batches_to_draw(const sample_state& state, index_t total, index_t most, index_t n) {
    std::vector<drawn_range> batches;
    auto next = state.ahead.begin();
    for (index_t at = state.done; at < total;) {
        const index_t end = next != state.ahead.end() ? next->first : total;
        if (at == end) {
            at = (next++)->end();
            continue;
        }
        batches.push_back({.first = at, .count = std::min({most, end - at, n - at % n})});
        at += batches.back().count;
    }
    return batches;
}

/// What came of the samples that a rank drew at once.
struct batch_figures {
    drawn_range range{};
    std::vector<double> figures{};
    bool finished = true;  ///< not where a cancellation ended it
};

/// What each rank drew of its batch of the round, samples into x and figures, for all.
template <Backend B, parallel::Communicator C>
void share(const C& c, B& b, std::vector<batch_figures>& drawn, view_t<B> x) {
    if (c.size() == 1) return;
    constexpr const char* what = "samples of the E-step";
    constexpr auto counters = static_cast<index_t>(std::tuple_size_v<decltype(drawn_range::statuses)>);
    std::vector<index_t> sizes;
    std::vector<view_t<B>> parts;
    for (const auto& of_rank : drawn) {
        sizes.push_back(counters + 2 + 2 * of_rank.range.count);
        parts.push_back(x.item_range(of_rank.range.first, of_rank.range.count));
    }
    const auto& mine = drawn[static_cast<std::size_t>(c.rank())];
    std::vector<double> own(mine.range.statuses.begin(), mine.range.statuses.end());
    own.insert(own.end(), {mine.range.seconds, mine.finished ? 1.0 : 0.0});
    own.insert(own.end(), mine.figures.begin(), mine.figures.end());
    const auto numbers = parallel::all_gather<double>(c, own, sizes, what);
    auto from = numbers.begin();
    for (auto& of_rank : drawn) {
        std::copy_n(from, counters, of_rank.range.statuses.begin());
        from += counters;
        of_rank.range.seconds = *from++;
        of_rank.finished = *from++ != 0;
        of_rank.figures.assign(from, from + 2 * of_rank.range.count);
        from += 2 * of_rank.range.count;
    }
    parallel::all_gather_items<C, B>(c, b, parts, what);
}

}  // namespace detail

/// Draws x ~ p(x | y) for every observation by MMPS with `prior` (any score model) as the prior of x.
///
/// `x`         D x (samples_per_observation N): sample s N + i belongs to observation i, each a function of the key and
///             its number
/// `state`     where to go on, and what came of it: samples that it says are drawn are left alone, so that a call with the state
///             of an interrupted one goes on as if there had been no stop, equal to the bit
/// `observer`  called after each batch as (state, drawn_batch), false leaves once the other ranks' batches are told, too
/// `ranks`     share the batches: each time, each draws one, and all get all of them. Samples and state are those of one rank, to
///             the bit where the ranks' machines are alike, but for `seconds`: of the slowest. The observer is called
///             on all ranks alike, and must answer alike.
/// Returns whether all are drawn: not where the observer left, or `options.cancel` was set, which ends a batch after the
/// step and leaves it out of the state. A sample that is not finite is counted, and stays as it is. Throws shape_error,
/// value_error.
template <Backend B, diffusion::ScoreModel<B> Model, class Observation, class Observer = no_observer,
          parallel::Communicator C = parallel::self>
bool sample(B& b, Model& prior, const Observation& observed, const sample_options<B>& options, const random_key& key,
            view_t<B> x, sample_state& state, Observer&& observer = {}, const C& ranks = {}) {
    const auto& sampling = options.sampling;
    diffusion::check_sampling(sampling);
    const index_t n = observed.items(), total = n * sampling.samples_per_observation;
    check_value("posterior::sample", n > 0, "there are no observations");
    check_shape("posterior::sample", "x", x, prior.features(), total);
    check_value("posterior::sample", state.done >= 0 && state.done <= total, "state.done is out of range");
    if (options.mean.size() > 0) check_size("posterior::sample", "options.mean", options.mean.size(), prior.features());
    const auto how = settled(b, options.mmps, observed);  // once, not for each batch
    const auto plan = detail::batches_to_draw(state, total, sampling.batch, n);
    const diffusion::plan_start begin =
        options.start.draw ? diffusion::first_below(sampling, options.start.sigma) : diffusion::plan_start{};
    const auto size = static_cast<std::size_t>(ranks.size()), rank = static_cast<std::size_t>(ranks.rank());
    for (std::size_t at = 0; at < plan.size(); at += size) {
        std::vector<detail::batch_figures> batches(size);
        for (std::size_t r = 0; r < size && at + r < plan.size(); ++r) batches[r].range = plan[at + r];
        if (auto& [range, figures, finished] = batches[rank]; range.count > 0) {
            const auto start = std::chrono::steady_clock::now();
            const auto part = observed.items(range.first % n, range.count);
            const view_t<B> out = x.item_range(range.first, range.count);
            mmps denoiser(b, prior, part, how, options.estimate);
            const auto own = key.skip_items(static_cast<std::uint32_t>(range.first));
            if (begin.step > 0) {
                range.statuses = options.start.draw(b, own, range.first, out);
                batch<B> z(b, out.features(), out.items());
                b.fill_normal(own.with_lane(random_lane::sampler_start), z.view());
                b.axpby(begin.sigma, z.cview(), 1.0, out);
            }
            finished = diffusion::sample(b, denoiser, sampling, {options.mean, options.estimate, begin.step}, own, out,
                                         options.cancel);
            const auto of_steps = denoiser.tally().read(b).status;
            for (std::size_t k = 0; k < of_steps.size(); ++k) range.statuses[k] += of_steps[k];
            figures = detail::figures_of<B>(b, part, const_view_t<B>(out));
            range.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        }
        detail::share(ranks, b, batches, x);
        double slowest = 0;
        for (const auto& drawn : batches) slowest = std::max(slowest, drawn.range.seconds);
        auto left = std::count_if(batches.begin(), batches.end(),
                                  [](const auto& drawn) { return drawn.finished && drawn.range.count > 0; });
        const double each = left > 0 ? slowest / static_cast<double>(left) : 0;
        bool whole = true, go_on = true;
        for (std::size_t r = 0; r < size; ++r) {
            auto& [range, figures, finished] = batches[r];
            whole = whole && finished;
            if (!finished || range.count == 0) continue;
            range.seconds = each;
            const auto finite = detail::add_figures(figures, range);
            state.add(range);
            --left;
            if constexpr (!std::is_same_v<std::remove_cvref_t<Observer>, no_observer>) {
                const view_t<B> part = x.item_range(range.first, range.count);
                go_on =
                    observer(std::as_const(state), drawn_batch<B>{part, finite, range, r == rank, left > 0}) && go_on;
            }
        }
        if (!whole || (!go_on && state.drawn() < total)) return false;
    }
    return true;
}

/// The same, from the start and without an observer. Returns what came of it.
template <Backend B, diffusion::ScoreModel<B> Model, class Observation>
sample_state sample(B& b, Model& prior, const Observation& observed, const sample_options<B>& options,
                    const random_key& key, view_t<B> x) {
    sample_state state;
    sample(b, prior, observed, options, key, x, state);
    return state;
}

/// With options that the prior knows itself, such as a learned one.
template <Backend B, diffusion::ScoreModel<B> Model, class Observation>
    requires requires(B& b, Model& prior) {
        { prior.sample_options(b) } -> std::convertible_to<sample_options<B>>;
    }
sample_state sample(B& b, Model& prior, const Observation& observed, const random_key& key, view_t<B> x) {
    return sample<B>(b, prior, observed, prior.sample_options(b), key, x);
}

}  // namespace diem::posterior
