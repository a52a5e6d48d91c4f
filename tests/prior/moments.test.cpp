// SPDX-License-Identifier: Apache-2.0
#include <diem/prior/moments.hpp>

#include <cmath>
#include <limits>
#include <vector>

#include "support/backends.hpp"
#include "support/catch.hpp"

using namespace diem;

TEMPLATE_TEST_CASE("moments: mean and deviation of more samples than are read at once, far from zero", "[prior]",
                   DIEM_TEST_BACKENDS) {
    using B = TestType;
    using T = typename B::scalar;
    auto b = test::make_backend<B>();
    const index_t features = 3, items = 256 * 3 + 17;
    std::vector<T> values;
    for (index_t i = 0; i < items; ++i)
        for (index_t j = 0; j < features; ++j)
            values.push_back(static_cast<T>(100 * j + std::sin(static_cast<double>(7 * i + j))));
    const auto x = to_backend(b, values, features, items);
    const auto found = prior::moments_of<B>(b, x.cview());
    const auto mean = to_host(b, found.mean), deviation = to_host(b, found.deviation);
    // Sums of n numbers in float64, then one rounding to T.
    const double eps = static_cast<double>(std::numeric_limits<T>::epsilon()) +
                       static_cast<double>(items) * std::numeric_limits<double>::epsilon();
    double variances = 0;
    for (index_t j = 0; j < features; ++j) {
        double sum = 0, squares = 0;
        for (index_t i = 0; i < items; ++i) sum += static_cast<double>(values[static_cast<std::size_t>(i * 3 + j)]);
        const double m = sum / static_cast<double>(items);
        for (index_t i = 0; i < items; ++i) {
            const double v = static_cast<double>(values[static_cast<std::size_t>(i * 3 + j)]) - m;
            squares += v * v;
        }
        const auto k = static_cast<std::size_t>(j);
        CHECK(std::abs(static_cast<double>(mean[k]) - m) <= eps * (1 + std::abs(m)));
        const double s = std::sqrt(squares / static_cast<double>(items));
        CHECK(std::abs(static_cast<double>(deviation[k]) - s) <= eps * (1 + s));
        variances += s * s / static_cast<double>(features);
    }
    CHECK(std::abs(prior::variance_of(b, found) - variances) <= 4 * eps * (1 + variances));
}

TEMPLATE_TEST_CASE("moments: samples out of range are left out, the others stay in their order", "[prior]",
                   DIEM_TEST_BACKENDS) {
    using B = TestType;
    using T = typename B::scalar;
    auto b = test::make_backend<B>();
    const auto x = to_backend(b, std::vector<T>{0, 1, 5, 0, 1, 1, 0, -5, -1, -1}, 2, 5);
    const auto kept = prior::remove_outside<B>(b, x.cview(), -2, 2);
    CHECK(kept.items() == 3);
    CHECK(to_host(b, kept) == std::vector<T>{0, 1, 1, 1, -1, -1});
}
