// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <type_traits>
#include <utility>

#include <diem/posterior/guidance.hpp>

/// \file
/// Tweedie moment projected diffusion (TMPD), for comparison.
/// \snippet tests/examples/posterior.cpp posterior/tmpd.hpp

namespace diem::posterior {

struct tmpd_options {
    index_t iterations = 5;  ///< of gmres
};

/// Tweedie moment projected diffusion: Cov[x | x_t] = sigma^2 J' by the sums of its rows on a diagonal,
///
///     x_hat + sigma^2 J'A'v,  (Sigma_y + A diag(s) A') v = y - A x_hat,  s = sigma^2 J'1.
///
/// Exact in the mean where J is diagonal. Row sums of others may be negative, hence gmres. Deviates: the paper takes
/// the sums of rows of A J'A' instead, which is the same where A is diagonal, and needs no solve.
/// Source: Boys et al., arXiv 2310.06721. One forward pass, two VJPs.
template <Backend B, diffusion::ScoreModel<B> Model, class Observation>
class tmpd : public guidance<B, Model, Observation> {
    using base = guidance<B, Model, Observation>;

public:
    tmpd(B& /*b*/, Model& model, Observation observation, const tmpd_options& options = {})
        : base("tmpd", model, std::move(observation), options.iterations) {}

    void denoise(B& b, const_view_t<B> x_t, typename base::level sigma, view_t<B> x_hat) {
        this->check(x_t, x_hat);
        const auto linear = this->model_.linearize(b, x_t, sigma);
        const auto& jacobian = linear.jacobian();
        const detail::variances<B> variance(b, sigma, x_t.items());
        const tweedie_product<B, std::remove_cvref_t<decltype(jacobian)>> v{jacobian, variance};

        batch<B> ones(b, x_t.features(), x_t.items()), s(b, x_t.features(), x_t.items());
        b.fill(ones.view(), scalar_t<B>(1));
        v(b, ones.view(), s.view());
        const auto diagonal = [&s](B& on, const_view_t<B> p, view_t<B> q) {
            on.map(functors::product{}, q, p, s.cview());
        };
        const batch<B> u = this->weighted_residual(b, diagonal, linear.mean());
        batch<B> w(b, u.features(), u.items());
        v(b, u.view(), w.view());
        b.map(functors::sum{}, x_hat, const_view_t<B>(linear.mean()), w.cview());
    }
};

template <Backend B, class Model, class Observation>
tmpd(B&, Model&, Observation) -> tmpd<B, Model, Observation>;
template <Backend B, class Model, class Observation>
tmpd(B&, Model&, Observation, const tmpd_options&) -> tmpd<B, Model, Observation>;

}  // namespace diem::posterior
