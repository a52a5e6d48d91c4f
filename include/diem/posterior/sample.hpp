// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
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
};

/// How far `sample` has come, with sums over the samples drawn so far.
struct sample_state {
    index_t done = 0;                            ///< samples
    double residual = 0;                         ///< sum of (y - A x)' Sigma_y^-1 (y - A x) / rows over the finite ones
    double non_finite = 0;                       ///< samples with a value, or a residual, that is not finite
    decltype(solver_counts::status) statuses{};  ///< solves of one item at one step by `solver::solver_status`
    double seconds = 0;

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
/// Adds these to the state; says of each sample whether it is finite.
inline std::vector<bool> add_figures(const std::vector<double>& found, sample_state& state) {
    std::vector<bool> finite(found.size() / 2);
    for (std::size_t i = 0; i < finite.size(); ++i) {
        finite[i] = found[2 * i + 1] == 0;
        if (finite[i])
            state.residual += found[2 * i];
        else
            state.non_finite += 1;
    }
    return finite;
}

/// What came of the samples that a rank drew at once.
struct batch_figures {
    std::vector<double> figures{};
    decltype(sample_state::statuses) statuses{};
    double seconds = 0;
    bool finished = true;  ///< not where a cancellation ended it
};

/// What each rank drew of its batch of the round, samples into x and figures, for all.
template <Backend B, parallel::Communicator C>
void share(const C& c, B& b, const parallel::round& round, std::vector<batch_figures>& drawn, view_t<B> x) {
    if (c.size() == 1) return;
    constexpr const char* what = "samples of the E-step";
    constexpr auto counters = static_cast<index_t>(std::tuple_size_v<decltype(sample_state::statuses)>);
    std::vector<index_t> sizes;
    for (const index_t count : round.counts) sizes.push_back(counters + 2 + 2 * count);
    const auto& mine = drawn[static_cast<std::size_t>(c.rank())];
    std::vector<double> own(mine.statuses.begin(), mine.statuses.end());
    own.insert(own.end(), {mine.seconds, mine.finished ? 1.0 : 0.0});
    own.insert(own.end(), mine.figures.begin(), mine.figures.end());
    const auto numbers = parallel::all_gather<double>(c, own, sizes, what);
    auto from = numbers.begin();
    for (std::size_t r = 0; r < drawn.size(); ++r) {
        std::copy_n(from, counters, drawn[r].statuses.begin());
        from += counters;
        drawn[r].seconds = *from++;
        drawn[r].finished = *from++ != 0;
        drawn[r].figures.assign(from, from + 2 * round.counts[r]);
        from += 2 * round.counts[r];
    }
    parallel::all_gather_items(c, b, x.item_range(round.first, round.end - round.first), round.counts, what);
}

}  // namespace detail

/// Draws x ~ p(x | y) for every observation by MMPS with `prior` (any score model) as the prior of x.
///
/// `x`         D x (samples_per_observation N): sample s N + i belongs to observation i, each a function of the key and
///             its number
/// `state`     where to go on, and what came of it: samples before state.done are left alone, so that a call with the state
///             of an interrupted one goes on as if there had been no stop, equal to the bit
/// `observer`  called after each batch as (state, drawn_batch), false leaves
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
    while (state.done < total) {
        const auto round = parallel::next_round(ranks, state.done, total, sampling.batch, n);
        std::vector<detail::batch_figures> batches(round.counts.size());
        if (round.count > 0) {
            auto& [figures, statuses, seconds, finished] = batches[static_cast<std::size_t>(ranks.rank())];
            const auto start = std::chrono::steady_clock::now();
            const auto part = observed.items(round.begin % n, round.count);
            const view_t<B> out = x.item_range(round.begin, round.count);
            mmps denoiser(b, prior, part, how, options.estimate);
            finished = diffusion::sample(b, denoiser, sampling, {options.mean, options.estimate},
                                         key.skip_items(static_cast<std::uint32_t>(round.begin)), out, options.cancel);
            statuses = denoiser.tally().read(b).status;
            figures = detail::figures_of<B>(b, part, const_view_t<B>(out));
            seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        }
        detail::share(ranks, b, round, batches, x);
        double slowest = 0;
        for (const auto& drawn : batches) {
            if (!drawn.finished) return false;
            slowest = std::max(slowest, drawn.seconds);
        }
        state.seconds += slowest;
        for (std::size_t r = 0; r < batches.size() && round.counts[r] > 0; ++r) {
            const auto& drawn = batches[r];
            for (std::size_t k = 0; k < drawn.statuses.size(); ++k) state.statuses[k] += drawn.statuses[k];
            const auto finite = detail::add_figures(drawn.figures, state);
            const view_t<B> part = x.item_range(state.done, round.counts[r]);
            state.done += round.counts[r];
            if constexpr (!std::is_same_v<std::remove_cvref_t<Observer>, no_observer>)
                if (!observer(std::as_const(state), drawn_batch<B>{part, finite}) && state.done < total) return false;
        }
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
