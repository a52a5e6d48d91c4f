// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <numeric>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/core/check.hpp>
#include <diem/core/random.hpp>
#include <diem/diffusion/concept.hpp>
#include <diem/linop/compose.hpp>
#include <diem/linop/mask.hpp>
#include <diem/metrics/calibration.hpp>
#include <diem/posterior/observation.hpp>
#include <diem/posterior/sample.hpp>

/// \file
/// Whether posterior samples predict measurements that were kept from them: the one test of a prior that needs no truth.
/// \snippet tests/examples/prior.cpp prior/held_out.hpp

namespace diem::prior {

/// Which measurements of an observation are held back together: those that tell of one another, such as a frequency and its
/// mirror of a real image, or the same frequency of several coils.
struct held_groups {
    index_t items = linop::any_items;  ///< of so many observations, or all; the next ones have the next groups
    std::vector<int> of_row{};  ///< rows of one number are of one group, below 0: never held back; empty: each alone
};

namespace detail {

/// Of entry k of y: 0 where it is held back, else 1. Entries that A does not reach (image = A z is 0 there) are no
/// measurements, and stay.
template <class T>
struct draw_kept {
    random_key key;
    index_t rows, first;
    double share;
    DIEM_HOST_DEVICE void operator()(index_t i, const T* image, const int* groups, T* kept) const {
        for (index_t k = 0; k < rows; ++k)
            kept[i * rows + k] = image[i * rows + k] != T(0) && groups[k] >= 0 &&
                                         bernoulli(key, static_cast<std::uint32_t>(first + i),
                                                   static_cast<std::uint32_t>(groups[k]), share)
                                     ? T(0)
                                     : T(1);
    }
};

}  // namespace detail

/// Observations of which some measurements are kept back. Made by `hold_out`; what the observation refers to must outlive it.
template <Backend B, class Observation>
class held_out {
    static_assert(linop::ElementwiseOperator<typename Observation::noise_type>,
                  "hold_out: noise that is correlated between rows tells of the rows held back; an element-wise "
                  "covariance is needed");

public:
    held_out(B& b, const Observation& observed, double share, const random_key& key,
             const std::vector<held_groups>& groups)
        : observed_(observed), kept_(b, observed.y().features(), observed.items()),
          y_(b, observed.y().features(), observed.items()) {
        check_value("prior::hold_out", share > 0 && share < 1, "share must lie in (0, 1)");
        index_t first = 0;
        for (const auto& g : groups) {
            const index_t count = g.items == linop::any_items ? observed.items() - first : g.items;
            draw(b, g, first, count, share, key);
            first += count;
        }
        check_size("prior::hold_out", "observations that have groups", first, observed.items());
        linop::mask<B>::per_item(kept_.view()).apply(b, observed.y(), y_.view());
    }

    /// The observations without what is held back: rows of A and entries of y are zero there, so that nothing is learned from
    /// them. Refers to this object.
    [[nodiscard]] auto kept() const {
        auto a = linop::compose(linop::mask<B>::per_item(kept_.view()), observed_.forward_operator());
        return posterior::observation<B, decltype(a), typename Observation::noise_type>(y_.view(), std::move(a),
                                                                                        observed_.noise());
    }
    [[nodiscard]] const Observation& all() const { return observed_; }
    /// rows x items: 0 where a measurement is held back.
    [[nodiscard]] const_view_t<B> weights() const { return kept_.view(); }

private:
    void draw(B& b, const held_groups& g, index_t begin, index_t items, double share, const random_key& key) {
        const auto& a = observed_.forward_operator();
        const index_t rows = a.rows();
        check_value("prior::hold_out", items >= 0 && begin + items <= observed_.items(),
                    "groups of more observations than there are");
        auto numbers = g.of_row;
        if (numbers.empty()) {
            numbers.resize(static_cast<std::size_t>(rows));
            std::iota(numbers.begin(), numbers.end(), 0);
        }
        check_size("prior::hold_out", "rows that have a group", static_cast<index_t>(numbers.size()), rows);
        const auto groups = to_backend(b, numbers, rows, 1);
        for (index_t first = begin; first < begin + items; first += 256) {
            const index_t count = std::min<index_t>(256, begin + items - first);
            batch<B> z(b, a.cols(), count), image(b, rows, count);
            b.fill_normal(key.with_lane(random_lane::user + 1).skip_items(static_cast<std::uint32_t>(first)), z.view());
            a.items(first, count).apply(b, z.cview(), image.view());
            b.launch(count, rows, detail::draw_kept<scalar_t<B>>{key.with_lane(random_lane::user), rows, first, share},
                     image.cview().data(), groups.cview().data(), kept_.view().item_range(first, count).data());
        }
    }

    Observation observed_;
    batch<B> kept_, y_;
};

/// Keeps back each measurement, or group of them, with probability `share`, by `key`: entries of y that A reaches. Needs noise
/// that is not correlated between rows. Throws value_error, shape_error (groups of other sizes).
template <Backend B, class Observation>
[[nodiscard]] held_out<B, Observation> hold_out(B& b, const Observation& observed, double share, const random_key& key,
                                                const std::vector<held_groups>& groups = {{}}) {
    return {b, observed, share, key, groups};
}

/// How measurements that were held back lie among predictions of them, A x + e with x drawn from p(x | the others) and new
/// noise e. With the true prior and exact samples they are one draw more.
struct held_out_figures {
    static constexpr std::array<double, 3> levels{0.5, 0.8, 0.95};

    index_t held = 0, observations = 0, samples = 0;  ///< measurements; of so many observations; predictions of each
    metrics::rank_histogram ranks{};                  ///< flat where samples are calibrated
    /// Share of the measurements in the central intervals of `levels`, and its standard error (observations are taken for
    /// independent, measurements of one are not).
    std::array<double, 3> coverage{}, error{};
    double rank = 0.5,
           rank_error = 0;  ///< mean of rank / samples: 1/2 where predictions lie neither too low nor too high
    /// Root mean square of (value - mean prediction) / sigma_y, 1 at least on average, and of value - mean prediction over that of
    /// the values.
    double rms = 0, relative_error = 0;

    enum class verdict_type { too_few, calibrated, too_narrow, too_wide, too_low, too_high };
    /// What is off by more than three standard errors and 2 %: the place first, then the spread.
    [[nodiscard]] verdict_type verdict() const {
        if (observations < 10 || held < 50) return verdict_type::too_few;
        const auto off = [](double value, double expected, double se) {
            const double d = value - expected;
            return std::abs(d) > std::max(3 * se, 0.02) ? (d > 0 ? 1 : -1) : 0;
        };
        if (const int s = off(rank, 0.5, rank_error)) return s > 0 ? verdict_type::too_low : verdict_type::too_high;
        for (const std::size_t k : {1, 0, 2})
            if (const int s = off(coverage[k], levels[k], error[k]))
                return s > 0 ? verdict_type::too_wide : verdict_type::too_narrow;
        return verdict_type::calibrated;
    }
    /// One line for people.
    [[nodiscard]] std::string words() const {
        char text[160];
        std::snprintf(text, sizeof text,
                      "50 / 80 / 95 %% intervals hold %.1f / %.1f / %.1f %% of %td held-out measurements",
                      100 * coverage[0], 100 * coverage[1], 100 * coverage[2], held);
        constexpr std::array<const char*, 6> says{
            "too few to tell",
            "calibrated",
            "samples are spread too little, and their intervals are not to be trusted",
            "samples are spread too much",
            "predictions lie too low",
            "predictions lie too high"};
        return std::string(text) + ": " + says[static_cast<std::size_t>(verdict())];
    }
};

namespace detail {

/// A share of all measurements from that of each observation: with its standard error as a ratio of sums, at least the
/// binomial one for so many observations.
inline std::pair<double, double> pooled(const std::vector<double>& sums, const std::vector<double>& counts,
                                        double variance) {
    double sum = 0, count = 0, squares = 0;
    for (std::size_t i = 0; i < sums.size(); ++i) {
        sum += sums[i];
        count += counts[i];
    }
    const double mean = sum / count, n = static_cast<double>(sums.size());
    for (std::size_t i = 0; i < sums.size(); ++i) squares += std::pow(sums[i] - mean * counts[i], 2);
    return {mean, std::sqrt(std::max(squares / (count * count) * n / std::max(n - 1, 1.0), variance / count))};
}

}  // namespace detail

/// Compares what `weights` (rows x n, 0: held back) keeps of the observations `all` with `samples` predictions of each, A x + e.
/// `draw(s, x)`: x (features x n), one draw from p(x | what is left) of each, for s = 0, 1, ...; `key`: of the noise e. Throws
/// value_error: nothing is held back, predictions are not finite.
template <Backend B, class Observation, class Draw>
[[nodiscard]] held_out_figures compare_held_out(B& b, const Observation& all, const_view_t<B> weights, index_t samples,
                                                const random_key& key, const Draw& draw) {
    using T = scalar_t<B>;
    constexpr const char* where = "prior::compare_held_out";
    const index_t n = all.items(), rows = all.y().features();
    check_value(where, n > 0 && samples > 0, "there are no observations, or no samples");
    check_shape(where, "weights", weights, rows, n);
    batch<B> x(b, all.forward_operator().cols(), n), image(b, rows, n), noise(b, rows, n);
    b.fill(image.view(), T(1));
    all.noise().apply(b, image.cview(), noise.view());
    const auto kept = to_host(b, weights), y = to_host(b, all.y()), variance = to_host(b, noise);
    std::vector<std::vector<T>> truth(static_cast<std::size_t>(n)), drawn(static_cast<std::size_t>(n));
    std::vector<double> mean(kept.size(), 0.0);  // of A x, without noise
    const auto each_held = [&](const auto& f) {
        for (index_t i = 0; i < n; ++i)
            for (index_t k = i * rows; k < (i + 1) * rows; ++k)
                if (kept[static_cast<std::size_t>(k)] == T(0))
                    f(static_cast<std::size_t>(i), static_cast<std::size_t>(k));
    };
    each_held([&](std::size_t i, std::size_t k) { truth[i].push_back(y[k]); });
    bool finite = true;
    for (index_t s = 0; s < samples; ++s) {
        draw(s, x.view());
        all.forward_operator().apply(b, x.cview(), image.view());
        all.noise().sample(b, key.skip_items(static_cast<std::uint32_t>(s * n)).with_lane(random_lane::user),
                           noise.view());
        const auto values = to_host(b, image), e = to_host(b, noise);
        each_held([&](std::size_t i, std::size_t k) {
            drawn[i].push_back(values[k] + e[k]);
            mean[k] += static_cast<double>(values[k]) / static_cast<double>(samples);
            finite = finite && std::isfinite(values[k]);
        });
    }
    check_value(where, finite, "predictions are not finite");

    held_out_figures f{.samples = samples};
    f.ranks.counts.assign(static_cast<std::size_t>(samples + 1), 0.0);
    std::array<std::vector<double>, 3> inside;
    std::vector<double> ranks, counts;
    for (std::size_t i = 0; i < truth.size(); ++i) {
        const auto count = static_cast<index_t>(truth[i].size());
        if (count == 0) continue;
        // drawn is sample after sample; rank_truth wants the samples of a value side by side.
        std::vector<T> sorted(drawn[i].size());
        for (std::size_t s = 0, at = 0; s < static_cast<std::size_t>(samples); ++s)
            for (std::size_t k = 0; k < truth[i].size(); ++k, ++at)
                sorted[k * static_cast<std::size_t>(samples) + s] = drawn[i][at];
        const auto h = metrics::rank_truth<B>(b, to_backend(b, sorted, 1, samples * count).cview(),
                                              to_backend(b, truth[i], 1, count).cview());
        double sum = 0;
        for (std::size_t r = 0; r < h.counts.size(); ++r) {
            f.ranks.counts[r] += h.counts[r];
            sum += h.counts[r] * static_cast<double>(r) / static_cast<double>(samples);
        }
        for (std::size_t k = 0; k < inside.size(); ++k)
            inside[k].push_back(h.coverage(f.levels[k]) * static_cast<double>(count));
        ranks.push_back(sum);
        counts.push_back(static_cast<double>(count));
        f.held += count;
        ++f.observations;
    }
    check_value(where, f.held > 0, "no measurement is held back");
    for (std::size_t k = 0; k < inside.size(); ++k)
        std::tie(f.coverage[k], f.error[k]) = detail::pooled(inside[k], counts, f.levels[k] * (1 - f.levels[k]));
    std::tie(f.rank, f.rank_error) = detail::pooled(ranks, counts, 1.0 / 12);
    double errors = 0, values = 0, standardised = 0;
    each_held([&](std::size_t, std::size_t k) {
        const double d = static_cast<double>(y[k]) - mean[k];
        errors += d * d;
        values += static_cast<double>(y[k]) * static_cast<double>(y[k]);
        standardised += d * d / static_cast<double>(variance[k]);
    });
    f.rms = std::sqrt(standardised / static_cast<double>(f.held));
    f.relative_error = std::sqrt(errors / values);
    return f;
}

/// Draws x from p(x | kept) of the first `items` observations with `prior`, `how.sampling.samples_per_observation` each (at least
/// 20 to tell of 95 % intervals), and compares what is held back with A x + e. Throws value_error, shape_error.
template <Backend B, diffusion::ScoreModel<B> Model, class Observation>
[[nodiscard]] held_out_figures predict_held_out(B& b, Model& prior, const held_out<B, Observation>& held,
                                                posterior::sample_options<B> how, const random_key& key,
                                                index_t items = 256) {
    const auto all = held.all().items(0, std::min(items, held.all().items()));
    const auto kept = held.kept().items(0, all.items());
    const index_t n = all.items(), samples = std::exchange(how.sampling.samples_per_observation, 1);
    return compare_held_out(b, all, held.weights().item_range(0, n), samples, key, [&](index_t s, view_t<B> x) {
        const auto state =
            posterior::sample<B>(b, prior, kept, how, key.skip_items(static_cast<std::uint32_t>(s * n)), x);
        check_value("prior::predict_held_out", state.done == n, "sampling was cancelled");
    });
}

/// The same with options that the prior knows itself, such as a learned one, and `samples` predictions.
template <Backend B, diffusion::ScoreModel<B> Model, class Observation>
[[nodiscard]] held_out_figures predict_held_out(B& b, Model& prior, const held_out<B, Observation>& held,
                                                const random_key& key, index_t samples = 39, index_t items = 256) {
    auto how = prior.sample_options(b);
    how.sampling.samples_per_observation = samples;
    return predict_held_out(b, prior, held, how, key, items);
}

}  // namespace diem::prior
