// SPDX-License-Identifier: Apache-2.0
// On Gaussian truth: with the true prior intervals hold what they say, with a wrong one what its variance says.
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include <diem/diffusion/gaussian.hpp>
#include <diem/linop/covariance.hpp>
#include <diem/linop/dense.hpp>
#include <diem/linop/identity.hpp>
#include <diem/prior/held_out.hpp>

#include "support/backends.hpp"
#include "support/catch.hpp"
#include "support/message.hpp"
#include "support/operator_harness.hpp"

using namespace diem;

namespace {

constexpr index_t features = 6, items = 300;
using verdict = prior::held_out_figures::verdict_type;

/// N(mean, variance I + u u'), u = scale (1, -1, 1, ...).
template <Backend B>
diffusion::gaussian<B> normal(B& b, double mean, double variance, double scale) {
    using T = scalar_t<B>;
    std::vector<T> u(features);
    for (std::size_t j = 0; j < u.size(); ++j) u[j] = static_cast<T>(j % 2 == 0 ? scale : -scale);
    return {b, to_backend(b, std::vector<T>(features, static_cast<T>(mean)), features, 1),
            to_backend(b, std::vector<T>(features, static_cast<T>(variance)), features, 1),
            to_backend(b, u, features, 1)};
}
template <Backend B>
posterior::sample_options<B> options(const diffusion::gaussian<B>& g, index_t samples) {
    posterior::sample_options<B> how;
    how.sampling = {.sampler = diffusion::sampler_choice::dpm_2m_sde,
                    .steps = 64,
                    .batch = 512,
                    .samples_per_observation = samples,
                    .sigma_min = 5e-3,
                    .sigma_max = 20};
    how.mmps = {.max_iterations = features};
    how.estimate = &g;
    return how;
}
template <Backend B, class A>
prior::held_out_figures figures(B& b, const A& a, double noise, diffusion::gaussian<B> truth,
                                diffusion::gaussian<B> used, index_t samples = 39, double given = 0) {
    batch<B> x(b, features, items), y(b, a.rows(), items);
    truth.sample(b, {.seed = 1}, x.view());
    posterior::simulate<B>(b, a, linop::isotropic_covariance(a.rows(), noise * noise), x.cview(),
                           {.seed = 2, .lane = random_lane::user}, y.view());
    if (given > 0) noise = given;
    const linop::isotropic_covariance cov(a.rows(), noise * noise);
    const auto observed = posterior::observe(b, y.cview(), a, cov);
    const auto held = prior::hold_out(b, observed, 0.3, {.seed = 3});
    return prior::predict_held_out(b, used, held, options(used, samples), {.seed = 4}, items);
}

}  // namespace

TEMPLATE_TEST_CASE("with the true prior, intervals hold as many held-out measurements as they say",
                   "[prior][statistics]", test::main_backend<float>, test::opaque_backend<float>) {
    using B = TestType;
    B b;
    const auto check = [](const prior::held_out_figures& f) {
        INFO(f.words());
        for (std::size_t k = 0; k < 3; ++k) {
            CHECK(f.error[k] <= 0.05);
            CHECK(std::abs(f.coverage[k] - f.levels[k]) <= 4 * f.error[k]);
            CHECK(f.coverage[k] == Approx(f.ranks.coverage(f.levels[k])));
        }
        CHECK(std::abs(f.rank - 0.5) <= 4 * f.rank_error);
        CHECK(f.ranks.total() == Approx(static_cast<double>(f.held)));
        CHECK(f.verdict() == verdict::calibrated);
        CHECK(test::contains(f.words(), "held-out measurements: calibrated"));
    };
    SECTION("masks") {
        batch<B> masks(b, features, items);
        linop::draw_mask<B>(b, {.seed = 9, .lane = random_lane::user}, 0.7, 1, masks.view());
        const auto f =
            figures(b, linop::mask<B>::per_item(masks.view()), 0.1, normal(b, 0.3, 0.3, 1), normal(b, 0.3, 0.3, 1));
        check(f);
        // 0.7 * 0.3 of all entries, and none that a mask hides.
        const double expected = 0.21 * features * items;
        CHECK(std::abs(static_cast<double>(f.held) - expected) <= 5 * std::sqrt(expected));
    }
    SECTION("dense matrices") {
        const auto data = test::random_batch(b, 5 * features, items, 5);
        check(figures(b, linop::dense<B>::per_item(data.view(), 5, features), 0.3, normal(b, 0, 0.3, 1),
                      normal(b, 0, 0.3, 1)));
    }
}

TEST_CASE("a prior of the wrong variance or mean is told by held-out measurements", "[prior][statistics]") {
    using B = test::main_backend<float>;
    B b;
    const linop::identity everything(features);
    const double noise = 0.5, truth = 1 + noise * noise;
    // Features are independent: a held one is predicted by N(0, v + noise^2), and is N(0, truth). Intervals from r samples
    // are off by their quantiles' error, of order 1 / r.
    const index_t samples = 99;
    const auto quantile = std::vector<double>{0.674490, 1.281552, 1.959964};
    for (const double v : {0.1, 4.0}) {
        CAPTURE(v);
        const auto f = figures(b, everything, noise, normal(b, 0, 1, 0), normal(b, 0, v, 0), samples);
        for (std::size_t k = 0; k < 3; ++k) {
            const double expected = std::erf(quantile[k] * std::sqrt((v + noise * noise) / truth / 2));
            CAPTURE(expected);
            CHECK(std::abs(f.coverage[k] - expected) <= 4 * f.error[k] + 1.0 / samples);
        }
        CHECK(f.verdict() == (v < 1 ? verdict::too_narrow : verdict::too_wide));
    }
    const auto high = figures(b, everything, noise, normal(b, 0, 1, 0), normal(b, 1, 1, 0));
    CHECK(high.verdict() == verdict::too_high);
    // Phi((X - 1) / sqrt(truth)) of X ~ N(0, truth): Phi(-1 / sqrt(2 truth)) on average.
    CHECK(std::abs(high.rank - 0.5 * std::erfc(0.5 / std::sqrt(truth))) <= 4 * high.rank_error);
    CHECK(figures(b, everything, noise, normal(b, 0, 1, 0), normal(b, -1, 1, 0)).verdict() == verdict::too_low);
}

TEST_CASE("ranks are flat with the true prior and noise, and not with half or twice the noise", "[prior][statistics]") {
    using B = test::main_backend<float>;
    B b;
    // Features are independent, and so are held values: a chi-square test of 20 ranks.
    const double v = 0.1, noise = 0.5;
    const index_t samples = 19;
    const auto chi_square = [](const prior::held_out_figures& f) {
        const double expected = static_cast<double>(f.held) / static_cast<double>(f.ranks.counts.size());
        double sum = 0;
        for (const double c : f.ranks.counts) sum += (c - expected) * (c - expected) / expected;
        return sum;
    };
    for (const double given : {noise, 0.5 * noise, 2 * noise}) {
        CAPTURE(given);
        const auto f =
            figures(b, linop::identity(features), noise, normal(b, 0.5, v, 0), normal(b, 0.5, v, 0), samples, given);
        INFO(f.words());
        // One of a million chi-squares of 19 degrees of freedom is beyond 64.4 (Wilson and Hilferty).
        CHECK((chi_square(f) <= 64.4) == (given == noise));
        CHECK(f.verdict() == (given < noise   ? verdict::too_narrow
                              : given > noise ? verdict::too_wide
                                              : verdict::calibrated));
        for (std::size_t k = 0; k < 3 && given == noise; ++k) {
            const double binomial = std::sqrt(f.levels[k] * (1 - f.levels[k]) / static_cast<double>(f.held));
            CHECK(std::abs(f.coverage[k] - f.levels[k]) <= 4 * binomial);
        }
        // y - mean of r predictions has the variance v + noise^2 + v / r; its square twice the square of that.
        const double variance = v + noise * noise + v / samples, held = static_cast<double>(f.held);
        CHECK(std::abs(f.rms * f.rms * given * given - variance) <= 4 * variance * std::sqrt(2 / held));
        CHECK(f.relative_error == Approx(std::sqrt(variance / (0.25 + v + noise * noise))).margin(4 / std::sqrt(held)));
    }
}

TEST_CASE("groups of measurements are held back together", "[prior]") {
    using B = test::main_backend<float>;
    B b;
    const index_t rows = 4, n = 60;
    const auto y = test::random_batch(b, rows, n, 1);
    const auto observed = posterior::observe(b, y.view(), linop::identity(rows), linop::isotropic_covariance(rows, 1));
    // Of the first 40 rows 0 and 2 together and row 3 never, of the others every row alone.
    const auto held = prior::hold_out(b, observed, 0.5, {.seed = 1}, {{.items = 40, .of_row = {7, 2, 7, -1}}, {}});
    const auto w = to_host(b, held.weights());
    std::vector<double> count(rows, 0.0), later(rows, 0.0);
    index_t apart = 0;
    for (std::size_t k = 0; k < w.size(); ++k) (k < 160 ? count : later)[k % rows] += 1 - static_cast<double>(w[k]);
    for (std::size_t i = 0; i < n; ++i) {
        if (i < 40) CHECK(w[i * rows] == w[i * rows + 2]);
        apart += i >= 40 && w[i * rows] != w[i * rows + 2] ? 1 : 0;
    }
    for (const std::size_t k : {0, 1, 2}) CHECK(std::abs(count[k] - 20) <= 5 * std::sqrt(10.0));
    CHECK(count[3] == 0);
    for (const double c : later) CHECK(std::abs(c - 10) <= 5 * std::sqrt(5.0));
    CHECK(apart > 0);
    CHECK_THROWS_AS(prior::hold_out(b, observed, 0.5, {.seed = 1}, {{.items = 40}}), shape_error);
    CHECK_THROWS_AS(prior::hold_out(b, observed, 0.5, {.seed = 1}, {{.items = 61}}), value_error);
    CHECK_THROWS_AS(prior::hold_out(b, observed, 0.5, {.seed = 1}, {{.of_row = {1, 2}}}), shape_error);
}

TEST_CASE("what is held back is not seen by those who get the rest", "[prior]") {
    using B = test::main_backend<float>;
    B b;
    const auto y = test::random_batch(b, 4, 20, 1), x = test::random_batch(b, 6, 20, 2);
    const auto data = test::random_batch(b, 4 * 6, 20, 3);
    const auto a = linop::dense<B>::per_item(data.view(), 4, 6);
    const auto observed = posterior::observe(b, y.view(), a, linop::isotropic_covariance(4, 1));
    const auto held = prior::hold_out(b, observed, 0.5, {.seed = 1});
    const auto kept = held.kept();
    test::check_operator(b, kept.forward_operator(), 20);
    batch<B> image(b, 4, 20), all(b, 4, 20);
    kept.forward_operator().apply(b, x.view(), image.view());
    a.apply(b, x.view(), all.view());
    const auto w = to_host(b, held.weights()), rest = to_host(b, kept.y()), whole = to_host(b, y),
               seen = to_host(b, image), full = to_host(b, all);
    index_t count = 0;
    for (std::size_t k = 0; k < w.size(); ++k) {
        CHECK((w[k] == 0 || w[k] == 1));
        count += w[k] == 0 ? 1 : 0;
        CHECK(rest[k] == w[k] * whole[k]);
        CHECK(seen[k] == w[k] * full[k]);
    }
    CHECK(std::abs(static_cast<double>(count) - 40) <= 5 * std::sqrt(20.0));
    // Masks stay element-wise, and keep what this allows.
    const auto mask = linop::mask<B>::shared(to_backend(b, std::vector<float>{1, 1, 0, 1}, 4, 1));
    const auto masked = posterior::observe(b, y.view(), mask, linop::isotropic_covariance(4, 1));
    const auto some = prior::hold_out(b, masked, 0.5, {.seed = 1});
    static_assert(linop::ElementwiseOperator<std::remove_cvref_t<decltype(some.kept().forward_operator())>>);
    static_assert(!linop::ElementwiseOperator<std::remove_cvref_t<decltype(kept.forward_operator())>>);
    const auto of_mask = to_host(b, some.weights());
    for (std::size_t k = 2; k < of_mask.size(); k += 4) CHECK(of_mask[k] == 1);
    CHECK_THROWS_AS(prior::hold_out(b, masked, 0, {.seed = 1}), value_error);
    CHECK_THROWS_AS(prior::hold_out(b, masked, 1, {.seed = 1}), value_error);
}
