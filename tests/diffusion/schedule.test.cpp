// SPDX-License-Identifier: Apache-2.0
#include <diem/diffusion/schedule.hpp>

#include <cmath>

#include "support/catch.hpp"

using namespace diem;
namespace dif = diem::diffusion;

namespace {
struct no_alpha {
    double sigma(double t) const { return t; }
};
template <dif::Schedule S>
void check_ends(const S& schedule, double low, double high) {
    CHECK(std::abs(schedule.sigma(0) / low - 1) <= 1e-12);
    CHECK(std::abs(schedule.sigma(1) / high - 1) <= 1e-12);
    for (int i = 0; i < 100; ++i) CHECK(schedule.sigma(i / 100.0) < schedule.sigma((i + 1) / 100.0));
}
}  // namespace

TEST_CASE("schedules: ends, growth, default values") {
    STATIC_REQUIRE_FALSE((dif::Schedule<no_alpha>));
    check_ends(dif::ve_log_linear(), 1e-3, 1e2);
    check_ends(dif::edm(), 2e-3, 80);
    check_ends(dif::vp_cosine(), 1e-3, 1e2);
    check_ends(dif::ve_log_linear(0.1, 7), 0.1, 7);
    check_ends(dif::edm(0.1, 7, 2), 0.1, 7);
    check_ends(dif::vp_cosine(0.1, 7), 0.1, 7);
}

TEST_CASE("schedules: formulas") {
    CHECK(std::abs(dif::ve_log_linear(1e-3, 1e2).sigma(0.4) / std::pow(10.0, -3 + 5 * 0.4) - 1) <= 1e-13);
    CHECK(dif::ve_log_linear().alpha(0.3) == 1);
    // Karras et al., eq. 5, for N = 18: sigma_i, i = 0 .. N - 1.
    const dif::edm karras(2e-3, 80, 7);
    for (int i = 0; i < 18; ++i) {
        const double low = std::pow(2e-3, 1.0 / 7), high = std::pow(80.0, 1.0 / 7);
        CHECK(std::abs(karras.sigma(dif::time_at(i, 17)) / std::pow(high + i / 17.0 * (low - high), 7) - 1) <= 1e-12);
    }
    const dif::vp_cosine vp;
    for (const double t : {0.0, 0.2, 0.5, 0.9, 1.0}) {
        CHECK(std::abs(vp.alpha(t) * vp.alpha(t) + vp.beta(t) * vp.beta(t) - 1) <= 1e-15);
        CHECK(std::abs(vp.sigma(t) * vp.alpha(t) - vp.beta(t)) <= 1e-15);
        CHECK(std::abs(vp.alpha(t) - std::cos(1.5707963267948966 * t)) <= 0.011);  // cosine, up to its ends
    }
    CHECK(dif::time_at(0, 8) == 1);
    CHECK(dif::time_at(3, 8) == 0.625);
    CHECK(dif::time_at(8, 8) == 0);
}

TEST_CASE("schedules: what is refused") {
    CHECK_THROWS_AS(dif::ve_log_linear(0, 1), value_error);
    CHECK_THROWS_AS(dif::ve_log_linear(2, 1), value_error);
    CHECK_THROWS_AS(dif::ve_log_linear(1e-3, INFINITY), value_error);
    CHECK_THROWS_AS(dif::edm(1e-3, 1, 0), value_error);
    CHECK_THROWS_AS(dif::edm(-1, 1), value_error);
    CHECK_THROWS_AS(dif::vp_cosine(1, 1), value_error);
    CHECK_THROWS_AS(dif::vp_cosine(NAN, 1), value_error);
}
