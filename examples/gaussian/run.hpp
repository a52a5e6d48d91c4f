// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iostream>
#include <string>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/linop/covariance.hpp>
#include <diem/linop/dense.hpp>
#include <diem/posterior/observation.hpp>
#include <diem/prior/gaussian_fit.hpp>

#include "gaussian/program.hpp"
#include "support/report.hpp"
#include "support/terminal.hpp"

namespace toy {

using namespace diem;

inline constexpr index_t features = 5, rows = 2;

/// mu = (1, -1, 0.5, 0, 2); Sigma_jk = 0.8^|j - k|, as u u' with a lower triangular u.
template <Backend B>
diffusion::gaussian<B> make_truth(B& b) {
    std::vector<double> u(features * features);
    for (index_t j = 0; j < features; ++j)
        for (index_t k = 0; k <= j; ++k)
            u[static_cast<std::size_t>(j + k * features)] =
                std::pow(0.8, static_cast<double>(j - k)) * (k == 0 ? 1.0 : std::sqrt(1 - 0.64));
    return {b, to_backend(b, std::vector<double>{1, -1, 0.5, 0, 2}, features, 1),
            to_backend(b, std::vector<double>(features, 0.0), features, 1), to_backend(b, u, features, features)};
}

/// A random 2 x 5 matrix for every item, its rows of length one.
template <Backend B>
batch<B> random_projections(B& b, index_t items, std::uint64_t seed) {
    std::vector<double> a(static_cast<std::size_t>(rows * features * items));
    for (index_t i = 0; i < items; ++i)
        for (index_t r = 0; r < rows; ++r) {
            double* row = a.data() + i * rows * features + r;
            double norm = 0;
            for (index_t k = 0; k < features; ++k) {
                row[k * rows] = normal<double>({.seed = seed}, static_cast<std::uint32_t>(i),
                                               static_cast<std::uint32_t>(r * features + k));
                norm += row[k * rows] * row[k * rows];
            }
            for (index_t k = 0; k < features; ++k) row[k * rows] /= std::sqrt(norm);
        }
    return to_backend(b, a, rows * features, items);
}

template <Backend B>
std::vector<double> covariance(B& b, const diffusion::gaussian<B>& g) {
    batch<B> c(b, features, features);
    b.gemm(1.0, g.u(), op::none, g.u(), op::transpose, 0.0, c.view());
    auto host = to_host(b, c);
    const auto d = to_host(b, g.d());
    for (std::size_t j = 0; j < d.size(); ++j) host[j * d.size() + j] += d[j];
    return host;
}

template <Backend B>
struct print_evidence {
    index_t every;
    void lap_end(const em::lap_record& r, const prior::gaussian_moments<B>& s, const diffusion::gaussian<B>&) const {
        if (r.lap % every == 0)
            std::cout << "lap " << r.lap << ": log p(y) per observation "
                      << support::number(r.objective / static_cast<double>(s.items), 5) << '\n';
    }
};

template <Backend B>
int run(B& b, const program_options& o) {
    const auto truth = make_truth(b);

    // The observations: y = A x + e, another A for every item.
    const linop::isotropic_covariance noise(rows, 0.1 * 0.1);
    const auto a = linop::dense<B>::per_item(random_projections(b, o.items, o.seed + 1), rows, features);
    batch<B> x(b, features, o.items), y(b, rows, o.items);
    truth.sample(b, {.seed = o.seed, .lane = random_lane::prior_sample}, x.view());
    posterior::simulate(b, a, noise, x.cview(), {.seed = o.seed, .lane = random_lane::observation}, y.view());

    // EM: posterior moments given the current prior, then probabilistic PCA, here of full rank.
    const auto observed = posterior::observe(b, y.cview(), a, noise);
    const auto result = prior::fit_gaussian(
        b, prior::isotropic_gaussian(b, features), observed,
        {.fit = {.max_laps = o.laps, .tolerance = 1e-7}, .ppca = {.rank = features}}, print_evidence<B>{20});
    std::cout << result.laps << " laps, " << em::to_string(result.reason) << "; log p(y) per observation: learned "
              << support::number(prior::log_evidence(b, result.prior, observed) / static_cast<double>(o.items), 5)
              << ", truth "
              << support::number(prior::log_evidence(b, truth, observed) / static_cast<double>(o.items), 5) << "\n\n";

    const auto mu = to_host(b, result.prior.mu()), mu_true = to_host(b, truth.mu());
    const auto c = covariance(b, result.prior), c_true = covariance(b, truth);
    std::vector<std::vector<std::string>> table;
    double worst = 0;
    const auto add = [&](const std::string& name, double learned, double expected) {
        worst = std::max(worst, std::abs(learned - expected));
        table.push_back(
            {name, support::number(expected, 3), support::number(learned, 3), support::number(learned - expected, 3)});
    };
    for (std::size_t j = 0; j < mu.size(); ++j) add("mean " + std::to_string(j), mu[j], mu_true[j]);
    for (std::size_t j = 0; j < mu.size(); ++j)
        for (std::size_t k = 0; k <= j; ++k)
            add("covariance " + std::to_string(j) + " " + std::to_string(k), c[j * mu.size() + k],
                c_true[j * mu.size() + k]);
    support::print_table(std::cout, {"", "truth", "learned", "difference"}, table);
    std::cout << "\nlargest difference " << support::number(worst, 3) << '\n';
    support::tell({{"program", "gaussian"},
                   {"laps", result.laps},
                   {"reason", em::to_string(result.reason)},
                   {"largest_difference", worst}});
    return 0;
}

}  // namespace toy
