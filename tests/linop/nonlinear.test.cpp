// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <limits>
#include <vector>

#include <diem/linop/dense.hpp>
#include <diem/linop/nonlinear.hpp>
#include <diem/linop/nonlinear_image.hpp>
#include <diem/testing/nonlinear.hpp>

#include "support/operator_harness.hpp"

using namespace diem;
using namespace diem::test;

namespace {

template <Backend B, linop::NonlinearOperator<B> F>
void check(B& b, const F& f, const testing::nonlinear_options& o = {}) {
    const auto found = testing::check_nonlinear_operator(b, f, o);
    INFO(found.text());
    CHECK(found.passed());
}
template <Backend B, class F>
std::vector<scalar_t<B>> value(B& b, const F& f, const std::vector<scalar_t<B>>& x) {
    const auto in = to_backend(b, x, f.cols(), static_cast<index_t>(x.size()) / f.cols());
    batch<B> y(b, f.rows(), in.items());
    f.apply(b, in.cview(), y.view());
    return to_host(b, y);
}

/// A wrong one: y = x^2 with a slope that is not 2 x, or a value that is not that of apply.
struct square_with {
    int wrong = 0;
    template <class T>
    DIEM_HOST_DEVICE void operator()(T x, T& y, T& slope) const {
        y = x * x;
        slope = wrong == 1 ? x : 2 * x;
    }
};
struct other_value : linop::pointwise<square_with> {
    explicit other_value(index_t n) : pointwise(n) {}
    using pointwise::items;
    [[nodiscard]] other_value items(index_t, index_t) const { return *this; }
    template <Backend B>
    [[nodiscard]] auto linearize(B& b, const_view_t<B> x) const {
        auto out = pointwise::linearize(b, x);
        b.axpby(0.0, out.value.cview(), 2.0, out.value.view());
        return out;
    }
};

}  // namespace

TEMPLATE_TEST_CASE("derivatives of operators that are not linear", "[linop]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    B b = make_backend<B>();
    // What a central difference leaves grows as the third derivative, that of |z| as 1 / |z|^2: in a mean over entries of
    // which few are below 0.3.
    const double root = std::cbrt(static_cast<double>(std::numeric_limits<scalar_t<B>>::epsilon()));
    const testing::nonlinear_options near_zero{.tolerance = 30 * root * root / (0.3 * 0.3)};
    // With the default key no entry is within h of an end.
    check(b, linop::clipping(5, {1.5, -1, 0.8}));
    check(b, linop::magnitude(4), near_zero);
    check(b, linop::rounding(6), {.scale = 10, .derivative = false});
    check(b, linop::fourier_magnitudes(b, {4, 5, 3}, 6, 7), near_zero);
    check(b, linop::jpeg(b, {8, 16, 3}, 40), {.scale = 3, .derivative = false});
    // Chains, with an operator of its own for each item inside and outside.
    const auto a = random_batch(b, 6 * 5, 3, 1), c = random_batch(b, 2 * 3, 3, 2);
    const auto inside = linop::after(linop::magnitude(3), linop::dense<B>::per_item(a.cview(), 6, 5));
    check(b, inside, near_zero);
    check(b, linop::after(linop::dense<B>::per_item(c.cview(), 2, 3), inside), near_zero);
    check(b, linop::after(linop::pointwise<square_with>(3), inside), near_zero);
}

TEMPLATE_TEST_CASE("values of operators that are not linear", "[linop]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    using values = std::vector<scalar_t<B>>;
    B b = make_backend<B>();
    CHECK(value(b, linop::clipping(3, {2, -1, 3}), {-4, 1, 8}) == values{-1, 2, 3});
    CHECK(value(b, linop::rounding(4), {-1.75, 0.25, 0.75, 7}) == values{-2, 0, 1, 7});
    CHECK(value(b, linop::magnitude(2), {3, -4, 0, 0}) == values{5, 0});
    // At 0 the derivative of a magnitude is taken as 0.
    const auto zero = to_backend(b, values{0, 0}, 2, 1), one = to_backend(b, values{1}, 1, 1);
    batch<B> back(b, 2, 1);
    linop::magnitude(1).linearize(b, zero.cview()).derivative.apply_adjoint(b, one.cview(), back.view());
    CHECK(to_host(b, back) == values{0, 0});
}

TEST_CASE("magnitudes of a Fourier transform know neither sign nor place", "[linop]") {
    using B = main_backend<double>;
    B b = make_backend<B>();
    const linop::image_extent small{3, 4, 2};
    const auto f = linop::fourier_magnitudes(b, small, 6, 8);
    CHECK(f.rows() == 6 * 8 * 2);
    std::vector<double> x(24), negative(24);
    for (std::size_t k = 0; k < 24; ++k) x[k] = std::sin(static_cast<double>(k * k)), negative[k] = -x[k];
    const auto y = value(b, f, x);
    CHECK(close(value(b, f, negative), y, largest(y), 1e-14));
    // Energy: the transform is unitary.
    double energy = 0, expected = 0;
    for (const double v : y) energy += v * v;
    for (const double v : x) expected += v * v;
    CHECK(std::abs(energy - expected) <= 1e-13 * expected);
}

TEST_CASE("the transform of blocks, and JPEG's steps", "[linop]") {
    using B = main_backend<double>;
    B b = make_backend<B>();
    const auto c = linop::block_dct(b, {8, 16, 2});
    test::check_operator(b, c, 2);
    // Orthonormal: C'C x = x.
    const auto x = random_batch(b, c.cols(), 2, 3);
    batch<B> y(b, c.rows(), 2), back(b, c.cols(), 2);
    c.apply(b, x.cview(), y.view());
    c.apply_adjoint(b, y.cview(), back.view());
    // Four sums of eight numbers.
    CHECK(close(to_host(b, back), to_host(b, x), largest(to_host(b, x)), 32 * 2.2e-16));
    // A constant block has its mean in the first coefficient, times 8.
    const auto first = value(b, linop::block_dct(b, {8, 8, 1}), std::vector<double>(64, 0.5));
    CHECK(std::abs(first[0] - 4) <= 1e-14);
    CHECK(std::abs(first[9]) <= 1e-14);
    CHECK(linop::jpeg_steps(50)[1] == 11);
    CHECK(linop::jpeg_steps(25)[0] == 32);
    CHECK(linop::jpeg_steps(100)[63] == 1);
    // A grey block of value v: its first number is 8 v in units of 16 / 255 of the range 4.
    const auto levels = value(b, linop::jpeg(b, {8, 8, 1}, 50), std::vector<double>(64, 1.0));
    CHECK(levels[0] == std::round(8 * 255 / 4.0 / 16));
    CHECK_THROWS_AS(linop::block_dct(b, {8, 12, 1}), value_error);
    CHECK_THROWS_AS(linop::jpeg_steps(0), value_error);
    CHECK_THROWS_AS(linop::fourier_magnitudes(b, {4, 4, 1}, 3, 4), value_error);
}

TEST_CASE("the check of operators that are not linear finds what is wrong", "[linop]") {
    using B = main_backend<double>;
    B b = make_backend<B>();
    const auto wrong_slope = testing::check_nonlinear_operator(b, linop::pointwise<square_with>(4, {1}));
    CHECK_FALSE(wrong_slope["derivative"].passed());
    CHECK(wrong_slope["value"].passed());
    CHECK_FALSE(testing::check_nonlinear_operator(b, other_value(4))["value"].passed());
    CHECK_FALSE(testing::check_nonlinear_operator(b, linop::rounding(4))["derivative"].passed());
    batch<B> x(b, 3, 1), y(b, 4, 1);
    CHECK_THROWS_AS(linop::clipping(4).apply(b, x.cview(), y.view()), shape_error);
    CHECK_THROWS_AS(linop::after(linop::magnitude(2), linop::clipping(3)), shape_error);
}
