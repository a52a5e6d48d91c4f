// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/backend/reference.hpp>
#include <diem/core/random.hpp>
#include <diem/diffusion/mixture.hpp>
#include <diem/io/json.hpp>
#include <diem/metrics/sinkhorn.hpp>
#include <diem/posterior/options.hpp>

#include "covariances/program.hpp"
#include "support/curve.hpp"

namespace covariances {

using namespace diem;
using posterior::covariance;

inline const std::vector<covariance> choices{covariance::none, covariance::isotropic, covariance::unit_prior,
                                             covariance::gaussian, covariance::tweedie};

/// One seed: a prior, an operator of one row, an observation, and what follows from them.
struct problem {
    diffusion::mixture_parameters prior, posterior;
    std::vector<double> a, cov_x;
    double y = 0;

    problem(const settings& s, std::uint64_t seed) {
        const support::curve curve(s.features, seed);
        const auto d = static_cast<std::size_t>(s.features), k = static_cast<std::size_t>(s.components);
        prior.features = s.features;
        prior.weight.assign(k, 1 / static_cast<double>(k));
        prior.mean = curve.points(s.components, seed, 0);
        prior.cov.assign(d * d * k, 0.0);
        for (std::size_t n = 0; n < k; ++n)
            for (std::size_t j = 0; j < d; ++j) prior.cov[n * d * d + j * (d + 1)] = s.thickness * s.thickness;
        a = support::random_projections(1, s.features, 1, seed);
        for (std::size_t j = 0; j < d; ++j) y += a[j] * prior.mean[j];
        y += s.sigma_y * normal<double>({.seed = seed, .lane = random_lane::observation}, 0, 0);
        posterior = diffusion::mixture_posterior(prior, a, {s.sigma_y * s.sigma_y}, {y});
        cov_x = diffusion::mixture_moments(prior).cov;
    }
};

/// a' V a for V = Sigma - Sigma (Sigma + sigma^2 I)^-1 Sigma = (Sigma^-1 + sigma^-2 I)^-1, by the eigenvalues of Sigma.
inline double projected_harmonic(const std::vector<double>& cov, const std::vector<double>& a, double sigma) {
    const auto d = static_cast<index_t>(a.size());
    reference_backend<double> host;
    std::vector<double> q = cov, l(a.size());
    host.eigh(host_view<double>(q.data(), d, d), host_vector<double>(l.data(), d));
    double sum = 0;
    for (std::size_t j = 0; j < a.size(); ++j) {
        double p = 0;
        for (std::size_t i = 0; i < a.size(); ++i) p += q[j * a.size() + i] * a[i];
        const double v = std::max(l[j], 0.0) * sigma * sigma / (std::max(l[j], 0.0) + sigma * sigma);
        sum += p * p * v;
    }
    return sum;
}

/// Weights proportional to exp(log_weight).
inline std::vector<double> from_logs(std::vector<double> w) {
    const double top = *std::max_element(w.begin(), w.end());
    for (double& x : w) x = std::exp(x - top);
    return w;
}

/// Points x_t, and weights on them that stand for p(x_t | y) and for q(x_t | y) of each choice. Points come in equal parts from
/// p(x_t) and from p(x_t | y); weighted by importance they stand for either posterior, so that two equal ones differ by
/// nothing.
struct weighted_points {
    std::vector<double> x, target;
    std::vector<std::vector<double>> of_choice;
};

template <Backend B>
weighted_points weigh(B& b, const settings& s, const problem& p, std::uint64_t seed, std::size_t level) {
    const double sigma = s.sigmas[level];
    const index_t d = s.features, n = s.points, half = n / 2;
    const diffusion::mixture<B> prior(b, p.prior), exact(b, p.posterior);
    batch<B> x(b, d, n), z(b, d, n), log_prior(b, n, 1), log_exact(b, n, 1);
    const random_key key{.seed = seed, .lane = random_lane::prior_sample, .step = static_cast<std::uint32_t>(level)};
    prior.sample(b, key, x.view().item_range(0, half));
    exact.sample(b, key.skip_items(static_cast<std::uint32_t>(half)), x.view().item_range(half, n - half));
    b.fill_normal(key.with_lane(random_lane::user), z.view());
    b.axpby(sigma, z.cview(), 1.0, x.view());
    prior.log_density(b, x.cview(), sigma, log_prior.flat());
    exact.log_density(b, x.cview(), sigma, log_exact.flat());
    const auto linear = prior.linearize(b, x.cview(), sigma);
    const auto mean = to_host(b, linear.mean()), jacobian = to_host(b, linear.jacobian().matrices());
    const auto lp = to_host(b, log_prior), le = to_host(b, log_exact);

    const auto count = static_cast<std::size_t>(n), dim = static_cast<std::size_t>(d);
    std::vector<double> proposal(count), target(count);  // log of (p(x_t) + p(x_t | y)) / p(x_t), and p's weights
    for (std::size_t i = 0; i < count; ++i) {
        const double ratio = le[i] - lp[i];
        proposal[i] = ratio > 0 ? ratio + std::log1p(std::exp(-ratio)) : std::log1p(std::exp(ratio));
        target[i] = ratio - proposal[i];
    }
    weighted_points out{to_host(b, x), from_logs(std::move(target)), {}};
    const double v_gaussian = projected_harmonic(p.cov_x, p.a, sigma);
    for (const covariance choice : choices) {
        std::vector<double> w(count);
        for (std::size_t i = 0; i < count; ++i) {
            double fitted = 0, v = 0;
            for (std::size_t j = 0; j < dim; ++j) fitted += p.a[j] * mean[i * dim + j];
            switch (choice) {
                case covariance::isotropic:
                    v = sigma * sigma;
                    break;
                case covariance::unit_prior:
                    v = sigma * sigma / (1 + sigma * sigma);
                    break;
                case covariance::gaussian:
                    v = v_gaussian;
                    break;
                case covariance::tweedie:
                    for (std::size_t j = 0; j < dim; ++j)
                        for (std::size_t k = 0; k < dim; ++k)
                            v += sigma * sigma * p.a[j] * jacobian[(i * dim + j) * dim + k] * p.a[k];
                    break;
                default:
                    break;
            }
            v += s.sigma_y * s.sigma_y;
            w[i] = -((p.y - fitted) * (p.y - fitted) / v + std::log(v)) / 2 - proposal[i];
        }
        out.of_choice.push_back(from_logs(std::move(w)));
    }
    return out;
}

/// What is found of one seed at one noise level.
struct finding {
    std::vector<double> divergence;  ///< over `choices`
    double marginal_error = 0;       ///< the largest of its transports: how far they are from converged
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(finding, divergence, marginal_error)

/// Debiased divergences of q(x_t | y) to p(x_t | y) at one noise level, for each of the seeds: all their transports in one
/// batch. That of p(x_t | y) to itself is common to the choices.
template <Backend B>
std::vector<finding> divergences(B& b, const settings& s, const std::vector<std::uint64_t>& seeds, std::size_t level) {
    std::vector<double> x, u, v;
    index_t problems = 0;
    for (const std::uint64_t seed : seeds) {
        const weighted_points p = weigh(b, s, problem(s, seed), seed, level);
        const auto add = [&](const std::vector<double>& from, const std::vector<double>& to) {
            x.insert(x.end(), p.x.begin(), p.x.end());
            u.insert(u.end(), from.begin(), from.end());
            v.insert(v.end(), to.begin(), to.end());
            ++problems;
        };
        add(p.target, p.target);
        for (const auto& w : p.of_choice) {
            add(p.target, w);
            add(w, w);
        }
    }
    const double scale = std::max(1.0, s.sigmas[level] * s.sigmas[level]);
    auto options = s.sinkhorn;
    if (s.scaled) options.regularization *= scale;
    if (s.annealed) options.start_regularization = 50 * scale;
    const auto points = to_backend(b, x, s.features, problems * s.points);
    const auto results = metrics::transports(b, points.cview(), u, points.cview(), v, problems, options);
    for (const auto& r : results)
        check_value("covariances", std::isfinite(r.cost), "a transport is " + std::string(to_string(r.status)));
    std::vector<finding> out(seeds.size());
    auto r = results.begin();
    for (auto& of_seed : out) {
        const auto self = r++;
        of_seed.marginal_error = self->marginal_error;
        for (std::size_t k = 0; k < choices.size(); ++k, r += 2) {
            of_seed.divergence.push_back(std::max(r[0].cost - (self->cost + r[1].cost) / 2, 1e-6));
            of_seed.marginal_error = std::max({of_seed.marginal_error, r[0].marginal_error, r[1].marginal_error});
        }
    }
    return out;
}

}  // namespace covariances
