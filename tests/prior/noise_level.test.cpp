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
