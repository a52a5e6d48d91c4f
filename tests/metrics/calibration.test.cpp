// SPDX-License-Identifier: Apache-2.0
#include <diem/metrics/calibration.hpp>

#include <cmath>
#include <vector>

#include "support/backends.hpp"
#include "support/catch.hpp"

using namespace diem;
using namespace diem::metrics;

namespace {

/// Truths N(0, I), and `repeats` samples N(0, s^2 I) of each.
template <class B>
struct normal_case {
    batch<B> truth, x;
    normal_case(B& b, index_t features, index_t items, index_t repeats, double s)
        : truth(b, features, items), x(b, features, items * repeats) {
        b.fill_normal({.seed = 5}, truth.view());
        b.fill_normal({.seed = 6}, x.view());
        b.axpby(0.0, x.cview(), s, x.view());
    }
};

/// Expected `coverage(level)` of r samples N(0, s^2): P(rank k) = int phi(t) C(r, k) F^k (1 - F)^(r - k) dt, F = Phi(t / s).
double expected_coverage(int r, double s, double level) {
    rank_histogram h{std::vector<double>(static_cast<std::size_t>(r + 1))};
    const double step = 1e-3;
    for (double t = -9; t <= 9; t += step) {
        const double f = 0.5 * std::erfc(-t / s / std::sqrt(2)),
                     weight = step * std::exp(-t * t / 2) / std::sqrt(2 * M_PI);
        double binomial = 1;
        for (int k = 0; k <= r; ++k) {
            h.counts[static_cast<std::size_t>(k)] += weight * binomial * std::pow(f, k) * std::pow(1 - f, r - k);
            binomial *= static_cast<double>(r - k) / (k + 1);
        }
    }
    return h.coverage(level);
}

}  // namespace

TEMPLATE_TEST_CASE("ranks of the truth, ties in equal parts", "", DIEM_TEST_BACKENDS) {
    using T = scalar_t<TestType>;
    auto b = test::make_backend<TestType>();
    const auto truth = to_backend(b, std::vector<T>{0, 1, 2, 2}, 2, 2);
    const auto x = to_backend(b, std::vector<T>{-1, 2, 1, 3, /* item 1 */ 2, 0, 1, 2}, 2, 4);
    // Values (0; -1, 1), (1; 2, 3), (2; 2, 1), (2; 0, 2): ranks 1, 0, 1 or 2, 1 or 2.
    const auto h = rank_truth(b, x.cview(), truth.cview());
    CHECK(h.counts == std::vector<double>{1, 2, 1});
    CHECK(h.total() == 4);
    // The middle third is the rank 1; a half takes a quarter of each of the others as well.
    CHECK(std::abs(h.coverage(1.0 / 3) - 0.5) <= 1e-15);
    CHECK(std::abs(h.coverage(0.5) - (2 + 0.25 + 0.25) / 4) <= 1e-15);
    CHECK_THROWS_AS(h.coverage(1), value_error);
    CHECK_THROWS_AS(rank_truth(b, x.cview().item_range(0, 3), truth.cview()), value_error);
    CHECK_THROWS_AS(energy_score(b, truth.cview(), truth.cview()), value_error);
}

TEMPLATE_TEST_CASE("coverage of normal samples", "", DIEM_TEST_BACKENDS) {
    auto b = test::make_backend<TestType>();
    const int r = 7;
    for (const double s : {1.0, 0.5, 2.0}) {
        const normal_case<TestType> c(b, 5, 800, r, s);
        const auto h = rank_truth(b, c.x.cview(), c.truth.cview());
        for (const double level : {0.5, 0.8, 0.95}) {
            const double expected = expected_coverage(r, s, level);
            if (s == 1) CHECK(std::abs(expected - level) <= 1e-9);  // calibrated
            // Each of 4000 values adds a number in [0, 1]: a variance of at most p (1 - p); 4 standard deviations.
            CHECK(std::abs(h.coverage(level) - expected) <= 4 * std::sqrt(expected * (1 - expected) / 4000));
        }
        CHECK((h.coverage(0.5) < 0.45) == (s < 1));  // too sure
        CHECK((h.coverage(0.5) > 0.55) == (s > 1));
    }
}

TEMPLATE_TEST_CASE("energy score of normal samples", "", DIEM_TEST_BACKENDS) {
    auto b = test::make_backend<TestType>();
    const double n = 1500;
    for (const int d : {1, 3}) {
        const double norm = std::sqrt(2) * std::tgamma((d + 1) / 2.0) / std::tgamma(d / 2.0);  // E |z|
        double calibrated = 0;
        for (const double s : {1.0, 0.5, 2.0}) {
            const normal_case<TestType> c(b, d, static_cast<index_t>(n), 6, s);
            double mean = 0, square = 0;
            for (const double score : energy_score(b, c.x.cview(), c.truth.cview())) {
                mean += score / n;
                square += score * score / n;
            }
            const double expected = (std::sqrt(1 + s * s) - s * std::sqrt(2) / 2) * norm;
            CHECK(std::abs(mean - expected) <= 4 * std::sqrt((square - mean * mean) / n));
            if (s == 1) calibrated = expected;
            CHECK(calibrated <= expected);  // least for the law of the truth
        }
    }
}
