// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <type_traits>
#include <utility>

#include <diem/posterior/guidance.hpp>

/// \file
/// Pseudo-inverse guided diffusion (PiGDM), for comparison.
/// \snippet tests/examples/posterior.cpp posterior/pigdm.hpp

namespace diem::posterior {

struct pigdm_options {
    index_t iterations = 5;  ///< of gmres
};

/// Pseudo-inverse guided diffusion: with x | x_t taken for N(x_hat, r^2 I), r^2 = sigma^2 / (1 + sigma^2), which is
/// right for x ~ N(0, I),
///
///     x_hat + sigma^2 J'A'v,  (Sigma_y + r^2 A A') v = y - A x_hat.
///
/// That is Bayes' rule with the paper's score of the likelihood. Deviates: its algorithm adds r^2 J'A'v to each step whatever its
/// length, which over many steps is too much; here the sampler's step weights it. The solve is by iterations, not by a
/// pseudo-inverse, so that any A will do.
/// Source: Song et al., ICLR 2023, openreview 9_gsMA8MRKQ. One forward pass, one VJP.
template <Backend B, diffusion::ScoreModel<B> Model, class Observation>
class pigdm : public guidance<B, Model, Observation> {
    using base = guidance<B, Model, Observation>;

public:
    pigdm(B& /*b*/, Model& model, Observation observation, const pigdm_options& options = {})
        : base("pigdm", model, std::move(observation), options.iterations) {}

    void denoise(B& b, const_view_t<B> x_t, typename base::level sigma, view_t<B> x_hat) {
        this->check(x_t, x_hat);
        const auto linear = this->model_.linearize(b, x_t, sigma);
        const auto& jacobian = linear.jacobian();
        const detail::variances<B> variance(b, sigma, x_t.items());
        detail::variances<B> r2(b, sigma, x_t.items());
        r2.to_unit_prior(b);

        const batch<B> u = this->weighted_residual(b, isotropic_product<B>{r2}, linear.mean());
        batch<B> w(b, u.features(), u.items());
        tweedie_product<B, std::remove_cvref_t<decltype(jacobian)>>{jacobian, variance}(b, u.view(), w.view());
        b.map(functors::sum{}, x_hat, const_view_t<B>(linear.mean()), w.cview());
    }
};

template <Backend B, class Model, class Observation>
pigdm(B&, Model&, Observation) -> pigdm<B, Model, Observation>;
template <Backend B, class Model, class Observation>
pigdm(B&, Model&, Observation, const pigdm_options&) -> pigdm<B, Model, Observation>;

}  // namespace diem::posterior
