// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/backend/concept.hpp>
#include <diem/core/check.hpp>

/// \file
/// Whether samples of a posterior are spread as the truth is.
/// \snippet tests/examples/metrics.cpp metrics/calibration.hpp

namespace diem::metrics {

/// How often the truth of a value has each rank among its r samples.
struct rank_histogram {
    /// Values with 0, ..., r samples below the truth; with ties a value counts in equal parts for all the ranks that it might
    /// have. All equal where truth and samples are exchangeable, as they are if the samples are of the true posterior.
    std::vector<double> counts;
    [[nodiscard]] double total() const {
        double sum = 0;
        for (const double c : counts) sum += c;
        return sum;
    }
    /// Share of values whose truth lies in the central interval of probability `level`, the rank k standing for the interval
    /// [k, k + 1] / (r + 1) of probabilities: `level` on average where the samples are calibrated, whatever r is.
    [[nodiscard]] double coverage(double level) const {
        check_value("rank_histogram::coverage", level > 0 && level < 1, "level must lie in (0, 1)");
        const auto bins = static_cast<double>(counts.size());
        const double low = (1 - level) / 2 * bins, high = (1 + level) / 2 * bins;
        double inside = 0;
        for (std::size_t k = 0; k < counts.size(); ++k) {
            const double left = static_cast<double>(k);
            inside += counts[k] * std::max(0.0, std::min(left + 1, high) - std::max(left, low));
        }
        return inside / total();
    }
};

namespace detail {

/// Of value j of item i: samples below the truth, and samples equal to it. Index: item * features + feature.
template <class T>
struct ranks_of {
    index_t features, repeats, x_stride, truth_stride;
    DIEM_HOST_DEVICE void operator()(index_t index, const T* x, const T* truth, int* ranks) const {
        const index_t item = index / features, j = index - item * features;
        const T value = truth[item * truth_stride + j];
        int below = 0, equal = 0;
        for (index_t k = 0; k < repeats; ++k) {
            const T sample = x[(item * repeats + k) * x_stride + j];
            below += sample < value ? 1 : 0;
            equal += sample == value ? 1 : 0;
        }
        ranks[2 * index] = below;
        ranks[2 * index + 1] = equal;
    }
};

template <class T>
struct energy_of {
    index_t features, repeats, x_stride, truth_stride;
    DIEM_HOST_DEVICE void operator()(index_t item, const T* x, const T* truth, double* score) const {
        const T* first = x + item * repeats * x_stride;
        double to_truth = 0, apart = 0;
        for (index_t k = 0; k < repeats; ++k) {
            to_truth += distance(first + k * x_stride, truth + item * truth_stride);
            for (index_t l = 0; l < k; ++l) apart += distance(first + k * x_stride, first + l * x_stride);
        }
        const auto r = static_cast<double>(repeats);
        score[item] = to_truth / r - apart / (r * (r - 1));
    }

private:
    DIEM_HOST_DEVICE double distance(const T* x, const T* y) const {
        using std::sqrt;
        double sum = 0;
        for (index_t j = 0; j < features; ++j) {
            const double d = static_cast<double>(x[j]) - static_cast<double>(y[j]);
            sum += d * d;
        }
        return sqrt(sum);
    }
};

/// Samples of each item; throws unless there are at least `least`.
template <Backend B>
index_t repeats_of(const char* where, const_view_t<B> x, const_view_t<B> truth, index_t least) {
    check_size(where, "x.features()", x.features(), truth.features());
    check_value(where, truth.size() > 0, "there is no truth");
    check_value(where, x.items() % truth.items() == 0 && x.items() >= least * truth.items(),
                std::to_string(x.items()) + " samples of " + std::to_string(truth.items()) +
                    " items, expected as many of each, at least " + std::to_string(least));
    return x.items() / truth.items();
}

}  // namespace detail

/// Ranks of the truth (D x n) among its samples x (D x r n; samples i r, ..., i r + r - 1 belong to item i), over all values of
/// all items. Source: Talagrand, Vautard, Strauss 1997.
template <Backend B>
[[nodiscard]] rank_histogram rank_truth(B& b, const_view_t<B> x, const_view_t<B> truth) {
    using T = scalar_t<B>;
    using pointer = typename B::template pointer<const T>;
    const index_t r = detail::repeats_of<B>("metrics::rank_truth", x, truth, 1);
    batch<B, int> ranks(b, 2 * truth.features(), truth.items());
    b.launch(truth.size(), r, detail::ranks_of<T>{truth.features(), r, x.stride(), truth.stride()}, pointer(x.data()),
             pointer(truth.data()), ranks.view().data());
    rank_histogram h{std::vector<double>(static_cast<std::size_t>(r + 1))};
    const auto found = to_host(b, ranks);
    for (std::size_t k = 0; k < found.size(); k += 2)
        for (int tie = 0; tie <= found[k + 1]; ++tie)
            h.counts[static_cast<std::size_t>(found[k] + tie)] += 1.0 / (found[k + 1] + 1);
    return h;
}

/// Energy score of each item, E |X - truth| - E |X - X'| / 2 with Euclidean norms, from r >= 2 samples (the second mean over
/// pairs of different ones, so that its expectation does not depend on r). Least, on average, for samples of the true
/// posterior; in one dimension it is the continuous ranked probability score. x as in `rank_truth`.
/// Source: Gneiting, Raftery, "Strictly proper scoring rules", 2007, 4.3.
template <Backend B>
[[nodiscard]] std::vector<double> energy_score(B& b, const_view_t<B> x, const_view_t<B> truth) {
    using T = scalar_t<B>;
    using pointer = typename B::template pointer<const T>;
    const index_t r = detail::repeats_of<B>("metrics::energy_score", x, truth, 2);
    batch<B, double> score(b, truth.items(), 1);
    b.launch(truth.items(), r * r * truth.features(),
             detail::energy_of<T>{truth.features(), r, x.stride(), truth.stride()}, pointer(x.data()),
             pointer(truth.data()), score.view().data());
    return to_host(b, score);
}

}  // namespace diem::metrics
