// SPDX-License-Identifier: Apache-2.0

// Gaussians in float32 with variances far apart: what the algebra is done in float64 for. The reference is the same code on the
// float64 backend with the same numbers, held to closed forms by other tests.
#include <algorithm>
#include <cmath>
#include <vector>

#include <diem/diffusion/gaussian.hpp>
#include <diem/linop/covariance.hpp>
#include <diem/linop/low_rank_covariance.hpp>
#include <diem/linop/mask.hpp>
#include <diem/linop/subsample.hpp>
#include <diem/posterior/gaussian_conditional.hpp>
#include <diem/posterior/gaussian_dense.hpp>
#include <diem/posterior/observation.hpp>
#include <diem/posterior/preconditioner.hpp>

#include "support/backends.hpp"
#include "support/catch.hpp"
#include "support/compare.hpp"

using namespace diem;
using namespace diem::test;

namespace {

using single = main_backend<float>;
using wide = main_backend<double>;

/// Numbers that both backends hold exactly.
std::vector<float> normals(index_t n, index_t items, std::uint32_t step, double scale = 1) {
    std::vector<float> out;
    for (index_t i = 0; i < items; ++i)
        for (index_t j = 0; j < n; ++j)
            out.push_back(
                static_cast<float>(scale * normal<double>({.seed = 9, .step = step}, static_cast<std::uint32_t>(i),
                                                          static_cast<std::uint32_t>(j))));
    return out;
}
template <Backend B>
batch<B> put(B& b, const std::vector<float>& v, index_t n, index_t items) {
    return to_backend(b, std::vector<scalar_t<B>>(v.begin(), v.end()), n, items);
}
/// D features, variances `leading` 0.5^k along r columns, `rest` beside them.
template <Backend B>
diffusion::gaussian<B> make_prior(B& b, index_t n, index_t r, double leading, double rest) {
    auto u = normals(n, r, 1);
    for (index_t k = 0; k < r; ++k) {
        double square = 0;
        for (index_t j = 0; j < n; ++j) square += std::pow(double(u[std::size_t(k * n + j)]), 2);
        const double scale = std::sqrt(leading * std::pow(0.5, double(k)) / square);
        for (index_t j = 0; j < n; ++j) u[std::size_t(k * n + j)] *= static_cast<float>(scale);
    }
    return {b, put(b, normals(n, 1, 2), n, 1), put(b, std::vector<float>(std::size_t(n), float(rest)), n, 1),
            put(b, u, n, r)};
}
template <class T>
std::vector<double> doubles(const std::vector<T>& v) {
    return {v.begin(), v.end()};
}

struct moments {
    std::vector<double> mean, covariance, evidence;
};
template <class Conditional, Backend B, class Observation>
moments moments_of(B& b, const diffusion::gaussian<B>& prior, const Observation& observed) {
    const index_t n = prior.features(), items = observed.items();
    Conditional conditional(b, prior);
    batch<B> mean(b, n, items), c(b, n, n);
    batch<B, double> evidence(b, items, 1);
    b.fill(c.view(), scalar_t<B>(0));
    conditional.condition(b, observed, 0, mean.view(), evidence.flat());
    conditional.add_covariances(b, to_backend(b, std::vector<scalar_t<B>>(std::size_t(items), 1), items, 1).flat(),
                                c.view());
    return {doubles(to_host(b, mean)), doubles(to_host(b, c)), to_host(b, evidence)};
}

}  // namespace

TEST_CASE("float32: an exact E-step where the variances lie 1e9 apart") {
    const index_t n = 64, items = 5;
    const double sigma_y = 1e-3;
    const auto run = [&](auto& b, auto dense) {
        using B = std::remove_cvref_t<decltype(b)>;
        const auto prior = make_prior(b, n, 4, 1000, 1e-6);
        auto host = std::vector<float>(std::size_t(n * items), 1);
        for (std::size_t k = 0; k < host.size(); k += 3) host[k] = 0;
        const auto mask = put(b, host, n, items);
        // y of x = mu + u z + 1e-3 z', masked, with noise: made in float64, then rounded.
        wide w = make_backend<wide>(1);
        const auto truth = make_prior(w, n, 4, 1000, 1e-6);
        batch<wide> x(w, n, items);
        truth.sample(w, {.seed = 3}, x.view());
        const auto noise = normals(n, items, 4, sigma_y);
        std::vector<float> y;
        const auto xs = to_host(w, x);
        for (std::size_t k = 0; k < xs.size(); ++k)
            y.push_back(static_cast<float>(xs[k] * double(host[k]) + double(noise[k])));
        const auto ys = put(b, y, n, items);
        const auto observed = posterior::observe(b, ys.cview(), linop::mask<B>::per_item(mask.view()),
                                                 linop::isotropic_covariance(n, sigma_y * sigma_y));
        if constexpr (decltype(dense)::value)
            return moments_of<posterior::dense_conditional<B>>(b, prior, observed);
        else
            return moments_of<posterior::elementwise_conditional<B>>(b, prior, observed);
    };
    single b = make_backend<single>(2);
    wide w = make_backend<wide>(2);
    const auto expected = run(w, std::false_type{});
    for (const auto& got : {run(b, std::false_type{}), run(b, std::true_type{})}) {
        // y and mu of size 30 are rounded to 2e-6, a 500th of sigma_y.
        double worst = 0;
        for (std::size_t k = 0; k < got.mean.size(); ++k)
            worst = std::max(worst, std::abs(got.mean[k] - expected.mean[k]));
        CHECK(worst <= 1e-4);
        double trace = 0, expected_trace = 0;
        for (std::size_t j = 0; j < std::size_t(n); ++j) {
            trace += got.covariance[j * (std::size_t(n) + 1)];
            expected_trace += expected.covariance[j * (std::size_t(n) + 1)];
            CHECK(got.covariance[j * (std::size_t(n) + 1)] > 0);
        }
        CHECK(std::abs(trace / expected_trace - 1) <= 1e-3);
        CHECK(relative_error(got.covariance, expected.covariance) <= 1e-3);
        for (std::size_t i = 0; i < got.evidence.size(); ++i)
            CHECK(std::abs(got.evidence[i] - expected.evidence[i]) <= 1);
    }
}

TEST_CASE("float32: the preconditioner inverts what it stands for") {
    const index_t n = 64, items = 3, r = 32;
    const auto run = [&](auto& b) {
        using B = std::remove_cvref_t<decltype(b)>;
        const auto prior = make_prior(b, n, r, 100, 1e-6);
        auto host = std::vector<float>(std::size_t(n * items), 1);
        for (std::size_t k = 0; k < host.size(); k += 4) host[k] = 0;
        const auto mask = put(b, host, n, items), p = put(b, normals(n, items, 7), n, items);
        const posterior::gaussian_preconditioner<B> m(b, linop::mask<B>::per_item(mask.view()),
                                                      linop::isotropic_covariance(n, 1e-6), prior.harmonic(b, 10.0),
                                                      items);
        batch<B> q(b, n, items);
        m.apply(b, p.cview(), q.view());
        return doubles(to_host(b, q));
    };
    single b = make_backend<single>(2);
    wide w = make_backend<wide>(2);
    // V itself is rounded to float32, which moves M_0^-1 by no more than eps times what its small variances weigh.
    CHECK(relative_error(run(b), run(w)) <= 1e-3);
}

TEST_CASE("float32: V of nearly parallel columns") {
    const index_t n = 16;
    for (const double tilt : {1e-1, 1e-3}) {
        const auto diagonal = [&](auto& b) {
            using B = std::remove_cvref_t<decltype(b)>;
            using T = scalar_t<B>;
            std::vector<float> u;
            for (const double sign : {1.0, -1.0})
                for (index_t j = 0; j < n; ++j) u.push_back(float(3 + sign * tilt * (j % 2 ? 1 : -1)));
            const diffusion::gaussian<B> prior(b, put(b, std::vector<float>(std::size_t(n), 0), n, 1),
                                               put(b, std::vector<float>(std::size_t(n), 1e-6F), n, 1),
                                               put(b, u, n, 2));
            const auto v = prior.harmonic(b, 1e-3);
            batch<B> unit(b, n, n), out(b, n, n);
            b.fill(unit.view(), T(0));
            b.launch(1, n * n, functors::add_identity{n}, unit.view().data());
            v.apply(b, unit.cview(), out.view());
            return doubles(to_host(b, out));
        };
        single b = make_backend<single>(2);
        wide w = make_backend<wide>(2);
        CHECK(relative_error(diagonal(b), diagonal(w)) <= tolerance<float>(50));
    }
}

TEST_CASE("float32: the norm of a residual under diagonal and low rank") {
    const index_t n = 256, items = 200;
    single b = make_backend<single>(2);
    for (const double sigma : {1e-2, 1e-3}) {
        const auto d = put(b, std::vector<float>(std::size_t(n), float(sigma * sigma)), n, 1);
        const auto u = put(b, std::vector<float>(std::size_t(n), 10), n, 1);
        const auto covariance = linop::low_rank_covariance<single>::shared(b, d, u);
        batch<single> r(b, n, items), y(b, n, items);
        batch<single, double> norm(b, items, 1);
        covariance.sample(b, {.seed = 5}, r.view());
        linop::mahalanobis(b, covariance, r.cview(), norm.flat());
        double mean = 0;
        for (const double v : to_host(b, norm)) {
            CHECK(v >= 0.5 * static_cast<double>(n));  // n +- sqrt(2 n)
            mean += v / static_cast<double>(n * items);
        }
        CHECK(std::abs(mean - 1) <= 5 * std::sqrt(2.0 / static_cast<double>(n * items)) + 1e-3);
        // Sigma^-1 r is right too, if no basis for that norm: entries of 1 / sigma that cancel against entries of 10 in r.
        covariance.apply_inverse(b, r.cview(), y.view());
        wide w = make_backend<wide>(2);
        const auto in64 = to_backend(w, doubles(to_host(b, r)), n, items);
        batch<wide> expected(w, n, items);
        linop::low_rank_covariance<wide>::shared(w, to_backend(w, doubles(to_host(b, d)), n, 1),
                                                 to_backend(w, doubles(to_host(b, u)), n, 1))
            .apply_inverse(w, in64.cview(), expected.view());
        CHECK(relative_error(doubles(to_host(b, y)), to_host(w, expected)) <= tolerance<float>(4));
    }
}

TEST_CASE("sums of covariances are linear in the weights of items") {
    const index_t n = 12, items = 3;
    const auto run = [&](auto& b, auto dense, index_t rank) {
        using B = std::remove_cvref_t<decltype(b)>;
        using conditional_type = std::conditional_t<decltype(dense)::value, posterior::dense_conditional<B>,
                                                    posterior::elementwise_conditional<B>>;
        const auto prior = make_prior(b, n, rank, 2, 0.3);
        std::vector<float> seen(std::size_t(n * items), 1);
        for (std::size_t k = 0; k < seen.size(); k += 2 + k / std::size_t(n)) seen[k] = 0;
        const auto mask = put(b, seen, n, items);
        batch<B> y(b, n, items), mean(b, n, items);
        batch<B, double> evidence(b, items, 1);
        b.fill(y.view(), scalar_t<B>(0.5));
        const auto observed = posterior::observe(b, y.cview(), linop::mask<B>::per_item(mask.view()),
                                                 linop::isotropic_covariance(n, 0.04));
        conditional_type conditional(b, prior);
        conditional.condition(b, observed, 0, mean.view(), evidence.flat());
        const auto sum = [&](const std::vector<float>& weight) {
            batch<B> c(b, n, n);
            b.fill(c.view(), scalar_t<B>(0));
            const auto w = put(b, weight, items, 1);
            conditional.add_covariances(b, w.flat(), c.view());
            return doubles(to_host(b, c));
        };
        const auto all = sum({2, 0, 0.25F}), first = sum({1, 0, 0}), last = sum({0, 0, 1});
        std::vector<double> expected;
        for (std::size_t k = 0; k < all.size(); ++k) expected.push_back(2 * first[k] + last[k] / 4);
        CHECK(relative_error(all, expected) <= 1e-5);
        CHECK(relative_error(first, last) > 0.01);
    };
    for (const index_t rank : {0, 3}) {
        auto b = make_backend<single>();
        run(b, std::false_type(), rank);
        run(b, std::true_type(), rank);
    }
}
