// SPDX-License-Identifier: Apache-2.0
#include <diem/linop/covariance.hpp>
#include <diem/linop/low_rank_covariance.hpp>

#include <cmath>
#include <limits>
#include <vector>

#include "support/operator_harness.hpp"

using namespace diem;
using namespace diem::test;

namespace {

/// Sigma^-1 Sigma x = x and Sigma Sigma^-1 x = x; `condition` multiplies the tolerance.
template <Backend B, class C>
void check_inverse(B& b, const C& sigma, index_t items, double condition = 64) {
    using T = scalar_t<B>;
    const double eps = static_cast<double>(std::numeric_limits<T>::epsilon());
    const auto x = random_batch(b, sigma.rows(), items, 60);
    batch<B> y(b, sigma.rows(), items), z(b, sigma.rows(), items);
    sigma.apply(b, x, y.view());
    sigma.apply_inverse(b, y, z.view());
    CHECK(close(to_host(b, z), to_host(b, x), 4, condition * eps));
    sigma.apply_inverse(b, x, y.view());
    sigma.apply(b, y, z.view());
    CHECK(close(to_host(b, z), to_host(b, x), 4, condition * eps));
}

/// log det by the Cholesky factor of the matrix itself, in the backend's precision.
template <Backend B, class C>
void check_log_determinant(B& b, const C& sigma, index_t items) {
    using T = scalar_t<B>;
    const index_t n = sigma.rows();
    batch<B, double> out(b, items, 1);
    sigma.log_determinant(b, out.flat());
    const auto got = to_host(b, out);
    for (index_t i = 0; i < items; ++i) {
        const auto one = sigma.items(i, 1);
        batch<B> e(b, n, 1), matrix(b, n, n);
        for (index_t j = 0; j < n; ++j) {
            b.fill(e.view(), T(0));
            b.fill(e.view().feature_range(j, 1), T(1));
            one.apply(b, e, matrix.view().item_range(j, 1));
        }
        batch<B, int> info(b, 1, 1);
        b.cholesky(matrices_t<B>(matrix.view().data(), n, n, n, 0, 1), info.flat());
        REQUIRE(to_host(b, info) == std::vector<int>{0});
        const auto l = to_host(b, matrix);
        double expected = 0;
        for (index_t j = 0; j < n; ++j)
            expected += 2 * std::log(static_cast<double>(l[static_cast<std::size_t>(j * (n + 1))]));
        const double eps = static_cast<double>(std::numeric_limits<T>::epsilon());
        CHECK(std::abs(got[static_cast<std::size_t>(i)] - expected) <= 64 * eps * (1 + static_cast<double>(n)));
    }
}

/// Sample covariance of `items` draws, all of the same Sigma, against Sigma: 5 standard errors of each entry.
template <Backend B, class C>
void check_samples(B& b, const C& sigma, index_t items) {
    using T = scalar_t<B>;
    const index_t n = sigma.rows();
    const random_key key{8, random_lane::covariance};
    batch<B> y(b, n, items), moments(b, n, n), unit(b, n, n), matrix(b, n, n);
    sigma.sample(b, key, y.view());
    b.gemm(T(1) / static_cast<T>(items), y.cview(), op::none, y.cview(), op::transpose, T(0), moments.view());
    b.fill(unit.view(), T(0));
    for (index_t j = 0; j < n; ++j) b.fill(unit.view().item_range(j, 1).feature_range(j, 1), T(1));
    const auto one = sigma.items(0, 1);
    for (index_t j = 0; j < n; ++j) one.apply(b, unit.cview().item_range(j, 1), matrix.view().item_range(j, 1));
    const auto s = to_host(b, matrix), got = to_host(b, moments);
    const auto at = [n](const std::vector<T>& m, index_t i, index_t j) {
        return static_cast<double>(m[static_cast<std::size_t>(i + j * n)]);
    };
    for (index_t i = 0; i < n; ++i)
        for (index_t j = 0; j < n; ++j) {
            const double error =
                std::sqrt((at(s, i, i) * at(s, j, j) + at(s, i, j) * at(s, i, j)) / static_cast<double>(items));
            CHECK(std::abs(at(got, i, j) - at(s, i, j)) <= 5 * error);
        }
    // The same numbers however the batch is cut.
    if (items > 4) {
        batch<B> tail(b, n, items - 4);
        sigma.items(4, items - 4).sample(b, key.skip_items(4), tail.view());
        CHECK(close(to_host(b, tail), to_host(b, y.cview().item_range(4, items - 4)), largest(to_host(b, y)),
                    64 * static_cast<double>(std::numeric_limits<T>::epsilon())));
    }
}

/// `count` copies of one item.
template <Backend B>
batch<B> repeated(B& b, const batch<B>& one, index_t count) {
    batch<B> out(b, one.features(), count);
    for (index_t i = 0; i < count; ++i) b.copy(one.view(), out.view().item_range(i, 1));
    return out;
}

}  // namespace

TEMPLATE_TEST_CASE("isotropic and diagonal covariance", "[linop]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    B b = make_backend<B>();
    static_assert(linop::Covariance<linop::isotropic_covariance, B>);
    static_assert(linop::Covariance<linop::diagonal_covariance<B>, B>);
    const index_t n = GENERATE(0, 1, 13), items = GENERATE(0, 1, 3);
    const auto check = [&](const auto& sigma) {
        check_operator(b, sigma, items);
        check_operator(b, linop::precision(sigma), items);
        check_inverse(b, sigma, items);
        check_log_determinant(b, sigma, items);
    };
    SECTION("isotropic") { check(linop::isotropic_covariance(n, 0.3)); }
    SECTION("diagonal") { check(linop::diagonal_covariance<B>::shared(b, random_positive(b, n, 1, 61))); }
    SECTION("diagonal per item") {
        check(linop::diagonal_covariance<B>::per_item(b, random_positive(b, n, items, 62)));
    }
}

TEMPLATE_TEST_CASE("diagonal and low-rank covariance", "[linop]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    B b = make_backend<B>();
    static_assert(linop::Covariance<linop::low_rank_covariance<B>, B>);
    const index_t n = GENERATE(0, 1, 13), rank = GENERATE(0, 1, 4), items = GENERATE(0, 1, 3);
    const auto check = [&](const auto& sigma) {
        check_operator(b, sigma, items);
        check_operator(b, linop::precision(sigma), items);
        check_inverse(b, sigma, items, 512);
        check_log_determinant(b, sigma, items);
    };
    using sigma = linop::low_rank_covariance<B>;
    SECTION("shared") { check(sigma::shared(b, random_positive(b, n, 1, 63), random_batch(b, n, rank, 64))); }
    SECTION("per item") { check(sigma::per_item(b, random_positive(b, n, items, 65), random_batch(b, n, rank, 66))); }
}

TEMPLATE_TEST_CASE("covariances: samples have the covariance", "[linop]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    B b = make_backend<B>();
    const index_t n = 5, items = 4000;
    const auto d = random_positive(b, n, 1, 67);
    const auto u = random_batch(b, n, 2, 68);
    check_samples(b, linop::isotropic_covariance(n, 0.3), items);
    check_samples(b, linop::diagonal_covariance<B>::shared(b, d), items);
    check_samples(b, linop::diagonal_covariance<B>::per_item(b, repeated(b, d, items)), items);
    check_samples(b, linop::low_rank_covariance<B>::shared(b, d, u), items);
    check_samples(b, linop::low_rank_covariance<B>::per_item(b, repeated(b, d, items), u), items);
}

TEMPLATE_TEST_CASE("low-rank part far above the diagonal: the inverse stays accurate", "[linop]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    using T = scalar_t<B>;
    B b = make_backend<B>();
    const double eps = static_cast<double>(std::numeric_limits<T>::epsilon());
    const index_t n = 40, rank = 3, items = 4;
    // d about 1e-3, U U' with eigenvalues about 40: a ratio of 4e4.
    const auto sigma = linop::low_rank_covariance<B>::per_item(b, random_positive(b, n, items, 70, 0.5e-3, 2e-3),
                                                               random_batch(b, n, rank, 71));
    batch<B> y(b, n, items), back(b, n, items);
    // Any x, and the hard case, x in the span of U: Sigma^-1 x is then small beside D^-1 x.
    const auto c = random_batch(b, rank, items, 73);
    batch<B> inside(b, n, items);
    b.gemm(T(1), sigma.factor(), op::none, c.view(), op::none, T(0), inside.view());
    const auto any = random_batch(b, n, items, 72);
    for (const const_view_t<B>& x : {any.cview(), inside.cview()}) {
        sigma.apply_inverse(b, x, y.view());
        sigma.apply(b, y, back.view());
        // ||Sigma y - x|| against ||Sigma|| ||y||: a few eps and, after one step of refinement, (condition eps)^2, with
        // 120 / 0.5e-3 bounding the condition. Without the step it would be condition eps.
        const double rest = 120 / 0.5e-3 * eps;
        const double scale = 120 * largest(to_host(b, y)) + largest(to_host(b, x));
        CHECK(close(to_host(b, back), to_host(b, x), scale, 16 * eps + rest * rest));
    }
}

TEST_CASE("covariances refuse what is no variance", "[linop]") {
    using B = reference_backend<float>;
    B b;
    const float inf = std::numeric_limits<float>::infinity();
    CHECK_THROWS_AS(linop::isotropic_covariance(3, 0), value_error);
    CHECK_THROWS_AS(linop::isotropic_covariance(3, -1), value_error);
    using diagonal = linop::diagonal_covariance<B>;
    CHECK_THROWS_AS(diagonal::shared(b, to_backend<B, float>(b, {1, 0}, 2, 1)), value_error);
    CHECK_THROWS_AS(diagonal::shared(b, to_backend<B, float>(b, {1, inf}, 2, 1)), value_error);
    CHECK_THROWS_WITH(diagonal::per_item(b, to_backend<B, float>(b, {1, 1, -1, std::nanf("")}, 2, 2)),
                      Catch::Matchers::Contains("item 1") && Catch::Matchers::Contains("2 entries"));
    using low_rank = linop::low_rank_covariance<B>;
    const auto d = random_positive(b, 3, 1, 80);
    CHECK_THROWS_AS(low_rank::shared(b, d, random_batch(b, 4, 1, 81)), shape_error);
    CHECK_THROWS_AS(low_rank::shared(b, d, to_backend<B, float>(b, {1, std::nanf(""), 1}, 3, 1)), value_error);
}
