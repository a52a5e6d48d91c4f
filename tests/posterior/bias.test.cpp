// SPDX-License-Identifier: Apache-2.0

// What truncated solves leave of the posterior, where all else is exact.
#include <cmath>
#include <cstddef>
#include <utility>
#include <vector>

#include <Eigen/Dense>

#include <diem/diffusion/gaussian.hpp>
#include <diem/diffusion/sampler.hpp>
#include <diem/diffusion/schedule.hpp>
#include <diem/linop/covariance.hpp>
#include <diem/linop/mask.hpp>
#include <diem/posterior/mmps.hpp>

#include "support/backends.hpp"
#include "support/catch.hpp"
#include "support/compare.hpp"

using namespace diem;

TEST_CASE("solves to convergence where V is Gaussian: one plain iteration is biased even with an exact prior",
          "[posterior]") {
    using B = test::main_backend<float>;
    B b = test::make_backend<B>();
    const index_t d = 16, n = 4096;
    const double sigma_y = 0.01;
    batch<B> centre(b, d, 1), rest(b, d, 1), factor(b, d, 4);
    b.fill_normal({1, 0, 0, 0}, centre.view());
    b.fill_uniform({1, 0, 1, 0}, rest.view());
    b.fill_normal({1, 0, 2, 0}, factor.view());
    diffusion::gaussian<B> prior(b, std::move(centre), std::move(rest), std::move(factor));
    // One observation, of which every third value and a few more are seen.
    std::vector<float> keep(static_cast<std::size_t>(d)), seen(static_cast<std::size_t>(d * n));
    for (std::size_t j = 0; j < keep.size(); ++j) keep[j] = j % 3 == 0 || j == 4 ? 1.0F : 0.0F;
    batch<B> truth(b, d, 1), e(b, d, 1);
    prior.sample(b, {3, random_lane::prior_sample, 0, 0}, truth.view());
    b.fill_normal({3, random_lane::observation, 0, 0}, e.view());
    const auto x = to_host(b, truth), noise = to_host(b, e);
    for (std::size_t i = 0; i < seen.size(); ++i) {
        const std::size_t j = i % keep.size();
        seen[i] = keep[j] * (x[j] + static_cast<float>(sigma_y) * noise[j]);
    }
    const auto y = to_backend(b, seen, d, n), mask = to_backend(b, keep, d, 1);
    const auto observed = posterior::observe(b, y.cview(), linop::mask<B>::shared(mask.flat()),
                                             linop::isotropic_covariance(d, sigma_y * sigma_y));
    // Mean and variances in closed form.
    const auto host = [&](const auto& v, index_t columns) {
        const auto values = to_host(b, v);
        return Eigen::MatrixXd(Eigen::Map<const Eigen::MatrixXf>(values.data(), d, columns).template cast<double>());
    };
    const Eigen::MatrixXd u = host(prior.u(), 4), k = host(mask, 1), mu = host(prior.mu(), 1);
    Eigen::MatrixXd cov = u * u.transpose();
    cov.diagonal() += host(prior.d(), 1).col(0);
    const Eigen::MatrixXd a = k.col(0).asDiagonal(),
                          s = a * cov * a + sigma_y * sigma_y * Eigen::MatrixXd::Identity(d, d),
                          gain = cov * a * s.inverse();
    const Eigen::VectorXd mean =
        mu + gain * (Eigen::Map<const Eigen::VectorXf>(seen.data(), d).cast<double>() - a * mu);
    const Eigen::VectorXd variance = (cov - gain * a * cov).diagonal();

    // Over hidden values: the square of the bias by the variance, and the variance by the exact one.
    const auto errors = [&](const posterior::mmps_options& options) {
        posterior::mmps p(b, prior, observed, options, &prior);
        batch<B> drawn(b, d, n);
        diffusion::sample(b, p, diffusion::ve_log_linear(5e-3, 100), diffusion::dpm_solver_2m_sde{},
                          diffusion::sample_options<B>{.steps = 64}, random_key{.seed = 8}, drawn.view());
        const Eigen::MatrixXd v = host(drawn, n);
        double bias = 0, ratio = 0;
        int hidden = 0;
        for (index_t j = 0; j < d; ++j) {
            if (keep[static_cast<std::size_t>(j)] != 0) continue;
            const double m = v.row(j).mean();
            bias += std::pow(m - mean(j), 2) / variance(j);
            ratio += (v.row(j).array() - m).square().mean() / variance(j);
            ++hidden;
        }
        return std::pair(bias / hidden, ratio / hidden);
    };
    const posterior::mmps_options plain{.cov_x = posterior::covariance::gaussian,
                                        .solver = posterior::solver_choice::fom};
    auto converged = plain;
    converged.converge_gaussian = true;
    const auto [plain_bias, plain_ratio] = errors(plain);
    const auto [bias, ratio] = errors(converged);
    CAPTURE(plain_bias, plain_ratio, bias, ratio);
    CHECK(plain_bias >= 0.02);
    CHECK(plain_ratio >= 1.1);
    CHECK(bias <= 0.002);
    CHECK(std::abs(ratio - 1) <= 0.03);
}
