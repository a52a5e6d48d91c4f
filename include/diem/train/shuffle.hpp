// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include <diem/core/random.hpp>
#include <diem/core/view.hpp>

/// \file
/// A new order of the training items in every epoch, as a pure function of seed and epoch.
/// \snippet tests/examples/train.cpp train/shuffle.hpp

namespace diem::train {

/// A permutation of 0 .. count - 1 that needs no memory: a balanced Feistel network (Luby and Rackoff, 1988) of eight
/// rounds with Philox as its round function, on the smallest square power of two that holds `count` (at least 16), walked
/// along its cycle until the value falls below `count`. count < 2^32.
struct permutation {
    random_key key;  ///< seed and epoch (as step); the lane is `shuffle`
    index_t count = 0;

    permutation() = default;
    DIEM_HOST_DEVICE permutation(std::uint64_t seed, index_t epoch, index_t n)
        : key{seed, random_lane::shuffle, static_cast<std::uint32_t>(epoch), 0}, count(n) {
        while ((index_t{1} << (2 * half_)) < n) ++half_;
    }

    /// Where item number `position` of the epoch is found.
    [[nodiscard]] DIEM_HOST_DEVICE index_t operator()(index_t position) const {
        const std::uint32_t mask = (std::uint32_t{1} << half_) - 1;
        auto x = static_cast<std::uint64_t>(position);
        do {
            auto left = static_cast<std::uint32_t>(x >> half_), right = static_cast<std::uint32_t>(x) & mask;
            for (std::uint32_t round = 0; round < 8; ++round) {
                const std::uint32_t mixed = left ^ (random_words(key, round, right)[0] & mask);
                left = right;
                right = mixed;
            }
            x = (std::uint64_t{left} << half_) | right;
        } while (static_cast<index_t>(x) >= count);
        return static_cast<index_t>(x);
    }

private:
    int half_ = 2;
};

/// The endless stream of training items: epoch after epoch, each in its own order, no item dropped. A batch may span two
/// epochs, `items` being at least one.
struct item_stream {
    std::uint64_t seed = 0;
    index_t items = 0;

    [[nodiscard]] DIEM_HOST_DEVICE index_t operator()(index_t number) const {
        const index_t epoch = number / items;
        return permutation(seed, epoch, items)(number - epoch * items);
    }
};

}  // namespace diem::train
