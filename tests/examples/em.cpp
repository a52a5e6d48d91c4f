// SPDX-License-Identifier: Apache-2.0
#include <diem/em/fit.hpp>

#include <vector>

#include "example.hpp"

TEST_CASE("em/fit.hpp") {
    // [em/fit.hpp]
    // The mean of five numbers of which two were not seen: the E-step stands in for them, the M-step is the mean of all.
    const std::vector<double> seen{1, 2, 6};
    const auto e_step = [&](double& mean, diem::index_t /*lap*/) {
        return std::vector<double>{seen[0], seen[1], seen[2], mean, mean};
    };
    const auto m_step = [](std::vector<double>& x, double& /*mean*/, diem::index_t /*lap*/) {
        return (x[0] + x[1] + x[2] + x[3] + x[4]) / 5;
    };
    const auto fitted = diem::em::fit(0.0, e_step, m_step, {.max_laps = 20});  // fitted.prior is 3
    // [em/fit.hpp]
    CHECK(fitted.prior == about(3));
    CHECK(fitted.laps == 20);
    CHECK(fitted.reason == diem::em::stop_reason::max_laps);
}
