// SPDX-License-Identifier: Apache-2.0

// The whole idea on one page. A correlated Gaussian in five dimensions is never seen: each observation shows two numbers,
// random projections of one draw, with noise. EM recovers its mean and covariance.

#include <cmath>
#include <iostream>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include <diem/backend/eigen.hpp>
#include <diem/linop/covariance.hpp>
#include <diem/linop/dense.hpp>
#include <diem/posterior/observation.hpp>
#include <diem/prior/gaussian_fit.hpp>

#include "support/report.hpp"

using namespace diem;
using backend_type = eigen_backend<double>;

namespace {

constexpr index_t features = 5, rows = 2;

/// mu = (1, -1, 0.5, 0, 2); Sigma_jk = 0.8^|j - k|, as u u' with a lower triangular u.
diffusion::gaussian<backend_type> make_truth(backend_type& b) {
    std::vector<double> u(features * features);
    for (index_t j = 0; j < features; ++j)
        for (index_t k = 0; k <= j; ++k)
            u[static_cast<std::size_t>(j + k * features)] =
                std::pow(0.8, static_cast<double>(j - k)) * (k == 0 ? 1.0 : std::sqrt(1 - 0.64));
    return {b, to_backend(b, std::vector<double>{1, -1, 0.5, 0, 2}, features, 1),
            to_backend(b, std::vector<double>(features, 0.0), features, 1), to_backend(b, u, features, features)};
}

/// A random 2 x 5 matrix for every item, its rows of length one.
batch<backend_type> random_projections(backend_type& b, index_t items, std::uint64_t seed) {
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

std::vector<double> covariance(backend_type& b, const diffusion::gaussian<backend_type>& g) {
    batch<backend_type> c(b, features, features);
    b.gemm(1.0, g.u(), op::none, g.u(), op::transpose, 0.0, c.view());
    auto host = to_host(b, c);
    const auto d = to_host(b, g.d());
    for (std::size_t j = 0; j < d.size(); ++j) host[j * d.size() + j] += d[j];
    return host;
}

struct print_evidence {
    index_t every;
    void lap_end(const em::lap_record& r, const prior::gaussian_moments<backend_type>& s,
                 const diffusion::gaussian<backend_type>&) const {
        if (r.lap % every == 0)
            std::cout << "lap " << r.lap << ": log p(y) per observation "
                      << support::number(r.objective / static_cast<double>(s.items), 5) << '\n';
    }
};

}  // namespace

int main(int argc, char** argv) {
    CLI::App app("EM of a toy Gaussian from random projections");
    index_t items = 8192, laps = 200;
    int threads = 0;
    std::uint64_t seed = 0;
    app.add_option("--items", items, "observations")->check(CLI::PositiveNumber);
    app.add_option("--laps", laps, "most EM iterations")->check(CLI::PositiveNumber);
    app.add_option("--threads", threads, "0: one per core");
    app.add_option("--seed", seed, "of all random numbers");
    CLI11_PARSE(app, argc, argv);

    backend_type b(threads);
    const auto truth = make_truth(b);

    // The observations: y = A x + e, another A for every item.
    const linop::isotropic_covariance noise(rows, 0.1 * 0.1);
    const auto a = linop::dense<backend_type>::per_item(random_projections(b, items, seed + 1), rows, features);
    batch<backend_type> x(b, features, items), y(b, rows, items);
    truth.sample(b, {.seed = seed, .lane = random_lane::prior_sample}, x.view());
    posterior::simulate(b, a, noise, x.cview(), {.seed = seed, .lane = random_lane::observation}, y.view());

    // EM: posterior moments given the current prior, then probabilistic PCA, here of full rank.
    const auto observed = posterior::observe(b, y.cview(), a, noise);
    const auto result = prior::fit_gaussian(b, prior::isotropic_gaussian(b, features), observed,
                                            {.fit = {.max_laps = laps, .tolerance = 1e-7}, .ppca = {.rank = features}},
                                            print_evidence{20});
    std::cout << result.laps << " laps, " << em::to_string(result.reason) << "; log p(y) per observation: learned "
              << support::number(prior::log_evidence(b, result.prior, observed) / static_cast<double>(items), 5)
              << ", truth " << support::number(prior::log_evidence(b, truth, observed) / static_cast<double>(items), 5)
              << "\n\n";

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
    return 0;
}
