// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <concepts>
#include <cstdint>
#include <type_traits>

#include <diem/core/macros.hpp>

/// \file
/// Counter-based random numbers: every number is a pure function of (seed, lane, step, item, element), so that the same
/// numbers come out for any thread count, batch split, number of ranks, and on every backend (to the rounding of its
/// log, sin and cos).
///
/// Generator: Philox4x32-10 (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC'11), written
/// out here rather than taken from Random123: forty lines that host and device compilers both take, and one dependency
/// less for users. The tests hold it to the published known answers, and to Random123 where installed.
/// \snippet tests/examples/core.cpp core/random.hpp

namespace diem {

/// Names one batch of random numbers.
struct random_key {
    std::uint64_t seed = 0;        ///< of the whole run
    std::uint32_t lane = 0;        ///< which purpose: two purposes never share a lane, see `random_lane`
    std::uint32_t step = 0;        ///< which draw of that purpose
    std::uint32_t first_item = 0;  ///< global number of the view's item 0: a batch
                                   ///< split anywhere draws the same numbers

    [[nodiscard]] DIEM_HOST_DEVICE constexpr random_key with_lane(std::uint32_t value) const {
        return {seed, value, step, first_item};
    }
    [[nodiscard]] DIEM_HOST_DEVICE constexpr random_key with_step(std::uint32_t value) const {
        return {seed, lane, value, first_item};
    }
    /// The key of a part of the batch that starts at its item `count`.
    [[nodiscard]] DIEM_HOST_DEVICE constexpr random_key skip_items(std::uint32_t count) const {
        return {seed, lane, step, first_item + count};
    }
    [[nodiscard]] friend DIEM_HOST_DEVICE constexpr bool operator==(const random_key& a, const random_key& b) {
        return a.seed == b.seed && a.lane == b.lane && a.step == b.step && a.first_item == b.first_item;
    }
};

/// Lanes used by the library; a caller's own purposes start at `user`.
namespace random_lane {
inline constexpr std::uint32_t general = 0;
inline constexpr std::uint32_t sampler_start = 1;    ///< x_1 of a sampler
inline constexpr std::uint32_t sampler_noise = 2;    ///< noise of its steps
inline constexpr std::uint32_t corrector_noise = 3;  ///< noise of Langevin corrections
inline constexpr std::uint32_t observation = 4;      ///< simulated observation noise
inline constexpr std::uint32_t initial_weights = 5;
inline constexpr std::uint32_t training_time = 6;   ///< t of the denoising loss
inline constexpr std::uint32_t training_noise = 7;  ///< z of the denoising loss
inline constexpr std::uint32_t dropout = 8;
inline constexpr std::uint32_t shuffle = 9;
inline constexpr std::uint32_t augmentation = 10;
inline constexpr std::uint32_t factorization = 11;  ///< start of subspace iterations
inline constexpr std::uint32_t prior_sample = 12;   ///< direct draws of analytic models
inline constexpr std::uint32_t covariance = 13;     ///< square-root samples of a covariance
inline constexpr std::uint32_t moments = 14;        ///< rounding of Adam's moments
inline constexpr std::uint32_t mixture = 15;        ///< components of a mixture
inline constexpr std::uint32_t user = 1024;
}  // namespace random_lane

/// Four 32-bit words: a Philox counter, or its output block.
struct philox_words {
    std::uint32_t word[4];
    [[nodiscard]] DIEM_HOST_DEVICE constexpr std::uint32_t operator[](int k) const { return word[k]; }
    [[nodiscard]] DIEM_HOST_DEVICE constexpr std::uint32_t& operator[](int k) { return word[k]; }
};

/// Philox4x32-10 of a counter under the 64-bit `key` (low word first).
[[nodiscard]] DIEM_HOST_DEVICE constexpr philox_words philox(philox_words c, std::uint64_t key) {
    auto k0 = static_cast<std::uint32_t>(key);
    auto k1 = static_cast<std::uint32_t>(key >> 32);
    for (int round = 0; round < 10; ++round) {
        const std::uint64_t a = std::uint64_t{0xD2511F53U} * c.word[0];
        const std::uint64_t b = std::uint64_t{0xCD9E8D57U} * c.word[2];
        c = {{static_cast<std::uint32_t>(b >> 32) ^ c.word[1] ^ k0, static_cast<std::uint32_t>(b),
              static_cast<std::uint32_t>(a >> 32) ^ c.word[3] ^ k1, static_cast<std::uint32_t>(a)}};
        k0 += 0x9E3779B9U;
        k1 += 0xBB67AE85U;
    }
    return c;
}

/// Block `block` of item `item` (counted from the key's first_item). Counter (block, item, step, lane), key seed; item
/// numbers are modulo 2^32.
[[nodiscard]] DIEM_HOST_DEVICE constexpr philox_words random_words(const random_key& key, std::uint32_t item,
                                                                   std::uint32_t block) {
    return philox({{block, key.first_item + item, key.step, key.lane}}, key.seed);
}

/// Uniforms of type T in one block of four words: 4 for float, 2 for double.
template <std::floating_point T>
inline constexpr int uniforms_per_block = sizeof(T) <= 4 ? 4 : 2;

/// The k-th uniform of a block, strictly inside (0, 1): (m + 1/2) 2^-23 for float, (m + 1/2) 2^-52 for double, m the
/// leading bits of one word, or of two. One bit less than the mantissa holds, so that m + 1/2 is exact and 1 never
/// comes out.
template <std::floating_point T>
[[nodiscard]] DIEM_HOST_DEVICE constexpr T uniform_of_words(const philox_words& words, int k) {
    if constexpr (uniforms_per_block<T> == 4) {
        return (static_cast<T>(static_cast<std::int32_t>(words.word[k] >> 9)) + T(0.5)) * T(0x1p-23);
    } else {
        const std::uint64_t m = (std::uint64_t{words.word[2 * k + 1]} << 32 | words.word[2 * k]) >> 12;
        return (static_cast<T>(static_cast<std::int64_t>(m)) + T(0.5)) * T(0x1p-52);
    }
}

namespace detail {
template <class V>
struct random_scalar {
    using type = typename V::Scalar;
};
template <class V>
    requires std::is_arithmetic_v<V>
struct random_scalar<V> {
    using type = V;
};
}  // namespace detail

/// Box-Muller: two uniforms in (0, 1) to two independent standard normals, z1 = sqrt(-2 log u1) cos(2 pi u2), z2 =
/// sqrt(-2 log u1) sin(2 pi u2). V is a scalar or an array of scalars (with `V::Scalar`) whose log, sqrt, sin and cos
/// are found by lookup.
struct box_muller_transform {
    template <class V>
    DIEM_HOST_DEVICE void operator()(const V& u1, const V& u2, V& z1, V& z2) const {
        using std::cos;
        using std::log;
        using std::sin;
        using std::sqrt;
        using T = typename detail::random_scalar<V>::type;
        const V radius = sqrt(T(-2) * log(u1));
        const V angle = T(6.283185307179586476925286766559) * u2;
        z1 = radius * cos(angle);
        z2 = radius * sin(angle);
    }
};

template <class V>
DIEM_HOST_DEVICE void box_muller(const V& u1, const V& u2, V& z1, V& z2) {
    box_muller_transform{}(u1, u2, z1, z2);
}

// Element j of item i, as functions of (key, i, j). Different distributions of one key share words: give each purpose
// its own lane.

/// Uniform in (0, 1): element j is number j % 4 (double: j % 2) of block j / 4 (j / 2).
template <std::floating_point T>
[[nodiscard]] DIEM_HOST_DEVICE constexpr T uniform(const random_key& key, std::uint32_t item, std::uint32_t j) {
    constexpr auto n = static_cast<std::uint32_t>(uniforms_per_block<T>);
    return uniform_of_words<T>(random_words(key, item, j / n), static_cast<int>(j % n));
}

/// The normals of one block: elements n k .. n k + n - 1 of block k, n = uniforms_per_block<T>, each pair from one
/// Box-Muller.
template <std::floating_point T>
DIEM_HOST_DEVICE void normal_block(const random_key& key, std::uint32_t item, std::uint32_t block,
                                   T (&z)[uniforms_per_block<T>]) {
    const philox_words words = random_words(key, item, block);
    for (int k = 0; k < uniforms_per_block<T>; k += 2)
        box_muller(uniform_of_words<T>(words, k), uniform_of_words<T>(words, k + 1), z[k], z[k + 1]);
}

/// Standard normal.
template <std::floating_point T>
[[nodiscard]] DIEM_HOST_DEVICE T normal(const random_key& key, std::uint32_t item, std::uint32_t j) {
    constexpr auto n = static_cast<std::uint32_t>(uniforms_per_block<T>);
    const philox_words words = random_words(key, item, j / n);
    const int pair = static_cast<int>(j % n) & ~1;
    T z1, z2;
    box_muller(uniform_of_words<T>(words, pair), uniform_of_words<T>(words, pair + 1), z1, z2);
    return j % 2 == 0 ? z1 : z2;
}

/// True with probability p (p <= 0 never, p >= 1 always): word j % 4 of block j / 4, the same for every scalar type.
[[nodiscard]] DIEM_HOST_DEVICE constexpr bool bernoulli(const random_key& key, std::uint32_t item, std::uint32_t j,
                                                        double p) {
    return (random_words(key, item, j / 4).word[j % 4] + 0.5) * 0x1p-32 < p;
}

/// Beta(3, 3), exactly: the median of five uniforms. Element j uses blocks 2 j, 2 j + 1 (double: 3 j .. 3 j + 2).
template <std::floating_point T>
[[nodiscard]] DIEM_HOST_DEVICE constexpr T beta33(const random_key& key, std::uint32_t item, std::uint32_t j) {
    constexpr int n = uniforms_per_block<T>;
    constexpr int blocks = (5 + n - 1) / n;
    T u[5] = {};
    for (int b = 0; b < blocks; ++b) {
        const philox_words words =
            random_words(key, item, static_cast<std::uint32_t>(blocks) * j + static_cast<std::uint32_t>(b));
        for (int k = 0; k < n && b * n + k < 5; ++k) u[b * n + k] = uniform_of_words<T>(words, k);
    }
    for (int a = 0; a < 3; ++a)  // selection up to the third smallest
        for (int b = a + 1; b < 5; ++b)
            if (u[b] < u[a]) {
                const T swapped = u[a];
                u[a] = u[b];
                u[b] = swapped;
            }
    return u[2];
}

}  // namespace diem
