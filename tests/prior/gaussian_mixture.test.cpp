// SPDX-License-Identifier: Apache-2.0
// A mixture of Gaussians learned from observations, and draws from p(x | y) under it.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include <diem/diffusion/mixture.hpp>
#include <diem/linop/covariance.hpp>
#include <diem/linop/dense.hpp>
#include <diem/linop/hartley.hpp>
#include <diem/linop/mask.hpp>
#include <diem/posterior/observation.hpp>
#include <diem/prior/gaussian_fit.hpp>
#include <diem/prior/gaussian_mixture.hpp>
#include <diem/prior/mixture_draws.hpp>

#include "support/backends.hpp"
#include "support/catch.hpp"
#include "support/compare.hpp"

using namespace diem;

namespace {

constexpr index_t features = 4;
const linop::isotropic_covariance noise(features, 0.04);

std::size_t size(index_t n) { return static_cast<std::size_t>(n); }

/// Three Gaussians 0.1 I + u u'.
struct three {
    std::vector<double> weight{0.5, 0.3, 0.2};
    std::vector<double> mean{1, 1, -1, 0, -1, 0.5, 1, 1, 0, -1, 0.5, -1};
    std::vector<double> u{0.5, 0.2, 0, -0.3, 0, 0.6, -0.4, 0, 0.2, -0.2, 0.2, 0.4};

    [[nodiscard]] diffusion::mixture_parameters parameters() const {
        diffusion::mixture_parameters p{features, weight, mean, std::vector<double>(size(3 * features * features))};
        for (index_t k = 0; k < 3; ++k)
            for (index_t i = 0; i < features; ++i)
                for (index_t j = 0; j < features; ++j)
                    p.cov[size((k * features + i) * features + j)] =
                        (i == j ? 0.1 : 0) + u[size(k * features + i)] * u[size(k * features + j)];
        return p;
    }
    template <Backend B>
    [[nodiscard]] prior::gaussian_mixture<B> on(B& b) const {
        using T = scalar_t<B>;
        prior::gaussian_mixture<B> m{weight, {}};
        for (index_t k = 0; k < 3; ++k) {
            const auto part = [&](const std::vector<double>& v) {
                return to_backend(b, std::vector<T>(v.begin() + k * features, v.begin() + (k + 1) * features), features,
                                  1);
            };
            m.component.emplace_back(b, part(mean), to_backend(b, std::vector<T>(features, T(0.1)), features, 1),
                                     part(u));
        }
        return m;
    }
};

/// Items of the mixture of which one value in two is seen.
template <Backend B>
struct half_seen {
    batch<B> truth, masks, y;
    half_seen(B& b, index_t items) : truth(b, features, items), y(b, features, items) {
        diffusion::mixture<B>(b, three().parameters()).sample(b, {.seed = 5}, truth.view());
        std::vector<scalar_t<B>> seen(size(features * items));
        for (index_t i = 0; i < features * items; ++i)
            seen[size(i)] = uniform<double>({.seed = 6}, static_cast<std::uint32_t>(i), 0) < 0.5 ? 1 : 0;
        masks = to_backend(b, seen, features, items);
        posterior::simulate(b, mask(b), noise, truth.cview(), {.seed = 7}, y.view());
    }
    [[nodiscard]] linop::mask<B> mask(B& b) const {
        batch<B> copy(b, features, masks.items());
        b.copy(masks.view(), copy.view());
        return linop::mask<B>::per_item(std::move(copy));
    }
};

/// The same masks as matrices, of which nobody says that they are diagonal.
template <Backend B>
linop::dense<B> matrices(B& b, const batch<B>& masks) {
    const auto seen = to_host(b, masks);
    std::vector<scalar_t<B>> values(size(features * features * masks.items()));
    for (index_t i = 0; i < features * masks.items(); ++i)
        values[size(i / features * features * features + i % features * (features + 1))] = seen[size(i)];
    return linop::dense<B>::per_item(to_backend(b, values, features * features, masks.items()), features, features);
}

}  // namespace

TEMPLATE_TEST_CASE("draws under a mixture have the moments of its posterior", "[prior]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    using T = scalar_t<B>;
    B b = test::make_backend<B>();
    const index_t n = 4000;
    const std::vector<double> seen{1, 0, 1, 0}, values{0.3, 0, 0.4, 0};
    std::vector<T> y;
    for (index_t i = 0; i < n; ++i) y.insert(y.end(), values.begin(), values.end());
    const auto data = to_backend(b, y, features, n);
    const auto a = linop::mask<B>::shared(to_backend(b, std::vector<T>(seen.begin(), seen.end()), features, 1));
    const auto observed = posterior::observe(b, data.view(), a, noise);
    const auto mixture = three().on(b);

    std::vector<double> matrix(size(features * features));
    for (index_t j = 0; j < features; ++j) matrix[size(j * (features + 1))] = seen[size(j)];
    const auto exact = diffusion::mixture_posterior(three().parameters(), matrix,
                                                    std::vector<double>(features, noise.variance()), values);
    const auto shares = prior::responsibilities_of(b, mixture, observed);
    const double eps = test::tolerance<T>(100);
    for (std::size_t k = 0; k < 3; ++k) {
        CHECK(std::abs(shares.of[k] - exact.weight[k]) <= eps);
        CHECK(shares.of[size(3 * (n - 1)) + k] == shares.of[k]);
    }

    batch<B> x(b, features, n);
    const prior::mixture_draws draws(b, mixture, observed);
    const auto result = draws(b, {.seed = 3}, x.view(), 256);
    CHECK(result.finished);
    CHECK(std::abs(result.log_evidence - shares.log_evidence) <= 1e-12 * std::abs(shares.log_evidence));
    const auto drawn = to_host(b, x);
    const auto moments = diffusion::mixture_moments(exact);
    for (index_t i = 0; i < features; ++i)
        for (index_t j = 0; j <= i; ++j) {
            double mean = 0, square = 0, product = 0;
            for (index_t s = 0; s < n; ++s) {
                const double u = double(drawn[size(s * features + i)]) - moments.mean[size(i)];
                const double v = double(drawn[size(s * features + j)]) - moments.mean[size(j)];
                mean += u / double(n);
                product += u * v / double(n);
                square += u * u * v * v / double(n);
            }
            CHECK(std::abs(mean) <= 5 * std::sqrt(moments.cov[size(i * (features + 1))] / double(n)));
            CHECK(std::abs(product - moments.cov[size(j * features + i)]) <=
                  5 * std::sqrt((square - product * product) / double(n)));
        }

    // An item is the same whatever the batches are.
    batch<B> other(b, features, n);
    (void)draws(b, {.seed = 3}, other.view(), 999);
    CHECK(test::relative_error(to_host(b, other), drawn) <= eps);
}

TEMPLATE_TEST_CASE("EM finds a mixture from values of which half are hidden", "[prior]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    B b = test::make_backend<B>();
    const index_t items = 3000, laps = 30;
    const half_seen<B> data(b, items);
    const auto a = data.mask(b);
    const auto observed = posterior::observe(b, data.y.view(), a, noise);
    const auto gaussian = prior::fit_gaussian(b, prior::isotropic_gaussian(b, features), observed, {}).prior;
    std::vector<double> along;
    const auto tell = [&](index_t lap, double evidence) {
        CHECK(lap == index_t(along.size()));
        along.push_back(evidence / double(items));
    };
    const auto mixture =
        prior::fit_mixture(b, gaussian, observed, {.components = 3, .laps = laps, .shared = 2}, 256, 1, tell);
    REQUIRE(mixture);
    REQUIRE(along.size() == size(laps));
    for (std::size_t k = 1; k < along.size(); ++k) CHECK(along[k] >= along[k - 1] - 1e-3);
    const double found = prior::responsibilities_of(b, *mixture, observed).log_evidence / double(items);
    const double best = prior::responsibilities_of(b, three().on(b), observed).log_evidence / double(items);
    const double one = prior::log_evidence(b, gaussian, observed) / double(items);
    CHECK(found >= best - 0.01);  // it may be a little above: it was fitted to these
    CHECK(found <= best + 0.02);
    CHECK(one <= best - 0.1);
    double sum = 0;
    for (const double w : mixture->weight) sum += w;
    CHECK(std::abs(sum - 1) <= 1e-12);

    // Matrices that are masks lead to the same one.
    const auto m = matrices(b, data.masks);
    const auto seen = posterior::observe(b, data.y.view(), m, noise);
    const auto again = prior::fit_mixture(b, gaussian, seen, {.components = 3, .laps = 4, .shared = 2}, 256, 1,
                                          [](index_t, double) {});
    const auto few = prior::fit_mixture(b, gaussian, observed, {.components = 3, .laps = 4, .shared = 2}, 256, 1,
                                        [](index_t, double) {});
    for (std::size_t k = 0; k < 3; ++k) {
        const double eps = test::tolerance<scalar_t<B>>(1e4);
        CHECK(std::abs(again->weight[k] - few->weight[k]) <= eps);
        CHECK(test::relative_error(to_host(b, again->component[k].mu()), to_host(b, few->component[k].mu())) <= eps);
    }
    CHECK_FALSE(prior::fit_mixture(
        b, gaussian, observed, {.components = 3}, 256, 1, [](index_t, double) {}, [] { return false; }));
}

TEMPLATE_TEST_CASE("components of no observation keep their place", "[prior]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    B b = test::make_backend<B>();
    const half_seen<B> data(b, 10);
    const auto a = data.mask(b);
    const auto observed = posterior::observe(b, data.y.view(), a, noise);
    const auto gaussian = prior::isotropic_gaussian(b, features);
    const prior::mixture_options o{.components = 10, .laps = 40, .shared = 1};
    const auto mixture = prior::fit_mixture(b, gaussian, observed, o, 4, 1, [](index_t, double) {});
    REQUIRE(mixture);
    REQUIRE(mixture->components() == 10);
    REQUIRE(mixture->weight.size() == 10);
    double sum = 0;
    for (const double w : mixture->weight) sum += w;
    CHECK(std::abs(sum - 1) <= 1e-12);
    batch<B> x(b, features, 10);
    CHECK(prior::mixture_draws(b, *mixture, observed)(b, {.seed = 1}, x.view(), 3).finished);
    double largest = 0;
    for (const auto v : to_host(b, x)) largest = std::max(largest, std::abs(static_cast<double>(v)));
    CHECK(largest <= 20);

    // One of no share at all.
    prior::responsibilities few{{1, 0, 1, 0}};
    prior::detail::drop_small(few, 2);
    CHECK(prior::detail::items_of(few, 2, 1).empty());
    CHECK(prior::detail::items_of(few, 2, 0) == std::vector<int>{0, 1});
}

TEMPLATE_TEST_CASE("draws under a mixture behind matrices have its posterior's mean", "[prior]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    using T = scalar_t<B>;
    B b = test::make_backend<B>();
    const index_t n = 2000;
    const std::vector<double> row{1, 0.5, 0, -1};
    std::vector<T> matrix(row.begin(), row.end());  // one row
    const auto a = linop::dense<B>::shared(to_backend(b, matrix, 1, features));
    const linop::isotropic_covariance one(1, 0.04);
    const auto y = to_backend(b, std::vector<T>(size(n), T(0.7)), 1, n);
    const auto observed = posterior::observe(b, y.view(), a, one);
    const auto mixture = three().on(b);
    batch<B> x(b, features, n);
    CHECK(prior::mixture_draws(b, mixture, observed)(b, {.seed = 3}, x.view(), 256).finished);
    const auto exact =
        diffusion::mixture_moments(diffusion::mixture_posterior(three().parameters(), row, {one.variance()}, {0.7}));
    const auto drawn = to_host(b, x);
    for (index_t j = 0; j < features; ++j) {
        double mean = 0;
        for (index_t s = 0; s < n; ++s) mean += double(drawn[size(s * features + j)]) / double(n);
        CHECK(std::abs(mean - exact.mean[size(j)]) <= 5 * std::sqrt(exact.cov[size(j * (features + 1))] / double(n)));
    }
}

TEST_CASE("a mixture that cannot be is refused", "[prior]") {
    auto b = test::make_backend<reference_backend<double>>();
    const half_seen<reference_backend<double>> data(b, 10);
    const auto a = data.mask(b);
    const auto observed = posterior::observe(b, data.y.view(), a, noise);
    const auto fit = [&](const prior::mixture_options& o) {
        return prior::fit_mixture(b, prior::isotropic_gaussian(b, features), observed, o, 256, 1,
                                  [](index_t, double) {});
    };
    CHECK_THROWS_WITH(fit({.components = 0}), Catch::Contains("components is 0"));
    CHECK_THROWS_WITH(fit({.components = 11}), Catch::Contains("components is 11") && Catch::Contains("10"));
    CHECK_THROWS_WITH(fit({.components = 2, .laps = -1}), Catch::Contains("laps is -1"));
    CHECK_THROWS_WITH(fit({.components = 2, .shared = 0}), Catch::Contains("shared"));
    CHECK_THROWS_WITH(prior::check_mixture({.components = 2}, 1025), Catch::Contains("1025"));
    CHECK_THROWS_WITH(prior::check_mixture({.components = 2}, 4, 10, prior::gaussian_basis::frequencies),
                      Catch::Contains("gaussian.basis"));
    const linop::hartley basis(2, 2, 1);
    CHECK_THROWS_WITH(prior::fit_mixture(b, prior::isotropic_gaussian(b, features, 1, basis), observed,
                                         {.components = 2}, 256, 1, [](index_t, double) {}),
                      Catch::Contains("basis"));
    prior::em_options o;
    o.mixture.components = 2;
    o.initial_e_step = prior::gaussian_e_step::diffusion;
    CHECK_THROWS_WITH(prior::check_em(o), Catch::Contains("mixture"));
}
