// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include <Eigen/Dense>

#include <diem/train/ppca.hpp>

#include "support/backends.hpp"
#include "support/catch.hpp"

using namespace diem;
using namespace diem::test;
using train::ppca;

namespace {

// x = mean + sum_k scale ratio^k q_k z_k + noise z, with q_k smooth but not orthogonal.
template <Backend B>
batch<B> make_samples(B& b, index_t n, index_t samples, index_t rank, double ratio, double noise) {
    using T = scalar_t<B>;
    batch<B> z(b, rank, samples), x(b, n, samples), e(b, n, samples);
    b.fill_normal({.seed = 3}, z.view());
    b.fill_normal({.seed = 4}, e.view());
    std::vector<T> u(static_cast<std::size_t>(n * rank));
    for (index_t k = 0; k < rank; ++k)
        for (index_t j = 0; j < n; ++j)
            u[static_cast<std::size_t>(j + k * n)] = static_cast<T>(
                std::pow(ratio, static_cast<double>(k)) *
                std::cos((static_cast<double>(k) + 0.5) * (static_cast<double>(j) + 0.3) / static_cast<double>(n) * 3));
    const auto factor = to_backend(b, u, n, rank);
    b.gemm(T(1), factor.cview(), op::none, z.cview(), op::none, T(0), x.view());
    b.axpby(noise, e.cview(), 1.0, x.view());
    std::vector<T> shift(static_cast<std::size_t>(n * samples), T(0.5));
    b.axpby(1.0, to_backend(b, shift, n, samples).cview(), 1.0, x.view());
    return x;
}

template <Backend B>
Eigen::MatrixXd matrix(B& b, const_view_t<B> v) {
    const auto host = to_host(b, v);
    Eigen::MatrixXd m(v.features(), v.items());
    for (index_t i = 0; i < v.items(); ++i)
        for (index_t j = 0; j < v.features(); ++j)
            m(j, i) = static_cast<double>(host[static_cast<std::size_t>(j + i * v.features())]);
    return m;
}
template <Backend B>
Eigen::MatrixXd covariance(B& b, const train::ppca_result<B>& r) {
    const Eigen::MatrixXd u = matrix(b, r.factor.cview());
    Eigen::MatrixXd c = u * u.transpose();
    c.diagonal() += matrix(b, r.diagonal.cview()).col(0);
    return c;
}
// Average log-likelihood of N(mean, sigma) on samples with that mean and covariance c.
double log_likelihood(const Eigen::MatrixXd& sigma, const Eigen::MatrixXd& c) {
    const Eigen::LLT<Eigen::MatrixXd> llt(sigma);
    const Eigen::MatrixXd l = llt.matrixL();
    return -0.5 * llt.solve(c).trace() - l.diagonal().array().log().sum();
}

}  // namespace

TEMPLATE_TEST_CASE("ppca: subspace iteration finds what the full decomposition finds", "", DIEM_TEST_BACKENDS) {
    using B = TestType;
    using T = scalar_t<B>;
    B b = make_backend<B>();
    const double eps = static_cast<double>(std::numeric_limits<T>::epsilon());
    for (const auto& [n, samples] : {std::pair<index_t, index_t>{60, 90}, {90, 60}, {50, 50}}) {
        const auto x = make_samples(b, n, samples, 12, 0.8, 0.02);
        train::ppca_options o{.rank = 6};
        const auto exact = ppca(b, x.cview(), o);
        o.exact_below = 0;
        o.oversampling = 6;
        const auto fast = ppca(b, x.cview(), o);
        INFO("features " << n << " samples " << samples << " iterations " << fast.iterations);
        CHECK(exact.iterations == 0);
        CHECK(fast.iterations > 0);
        CHECK(fast.converged);
        const Eigen::MatrixXd c = covariance(b, exact);
        CHECK((covariance(b, fast) - c).norm() <= 1e4 * eps * c.norm());
        for (std::size_t k = 0; k < 6; ++k)
            CHECK(std::abs(fast.eigenvalues[k] - exact.eigenvalues[k]) <= 100 * eps * exact.eigenvalues.back());
        CHECK(std::is_sorted(exact.eigenvalues.begin(), exact.eigenvalues.end()));
    }
}

TEMPLATE_TEST_CASE("ppca of a covariance equals ppca of the samples", "", DIEM_TEST_BACKENDS) {
    using B = TestType;
    using T = scalar_t<B>;
    B b = make_backend<B>();
    const double eps = static_cast<double>(std::numeric_limits<T>::epsilon());
    const index_t n = 20, samples = 50;
    const auto x = make_samples(b, n, samples, 8, 0.7, 0.1);
    const Eigen::MatrixXd xs = matrix(b, x.cview());
    const Eigen::VectorXd mean = xs.rowwise().mean();
    const Eigen::MatrixXd centred = xs.colwise() - mean;
    const Eigen::MatrixXd c = centred * centred.transpose() / static_cast<double>(samples);
    std::vector<T> host_c(static_cast<std::size_t>(n * n)), host_mean(static_cast<std::size_t>(n));
    for (index_t j = 0; j < n; ++j) host_mean[static_cast<std::size_t>(j)] = static_cast<T>(mean(j));
    for (index_t i = 0; i < n; ++i)
        for (index_t j = 0; j < n; ++j) host_c[static_cast<std::size_t>(j + i * n)] = static_cast<T>(c(j, i));
    for (const index_t rank : {0, 1, 5, 20}) {
        for (const auto rest : {train::rest::isotropic, train::rest::diagonal}) {
            for (const index_t exact_below : {0, 512}) {
                if (exact_below == 0 && rank > 1) continue;
                const train::ppca_options o{.rank = rank, .rest = rest, .exact_below = exact_below};
                auto given = to_backend(b, host_c, n, n);
                const auto m = to_backend(b, host_mean, n, 1);
                const auto of_covariance = train::ppca_of_covariance(b, m.cview(), given.view(), o);
                const auto of_samples = ppca(b, x.cview(), o);
                INFO("rank " << rank << " rest " << static_cast<int>(rest));
                const Eigen::MatrixXd got = covariance(b, of_covariance), expected = covariance(b, of_samples);
                CHECK((got - expected).norm() <= 1e4 * eps * c.norm());
                CHECK((matrix(b, of_samples.mean.cview()).col(0) - mean).norm() <= 100 * eps * mean.norm());
                if (rank == 20 && rest == train::rest::isotropic)
                    CHECK((got - c).norm() <= 1e3 * eps * c.norm() + 1e-5);
            }
        }
    }
}

TEMPLATE_TEST_CASE("ppca: a diagonal rest is likelier than an isotropic one, and each update helps", "",
                   eigen_backend<double>, opaque_backend<double>) {
    using B = TestType;
    B b = make_backend<B>();
    const index_t n = 12, samples = 200;
    auto x = make_samples(b, n, samples, 3, 0.9, 0.0);
    {  // noise whose variance differs from feature to feature
        batch<B> e(b, n, samples);
        b.fill_normal({.seed = 9}, e.view());
        auto host = to_host(b, e);
        for (std::size_t k = 0; k < host.size(); ++k)
            host[k] *= 0.05 * static_cast<double>(1 + k % static_cast<std::size_t>(n));
        b.axpby(1.0, to_backend(b, host, n, samples).cview(), 1.0, x.view());
    }
    const Eigen::MatrixXd xs = matrix(b, x.cview());
    const Eigen::MatrixXd centred = xs.colwise() - xs.rowwise().mean();
    const Eigen::MatrixXd c = centred * centred.transpose() / static_cast<double>(samples);
    const auto isotropic = ppca(b, x.cview(), {.rank = 3});
    train::ppca_options o{.rank = 3, .rest = train::rest::diagonal, .rest_iterations = 1};
    auto current = ppca(b, x.cview(), o);
    double last = log_likelihood(covariance(b, current), c);
    for (int k = 0; k < 200; ++k) {
        current = ppca(b, x.cview(), o, &current);
        const double now = log_likelihood(covariance(b, current), c);
        REQUIRE(now >= last - 1e-11 * std::abs(last));
        last = now;
    }
    CHECK(last >= log_likelihood(covariance(b, isotropic), c) + 0.1);
    const auto d = matrix(b, current.diagonal.cview());
    for (index_t j = 0; j < n; ++j) CHECK(std::abs(std::sqrt(d(j)) / (0.05 * static_cast<double>(1 + j)) - 1) <= 0.35);
}

TEMPLATE_TEST_CASE("ppca: factor analysis finds the scale of its factors at once, also where features fix them", "",
                   DIEM_TEST_BACKENDS) {
    using B = TestType;
    using T = scalar_t<B>;
    B b = make_backend<B>();
    // 300 nearly exact features and 2 factors: what is left open of a factor is 1e-5 of its variance, so that updates which correct
    // the scale by that share alone would need 1e5.
    const index_t n = 300, samples = 100;
    auto x = make_samples(b, n, samples, 2, 0.9, 0.05);
    train::ppca_options o{.rank = 2, .rest = train::rest::diagonal};
    auto start = ppca(b, x.cview(), o);
    b.axpby(0.0, start.factor.cview(), 10.0, start.factor.view());
    o.rest_iterations = 3;
    const auto found = ppca(b, x.cview(), o, &start);
    const Eigen::MatrixXd xs = matrix(b, x.cview());
    const Eigen::MatrixXd centred = xs.colwise() - xs.rowwise().mean();
    const Eigen::VectorXd variance = centred.rowwise().squaredNorm() / static_cast<double>(samples),
                          total = covariance(b, found).diagonal();
    for (index_t j = 0; j < n; ++j)
        CHECK(std::abs(total(j) / variance(j) - 1) <= 64 * std::numeric_limits<T>::epsilon());
}

TEST_CASE("ppca: the isotropic result is the likelihood's maximum") {
    eigen_backend<double> b(2);
    const auto x = make_samples(b, 10, 300, 4, 0.8, 0.2);
    const auto r = ppca(b, x.cview(), {.rank = 3});
    const Eigen::MatrixXd xs = matrix(b, x.cview());
    const Eigen::MatrixXd centred = xs.colwise() - xs.rowwise().mean();
    const Eigen::MatrixXd c = centred * centred.transpose() / 300.0;
    const double best = log_likelihood(covariance(b, r), c);
    const Eigen::MatrixXd u = matrix(b, r.factor.cview());
    const double d = matrix(b, r.diagonal.cview())(0);
    for (std::uint32_t trial = 0; trial < 50; ++trial) {
        Eigen::MatrixXd v = u;
        for (index_t k = 0; k < v.size(); ++k)
            v.data()[k] += 0.02 * normal<double>({.seed = 5}, trial, static_cast<std::uint32_t>(k));
        const double e = d * std::exp(0.05 * normal<double>({.seed = 6}, trial, 0));
        Eigen::MatrixXd other = v * v.transpose();
        other.diagonal().array() += e;
        CHECK(log_likelihood(other, c) <= best);
    }
}

TEST_CASE("ppca: at full rank the model is the covariance, whatever it starts from") {
    using B = eigen_backend<float>;
    B b;
    constexpr index_t n = 32;
    // The start varies in four directions alone: to updates from there, what C is in the others is a rounding error.
    const auto x = make_samples(b, n, 400, 6, 0.9, 0.3), other = make_samples(b, n, 400, 4, 0.9, 1e-5);
    const auto first = ppca(b, other.cview(), {.rank = n, .rest = train::rest::diagonal});
    const auto r = ppca(b, x.cview(), {.rank = n, .rest = train::rest::diagonal}, &first);
    Eigen::MatrixXd values = matrix(b, x.cview());
    values.colwise() -= values.rowwise().mean().eval();
    const Eigen::MatrixXd c = values * values.transpose() / 400;
    CHECK((covariance(b, r) - c).norm() <= 1e-5 * c.norm());
}

TEST_CASE("ppca: edges") {
    eigen_backend<float> b(2);
    SECTION("one sample") {
        const auto x = to_backend(b, std::vector<float>{1, 2, 3}, 3, 1);
        const auto r = ppca(b, x.cview(), {.rank = 2});
        CHECK(to_host(b, r.mean) == std::vector<float>{1, 2, 3});
        CHECK(to_host(b, r.diagonal) == std::vector<float>{0, 0, 0});
        CHECK(to_host(b, r.factor) == std::vector<float>(6, 0));
        CHECK(r.eigenvalues == std::vector<double>{0, 0});
    }
    SECTION("equal samples under subspace iteration") {
        const auto x = to_backend(b, std::vector<float>(40, 2), 10, 4);
        const auto r = ppca(b, x.cview(), {.rank = 0, .exact_below = 0});
        CHECK(to_host(b, r.diagonal) == std::vector<float>(10, 0));
    }
    SECTION("rank above the number of samples") {
        const auto x = make_samples(b, 9, 3, 2, 0.5, 0.1);
        const auto r = ppca(b, x.cview(), {.rank = 6});
        for (const float v : to_host(b, r.factor)) CHECK(std::isfinite(v));
        CHECK(r.eigenvalues.size() == 6);
    }
    SECTION("refusals") {
        const auto x = make_samples(b, 4, 8, 2, 0.5, 0.1);
        CHECK_THROWS_AS(ppca(b, x.cview(), {.rank = 5}), value_error);
        CHECK_THROWS_AS(ppca(b, x.cview(), {.rank = -1}), value_error);
        CHECK_THROWS_AS(ppca(b, x.cview().item_range(0, 0), {.rank = 2}), value_error);
        CHECK_THROWS_AS(ppca(b, x.cview(), {.rank = 2, .max_iterations = 0}), value_error);
        auto bad = to_host(b, x);
        bad[5] = std::numeric_limits<float>::quiet_NaN();
        const auto broken = to_backend(b, bad, 4, 8);
        CHECK_THROWS_AS(ppca(b, broken.cview(), {.rank = 2}), value_error);
        batch<eigen_backend<float>> c(b, 4, 3);
        CHECK_THROWS_AS(train::ppca_of_covariance(b, x.cview().item_range(0, 1), c.view(), {.rank = 2}), shape_error);
    }
}

TEST_CASE("ppca does not depend on the number of threads") {
    eigen_backend<float> one(1), two(2);
    const auto x1 = make_samples(one, 200, 150, 40, 0.95, 0.05);
    const auto x2 = to_backend(two, to_host(one, x1), 200, 150);
    for (const index_t exact_below : {0, 512}) {
        const train::ppca_options o{.rank = 16, .exact_below = exact_below};
        const bool same =
            to_host(one, ppca(one, x1.cview(), o).factor) == to_host(two, ppca(two, x2.cview(), o).factor);
        CHECK(same);
    }
}
