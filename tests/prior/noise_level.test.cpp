// SPDX-License-Identifier: Apache-2.0
// On Gaussian truth: noise that was given wrongly is found by the prior that is right, and what cannot be told is not told.
#include <cmath>
#include <string>
#include <vector>

#include <diem/diffusion/gaussian.hpp>
#include <diem/linop/covariance.hpp>
#include <diem/linop/dense.hpp>
#include <diem/linop/hartley.hpp>
#include <diem/linop/identity.hpp>
#include <diem/linop/mask.hpp>
#include <diem/prior/noise_level.hpp>

#include "support/backends.hpp"
#include "support/catch.hpp"
#include "support/message.hpp"
#include "support/operator_harness.hpp"

using namespace diem;

namespace {

constexpr index_t features = 8, items = 256;

/// N(0.3, diag(d) + u u') of which u is (1, -1, 1, ...), with d and u of frequencies of 2 x 4 pixels where told so.
template <Backend B>
diffusion::gaussian<B> normal(B& b, const std::vector<double>& d, bool frequencies = false) {
    using T = scalar_t<B>;
    std::vector<T> u(features), v(d.begin(), d.end());
    for (std::size_t j = 0; j < u.size(); ++j) u[j] = j % 2 == 0 ? T(1) : T(-1);
    return {b, to_backend(b, std::vector<T>(features, T(0.3)), features, 1), to_backend(b, v, features, 1),
            to_backend(b, u, features, 1), frequencies ? std::optional(linop::hartley(2, 4)) : std::nullopt};
}
/// Of y = A x + e, x from `truth`, the standard deviation of e `noise`, under `used` and what was given.
template <Backend B, class A>
prior::noise_level level(B& b, const A& a, const diffusion::gaussian<B>& truth, const diffusion::gaussian<B>& used,
                         double noise, double given) {
    batch<B> x(b, features, items), y(b, a.rows(), items);
    truth.sample(b, {.seed = 1}, x.view());
    posterior::simulate<B>(b, a, linop::isotropic_covariance(a.rows(), noise * noise), x.cview(),
                           {.seed = 2, .lane = random_lane::user}, y.view());
    return prior::noise_level_of(
        b, used, posterior::observe(b, y.cview(), a, linop::isotropic_covariance(a.rows(), given * given)),
        {.seed = 3});
}

}  // namespace

TEMPLATE_TEST_CASE("noise that was given wrongly is found under the true prior", "[prior][statistics]",
                   test::main_backend<float>, test::main_backend<double>, test::opaque_backend<float>) {
    using B = TestType;
    B b;
    const std::vector<double> variances{0.01, 0.01, 0.01, 0.1, 0.1, 0.1, 1, 1};
    // `varied`: every row of every observation sees much of x, so that the bound is not tight enough to prove a half.
    const auto check = [&](const auto& a, bool frequencies = false, bool varied = false) {
        const auto truth = normal(b, variances, frequencies);
        for (const double ratio : {0.1, 0.5, 1.0, 2.0, 10.0}) {
            CAPTURE(ratio);
            const auto found = level(b, a, truth, truth, 0.3, 0.3 / ratio);
            INFO(found.words() << " +- " << found.error << ", " << found.share);
            CHECK(found.known());
            CHECK(std::abs(std::log(found.factor / ratio)) <= 4 * found.error + 0.02);  // that is where it stops
            CHECK(std::log(found.most / ratio) >= -4 * found.most_error);
            CHECK(found.is_larger() == (ratio > 1));
            if (ratio == 0.5 && varied) continue;
            CHECK(found.is_smaller() == (ratio < 1));
            CHECK(test::contains(found.words(), ratio == 1  ? "speaks against"
                                                : ratio < 1 ? "as if sigma_y were at most"
                                                            : "as if sigma_y were"));
        }
    };
    SECTION("masks") {
        batch<B> masks(b, features, items);
        linop::draw_mask<B>(b, {.seed = 9, .lane = random_lane::user}, 0.6, 1, masks.view());
        check(linop::mask<B>::per_item(masks.view()));
    }
    SECTION("dense matrices") {
        const auto data = test::random_batch(b, 5 * features, items, 5);
        check(linop::dense<B>::per_item(data.view(), 5, features), false, true);
    }
    SECTION("a basis of frequencies") { check(linop::identity(features), true); }
}

TEST_CASE("what the data do not tell of the noise is not told", "[prior][statistics]") {
    using B = test::main_backend<float>;
    B b;
    const linop::identity everything(features);
    const auto truth = normal(b, std::vector<double>(features, 0.04));
    SECTION("a prior that has taken half of the noise for a part of x explains the data as well") {
        // Noise of variance 0.16, given as 0.04: the prior learned from such data has the rest.
        const auto learned = normal(b, std::vector<double>(features, 0.04 + 0.12));
        const auto found = level(b, everything, truth, learned, 0.4, 0.2);
        CHECK(found.known());
        CHECK(std::abs(std::log(found.factor)) <= 4 * found.error + 0.02);
        // Rows of unequal norms tell both apart: x is seen twice by the first two.
        std::vector<float> twice(2 * features * features, 0.0F);
        for (std::size_t j = 0; j < features; ++j)
            twice[j * 2 * features + 2 * j] = twice[j * 2 * features + 2 * j + 1] = 1;
        const auto a = linop::dense<B>::shared(to_backend(b, twice, 2 * features, features));
        const auto other = level(b, a, truth, learned, 0.4, 0.2);
        CHECK(other.is_off());
        CHECK(other.factor > 1.5);
    }
    SECTION("a prior learned with too much noise cannot give it back") {
        const auto learned = normal(b, std::vector<double>(features, 0.0));
        const auto found = level(b, everything, normal(b, std::vector<double>(features, 0.0)), learned, 0.2, 0.4);
        CHECK(found.is_off());
        CHECK(std::abs(std::log(found.factor / 0.5)) <= 4 * found.error + 0.02);
    }
    SECTION("noise far below what x does") {
        const auto wide = normal(b, std::vector<double>(features, 100.0));
        CHECK_FALSE(level(b, everything, wide, wide, 0.1, 0.1).known());
    }
    SECTION("nothing is seen") {
        const auto none = linop::mask<B>::shared(to_backend(b, std::vector<float>(features, 0.0F), features, 1));
        const auto found = level(b, none, truth, truth, 0.1, 0.1);
        CHECK_FALSE(found.known());
        CHECK(test::contains(found.words(), "do not tell"));
    }
    CHECK_THROWS_AS(level(b, linop::identity(features + 1), truth, truth, 0.1, 0.1), shape_error);
}

TEST_CASE("corrected draws have the posterior's mean and variance", "[prior][statistics]") {
    using B = test::main_backend<double>;
    B b;
    // One y for all items, 4 rows of 8 features: moments over the items are those of p(x | y).
    const index_t rows = 4, n = 4000;
    const auto truth = normal(b, {0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8});
    const auto matrix = test::random_batch(b, rows * features, 1, 7);
    const auto a = linop::dense<B>::shared(to_backend(b, to_host(b, matrix), rows, features));
    const linop::isotropic_covariance noise(rows, 0.04);
    batch<B> y(b, rows, n), x(b, features, n);
    b.fill(y.view(), 0.7);
    prior::draw_corrected(b, truth, posterior::observe(b, y.cview(), a, noise), {.seed = 5}, x.view());
    const auto drawn = to_host(b, x);
    // E[A x + e | y] = y - Sigma_y M^-1 (y - A mu): residuals of the exact mean, by a solve to rounding.
    const auto observed = posterior::observe(b, y.cview().item_range(0, 1), a, noise);
    batch<B> mu(b, features, 1), r(b, rows, 1), w(b, rows, 1), u(b, features, 1), v(b, features, 1),
        mean(b, features, 1);
    b.copy(as_batch(truth.mu()), mu.view());
    a.apply(b, mu.cview(), r.view());
    b.axpby(1.0, observed.y(), -1.0, r.view());
    const prior::detail::scaled_innovation<B, std::remove_const_t<decltype(observed)>> m{truth, observed, 1};
    const auto lift = [&](const_view_t<B> right, batch<B>& to) {  // Sigma A' M^-1 right
        (void)solver::cg(b, m, right, w.view(), {.max_iterations = 50, .relative_tolerance = 1e-12});
        a.apply_adjoint(b, w.cview(), u.view());
        prior::detail::apply_covariance(b, truth, u.cview(), to.view());
    };
    lift(r.cview(), mean);
    b.axpby(1.0, mu.cview(), 1.0, mean.view());
    const auto exact = to_host(b, mean);
    for (std::size_t j = 0; j < features; ++j) {
        // Variance of x_j: e_j' Sigma e_j - e_j' Sigma A' M^-1 A Sigma e_j.
        std::vector<double> unit(features, 0.0);
        unit[j] = 1;
        const auto e = to_backend(b, unit, features, 1);
        prior::detail::apply_covariance(b, truth, e.cview(), v.view());
        const double before = to_host(b, v)[j];
        a.apply(b, v.cview(), r.view());
        lift(r.cview(), v);
        const double variance = before - to_host(b, v)[j];
        double sum = 0, squares = 0;
        for (std::size_t i = 0; i < static_cast<std::size_t>(n); ++i) {
            const double d = drawn[i * features + j] - exact[j];
            sum += d;
            squares += d * d;
        }
        const auto count = static_cast<double>(n);
        CHECK(std::abs(sum / count) <= 5 * std::sqrt(variance / count));
        CHECK(std::abs(squares / count / variance - 1) <= 5 * std::sqrt(2 / count));
    }
}
