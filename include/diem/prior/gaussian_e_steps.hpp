// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <numeric>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/backend/concept.hpp>
#include <diem/backend/functors.hpp>
#include <diem/core/check.hpp>
#include <diem/core/random.hpp>
#include <diem/diffusion/gaussian.hpp>
#include <diem/em/fit.hpp>
#include <diem/linop/concept.hpp>
#include <diem/parallel/buffers.hpp>
#include <diem/parallel/communicator.hpp>
#include <diem/posterior/gaussian_conditional.hpp>
#include <diem/posterior/gaussian_dense.hpp>
#include <diem/posterior/in_basis.hpp>
#include <diem/posterior/sample.hpp>
#include <diem/prior/em_options.hpp>
#include <diem/prior/gaussian_options.hpp>

/// \file
/// The E-steps under a Gaussian prior N(mu, diag(d) + u u'): in closed form, moments or draws, and by diffusion.
/// \snippet tests/examples/prior.cpp prior/gaussian_e_steps.hpp

namespace diem::prior {

/// Sufficient statistics of an exact E-step: with m_i, C_i mean and covariance of p(x | y_i),
/// mean = sum m_i / n, covariance = sum (C_i + (m_i - mean)(m_i - mean)') / n.
template <Backend B>
struct gaussian_moments {
    batch<B> mean;            ///< D x 1
    batch<B> covariance;      ///< D x D
    double log_evidence = 0;  ///< sum_i log p(y_i)
    index_t items = 0;
};

/// Samples of an E-step: sample s n + i belongs to observation i.
template <Backend B>
struct gaussian_samples {
    batch<B> x;                 ///< D x (samples per observation n)
    bool coefficients = false;  ///< x holds those in the prior's basis
    /// sum_i log p(y_i); NaN where it was not computed.
    double log_evidence = std::numeric_limits<double>::quiet_NaN();
    posterior::sample_state state{};  ///< of sampling by diffusion
};

namespace detail {

template <class Observation>
inline constexpr bool is_elementwise = linop::ElementwiseOperator<typename Observation::operator_type> &&
                                       linop::ElementwiseOperator<typename Observation::noise_type>;

template <Backend B, class Observation>
using conditional_for = std::conditional_t<is_elementwise<Observation>, posterior::elementwise_conditional<B>,
                                           posterior::dense_conditional<B>>;

/// f(conditional, round, mean) on one batch of observations after another, which `ranks` share: round.count may be 0. Returns
/// log p(y_i) of all, the same for every number of them; none where f answered false, which leaves.
template <Backend B, class Observation, class F, parallel::Communicator C = parallel::self>
std::optional<std::vector<double>> for_each_batch(B& b, const diffusion::gaussian<B>& prior,
                                                  const Observation& observed, index_t block, const F& f,
                                                  const C& ranks = {}) {
    check_value("prior::gaussian_fit", block > 0, "batch must be > 0");
    check_size("prior::gaussian_fit", "A.cols()", observed.forward_operator().cols(), prior.features());
    const index_t n = observed.items();
    conditional_for<B, Observation> conditional(b, prior);
    batch<B> mean(b, prior.features(), std::min(block, n));
    batch<B, double> evidence(b, std::min(block, n), 1);
    std::vector<double> all;
    for (index_t done = 0; done < n;) {
        const auto round = parallel::next_round(ranks, done, n, block);
        const auto m = mean.view().item_range(0, round.count);
        std::vector<double> own;
        if (round.count > 0) {
            const auto part = observed.items(round.begin, round.count);
            const vector_t<B, double> logs = evidence.flat().range(0, round.count);
            conditional.condition(b, part, round.begin, m, logs);
            own = to_host(b, const_vector_t<B, double>(logs));
        }
        if (!f(conditional, round, const_view_t<B>(m))) return std::nullopt;
        for (const double v : parallel::all_gather<double>(ranks, own, round.counts, "evidence of observations"))
            all.push_back(v);
        done = round.end;
    }
    return all;
}
[[nodiscard]] inline double sum_of(const std::vector<double>& values) {
    return std::accumulate(values.begin(), values.end(), 0.0);
}

}  // namespace detail

/// sum_i log p(y_i) under the prior; `ranks` share the batches.
template <Backend B, class Observation, parallel::Communicator C = parallel::self>
[[nodiscard]] double log_evidence(B& b, const diffusion::gaussian<B>& prior, const Observation& observed,
                                  index_t block = 256, const C& ranks = {}) {
    return detail::sum_of(*detail::for_each_batch(
        b, prior, observed, block, [](auto&, const parallel::round&, const_view_t<B>) { return true; }, ranks));
}

namespace detail {

/// `exact_moments`; none where go_on(), asked after each batch, was false.
template <Backend B, class Observation, class GoOn>
std::optional<gaussian_moments<B>> moments_while(B& b, const diffusion::gaussian<B>& prior, const Observation& observed,
                                                 index_t block, const GoOn& go_on) {
    using T = scalar_t<B>;
    const index_t n = observed.items(), features = prior.features();
    check_value("prior::exact_moments", n > 0, "there are no observations");
    gaussian_moments<B> out{batch<B>(b, features, 1), batch<B>(b, features, features), 0, n};
    batch<B> means(b, features, n), weight(b, n, 1);
    b.fill(out.covariance.view(), T(0));
    b.fill(weight.view(), T(1));
    const const_vector_t<B> ones = weight.flat();
    const auto evidence = for_each_batch(
        b, prior, observed, block, [&](auto& conditional, const parallel::round& own, const_view_t<B> m) {
            b.copy(m, means.view().item_range(own.begin, own.count));
            conditional.add_covariances(b, ones.range(own.begin, own.count), out.covariance.view());
            return go_on();
        });
    if (!evidence) return std::nullopt;
    out.log_evidence = sum_of(*evidence);
    const T each = T(1) / static_cast<T>(n);
    b.fill(weight.view(), each);
    b.gemm(T(1), means.cview(), op::none, weight.cview(), op::none, T(0), out.mean.view());
    b.map(functors::subtract{}, means.view(), per_feature{const_vector_t<B>(out.mean.flat())});
    b.gemm(each, means.cview(), op::none, means.cview(), op::transpose, each, out.covariance.view());
    return out;
}

/// `draw_posteriors`; none where go_on(), asked after each batch, was false.
template <Backend B, class Observation, parallel::Communicator C, class GoOn>
std::optional<double> draws_while(B& b, const diffusion::gaussian<B>& prior, const Observation& observed,
                                  const random_key& key, view_t<B> x, index_t block, const C& ranks,
                                  const GoOn& go_on) {
    check_shape("prior::draw_posteriors", "x", x, prior.features(), observed.items());
    const auto draw = [&](auto& conditional, const parallel::round& r, const_view_t<B> m) {
        if (r.count > 0)
            conditional.draw(b, key.skip_items(static_cast<std::uint32_t>(r.begin)), m, x.item_range(r.begin, r.count));
        parallel::all_gather_items(ranks, b, x.item_range(r.first, r.end - r.first), r.counts, "exact draws");
        return go_on();
    };
    const auto evidence = for_each_batch(b, prior, observed, block, draw, ranks);
    return evidence ? std::optional(sum_of(*evidence)) : std::nullopt;
}

}  // namespace detail

/// The exact E-step: moments of p(x | y_i), summed over the observations. Element-wise A and Sigma_y (masks) cost
/// 2 D r (D + r) per observation; any others are formed as matrices (rows x D per item of a batch), so keep them small.
/// Needs D^2 numbers of memory.
template <Backend B, class Observation>
[[nodiscard]] gaussian_moments<B> exact_moments(B& b, const diffusion::gaussian<B>& prior, const Observation& observed,
                                                index_t block = 256) {
    return *detail::moments_while(b, prior, observed, block, [] { return true; });
}

/// The mean E[x | y_i] of each observation, D x n.
template <Backend B, class Observation>
void posterior_means(B& b, const diffusion::gaussian<B>& prior, const Observation& observed, view_t<B> means,
                     index_t block = 256) {
    check_shape("prior::posterior_means", "means", means, prior.features(), observed.items());
    detail::for_each_batch(b, prior, observed, block, [&](auto&, const parallel::round& own, const_view_t<B> m) {
        b.copy(m, means.item_range(own.begin, own.count));
        return true;
    });
}

/// One exact draw x_i ~ p(x | y_i) for each observation, by its closed form; element-wise A and Sigma_y only. Returns
/// sum_i log p(y_i). Costs 2 D r^2 per observation. `ranks` share the batches, and all get all draws.
template <Backend B, class Observation, parallel::Communicator C = parallel::self>
    requires detail::is_elementwise<Observation>
double draw_posteriors(B& b, const diffusion::gaussian<B>& prior, const Observation& observed, const random_key& key,
                       view_t<B> x, index_t block = 256, const C& ranks = {}) {
    return *detail::draws_while(b, prior, observed, key, x, block, ranks, [] { return true; });
}

}  // namespace diem::prior
