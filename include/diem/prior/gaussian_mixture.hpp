// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/backend/concept.hpp>
#include <diem/backend/functors.hpp>
#include <diem/core/check.hpp>
#include <diem/core/random.hpp>
#include <diem/diffusion/gaussian.hpp>
#include <diem/parallel/communicator.hpp>
#include <diem/prior/exact_draws.hpp>
#include <diem/prior/gaussian_e_steps.hpp>
#include <diem/prior/gaussian_fit.hpp>
#include <diem/prior/mixture_options.hpp>
#include <diem/prior/some_items.hpp>
#include <diem/train/ppca.hpp>

/// \file
/// A mixture of Gaussians learned by EM from observations alone, for few features: from one Gaussian to a start for a network.
/// \snippet tests/examples/prior.cpp prior/gaussian_mixture.hpp

namespace diem::prior {

/// sum_k weight_k N(mu_k, Sigma_k); the weights sum to one.
template <Backend B>
struct gaussian_mixture {
    std::vector<double> weight;
    std::vector<diffusion::gaussian<B>> component;

    [[nodiscard]] index_t components() const { return static_cast<index_t>(component.size()); }
};

/// Of each observation: p(k | y_i) = w_k p(y_i | k) / p(y_i) at [i K + k]; and sum_i log p(y_i).
struct responsibilities {
    std::vector<double> of;
    double log_evidence = 0;
};

namespace detail {

/// `responsibilities_of`; none where go_on(), asked after each batch, was false.
template <Backend B, class Observation, class C, class GoOn>
std::optional<responsibilities> responsibilities_while(B& b, const gaussian_mixture<B>& mixture,
                                                       const Observation& observed, index_t block, const C& ranks,
                                                       const GoOn& go_on) {
    const auto k_all = static_cast<std::size_t>(mixture.components()), n = static_cast<std::size_t>(observed.items());
    responsibilities out{std::vector<double>(n * k_all)};
    const auto ask = [&](auto&, const parallel::round&, const_view_t<B>) { return go_on(); };
    for (std::size_t k = 0; k < k_all; ++k) {
        const auto logs = for_each_batch(b, mixture.component[k], observed, block, ask, ranks);
        if (!logs) return std::nullopt;
        for (std::size_t i = 0; i < n; ++i) out.of[i * k_all + k] = std::log(mixture.weight[k]) + (*logs)[i];
    }
    for (std::size_t i = 0; i < n; ++i) {
        double* const w = out.of.data() + i * k_all;
        const double most = *std::max_element(w, w + k_all);
        check_value("prior::responsibilities", std::isfinite(most),
                    "log p(y) of observation " + std::to_string(i) + " is not finite under any component");
        double sum = 0;
        for (std::size_t k = 0; k < k_all; ++k) sum += w[k] = std::exp(w[k] - most);
        for (std::size_t k = 0; k < k_all; ++k) w[k] /= sum;
        out.log_evidence += most + std::log(sum);
    }
    parallel::broadcast(ranks, out.of, 0, "responsibilities");  // what all go by must be the same to the bit
    return out;
}

/// The M-step, from the moments of p(x | y_i, k) and responsibilities.
template <Backend B>
class mixture_m_step {
    using T = scalar_t<B>;

public:
    mixture_m_step(B& b, index_t features, index_t items, const mixture_options& o, double least_rest)
        : b_(b), options_(o), features_(features), items_(items), center_(b, features, 1),
          pooled_(b, features, features) {
        ppca_.rank = features;
        ppca_.exact_below = features;
        ppca_.least_rest = least_rest;
    }
    /// Where means are drawn to: the mixture's own.
    void begin(const gaussian_mixture<B>& mixture) {
        b_.fill(center_.view(), T(0));
        b_.fill(pooled_.view(), T(0));
        for (std::size_t k = 0; k < mixture.weight.size(); ++k)
            b_.axpby(mixture.weight[k], as_batch(mixture.component[k].mu()), 1.0, center_.view());
        parts_.clear();
    }
    /// A component of no observation.
    void add_empty() {
        batch<B> mean(b_, features_, 1), scatter(b_, features_, features_);
        b_.copy(center_.cview(), mean.view());
        b_.fill(scatter.view(), T(0));
        parts_.push_back({std::move(mean), std::move(scatter), 0});
    }
    /// Component by component: means (D x items, overwritten), weights, and the weighted sum of the covariances.
    void add(batch<B>& means, const std::vector<double>& weight, batch<B> scatter) {
        const index_t n = means.items();
        double total = 0;
        for (const double w : weight) total += w;
        const auto w64 = to_backend(b_, weight, n, 1);
        const auto w = to_backend(b_, std::vector<T>(weight.begin(), weight.end()), n, 1);
        batch<B> mean(b_, features_, 1), weighted(b_, features_, n);
        b_.copy(center_.cview(), mean.view());
        const double all = total + pull;
        b_.gemm(static_cast<T>(1 / all), means.cview(), op::none, w.cview(), op::none, static_cast<T>(pull / all),
                mean.view());
        b_.map(functors::subtract{}, means.view(), per_feature{const_vector_t<B>(mean.flat())});
        b_.axpby(const_vector_t<B, double>(w64.flat()), means.cview(), 0.0, weighted.view());
        b_.gemm(T(1), weighted.cview(), op::none, means.cview(), op::transpose, T(1), scatter.view());
        b_.axpby(1.0 / static_cast<double>(items_), scatter.cview(), 1.0, pooled_.view());
        parts_.push_back({std::move(mean), std::move(scatter), total});
    }
    [[nodiscard]] gaussian_mixture<B> end() {
        gaussian_mixture<B> next;
        const auto count = static_cast<double>(parts_.size());
        for (part& p : parts_) {
            const double all = p.total + options_.shared;
            b_.axpby(options_.shared / all, pooled_.cview(), 1 / all, p.scatter.view());
            auto fit = train::ppca_of_covariance(b_, p.mean.cview(), p.scatter.view(), ppca_);
            p.scatter = batch<B>();
            next.component.emplace_back(b_, std::move(fit.mean), std::move(fit.diagonal), std::move(fit.factor));
            next.weight.push_back((p.total + pull) / (static_cast<double>(items_) + pull * count));
        }
        return next;
    }

private:
    static constexpr double pull = 1;  ///< observations' worth of the common mean in each mean, and of equal weights
    struct part {
        batch<B> mean, scatter;
        double total;
    };
    B& b_;
    mixture_options options_;
    index_t features_, items_;
    train::ppca_options ppca_;
    batch<B> center_, pooled_;
    std::vector<part> parts_;
};

/// Shares of less than one in ten thousand of an item's largest become zero: its moments are then of few components.
inline void drop_small(responsibilities& r, index_t components) {
    const auto count = static_cast<std::size_t>(components);
    for (std::size_t first = 0; first < r.of.size(); first += count) {
        double* const share = r.of.data() + first;
        const double least = 1e-4 * *std::max_element(share, share + count);
        double sum = 0;
        for (std::size_t k = 0; k < count; ++k) sum += share[k] = share[k] >= least ? share[k] : 0;
        for (std::size_t k = 0; k < count; ++k) share[k] /= sum;
    }
}
/// Where component k has a share.
[[nodiscard]] inline std::vector<int> items_of(const responsibilities& r, index_t components, index_t k) {
    std::vector<int> index;
    const auto step = static_cast<std::size_t>(components);
    for (std::size_t at = static_cast<std::size_t>(k), i = 0; at < r.of.size(); at += step, ++i)
        if (r.of[at] > 0) index.push_back(static_cast<int>(i));
    return index;
}

/// Means E[x | y_i] of `components` observations spread over all, and the Gaussian's covariance, narrowed.
template <Backend B, class Observation>
gaussian_mixture<B> mixture_start(B& b, const diffusion::gaussian<B>& g, const Observation& observed,
                                  index_t components, index_t block, std::uint64_t seed) {
    constexpr double narrowed = 0.7;  // part of the variance is between the means
    const index_t d = g.features(), n = observed.items();
    batch<B> means(b, d, n);
    posterior_means(b, g, observed, means.view(), block);
    gaussian_mixture<B> m;
    const random_key key{
        .seed = seed, .lane = random_lane::mixture, .step = 0xffffffff};  // draws have the steps from 0 on
    for (index_t k = 0, i = -1; k < components; ++k) {
        const double at = static_cast<double>(k) + uniform<double>(key, 0, static_cast<std::uint32_t>(k));
        // Never the same one twice, and one is left for each component that follows.
        i = std::clamp(static_cast<index_t>(at * static_cast<double>(n) / static_cast<double>(components)), i + 1,
                       n - components + k);
        batch<B> mu(b, d, 1), rest(b, d, 1), factor(b, d, g.rank());
        b.copy(means.cview().item_range(i, 1), mu.view());
        b.axpby(narrowed, as_batch(g.d()), 0.0, rest.view());
        if (g.rank() > 0) b.axpby(std::sqrt(narrowed), g.u(), 0.0, factor.view());
        m.component.emplace_back(b, std::move(mu), std::move(rest), std::move(factor));
        m.weight.push_back(1 / static_cast<double>(components));
    }
    return m;
}

}  // namespace detail

/// Responsibilities under the mixture, for A and Sigma_y as `exact_moments` takes them; `ranks` share the work.
template <Backend B, class Observation, parallel::Communicator C = parallel::self>
[[nodiscard]] responsibilities responsibilities_of(B& b, const gaussian_mixture<B>& mixture,
                                                   const Observation& observed, index_t block = 256,
                                                   const C& ranks = {}) {
    return *detail::by_masks(b, observed, [&](const auto& seen) {
        return detail::responsibilities_while(b, mixture, seen, block, ranks, always_go_on{});
    });
}

/// Bytes that EM of a mixture, and drawing from it, hold at once, about; see `gaussian_e_step_bytes`.
[[nodiscard]] inline double mixture_bytes(const mixture_options& o, index_t features, index_t rows, index_t items,
                                          index_t batch, bool elementwise, std::size_t scalar) {
    const auto d = static_cast<double>(features);
    const auto k = static_cast<double>(o.components), n = static_cast<double>(items);
    // Factors and scatters of a lap, of the next one the factors; A, Sigma_y, means and what is made of some items of them.
    const double parts = 3 * k * d * d, vectors = (elementwise ? 8 : 3) * d * n;
    return static_cast<double>(scalar) * (parts + vectors) + 8 * k * n +
           gaussian_e_step_bytes(gaussian_e_step::moments, features, rows, items, features, batch, elementwise, scalar);
}

/// EM of a mixture with full covariances, from a Gaussian: with r_ik = p(k | y_i), and m_ik, C_ik mean and covariance of
/// p(x | y_i, k), n_k = sum_i r_ik,
///
///     mu_k = (sum_i r_ik m_ik + m) / (n_k + 1),  S_k = sum_i r_ik (C_ik + (m_ik - mu_k)(m_ik - mu_k)'),
///     Sigma_k = (S_k + s S / n) / (n_k + s),  S = sum_k S_k,  s = options.shared
///
/// m: the mixture's mean. That all covariances are drawn to the one within components (Friedman, "Regularized discriminant
/// analysis", JASA 1989) is what a few dozen observations of each need; w_k = (n_k + 1) / (n + K). At most 1024 features, as
/// K D^2 numbers are kept. A lap costs K E-steps of a Gaussian of full rank for the responsibilities, which `ranks` share, and of masks
/// about one more for the moments, else K more. `tell(lap, sum_i log p(y_i))` of the mixture that a lap began with; none where
/// go_on(), asked after each batch, was false. Throws value_error, also where `start` has a basis.
template <Backend B, class Observation, class Tell, class GoOn = always_go_on,
          parallel::Communicator C = parallel::self>
[[nodiscard]] std::optional<gaussian_mixture<B>> fit_mixture(B& b, const diffusion::gaussian<B>& start,
                                                             const Observation& observed, const mixture_options& o,
                                                             index_t block, std::uint64_t seed, const Tell& tell,
                                                             const GoOn& go_on = {}, const C& ranks = {}) {
    const index_t d = start.features(), n = observed.items();
    check_mixture(o, d, n);
    start.require_no_basis("prior::fit_mixture");
    const double spread = diffusion::trace_of(b, start) / static_cast<double>(std::max<index_t>(d, 1));
    return detail::by_masks(b, observed, [&](const auto& seen) -> std::optional<gaussian_mixture<B>> {
        auto mixture = detail::mixture_start(b, start, seen, o.components, block, seed);
        detail::mixture_m_step<B> m_step(b, d, n, o, 1e-6 * std::min(1.0, spread));
        const detail::some_items items(b, seen);
        for (index_t lap = 0; lap < o.laps; ++lap) {
            auto r = detail::responsibilities_while(b, mixture, seen, block, ranks, go_on);
            if (!r) return std::nullopt;
            detail::drop_small(*r, o.components);
            m_step.begin(mixture);
            bool finished = true;
            for (index_t k = 0; k < o.components; ++k) {
                const auto moments = [&](const auto& part, const std::vector<int>& index) {
                    std::vector<double> weight;
                    for (const int i : index) weight.push_back(r->of[static_cast<std::size_t>(i * o.components + k)]);
                    batch<B> means(b, d, part.items()), scatter(b, d, d);
                    b.fill(scatter.view(), scalar_t<B>(0));
                    const auto w =
                        to_backend(b, std::vector<scalar_t<B>>(weight.begin(), weight.end()), part.items(), 1);
                    const auto add = [&](auto& conditional, const parallel::round& own, const_view_t<B> m) {
                        b.copy(m, means.view().item_range(own.begin, own.count));
                        conditional.add_covariances(b, w.flat().range(own.begin, own.count), scatter.view());
                        return go_on();
                    };
                    const auto& g = mixture.component[static_cast<std::size_t>(k)];
                    finished = finished && detail::for_each_batch(b, g, part, block, add);
                    m_step.add(means, weight, std::move(scatter));
                };
                const auto index = detail::items_of(*r, o.components, k);
                if (index.empty()) m_step.add_empty();
                items.at(b, index, moments);
                if (!finished) return std::nullopt;
            }
            mixture = m_step.end();
            tell(lap, r->log_evidence);
        }
        return mixture;
    });
}

}  // namespace diem::prior
