// SPDX-License-Identifier: Apache-2.0
#include <diem/diffusion/gaussian.hpp>
#include <diem/linop/lambda.hpp>
#include <diem/linop/mask.hpp>
#include <diem/linop/nonlinear_image.hpp>
#include <diem/testing/adjoint.hpp>
#include <diem/testing/counting.hpp>
#include <diem/testing/nonlinear.hpp>
#include <diem/testing/operator.hpp>
#include <diem/testing/report.hpp>
#include <diem/testing/score_model.hpp>

#include <cstdio>

#include "example.hpp"

namespace {

/// N(0, I) of three numbers.
diem::diffusion::gaussian<backend> unit_gaussian(backend& b) {
    return {b, diem::to_backend(b, std::vector<float>{0, 0, 0}, 3, 1),
            diem::to_backend(b, std::vector<float>{1, 1, 1}, 3, 1), diem::batch<backend>(b, 3, 0)};
}

}  // namespace

TEST_CASE("testing/adjoint.hpp") {
    backend b(1);
    // [testing/adjoint.hpp]
    const auto a = diem::linop::make_operator(
        3, 3, diem::linop::any_items, [](backend& on, auto x, auto y) { on.axpby(2.0, x, 0.0, y); },
        [](backend& on, auto y, auto x) { on.axpby(-2.0, y, 0.0, x); });   // a wrong sign
    const double error = diem::testing::adjoint_error(b, a, {.seed = 1});  // 1; some 1e-7 where it is right
    // [testing/adjoint.hpp]
    CHECK(error == about(1));
    CHECK_THROWS_AS(diem::testing::require_adjoint(b, a, {.seed = 1}), diem::value_error);
}

TEST_CASE("testing/counting.hpp") {
    backend b(1);
    auto model = unit_gaussian(b);
    // [testing/counting.hpp]
    diem::testing::counting_model counted(model);  // takes the place of the model
    diem::batch<backend> x(b, 3, 5), x_hat(b, 3, 5);
    b.fill(x.view(), 1.0F);
    counted.denoise(b, x.cview(), 1.0, x_hat.view());
    const auto passes = counted.counts.forward();  // 1
    // [testing/counting.hpp]
    CHECK(passes == 1);
    CHECK(diem::to_host(b, x_hat)[0] == about(0.5));
}

TEST_CASE("testing/nonlinear.hpp") {
    backend b(1);
    // [testing/nonlinear.hpp]
    const auto f = diem::linop::fourier_magnitudes(b, {8, 8, 1}, 16, 16);
    const auto found = diem::testing::check_nonlinear_operator(b, f);  // its derivative against differences
    std::puts(found.text().c_str());
    // [testing/nonlinear.hpp]
    CHECK(found.passed());
}

TEST_CASE("testing/operator.hpp") {
    backend b(1);
    // [testing/operator.hpp]
    const auto mask = diem::linop::mask<backend>::shared(diem::to_backend(b, std::vector<float>{1, 1, 0, 1}, 4, 1));
    const auto checked = diem::testing::check_operator(b, mask);
    std::puts(checked.text().c_str());
    // [testing/operator.hpp]
    CHECK(checked.passed());
}

TEST_CASE("testing/report.hpp") {
    // [testing/report.hpp]
    diem::testing::report r;  // of a check of one's own
    r.add("norm", 0.8, 1.0, "the largest gain");
    r.add("time", 3.0, 2.0, "seconds");
    const bool good = r.passed();         // false: 3 seconds are above 2
    const double gain = r["norm"].value;  // 0.8
    // [testing/report.hpp]
    CHECK_FALSE(good);
    CHECK(gain == 0.8);
}

TEST_CASE("testing/score_model.hpp") {
    backend b(1);
    auto prior = unit_gaussian(b);
    // [testing/score_model.hpp]
    // Of any ScoreModel, such as a network of one's own (diffusion/score_model.hpp), at one noise level.
    const auto checked = diem::testing::check_score_model(b, prior, {.sigma = 0.5});
    std::puts(checked.text().c_str());
    // [testing/score_model.hpp]
    CHECK(checked.passed());
}
