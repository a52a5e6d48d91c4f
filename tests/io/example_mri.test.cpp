// SPDX-License-Identifier: Apache-2.0
#include <cstdint>
#include <vector>

#include <diem/backend/eigen.hpp>

#include "support/catch.hpp"
// What the examples share lies beside them, not in the library.
#include "../../examples/mri/kspace_images.hpp"

using diem::index_t;

namespace {
std::vector<index_t> seen(index_t width, const mri::columns& c, std::uint32_t seed) {
    std::vector<index_t> at;
    const auto mask = mri::column_mask(width, c, seed);
    for (index_t x = 0; x < width; ++x)
        if (mask[static_cast<std::size_t>(x)] != 0.0F) at.push_back(x);
    return at;
}
}  // namespace

TEST_CASE("columns are those of numpy") {
    // The middle ones, and RandomState(seed).permutation(the others)[: width / R - centre].
    CHECK(seen(128, {4, 10}, 1000) == std::vector<index_t>{3,  4,  22, 34,  37,  38,  39,  44,  53,  55, 59,
                                                           60, 61, 62, 63,  64,  65,  66,  67,  68,  73, 77,
                                                           82, 83, 93, 111, 112, 113, 116, 118, 125, 127});
    CHECK(seen(128, {8, 6}, 3547) ==
          std::vector<index_t>{16, 36, 41, 46, 50, 61, 62, 63, 64, 65, 66, 100, 110, 111, 124, 126});
    CHECK(seen(8, {1, 2}, 0).size() == 8);
    CHECK_THROWS_AS(mri::column_mask(128, {8, 17}, 0), diem::value_error);
}
