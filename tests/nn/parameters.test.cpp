// SPDX-License-Identifier: Apache-2.0
#include <limits>
#include <string>

#include <diem/nn/parameters.hpp>

#include "support/catch.hpp"

using namespace diem;

TEST_CASE("parameters: arrays whose elements cannot be counted are refused by name", "[nn]") {
    constexpr index_t huge = index_t{1} << 62;
    nn::parameter_table table;
    table.add("first", {2, 3}, 0);
    std::string message;
    try {
        table.add("wide", {huge, 8}, 0);
    } catch (const shape_error& e) {
        message = e.what();
    }
    CHECK(message == "nn::parameter_table: 4611686018427387904 x 8 (shape of wide), more elements than can be counted");
    CHECK_THROWS_AS(table.add("negative", {3, -1}, 0), shape_error);
    CHECK_THROWS_AS(table.add("together", {std::numeric_limits<index_t>::max() - 5}, 0), shape_error);
    // Nothing of what was refused is left.
    CHECK(table.size() == 6);
    CHECK(table.entries().size() == 1);
    CHECK_FALSE(table.contains("wide"));
    CHECK(table.add("wide", {4, 1}, 0).offset == 6);
    CHECK(table.add("none", {0, huge}, 0).size == 0);
    CHECK(table.size() == 10);
}
