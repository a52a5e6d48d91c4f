// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <utility>

#include <diem/core/random.hpp>
#include <diem/diffusion/sampler.hpp>
#include <diem/posterior/guidance.hpp>

/// \file
/// DiffPIR, for comparison.
/// \snippet tests/examples/posterior.cpp posterior/diffpir.hpp

namespace diem::posterior {

struct diffpir_options {
    double lambda = 8;       ///< weight of the prior; larger trusts x_hat more
    index_t iterations = 5;  ///< of gmres
};

/// Plug-and-play restoration by diffusion: the data subproblem, solved about x_hat,
///
///     argmin over x of |y - A x|^2 by Sigma_y^-1 + lambda / sigma^2 |x - x_hat|^2
///         = x_hat + V A'v,  (Sigma_y + A V A') v = y - A x_hat,  V = sigma^2 / lambda I.
///
/// No derivative of the model is made: any `Denoiser` will do. `diffpir_step` is the paper's sampler.
/// Source: Zhu et al., arXiv 2305.08995, Alg. 1, its data subproblem in the form of the innovation. One forward pass.
template <Backend B, diffusion::Denoiser<B> Model, class Observation>
class diffpir : public guidance<B, Model, Observation> {
    using base = guidance<B, Model, Observation>;

public:
    diffpir(B& /*b*/, Model& model, Observation observation, const diffpir_options& options = {})
        : base("diffpir", model, std::move(observation), options.iterations), options_(options) {
        check_positive("diffpir", "lambda", options.lambda);
    }

    void denoise(B& b, const_view_t<B> x_t, typename base::level sigma, view_t<B> x_hat) {
        this->check(x_t, x_hat);
        batch<B> mean(b, x_t.features(), x_t.items()), w(b, x_t.features(), x_t.items());
        this->model_.denoise(b, x_t, sigma, mean.view());
        const detail::variances<B> variance(b, sigma, x_t.items());
        const auto v = [&](B& on, const_view_t<B> p, view_t<B> q) {
            variance.apply(on, p, q);
            on.axpby(0.0, const_view_t<B>(q), 1 / options_.lambda, q);
        };
        const batch<B> u = this->weighted_residual(b, v, mean.cview());
        v(b, u.view(), w.view());
        b.map(functors::sum{}, x_hat, mean.cview(), w.cview());
    }

private:
    diffpir_options options_;
};

template <Backend B, class Model, class Observation>
diffpir(B&, Model&, Observation) -> diffpir<B, Model, Observation>;
template <Backend B, class Model, class Observation>
diffpir(B&, Model&, Observation, const diffpir_options&) -> diffpir<B, Model, Observation>;

/// The sampler of DiffPIR's Alg. 1, a `diffusion::Sampler`: with e = (x_t - x_hat) / sigma_t, the noise that x_hat leaves
/// in x_t,
///     x_s = x_hat + sigma_s (sqrt(1 - zeta) e + sqrt(zeta) z).
/// zeta 0 is `ddim`, 1 forgets x_t. One denoiser call.
struct diffpir_step {
    double zeta = 0.3;
    template <Backend B, class M, class N>
    void step(B& b, M& model, const diffusion::step_info& info, const N& noise, view_t<B> x) const {
        batch<B> x_hat(b, x.features(), x.items());
        model.denoise(b, x, info.sigma_t, x_hat.view());
        const double kept = std::sqrt(1 - zeta) * info.sigma_s / info.sigma_t;
        diffusion::detail::noisy_move<B>(b, x_hat.cview(), 1 - kept, info.sigma_s * std::sqrt(zeta), noise,
                                         random_lane::sampler_noise, info.index, x);
    }
};

}  // namespace diem::posterior
