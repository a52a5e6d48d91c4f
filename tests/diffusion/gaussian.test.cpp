// SPDX-License-Identifier: Apache-2.0
#include <diem/diffusion/gaussian.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "diffusion/helpers.hpp"
#include "support/backends.hpp"
#include "support/catch.hpp"
#include "support/compare.hpp"

using namespace diem;
using namespace diem::test;
namespace dif = diem::diffusion;

namespace {

template <class B>
dif::gaussian<B> make_prior(B& b, index_t features, index_t rank, bool zero_d = true) {
    using T = typename B::scalar;
    auto mu = numbers<T>(features, 1, 11), d = numbers<T>(features, 1, 12), u = numbers<T>(features * rank, 1, 13);
    for (T& value : d) value = value * value;
    if (zero_d && features > 1) d[1] = 0;
    return dif::gaussian<B>(b, to_backend(b, mu, features, 1), to_backend(b, d, features, 1),
                            to_backend(b, u, features, rank));
}

template <class B>
dif::moments dense_moments(B& b, const dif::gaussian<B>& prior) {
    const auto mu = to_host(b, prior.mu()), d = to_host(b, prior.d()), u = to_host(b, prior.u());
    const std::size_t n = mu.size();
    dif::moments m{std::vector<double>(mu.begin(), mu.end()), std::vector<double>(n * n)};
    for (std::size_t c = 0; c < n; ++c) {
        for (std::size_t r = 0; r < n; ++r)
            for (std::size_t k = 0; k < u.size(); k += n)
                m.cov[c * n + r] += static_cast<double>(u[k + r]) * static_cast<double>(u[k + c]);
        m.cov[c * n + c] += static_cast<double>(d[c]);
    }
    return m;
}

}  // namespace

TEMPLATE_TEST_CASE("gaussian: concepts", "", DIEM_TEST_BACKENDS) {
    STATIC_REQUIRE((dif::ScoreModel<dif::gaussian<TestType>, TestType>));
    STATIC_REQUIRE((linop::SymmetricOperator<dif::gaussian_jacobian<TestType>, TestType>));
    STATIC_REQUIRE((linop::SymmetricOperator<dif::harmonic_covariance<TestType>, TestType>));
    auto b = make_backend<TestType>();
    CHECK(make_prior(b, 4, 2).rank() == 2);
}

TEMPLATE_TEST_CASE("gaussian: Jacobian is symmetric, the difference quotient, and Tweedie holds", "",
                   DIEM_TEST_BACKENDS) {
    using B = TestType;
    using T = typename B::scalar;
    auto b = make_backend<B>();
    const index_t features = GENERATE(1, 7, 40), rank = GENERATE(0, 1, 5), items = 3;
    const double sigma = GENERATE(0.01, 0.7, 30.0);
    const auto prior = make_prior(b, features, rank);
    const auto x = numbers<T>(features, items, 1), v = numbers<T>(features, items, 2),
               w = numbers<T>(features, items, 3);
    const auto bx = to_backend(b, x, features, items);
    const auto lin = prior.linearize(b, bx, sigma);
    CHECK(relative_error(apply_denoise(b, prior, x, features, sigma), to_host(b, lin.mean())) == 0);
    const auto jv = apply_operator(b, lin.jacobian(), v, features), jw = apply_operator(b, lin.jacobian(), w, features);
    for (index_t i = 0; i < items; ++i) {
        const double a = host_dot(w, jv, features, i), c = host_dot(jw, v, features, i);
        CHECK(std::abs(a - c) <= tolerance<T>(64) * (host_norm(w, features, i) * host_norm(v, features, i)));
    }
    // The denoiser is affine: a difference over a long step is its Jacobian to rounding.
    auto moved = x;
    for (std::size_t k = 0; k < x.size(); ++k) moved[k] += v[k];
    const auto d0 = apply_denoise(b, prior, x, features, sigma), d1 = apply_denoise(b, prior, moved, features, sigma);
    std::vector<T> quotient(x.size());
    for (std::size_t k = 0; k < x.size(); ++k) quotient[k] = d1[k] - d0[k];
    for (std::size_t k = 0; k < x.size(); ++k)
        CHECK(std::abs(static_cast<double>(quotient[k] - jv[k])) <= tolerance<T>(200));
    // Tweedie: the score is the gradient of the log density of x_t. Central differences, exact for a quadratic.
    if constexpr (sizeof(T) == 8) {
        batch<B, double> out(b, items, 1);
        const double h = 0.1 * sigma;
        const auto log_p = [&](double step) {
            auto shifted = x;
            for (std::size_t k = 0; k < x.size(); ++k) shifted[k] += static_cast<T>(step) * v[k];
            prior.log_density(b, to_backend(b, shifted, features, items), sigma, out.flat());
            return to_host(b, out);
        };
        const auto up = log_p(h), down = log_p(-h);
        for (index_t i = 0; i < items; ++i) {
            double slope = 0, size = 0;
            for (index_t j = 0; j < features; ++j) {
                const auto k = static_cast<std::size_t>(i * features + j);
                slope += (d0[k] - x[k]) / (sigma * sigma) * v[k];
                size += std::abs(d0[k] - x[k]) / (sigma * sigma) * std::abs(v[k]);
            }
            const auto n = static_cast<std::size_t>(i);
            CHECK(std::abs((up[n] - down[n]) / (2 * h) - slope) <= 1e-10 * (size + 1) + 1e-14 * std::abs(up[n]) / h);
        }
    }
}

TEMPLATE_TEST_CASE("gaussian: V solves (Sigma + sigma^2 I) V = sigma^2 Sigma", "", DIEM_TEST_BACKENDS) {
    using B = TestType;
    using T = typename B::scalar;
    auto b = make_backend<B>();
    const index_t features = 20, rank = 4;
    const double sigma = GENERATE(1e-3, 0.3, 100.0);
    const auto prior = make_prior(b, features, rank);
    const auto d = to_host(b, prior.d()), u = to_host(b, prior.u());
    const auto x = numbers<T>(features, 1, 5);
    const auto v = apply_operator(b, prior.harmonic(b, sigma), x, features);
    const auto times_sigma = [&](const std::vector<T>& a) {
        std::vector<double> out(a.size());
        for (std::size_t i = 0; i < a.size(); ++i) out[i] = static_cast<double>(d[i]) * static_cast<double>(a[i]);
        for (index_t k = 0; k < rank; ++k) {
            const auto* column = u.data() + k * features;
            double t = 0;
            for (std::size_t i = 0; i < a.size(); ++i) t += static_cast<double>(column[i]) * static_cast<double>(a[i]);
            for (std::size_t i = 0; i < a.size(); ++i) out[i] += t * static_cast<double>(column[i]);
        }
        return out;
    };
    auto left = times_sigma(v), right = times_sigma(x);
    double size = 0;  // of what rounding in V x is multiplied by
    for (std::size_t i = 0; i < x.size(); ++i) {
        left[i] += sigma * sigma * static_cast<double>(v[i]);
        right[i] *= sigma * sigma;
        size = std::max(size, std::abs(static_cast<double>(v[i])) * (50 + sigma * sigma));
    }
    for (std::size_t i = 0; i < x.size(); ++i) CHECK(std::abs(left[i] - right[i]) <= tolerance<T>(100) * size);

    // As diagonal + low rank it is the same operator.
    const auto covariance = prior.harmonic(b, sigma);
    const auto vd = to_host(b, covariance.d()), vu = to_host(b, covariance.u());
    std::vector<double> dense(x.size());
    for (std::size_t i = 0; i < x.size(); ++i) dense[i] = static_cast<double>(vd[i]) * static_cast<double>(x[i]);
    for (index_t k = 0; k < rank; ++k) {
        double t = 0;
        const auto* column = vu.data() + k * features;
        for (std::size_t i = 0; i < x.size(); ++i) t += static_cast<double>(column[i]) * static_cast<double>(x[i]);
        for (std::size_t i = 0; i < x.size(); ++i) dense[i] += t * static_cast<double>(column[i]);
    }
    CHECK(relative_error(v, dense) <= tolerance<T>(50));
}

TEMPLATE_TEST_CASE("gaussian: one noise level per item equals one at a time; slices of the Jacobian", "",
                   DIEM_TEST_BACKENDS) {
    using B = TestType;
    using T = typename B::scalar;
    auto b = make_backend<B>();
    const index_t features = 9, rank = 3;
    const auto prior = make_prior(b, features, rank);
    const std::vector<T> levels{T(0.5), T(0.5), T(3), T(3), T(3), T(0.5), T(20)};
    const auto items = static_cast<index_t>(levels.size());
    const auto x = numbers<T>(features, items, 1), v = numbers<T>(features, items, 2);
    const auto sigma = to_backend(b, levels, items, 1);
    const auto lin = prior.linearize(b, to_backend(b, x, features, items), sigma.flat());
    const auto x_hat = apply_denoise(b, prior, x, features, sigma.flat());
    const auto jv = apply_operator(b, lin.jacobian(), v, features);
    CHECK(x_hat == to_host(b, lin.mean()));
    CHECK(lin.jacobian().items() == items);
    const auto item = [&](const std::vector<T>& a, index_t first, index_t count = 1) {
        return std::vector<T>(a.begin() + first * features, a.begin() + (first + count) * features);
    };
    for (index_t i = 0; i < items; ++i) {
        const auto level = static_cast<double>(levels[static_cast<std::size_t>(i)]);
        const auto one = prior.linearize(b, to_backend(b, item(x, i), features, 1), level);
        CHECK(relative_error(item(x_hat, i), to_host(b, one.mean())) <= tolerance<T>(8));
        CHECK(relative_error(item(jv, i), apply_operator(b, one.jacobian(), item(v, i), features)) <= tolerance<T>(8));
    }
    for (const auto& [first, count] :
         std::vector<std::pair<index_t, index_t>>{{0, 7}, {1, 3}, {4, 3}, {6, 1}, {2, 0}}) {
        const auto part = lin.jacobian().items(first, count);
        CHECK(relative_error(apply_operator(b, part, item(v, first, count), features), item(jv, first, count)) <=
              tolerance<T>(8));
        if (count == 7)
            CHECK(relative_error(apply_operator(b, part.items(3, 2), item(v, 3, 2), features), item(jv, 3, 2)) <=
                  tolerance<T>(8));
    }
    batch<B> wrong(b, features, items + 1);
    CHECK_THROWS_AS(lin.jacobian().apply(b, wrong, wrong.view()), shape_error);
}

TEMPLATE_TEST_CASE("gaussian: a linearization outlives its model and other noise levels", "", DIEM_TEST_BACKENDS) {
    using B = TestType;
    using T = typename B::scalar;
    auto b = make_backend<B>();
    const index_t features = 6, items = 2;
    const auto x = numbers<T>(features, items, 1), v = numbers<T>(features, items, 2);
    const auto bx = to_backend(b, x, features, items);
    const auto [kept, expected] = [&] {
        const auto prior = make_prior(b, features, 2);
        auto first = prior.linearize(b, bx, 0.5);
        const auto before = apply_operator(b, first.jacobian(), v, features);
        for (const double sigma : {1.0, 2.0, 3.0}) {
            const auto other = prior.linearize(b, bx, sigma);
            CHECK(apply_operator(b, other.jacobian(), v, features) != before);
        }
        const auto copy = prior;
        CHECK(apply_denoise(b, copy, x, features, 0.5) == to_host(b, first.mean()));
        return std::pair(std::move(first), before);
    }();
    CHECK(apply_operator(b, kept.jacobian(), v, features) == expected);
}

TEMPLATE_TEST_CASE("gaussian: direct draws have its moments, and do not depend on the split", "", DIEM_TEST_BACKENDS) {
    using B = TestType;
    auto b = make_backend<B>();
    const index_t features = 4, items = 16000;
    const auto prior = make_prior(b, features, 2, false);
    batch<B> x(b, features, items);
    const random_key key{.seed = 3, .lane = random_lane::prior_sample};
    prior.sample(b, key, x.view());
    const auto got = to_host(b, x);
    CHECK(worst_z_score(got, dense_moments(b, prior)) <= 4.5);  // 20 normal deviates: exceeded once in 7000 seeds
    prior.sample(b, key, x.view().item_range(0, 1600));
    prior.sample(b, key.skip_items(1600), x.view().item_range(1600, items - 1600));
    CHECK(to_host(b, x) == got);
}

TEMPLATE_TEST_CASE("gaussian: log density", "", DIEM_TEST_BACKENDS) {
    using B = TestType;
    using T = typename B::scalar;
    auto b = make_backend<B>();
    const auto log_normal = [](double r, double variance) {
        return -(r * r / variance + std::log(2 * 3.14159265358979323846 * variance)) / 2;
    };
    // One feature: N(mu, d + |u|^2 + sigma^2), here with a rank above D.
    const auto one = make_prior(b, 1, 3, false);
    const auto mu = to_host(b, one.mu()), d = to_host(b, one.d()), u = to_host(b, one.u());
    double variance = static_cast<double>(d[0]);
    for (const T v : u) variance += static_cast<double>(v) * static_cast<double>(v);
    const auto x = numbers<T>(1, 5, 4);
    for (const double sigma : {0.0, 0.3, 10.0}) {
        batch<B, double> out(b, 5, 1);
        one.log_density(b, to_backend(b, x, 1, 5), sigma, out.flat());
        const auto got = to_host(b, out);
        for (std::size_t i = 0; i < 5; ++i) {
            const double expected =
                log_normal(static_cast<double>(x[i]) - static_cast<double>(mu[0]), variance + sigma * sigma);
            CHECK(std::abs(got[i] - expected) <= tolerance<T>(20) * (1 + std::abs(expected)));
        }
    }
    // Orthogonal low rank: u = (3, 4, 0) gives variance d + 25 along it and d across.
    const dif::gaussian<B> three(b, to_backend(b, std::vector<T>{1, 2, 3}, 3, 1),
                                 to_backend(b, std::vector<T>{T(0.5), T(0.5), T(0.5)}, 3, 1),
                                 to_backend(b, std::vector<T>{3, 4, 0}, 3, 1));
    batch<B, double> out(b, 1, 1);
    three.log_density(b, to_backend(b, std::vector<T>{T(1 + 0.6 * 2), T(2 + 0.8 * 2), T(3.5)}, 3, 1), 0, out.flat());
    const double expected = log_normal(2, 25.5) + log_normal(0, 0.5) + log_normal(0.5, 0.5);
    CHECK(std::abs(to_host(b, out)[0] - expected) <= tolerance<T>(20) * std::abs(expected));
}

TEMPLATE_TEST_CASE("gaussian: no items, and what is refused", "", DIEM_TEST_BACKENDS) {
    using B = TestType;
    using T = typename B::scalar;
    auto b = make_backend<B>();
    const index_t features = 3;
    const auto make = [&](std::vector<T> mu, std::vector<T> d, std::vector<T> u, index_t rows) {
        const auto n = static_cast<index_t>(mu.size()), m = static_cast<index_t>(d.size());
        return dif::gaussian<B>(b, to_backend(b, mu, n, 1), to_backend(b, d, m, 1),
                                to_backend(b, u, rows, static_cast<index_t>(u.size()) / rows));
    };
    const T nan = std::numeric_limits<T>::quiet_NaN(), inf = std::numeric_limits<T>::infinity();
    CHECK_NOTHROW(make({1, 2, 3}, {0, 0, 0}, {1, 2, 3}, 3));
    CHECK_THROWS_AS(make({1, 2}, {0, 0, 0}, {1, 2, 3}, 3), shape_error);
    CHECK_THROWS_AS(make({1, 2, 3}, {0, 0}, {1, 2, 3}, 3), shape_error);
    CHECK_THROWS_AS(make({1, 2, 3}, {0, 0, 0}, {1, 2}, 2), shape_error);
    CHECK_THROWS_AS(make({1, 2, nan}, {0, 0, 0}, {1, 2, 3}, 3), value_error);
    CHECK_THROWS_AS(make({1, 2, 3}, {0, T(-1e-3), 0}, {1, 2, 3}, 3), value_error);
    CHECK_THROWS_AS(make({1, 2, 3}, {0, nan, 0}, {1, 2, 3}, 3), value_error);
    CHECK_THROWS_AS(make({1, 2, 3}, {0, 0, 0}, {1, inf, 3}, 3), value_error);

    const auto prior = make_prior(b, features, 2);
    batch<B> none(b, features, 0), x(b, features, 2), wide(b, features, 3), tall(b, features + 1, 2);
    batch<B, double> out(b, 2, 1);
    const auto levels = to_backend(b, std::vector<T>{1, nan}, 2, 1);
    b.fill(x.view(), T(1));
    CHECK_NOTHROW(prior.denoise(b, none, 1.0, none.view()));
    CHECK(prior.linearize(b, none, 1.0).mean().items() == 0);
    CHECK_THROWS_AS(prior.denoise(b, x, 1.0, wide.view()), shape_error);
    CHECK_THROWS_AS(prior.denoise(b, tall, 1.0, tall.view()), shape_error);
    CHECK_THROWS_AS(prior.linearize(b, tall, 1.0), shape_error);
    CHECK_THROWS_AS(prior.denoise(b, wide, levels.flat(), wide.view()), shape_error);
    CHECK_THROWS_AS(prior.linearize(b, x, 0.0), value_error);
    CHECK_THROWS_AS(prior.linearize(b, x, -1.0), value_error);
    CHECK_THROWS_AS(prior.linearize(b, x, std::nan("")), value_error);
    CHECK_THROWS_AS(prior.linearize(b, x, levels.flat()), value_error);
    CHECK_THROWS_AS(prior.log_density(b, x, 0, out.flat()), value_error);  // d has a zero
    CHECK_NOTHROW(prior.log_density(b, x, 1, out.flat()));
    CHECK_THROWS_AS(prior.sample(b, random_key{}, tall.view()), shape_error);
}
