// SPDX-License-Identifier: Apache-2.0
#include <diem/diffusion/mixture.hpp>

#include <cmath>
#include <vector>

#include "diffusion/helpers.hpp"
#include "support/backends.hpp"
#include "support/catch.hpp"
#include "support/compare.hpp"

using namespace diem;
using namespace diem::test;
namespace dif = diem::diffusion;

TEMPLATE_TEST_CASE("mixture: concepts", "", DIEM_TEST_BACKENDS) {
    STATIC_REQUIRE((dif::ScoreModel<dif::mixture<TestType>, TestType>));
    STATIC_REQUIRE((linop::SymmetricOperator<dif::mixture_jacobian<TestType>, TestType>));
    auto b = make_backend<TestType>();
    CHECK(dif::mixture<TestType>(b, test_mixture(3, 2)).components() == 2);
}

TEMPLATE_TEST_CASE("mixture: Jacobian is symmetric and the central difference, Tweedie, slices", "",
                   DIEM_TEST_BACKENDS) {
    using B = TestType;
    using T = typename B::scalar;
    auto b = make_backend<B>();
    const index_t features = GENERATE(1, 4), components = GENERATE(1, 5), items = 6;
    const dif::mixture<B> prior(b, test_mixture(features, components));
    const double sigma = GENERATE(0.05, 0.5, 20.0);
    auto x = numbers<T>(features, items, 1);
    const auto v = numbers<T>(features, items, 2), w = numbers<T>(features, items, 3);
    const auto lin = prior.linearize(b, to_backend(b, x, features, items), sigma);
    const auto jacobian = lin.jacobian();
    const auto jv = apply_operator(b, jacobian, v, features), jw = apply_operator(b, jacobian, w, features, true);
    const auto x_hat = apply_denoise(b, prior, x, features, sigma);
    CHECK(x_hat == to_host(b, lin.mean()));
    for (index_t i = 0; i < items; ++i) {
        const double scale = host_norm(jv, features, i) * host_norm(w, features, i) +
                             host_norm(jw, features, i) * host_norm(v, features, i);
        CHECK(std::abs(host_dot(w, jv, features, i) - host_dot(jw, v, features, i)) <= tolerance<T>(16) * scale);
    }
    // A slice of the operator acts as the whole.
    const std::vector<T> part(v.begin() + 2 * features, v.begin() + 5 * features);
    CHECK(apply_operator(b, jacobian.items(2, 3), part, features) ==
          std::vector<T>(jv.begin() + 2 * features, jv.begin() + 5 * features));
    if constexpr (sizeof(T) == 8) {
        const double h = 1e-4 * sigma;
        const auto at = [&](double step) {
            auto moved = x;
            for (std::size_t k = 0; k < x.size(); ++k) moved[k] += step * v[k];
            return moved;
        };
        // Error of a central difference: h^2 f''' / 6 + rounding / h.
        const auto up = apply_denoise(b, prior, at(h), features, sigma),
                   down = apply_denoise(b, prior, at(-h), features, sigma);
        std::vector<T> quotient(x.size());
        for (std::size_t k = 0; k < x.size(); ++k) quotient[k] = (up[k] - down[k]) / (2 * h);
        CHECK(worst_item_error(quotient, jv, features) <= 1e-5);
        batch<B, double> out(b, items, 1);
        const auto log_p = [&](double step) {
            prior.log_density(b, to_backend(b, at(step), features, items), sigma, out.flat());
            return to_host(b, out);
        };
        const auto p_up = log_p(h), p_down = log_p(-h);
        for (index_t i = 0; i < items; ++i) {
            double slope = 0, size = 0;
            for (index_t j = 0; j < features; ++j) {
                const auto k = static_cast<std::size_t>(i * features + j);
                slope += (x_hat[k] - x[k]) / (sigma * sigma) * v[k];
                size += std::abs(x_hat[k] - x[k]) / (sigma * sigma) * std::abs(v[k]);
            }
            const auto n = static_cast<std::size_t>(i);
            CHECK(std::abs((p_up[n] - p_down[n]) / (2 * h) - slope) <= 1e-6 * size + 1e-15 * std::abs(p_up[n]) / h);
        }
    }
}

TEMPLATE_TEST_CASE("mixture: one noise level per item equals one at a time", "", DIEM_TEST_BACKENDS) {
    using B = TestType;
    using T = typename B::scalar;
    auto b = make_backend<B>();
    const index_t features = 3;
    const dif::mixture<B> prior(b, test_mixture(features, 4));
    const std::vector<T> levels{T(0.1), T(2), T(2), T(30)};
    const auto items = static_cast<index_t>(levels.size());
    const auto x = numbers<T>(features, items, 1);
    const auto on_backend = to_backend(b, levels, items, 1);
    const auto together = apply_denoise(b, prior, x, features, on_backend.flat());
    for (index_t i = 0; i < items; ++i) {
        const std::vector<T> item(x.begin() + i * features, x.begin() + (i + 1) * features);
        const auto alone =
            apply_denoise(b, prior, item, features, static_cast<double>(levels[static_cast<std::size_t>(i)]));
        CHECK(alone == std::vector<T>(together.begin() + i * features, together.begin() + (i + 1) * features));
    }
}

TEMPLATE_TEST_CASE("mixture: the denoiser is the mean of the closed-form posterior, far away too", "",
                   DIEM_TEST_BACKENDS) {
    using B = TestType;
    using T = typename B::scalar;
    auto b = make_backend<B>();
    const index_t features = 3;
    const auto parameters = test_mixture(features, 4);
    const dif::mixture<B> prior(b, parameters);
    const double sigma = GENERATE(0.1, 1.0, 50.0), scale = GENERATE(1.0, 1e3);
    auto x = numbers<T>(features, 1, 5);
    for (T& value : x) value *= static_cast<T>(scale);
    std::vector<double> identity(9), variance(3, sigma * sigma), y(x.begin(), x.end());
    for (std::size_t i = 0; i < 3; ++i) identity[4 * i] = 1;
    const auto posterior = dif::mixture_moments(dif::mixture_posterior(parameters, identity, variance, y));
    CHECK(relative_error(apply_denoise(b, prior, x, features, sigma), posterior.mean) <= tolerance<T>(8) + 1e-11);
}

TEMPLATE_TEST_CASE("mixture: direct draws have its moments, and do not depend on the split", "", DIEM_TEST_BACKENDS) {
    using B = TestType;
    auto b = make_backend<B>();
    const index_t features = 3, items = 20000;
    const auto parameters = test_mixture(features, 4);
    const dif::mixture<B> prior(b, parameters);
    batch<B> x(b, features, items);
    const random_key key{.seed = 7, .lane = random_lane::prior_sample};
    prior.sample(b, key, x.view());
    const auto got = to_host(b, x);
    CHECK(worst_z_score(got, dif::mixture_moments(parameters)) <= 4.5);  // 12 moments, kurtosis below a Gaussian's
    prior.sample(b, key, x.view().item_range(0, 777));
    prior.sample(b, key.skip_items(777), x.view().item_range(777, items - 777));
    CHECK(to_host(b, x) == got);
}

TEST_CASE("mixture: what is refused") {
    reference_backend<double> b;
    auto p = test_mixture(2, 2);
    const auto broken = [&](auto change) {
        auto copy = p;
        change(copy);
        return copy;
    };
    CHECK_THROWS_AS(dif::mixture(b, broken([](auto& m) { m.mean.pop_back(); })), shape_error);
    CHECK_THROWS_AS(dif::mixture(b, broken([](auto& m) { m.cov.pop_back(); })), shape_error);
    CHECK_THROWS_AS(dif::mixture(b, broken([](auto& m) { m.weight = {0, 0}; })), value_error);
    CHECK_THROWS_AS(dif::mixture(b, broken([](auto& m) { m.weight[0] = -1; })), value_error);
    CHECK_THROWS_AS(dif::mixture(b, broken([](auto& m) { m.mean[0] = NAN; })), value_error);
    CHECK_THROWS_AS(dif::mixture(b, broken([](auto& m) { m.cov[1] += 1; })), value_error);
    CHECK_THROWS_AS(dif::mixture(b, broken([](auto& m) { m.cov[0] = -5; })), value_error);
    const dif::mixture<reference_backend<double>> prior(b, p);
    batch<reference_backend<double>> x(b, 2, 3), y(b, 2, 2);
    CHECK_THROWS_AS(prior.denoise(b, x, 1.0, y.view()), shape_error);
    CHECK_THROWS_AS(prior.denoise(b, x, 0.0, x.view()), value_error);
    CHECK_THROWS_AS(prior.denoise(b, x, std::nan(""), x.view()), value_error);
}
