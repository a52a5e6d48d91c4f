// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include <diem/backend/eigen/lane_block.hpp>
#include <diem/backend/eigen/simd_level.hpp>
#include <diem/core/random.hpp>
#include <diem/core/view.hpp>

/// \file
/// The numbers of core/random, many blocks at a time.

namespace diem::detail::eigen {
inline namespace DIEM_SIMD_NAMESPACE {

/// Normals or uniforms of `width` consecutive blocks of one item.
template <class T>
struct random_blocks {
    static constexpr int width = 16;
    static constexpr int per_block = uniforms_per_block<T>;
    static constexpr int size = width * per_block;
    using V = lane_block<T, width>;

    template <bool Normal>
    static void fill(const random_key& key, std::uint32_t item, std::uint32_t block, T* out) {
        philox_words words[width];
        for (int k = 0; k < width; ++k) words[k] = random_words(key, item, block + static_cast<std::uint32_t>(k));
        T u[per_block][width];
        for (int p = 0; p < per_block; ++p)
            for (int k = 0; k < width; ++k) u[p][k] = uniform_of_words<T>(words[k], p);
        if constexpr (Normal)
            for (int p = 0; p < per_block; p += 2) {
                V z1, z2;
                box_muller(V::load(u[p]), V::load(u[p + 1]), z1, z2);
                z1.store(u[p]);
                z2.store(u[p + 1]);
            }
        for (int k = 0; k < width; ++k)
            for (int p = 0; p < per_block; ++p) out[k * per_block + p] = u[p][k];
    }
};

/// Features 0 .. n - 1 of item `item` of the view.
template <bool Normal, class T>
void random_row(const random_key& key, std::uint32_t item, T* out, index_t n) {
    using blocks = random_blocks<T>;
    T rest[blocks::size];
    std::uint32_t block = 0;
    for (index_t j = 0; j < n; j += blocks::size, block += blocks::width) {
        if (j + blocks::size <= n) {
            blocks::template fill<Normal>(key, item, block, out + j);
        } else {
            blocks::template fill<Normal>(key, item, block, rest);
            for (index_t k = 0; k < n - j; ++k) out[j + k] = rest[k];
        }
    }
}

}  // namespace DIEM_SIMD_NAMESPACE
}  // namespace diem::detail::eigen
