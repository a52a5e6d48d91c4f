// SPDX-License-Identifier: Apache-2.0
// Against the average of A'A computed entry by entry, and against nulls that are known.
#include <algorithm>
#include <cmath>
#include <vector>

#include <diem/linop/convolution.hpp>
#include <diem/linop/dense.hpp>
#include <diem/linop/lambda.hpp>
#include <diem/linop/mask.hpp>
#include <diem/prior/recoverability.hpp>

#include "support/backends.hpp"
#include "support/catch.hpp"
#include "support/operator_harness.hpp"

using namespace diem;

namespace {

/// mean of A_i'A_i, D x D, of matrices rows x cols, one an item.
template <class T>
std::vector<double> average_product(const std::vector<T>& a, index_t rows, index_t cols) {
    const auto r = static_cast<std::size_t>(rows), d = static_cast<std::size_t>(cols), n = a.size() / (r * d);
    std::vector<double> h(d * d, 0.0);
    for (std::size_t i = 0; i < n; ++i)
        for (std::size_t j = 0; j < d; ++j)
            for (std::size_t k = 0; k < d; ++k)
                for (std::size_t row = 0; row < r; ++row)
                    h[j * d + k] += static_cast<double>(a[(i * d + j) * r + row]) *
                                    static_cast<double>(a[(i * d + k) * r + row]) / static_cast<double>(n);
    return h;
}
/// rows x cols matrices for n items, whose rows are random combinations of `rank` directions.
template <Backend B>
std::vector<scalar_t<B>> low_rank_matrices(B& b, index_t rows, index_t cols, index_t rank, index_t n) {
    using T = scalar_t<B>;
    const auto directions = to_host(b, test::random_batch(b, cols, rank, 1));
    const auto weights = to_host(b, test::random_batch(b, rank, rows * n, 2));
    std::vector<T> a(static_cast<std::size_t>(rows * cols * n), T(0));
    for (index_t i = 0; i < n; ++i)
        for (index_t row = 0; row < rows; ++row)
            for (index_t j = 0; j < cols; ++j)
                for (index_t k = 0; k < rank; ++k)
                    a[static_cast<std::size_t>((i * cols + j) * rows + row)] +=
                        weights[static_cast<std::size_t>((i * rows + row) * rank + k)] *
                        directions[static_cast<std::size_t>(k * cols + j)];
    return a;
}
/// What a share of directions estimated from random +-1 vectors may be off: Var |P z|^2 <= 2 rank.
double share_error(double share, index_t features) {
    const auto d = static_cast<double>(features);
    return 5 * std::sqrt(2 * share * d / std::clamp(std::floor(4096 / d), 1.0, 16.0)) / d;
}

}  // namespace

TEMPLATE_TEST_CASE("of masks, the share of observations that show a value", "[prior]", test::main_backend<float>,
                   test::main_backend<double>, test::opaque_backend<float>) {
    using B = TestType;
    using T = scalar_t<B>;
    B b;
    const index_t d = 12, n = 700;  // more than one block
    batch<B> drawn(b, d, n);
    linop::draw_mask<B>(b, {.seed = 5, .lane = random_lane::user}, 0.4, 1, drawn.view());
    auto values = to_host(b, drawn);
    std::vector<double> expected(d, 0.0);
    index_t empty = 0;
    for (std::size_t i = 0; i < values.size(); i += 12) {
        values[i + 3] = values[i + 7] = 0;
        if (i != 24) values[i + 8] = 0;  // seen once
        bool any = false;
        for (std::size_t j = 0; j < 12; ++j) {
            expected[j] += static_cast<double>(values[i + j]) / n;
            any = any || values[i + j] != 0;
        }
        empty += any ? 0 : 1;
    }
    expected[8] += (1 - static_cast<double>(values[32])) / n;
    values[32] = 1;
    REQUIRE(empty > 0);
    const auto data = to_backend(b, values, d, n);
    const auto mask = linop::mask<B>::per_item(data.view());
    // The same, seen as an operator of which nothing is known.
    const auto opaque = linop::make_operator(
        d, d, n,
        [&](B& bb, const_view_t<B> x, view_t<B> y, index_t first) { mask.items(first, x.items()).apply(bb, x, y); },
        [&](B& bb, const_view_t<B> y, view_t<B> x, index_t first) { mask.items(first, y.items()).apply(bb, y, x); });
    const auto check = [&](const prior::recoverability& r) {
        CHECK(test::close(r.seen, expected, 1, 1e-6));
        CHECK(r.unseen_items == empty);
        CHECK(r.unseen_values == Approx(2.0 / 12));
        CHECK(r.seldom_values == Approx(3.0 / 12));
        CHECK(std::abs(r.unseen_directions - 2.0 / 12) <= 1e-5);
        CHECK(std::abs(r.seldom_directions - 3.0 / 12) <= 1e-5);
        CHECK(r.words() ==
              "16.7 % of the values of x were never seen: the prior is a guess there; 8.33 % of the values "
              "were seldom seen");
    };
    check(prior::recoverability_of(b, mask, n));
    check(prior::recoverability_of(b, opaque, n));
    CHECK_FALSE(prior::recoverability_of(b, opaque, n, {.steps = 0}).directions_known);
    const auto all = linop::mask<B>::shared(to_backend(b, std::vector<T>(4, T(1)), 4, 1));
    CHECK(prior::recoverability_of(b, all, 9).words() == "every value and direction of x was seen");
    CHECK(prior::recoverability_of(b, all, 9).start_variance() == 1);
    CHECK(prior::recoverability_of(b, mask, n).start_variance() == 0.1);
    const auto none = linop::mask<B>::shared(to_backend(b, std::vector<T>(4, T(0)), 4, 1));
    CHECK(prior::recoverability_of(b, none, 9).unseen_items == 9);
    CHECK(prior::recoverability_of(b, none, 9).unseen_directions == 1);
    CHECK_THROWS_AS(prior::recoverability_of(b, mask, n - 1), shape_error);
    CHECK_THROWS_AS(prior::recoverability_of(b, all, 0), value_error);
}

TEMPLATE_TEST_CASE("a blur that takes away the finest stripes has a null of that many directions", "[prior]",
                   test::main_backend<float>, test::opaque_backend<float>) {
    using B = TestType;
    using T = scalar_t<B>;
    B b;
    for (const index_t size : {8, 16, 32}) {  // exact, and estimated
        CAPTURE(size);
        const auto kernel = to_backend(b, std::vector<T>{T(0.5), T(0.5)}, 2, 1);
        const auto blur =
            linop::convolution<B>::shared(b, {size, size, 1}, kernel.cview(), 1, 2, linop::border::circular);
        const auto r = prior::recoverability_of(b, blur, 1000);
        const double share = 1.0 / static_cast<double>(size);  // the highest frequency along rows, any along columns
        const double error = size == 8 ? 1e-5 : share_error(share, size * size);
        CHECK(std::abs(r.unseen_directions - share) <= error);
        CHECK(r.unseen_values == 0);
        CHECK(r.unseen_items == 0);
        CHECK(r.start_variance() == 0.1);
        // |A e_j|^2 = 1/2 for each pixel, from 64 draws: Var (A'z)_j^2 = 4 (1/4)^2.
        for (const double v : r.seen) CHECK(std::abs(v - 0.5) <= 6 * 0.5 / 8);
        CHECK(r.words().find("of the directions of x were never seen: the prior is a guess there") !=
              std::string::npos);
    }
}

TEMPLATE_TEST_CASE("rows of few directions leave all others unseen, however many observations there are", "[prior]",
                   test::main_backend<float>, test::main_backend<double>, test::opaque_backend<float>) {
    using B = TestType;
    B b;
    const index_t rows = 2, rank = 5, n = 300;
    for (const index_t d : {20, 80}) {
        CAPTURE(d);
        const auto matrices = low_rank_matrices(b, rows, d, rank, n);
        const auto data = to_backend(b, matrices, rows * d, n);
        const auto a = linop::dense<B>::per_item(data.view(), rows, d);
        const auto r = prior::recoverability_of(b, a, n);
        const double share = 1 - static_cast<double>(rank) / static_cast<double>(d);
        CHECK(std::abs(r.unseen_directions - share) <= (d == 20 ? 1e-4 : share_error(1 - share, d)));
        const auto h = average_product(matrices, rows, d);
        double trace = 0, quadrature = 0, squares = 0;
        for (index_t j = 0; j < d; ++j) {
            const double exact = h[static_cast<std::size_t>(j * d + j)];
            trace += exact;
            // Var (A'z)_j^2 <= 2 |A e_j|^4, and E |A e_j|^4 <= 3 (E |A e_j|^2)^2 of normal rows.
            CHECK(std::abs(r.seen[static_cast<std::size_t>(j)] - exact) <= 6 * std::sqrt(6.0 / n) * exact);
        }
        for (const double v : h) squares += v * v;
        for (const auto& [value, weight] : r.spectrum) quadrature += value * weight * static_cast<double>(d);
        const double probes = std::clamp(std::floor(4096.0 / static_cast<double>(d)), 1.0, 16.0);
        CHECK(std::abs(quadrature - trace) <= (d == 20 ? 1e-4 * trace : 5 * std::sqrt(2 * squares / probes)));
    }
}
