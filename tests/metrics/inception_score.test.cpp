// SPDX-License-Identifier: Apache-2.0
#include <diem/metrics/inception_score.hpp>

#include <cmath>
#include <limits>
#include <vector>

#include "support/backends.hpp"
#include "support/catch.hpp"

using namespace diem;
using namespace diem::metrics;

TEMPLATE_TEST_CASE("Inception score of closed cases", "", DIEM_TEST_BACKENDS) {
    using T = scalar_t<TestType>;
    auto backend = test::make_backend<TestType>();
    const double rounding = 1e-6;
    const auto score = [&](const std::vector<T>& p, index_t classes, index_t splits) {
        const auto x = to_backend(backend, p, classes, static_cast<index_t>(p.size()) / classes);
        return inception_score(backend, x.cview(), splits);
    };
    // Certain and equally often: the number of classes. All alike: 1.
    CHECK(std::abs(score({1, 0, 0, 0, 1, 0, 0, 0, 1}, 3, 1).mean - 3) <= rounding);
    CHECK(std::abs(score({T(0.2), T(0.3), T(0.5), T(0.2), T(0.3), T(0.5)}, 3, 1).mean - 1) <= rounding);
    CHECK(std::abs(score({0, 1, 0, 1, 0, 1}, 2, 1).mean - 1) <= rounding);

    // Certain, classes with frequencies 1/4 and 3/4: the exponential of their entropy.
    const double entropy = -(0.25 * std::log(0.25) + 0.75 * std::log(0.75));
    CHECK(std::abs(score({1, 0, 0, 1, 0, 1, 0, 1}, 2, 1).mean - std::exp(entropy)) <= rounding);

    // Two items (1 - e, e) and (e, 1 - e): p is (1/2, 1/2), so the score is 2 exp(-H(e)).
    const double e = 0.125, h = -(e * std::log(e) + (1 - e) * std::log(1 - e));
    CHECK(std::abs(score({T(1 - e), T(e), T(e), T(1 - e)}, 2, 1).mean - 2 * std::exp(-h)) <= rounding);

    // Splits: scores 2 and 1, whose mean is 1.5 and deviation 0.5.
    const auto two = score({1, 0, 0, 1, 1, 0, 1, 0}, 2, 2);
    CHECK(std::abs(two.mean - 1.5) <= rounding);
    CHECK(std::abs(two.deviation - 0.5) <= rounding);
    // Parts of 1 and 2 items.
    CHECK(std::abs(score({1, 0, 1, 0, 0, 1}, 2, 2).mean - 1.5) <= rounding);
}

TEMPLATE_TEST_CASE("Inception score refuses what are no probabilities", "", DIEM_TEST_BACKENDS) {
    using T = scalar_t<TestType>;
    auto backend = test::make_backend<TestType>();
    const auto refused = [&](const std::vector<T>& p, index_t splits) {
        const auto x = to_backend(backend, p, 2, static_cast<index_t>(p.size()) / 2);
        CHECK_THROWS_AS(inception_score(backend, x.cview(), splits), value_error);
    };
    refused({1, 0, T(0.5), T(0.6)}, 1);
    refused({2, -1}, 1);
    refused({std::numeric_limits<T>::quiet_NaN(), 1}, 1);
    refused({1, 0}, 2);
    refused({1, 0}, 0);
    batch<TestType> none(backend, 0, 3);
    CHECK_THROWS_AS(inception_score(backend, none.cview(), 1), value_error);
}
