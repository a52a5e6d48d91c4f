// SPDX-License-Identifier: Apache-2.0
#include <diem/diffusion/gaussian.hpp>
#include <diem/diffusion/score_model.hpp>
#include <diem/testing/score_model.hpp>

#include "support/operator_harness.hpp"

using namespace diem;

namespace {
struct squares {  // y = x^2
    template <class V>
    DIEM_HOST_DEVICE void operator()(V& y, const V& x) const {
        y = x * x;
    }
};
struct squares_vjp {  // w = 2 x v
    template <class V>
    DIEM_HOST_DEVICE void operator()(V& w, const V& v, const V& x) const {
        w = (x + x) * v;
    }
};
template <class B>
diffusion::gaussian<B> prior(B& b, index_t d) {
    return {b, test::random_batch(b, d, 1, 1), test::random_positive(b, d, 1, 2), test::random_batch(b, d, 2, 3)};
}
}  // namespace

TEMPLATE_TEST_CASE("check_score_model passes a Gaussian, whose Jacobian is symmetric", "[testing]",
                   DIEM_TEST_BACKENDS) {
    using B = TestType;
    B b = test::make_backend<B>();
    auto model = prior(b, 8);
    const auto found =
        testing::check_score_model(b, model,
                                   {.sigma = GENERATE(0.1, 1.0, 10.0),
                                    .symmetry = 64 * static_cast<double>(std::numeric_limits<scalar_t<B>>::epsilon())});
    INFO(found.text());
    CHECK(found.passed());
    CHECK(found["jvp"].passed());
}

TEMPLATE_TEST_CASE("check_score_model finds what is wrong with a model", "[testing]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    B b = test::make_backend<B>();
    const auto square = [](auto& backend, auto x, double, auto y) { backend.map(squares{}, y, x); };
    const auto vjp = [](auto& backend, auto x, double, auto v, auto w) { backend.map(squares_vjp{}, w, v, x); };
    auto fine = diffusion::score_model(5, square, vjp);
    INFO(testing::check_score_model(b, fine).text());
    CHECK(testing::check_score_model(b, fine).passed());

    auto wrong = diffusion::score_model(
        5, square, [](auto& backend, auto, double, auto v, auto w) { backend.axpby(1.0, v, 0.0, w); });
    CHECK(!testing::check_score_model(b, wrong)["vjp"].passed());

    // A linearisation that keeps a view of x_t, which changes; and one whose mean is another one.
    auto keeps = diffusion::score_model(5, square, [&](auto& backend, auto x, double sigma, auto y) {
        square(backend, x, sigma, y);
        return [x](auto& bb, auto v, auto w) { bb.map(squares_vjp{}, w, v, x); };
    });
    CHECK(!testing::check_score_model(b, keeps)["vjp again"].passed());
    auto other = diffusion::score_model(5, square, [&](auto& backend, auto x, double, auto y) {
        backend.axpby(1.0, x, 0.0, y);
        return [](auto& bb, auto v, auto w) { bb.axpby(1.0, v, 0.0, w); };
    });
    CHECK(!testing::check_score_model(b, other)["denoise"].passed());

    // Symmetric is reported, and a bound only on demand.
    auto turns = diffusion::score_model(
        2,
        [](auto& backend, auto x, double, auto y) {
            backend.axpby(1.0, x.feature_range(1, 1), 0.0, y.feature_range(0, 1));
            backend.axpby(-1.0, x.feature_range(0, 1), 0.0, y.feature_range(1, 1));
        },
        [](auto& backend, auto, double, auto v, auto w) {
            backend.axpby(-1.0, v.feature_range(1, 1), 0.0, w.feature_range(0, 1));
            backend.axpby(1.0, v.feature_range(0, 1), 0.0, w.feature_range(1, 1));
        });
    const auto report = testing::check_score_model(b, turns);
    CHECK(report.passed());
    const auto& symmetry = report["symmetry"];
    CHECK(symmetry.text().find("reported only") != std::string::npos);
    CHECK(symmetry.text().find("inf") == std::string::npos);
    CHECK(symmetry.value > 0.05);
    CHECK(!testing::check_score_model(b, turns, {.symmetry = 1e-3}).passed());
}
