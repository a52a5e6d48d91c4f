// SPDX-License-Identifier: Apache-2.0
#include <diem/metrics/frechet.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "support/backends.hpp"
#include "support/catch.hpp"

using namespace diem;
using namespace diem::metrics;

namespace {
constexpr double rounding = 1e-10;

std::vector<double> normals(index_t d, index_t n, std::uint32_t step, double scale, double offset) {
    std::vector<double> x;
    for (index_t i = 0; i < n; ++i)
        for (index_t j = 0; j < d; ++j)
            x.push_back(scale * normal<double>({3, random_lane::user, step, 0}, static_cast<std::uint32_t>(i),
                                               static_cast<std::uint32_t>(j)) +
                        offset);
    return x;
}
}  // namespace

TEMPLATE_TEST_CASE("Frechet distance of known Gaussians", "", reference_backend<double>, eigen_backend<double>,
                   test::opaque_backend<double>) {
    auto backend = test::make_backend<TestType>();
    // Diagonal: sum of (m1 - m2)^2 + (s1 - s2)^2, standard deviations s.
    const moments a{2, 10, {1, 2}, {4, 0, 0, 9}}, b{2, 10, {0, 4}, {1, 0, 0, 25}};
    CHECK(std::abs(frechet_distance(backend, a, b) - (1 + 4 + 1 + 4)) <= rounding);
    CHECK(std::abs(frechet_distance(backend, b, a) - 10) <= rounding);
    CHECK(frechet_distance(backend, a, a) <= rounding);

    // 2 x 2: the eigenvalues l of S1 S2 have tr sqrt = sqrt(tr + 2 sqrt(det)).
    const moments c{2, 10, {0, 0}, {2, 1, 1, 3}}, e{2, 10, {0, 0}, {5, -2, -2, 1}};
    const double trace = 2 * 5 - 2 - 2 + 3, det = 5.0 * 1.0;
    const double expected = 5 + 6 - 2 * std::sqrt(trace + 2 * std::sqrt(det));
    CHECK(std::abs(frechet_distance(backend, c, e) - expected) <= rounding);

    // A singular covariance: N(0, 0) against N(0, S2) is tr S2.
    const moments zero{2, 10, {0, 0}, {0, 0, 0, 0}};
    CHECK(std::abs(frechet_distance(backend, zero, e) - 6) <= rounding);

    CHECK_THROWS_AS(frechet_distance(backend, a, (moments{1, 10, {0}, {1}})), shape_error);
    CHECK_THROWS_AS(frechet_distance(backend, a, (moments{2, 1, {0, 0}, {0, 0, 0, 0}})), value_error);
}

TEMPLATE_TEST_CASE("moments do not depend on how the items are cut into batches", "", reference_backend<double>,
                   eigen_backend<double>, test::opaque_backend<double>) {
    auto backend = test::make_backend<TestType>();
    const index_t d = 5, n = 40;
    const auto x = normals(d, n, 0, 0.5, 1e4);  // far from the origin: a sum of squares would lose eight digits
    const auto whole = to_backend(backend, x, d, n);
    const moments once = moments_of(backend, backend, whole.cview());
    REQUIRE(once.count == n);

    moments_accumulator<TestType> parts(backend, d);
    for (index_t first = 0; first < n;) {
        const index_t count = std::min<index_t>(n - first, first == 0 ? 1 : 13);
        parts.add(backend, whole.cview().item_range(first, count));
        first += count;
    }
    parts.add(backend, whole.cview().item_range(0, 0));
    const moments split = parts.result();
    CHECK(split.count == n);
    // Against two plain passes.
    for (index_t j = 0; j < d; ++j) {
        double mean = 0;
        for (index_t i = 0; i < n; ++i) mean += x[static_cast<std::size_t>(i * d + j)] / static_cast<double>(n);
        CHECK(std::abs(split.mean[static_cast<std::size_t>(j)] - mean) <= 1e-11);
        for (index_t k = 0; k < d; ++k) {
            double cov = 0;
            for (index_t i = 0; i < n; ++i) {
                double other = 0;
                for (index_t l = 0; l < n; ++l)
                    other += x[static_cast<std::size_t>(l * d + k)] / static_cast<double>(n);
                cov +=
                    (x[static_cast<std::size_t>(i * d + j)] - mean) * (x[static_cast<std::size_t>(i * d + k)] - other);
            }
            cov /= static_cast<double>(n - 1);
            CHECK(std::abs(split.cov[static_cast<std::size_t>(j + k * d)] - cov) <= 1e-10);
            CHECK(std::abs(once.cov[static_cast<std::size_t>(j + k * d)] - cov) <= 1e-10);
        }
    }
}

TEST_CASE("Frechet distance takes float32 features, and says what is wrong") {
    auto backend = test::make_backend<eigen_backend<double>>();
    auto from = test::make_backend<test::opaque_backend<float>>();
    const index_t d = 4, n = 50;
    const auto to_float = [](const std::vector<double>& v) { return std::vector<float>(v.begin(), v.end()); };
    auto values = to_float(normals(d, n, 1, 1.0, 0.0));
    const auto x = to_backend(from, values, d, n);
    for (float& value : values) value += 2.0f;
    const auto shifted = to_backend(from, values, d, n);
    // The same covariance to the rounding of the shift, means 2 apart in every feature.
    CHECK(std::abs(frechet_distance(backend, from, x.cview(), shifted.cview()) - 4.0 * static_cast<double>(d)) <= 1e-5);

    moments_accumulator<eigen_backend<double>> sum(backend, d);
    CHECK_THROWS_AS(sum.result(), value_error);
    CHECK_THROWS_AS(sum.add(from, x.cview().feature_range(0, 2)), shape_error);
    values[7] = std::numeric_limits<float>::quiet_NaN();
    const auto bad = to_backend(from, values, d, n);
    CHECK_THROWS_AS(sum.add(from, bad.cview()), value_error);
    CHECK(sum.count() == 0);
    sum.add(from, x.cview());
    CHECK(sum.result().count == n);
}
