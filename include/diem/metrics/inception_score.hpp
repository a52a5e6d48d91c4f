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
/// The Inception score of class probabilities.
/// \snippet tests/examples/metrics.cpp metrics/inception_score.hpp

namespace diem::metrics {

struct inception_score_result {
    double mean = 0;       ///< over the splits: the figure usually given
    double deviation = 0;  ///< standard deviation over the splits, divisor `splits`
};

/// exp(mean_i KL(p_i || p)), p = mean_i p_i, of class probabilities p_i: between 1 (all items alike) and the number of
/// classes (each item certain, classes equally often). The items are cut in order into `splits` parts of equal size up to
/// one; the score is taken in each.
///
/// `probabilities`: classes x items from any classifier, >= 0, each item's sum 1 to 1e-3 (it is divided by its sum); summed
/// in float64. With the probabilities of Inception-v3 it is the Inception score of Salimans et al. 2016; with those of
/// another classifier it is not, and must not be called so. Throws value_error.
template <Backend B>
[[nodiscard]] inception_score_result inception_score(B& backend, const_view_t<B> probabilities, index_t splits = 10) {
    const index_t classes = probabilities.features(), items = probabilities.items();
    check_value("inception_score", classes > 0, "there are no classes");
    check_value(
        "inception_score", splits > 0 && splits <= items,
        "splits is " + std::to_string(splits) + ", expected 1 to the number of items, " + std::to_string(items));
    const auto values = to_host(backend, probabilities);
    const auto k = static_cast<std::size_t>(classes);
    std::vector<double> scores, marginal(k), p(k);
    for (index_t s = 0; s < splits; ++s) {
        const index_t first = s * items / splits, last = (s + 1) * items / splits;
        const auto n = static_cast<double>(last - first);
        std::fill(marginal.begin(), marginal.end(), 0.0);
        double negative_entropy = 0;  // sum over items of sum_c p log p
        for (index_t i = first; i < last; ++i) {
            double sum = 0;
            bool valid = true;
            for (std::size_t c = 0; c < k; ++c) {
                p[c] = static_cast<double>(values[static_cast<std::size_t>(i) * k + c]);
                valid = valid && p[c] >= 0;
                sum += p[c];
            }
            check_value("inception_score", valid && std::abs(sum - 1) <= 1e-3,
                        "item " + std::to_string(i) + " holds no probabilities: its sum is " + std::to_string(sum));
            for (std::size_t c = 0; c < k; ++c) {
                const double q = p[c] / sum;
                marginal[c] += q / n;
                if (q > 0) negative_entropy += q * std::log(q);
            }
        }
        double kl = negative_entropy / n;
        for (const double m : marginal)
            if (m > 0) kl -= m * std::log(m);
        scores.push_back(std::exp(kl));
    }
    inception_score_result out;
    for (const double s : scores) out.mean += s / static_cast<double>(splits);
    for (const double s : scores) out.deviation += (s - out.mean) * (s - out.mean) / static_cast<double>(splits);
    out.deviation = std::sqrt(out.deviation);
    return out;
}

}  // namespace diem::metrics
