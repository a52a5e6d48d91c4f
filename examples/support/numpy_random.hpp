// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <numeric>
#include <random>
#include <utility>
#include <vector>

#include <diem/core/check.hpp>
#include <diem/core/view.hpp>

/// Random numbers that Python scripts with numpy draw too, so that both can use the same masks and splits.
namespace support {

/// numpy.random.RandomState(seed).permutation(n): the Mersenne Twister, Fisher and Yates from the end, and numbers below a
/// bound by masking and rejection. n at most 2^32.
[[nodiscard]] inline std::vector<diem::index_t> numpy_permutation(std::uint32_t seed, diem::index_t n) {
    diem::check_value("numpy_permutation", n >= 0 && n <= (diem::index_t{1} << 32), "n is out of range");
    std::mt19937 bits(seed);
    std::vector<diem::index_t> order(static_cast<std::size_t>(n));
    std::iota(order.begin(), order.end(), diem::index_t{0});
    for (std::size_t i = order.size(); i-- > 1;) {
        std::uint64_t mask = i;
        for (int shift = 1; shift < 64; shift *= 2) mask |= mask >> shift;
        std::uint64_t j = 0;
        do j = bits() & mask;
        while (j > i);
        std::swap(order[i], order[j]);
    }
    return order;
}

}  // namespace support
