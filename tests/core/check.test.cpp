// SPDX-License-Identifier: Apache-2.0
#include <diem/core/check.hpp>
#include <diem/core/version.hpp>

#include <limits>
#include <string>
#include <type_traits>
#include <vector>

#include "support/catch.hpp"
#include "support/message.hpp"

using namespace diem;

TEST_CASE("check: sizes and shapes name function, argument and both sizes") {
    CHECK_NOTHROW(check_size("f", "x.items()", 3, 3));
    CHECK(test::message_of<shape_error>([] { check_size("f", "x.items()", 3, 4); }) == "f: x.items() is 3, expected 4");
    double data[6] = {};
    const host_view<double> view(data, 2, 3);
    CHECK_NOTHROW(check_shape("f", "x", view, 2, 3));
    CHECK(test::message_of<shape_error>([&] { check_shape("f", "x", view, 2, 4); }) ==
          "f: x is 2 x 3 (features x items), expected 2 x 4");
    CHECK_THROWS_AS(check_shape("f", "x", view, 1, 3), shape_error);
}

TEST_CASE("check: values") {
    CHECK_NOTHROW(check_value("f", true, "no"));
    CHECK(test::message_of<value_error>([] { check_value("f", false, "no"); }) == "f: no");
    CHECK_NOTHROW(check_positive("f", "sigma", 1e-300));
    for (const double bad :
         {0.0, -1.0, std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()})
        CHECK_THROWS_AS(check_positive("f", "sigma", bad), value_error);
}

TEST_CASE("check: products and sums of sizes") {
    constexpr index_t huge = index_t{1} << 62, most = std::numeric_limits<index_t>::max();
    CHECK(checked_product("f", "rows x columns", 3, 4) == 12);
    CHECK(checked_product("f", "rows x columns", 0, most) == 0);
    CHECK(checked_product("f", "rows x columns", most, 0) == 0);
    CHECK(checked_product("f", "rows x columns", most, 1) == most);
    CHECK(checked_product("f", "rows x columns", huge, 1) == huge);
    CHECK(test::message_of<shape_error>([] { (void)checked_product("f", "rows x columns", huge, 8); }) ==
          "f: 4611686018427387904 x 8 (rows x columns), more elements than can be counted");
    CHECK(test::message_of<shape_error>([] { (void)checked_product("f", "rows x columns", -1, 8); }) ==
          "f: -1 x 8 (rows x columns), expected sizes >= 0");
    CHECK_THROWS_AS(checked_product("f", "", huge, 2), shape_error);
    CHECK_THROWS_AS(checked_product("f", "", most, most), shape_error);
    CHECK_THROWS_AS(checked_product("f", "", 0, -1), shape_error);
    // Zero wherever it stands: no other size matters, but a negative one.
    const std::vector<index_t> none, zero_last{huge, huge, 0}, four{huge, 2, 2, 2}, negative{huge, 8, -1};
    CHECK(checked_product("f", "", none) == 1);
    CHECK(checked_product("f", "", zero_last) == 0);
    CHECK_THROWS_AS(checked_product("f", "", four), shape_error);
    CHECK(test::message_of<shape_error>([&] { (void)checked_product("f", "all", negative); }) ==
          "f: 4611686018427387904 x 8 x -1 (all), expected sizes >= 0");
    CHECK(checked_sum("f", "", most - 1, 1) == most);
    CHECK_THROWS_AS(checked_sum("f", "", most, 1), shape_error);
}

TEST_CASE("check: one base for all errors") {
    CHECK_THROWS_AS(throw io_error("x"), error);
    CHECK_THROWS_AS(throw config_error("x"), std::runtime_error);
    STATIC_REQUIRE(std::is_base_of_v<error, device_error>);
    STATIC_REQUIRE(std::is_base_of_v<error, memory_error>);
    STATIC_REQUIRE(std::is_base_of_v<error, usage_error>);
    CHECK(std::string(version).rfind(std::to_string(DIEM_VERSION_MAJOR) + ".", 0) == 0);
}

TEST_CASE("view: items are contiguous, stride apart") {
    double data[12];
    for (int k = 0; k < 12; ++k) data[k] = k;
    const host_view<double> view(data, 3, 2, 5);
    CHECK(view.size() == 6);
    CHECK_FALSE(view.contiguous());
    CHECK(view.item_range(1, 1).data()[0] == 5);
    CHECK(view.item_range(1, 1).contiguous());
    CHECK(view.feature_range(2, 1).data()[0] == 2);
    CHECK(view.feature_range(2, 1).stride() == 5);
    const host_view<const double> constant = view;
    CHECK(constant.data() == data);
    CHECK(constant.stride() == 5);
    STATIC_REQUIRE_FALSE(std::is_convertible_v<host_view<const double>, host_view<double>>);
    const host_view<double> whole(data, 4, 3);
    CHECK(whole.contiguous());
    CHECK(whole.reshaped(6, 2).item_range(1, 1).data()[0] == 6);
    CHECK(host_view<double>().empty());
    CHECK(host_vector<double>(data, 12).range(4, 2).data()[1] == 5);
}
