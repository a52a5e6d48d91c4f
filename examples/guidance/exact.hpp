// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/diffusion/mixture.hpp>
#include <diem/linop/covariance.hpp>
#include <diem/linop/dense.hpp>
#include <diem/metrics/calibration.hpp>
#include <diem/metrics/frechet.hpp>
#include <diem/metrics/sinkhorn.hpp>
#include <diem/posterior/observation.hpp>

#include "guidance/methods.hpp"
#include "support/curve.hpp"

/// Priors whose posterior is known: how far the samples of each method are from it.
namespace guidance {

/// One observation y = A x + e of a mixture of Gaussians, and p(x | y), again one.
struct known_problem {
    diffusion::mixture_parameters prior, posterior;
    std::vector<double> a, y;
    double sigma_y = 0.1;

    void observe(index_t rows, std::uint64_t seed) {
        const auto d = static_cast<std::size_t>(prior.features), r = static_cast<std::size_t>(rows);
        a = support::random_projections(rows, prior.features, 1, seed);
        y.assign(r, 0.0);
        // Of a point of the first component.
        for (std::size_t k = 0; k < r; ++k) {
            for (std::size_t j = 0; j < d; ++j) y[k] += a[j * r + k] * prior.mean[j];
            y[k] += sigma_y *
                    normal<double>({.seed = seed, .lane = random_lane::observation}, 0, static_cast<std::uint32_t>(k));
        }
        posterior = diffusion::mixture_posterior(prior, a, std::vector<double>(r, sigma_y * sigma_y), y);
    }
};

/// x ~ N(m, C) in eight dimensions, the eigenvalues of C from 4 to 1/32; three numbers are seen.
inline known_problem known_gaussian(std::uint64_t seed) {
    constexpr std::size_t d = 8;
    known_problem p;
    p.prior.features = d;
    p.prior.weight = {1};
    const random_key key{.seed = seed, .lane = random_lane::user};
    std::vector<double> q(d * d);  // orthonormal columns, by Gram and Schmidt
    for (std::size_t i = 0; i < d; ++i) {
        p.prior.mean.push_back(normal<double>(key, 1, static_cast<std::uint32_t>(i)));
        for (std::size_t j = 0; j < d; ++j)
            q[i * d + j] = normal<double>(key, 0, static_cast<std::uint32_t>(i * d + j));
        for (std::size_t before = 0; before <= i; ++before) {
            double dot = 0;
            for (std::size_t j = 0; j < d; ++j) dot += q[i * d + j] * q[before * d + j];
            for (std::size_t j = 0; j < d; ++j)
                q[i * d + j] = before < i ? q[i * d + j] - dot * q[before * d + j] : q[i * d + j] / std::sqrt(dot);
        }
    }
    p.prior.cov.assign(d * d, 0.0);
    for (std::size_t k = 0; k < d; ++k)
        for (std::size_t i = 0; i < d; ++i)
            for (std::size_t j = 0; j < d; ++j)
                p.prior.cov[i * d + j] += std::ldexp(4.0, -static_cast<int>(k)) * q[k * d + i] * q[k * d + j];
    p.observe(3, seed);
    return p;
}

/// 64 components of spread 0.05 along a curve in [-2, 2]^3; one number is seen.
inline known_problem known_mixture(std::uint64_t seed) {
    constexpr std::size_t d = 3, k = 64;
    known_problem p;
    p.prior.features = d;
    p.prior.weight.assign(k, 1.0 / k);
    p.prior.mean = support::curve(d, seed).points(k, seed, 0);
    p.prior.cov.assign(d * d * k, 0.0);
    for (std::size_t n = 0; n < k; ++n)
        for (std::size_t j = 0; j < d; ++j) p.prior.cov[n * d * d + j * (d + 1)] = 0.05 * 0.05;
    p.observe(1, seed);
    return p;
}

/// Samples of p(x | y) by a method, D x count.
template <Backend Wide>
[[nodiscard]] batch<Wide> known_samples(Wide& b, const known_problem& p, const method& m, const settings& s,
                                        index_t steps, std::uint64_t seed) {
    const index_t d = p.prior.features, rows = static_cast<index_t>(p.y.size()), count = s.exact.samples;
    diffusion::mixture<Wide> prior(b, p.prior);
    std::vector<double> copies;
    for (index_t i = 0; i < count; ++i) copies.insert(copies.end(), p.y.begin(), p.y.end());
    const auto y = to_backend(b, copies, rows, count), a = to_backend(b, p.a, rows, d),
               mean = to_backend(b, diffusion::mixture_moments(p.prior).mean, d, 1);
    const auto seen = posterior::observe(b, y.cview(), linop::dense<Wide>::shared(a.cview()),
                                         linop::isotropic_covariance(rows, p.sigma_y * p.sigma_y));
    batch<Wide> x(b, d, count);
    draw(b, prior, seen, m, s, steps, mean.flat(), {.seed = seed + 1}, x.view());
    return x;
}

/// Samples of p(x | y) itself; `draw`: their number, so that two draws are independent.
template <Backend Wide>
[[nodiscard]] batch<Wide> true_samples(Wide& b, const known_problem& p, const settings& s, std::uint64_t seed,
                                       std::uint32_t number) {
    batch<Wide> x(b, p.prior.features, s.exact.samples);
    diffusion::mixture<Wide>(b, p.posterior)
        .sample(b, {.seed = seed, .lane = random_lane::prior_sample, .step = number}, x.view());
    return x;
}

/// Squared Wasserstein distance of N(mean, covariance) of the samples and the posterior of a Gaussian, as a part of the
/// posterior's variance (the trace of its covariance).
template <Backend Wide>
[[nodiscard]] double gaussian_distance(Wide& b, const known_problem& p, const_view_t<Wide> x) {
    const auto exact = diffusion::mixture_moments(p.posterior);
    const auto d = static_cast<std::size_t>(p.prior.features);
    double trace = 0;
    for (std::size_t j = 0; j < d; ++j) trace += exact.cov[j * (d + 1)];
    return metrics::frechet_distance(b, metrics::moments_of(b, b, x),
                                     {p.prior.features, x.items(), exact.mean, exact.cov}) /
           trace;
}

/// The Sinkhorn divergence of samples to a draw of the posterior.
template <Backend Wide>
[[nodiscard]] double mixture_distance(Wide& b, const_view_t<Wide> truth, const_view_t<Wide> x) {
    return metrics::symmetric_divergence(
        b, truth, x, {.regularization = 1e-2, .iterations = 500, .tolerance = 1e-4, .start_regularization = 4});
}

/// How often the central intervals of probability 0.8 that 16 samples make hold a value of a draw of the posterior.
template <Backend Wide>
[[nodiscard]] double known_coverage(Wide& b, const_view_t<Wide> truth, const_view_t<Wide> x) {
    constexpr index_t samples = 16;
    const index_t draws = x.items() / samples;
    return metrics::rank_truth<Wide>(b, x.item_range(0, draws * samples), truth.item_range(0, draws)).coverage(0.8);
}

}  // namespace guidance
