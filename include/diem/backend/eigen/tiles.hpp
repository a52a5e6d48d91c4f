// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include <diem/backend/eigen/bfloat16.hpp>
#include <diem/backend/eigen/simd_level.hpp>

#if defined(DIEM_HAS_BFLOAT16_INSTRUCTIONS) && defined(__linux__) && defined(__x86_64__)
#define DIEM_HAS_TILES
#endif

/// \file
/// Products of tiles in bfloat16 by AMX, which processors since Sapphire Rapids have: a tile of 16 rows of 32 numbers times one of
/// 32 rows of 16 is added to 16 x 16 sums in float32, in the time of 16 vector instructions. Factors are words of two numbers as in
/// bfloat16_factors: of the left one row after row, of the right one words of a depth, 16 columns of each.
/// Within a step even and odd numbers are summed apart; numbers below 2^-126 are taken to be zero.

namespace diem::detail::eigen {
inline namespace DIEM_SIMD_NAMESPACE {

/// Rows of a tile, columns of one, and words of its depth.
inline constexpr index_t tile_side = 16;

/// Whether the processor that runs this has AMX for bfloat16, the system lets us use it, and this unit may.
inline bool has_tiles() {
#if defined(DIEM_HAS_TILES)
    static const bool has = [] {
        if (!has_bfloat16_instructions()) return false;  // which every processor with tiles has
        std::uint32_t a = 7, b = 0, c = 0, d = 0;
        asm("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
        constexpr std::uint32_t bf16 = 1U << 22U, tile = 1U << 24U;
        if ((d & bf16) == 0 || (d & tile) == 0) return false;
        // A thread's state has 8 KiB more then, for which a process asks: arch_prctl(ARCH_REQ_XCOMP_PERM, tile data). It is
        // refused where a thread has given the system a stack for signals that is too small for it.
        std::int64_t result = 158;
        asm volatile("syscall" : "+a"(result) : "D"(0x1023L), "S"(18L) : "rcx", "r11", "memory");
        return result == 0;
    }();
    return has;
#else
    return false;
#endif
}

/// Where the tiles of a factor lie, distances in words.
struct tile_factor {
    const float* at;
    index_t row;   ///< between the rows of a tile
    index_t next;  ///< to the tile below (left factor) or to its right (right factor)
    index_t step;  ///< to the next 16 words of the depth
};

#if defined(DIEM_HAS_TILES)

/// While it lives, the thread has 2 x 2 tiles of sums, and two of each factor. What follows needs one.
class tile_sums_scope {
public:
    tile_sums_scope() {
        alignas(64) std::uint8_t config[64] = {1};
        for (int t = 0; t < 8; ++t) {
            config[16 + 2 * t] = 64;  // bytes of a row
            config[48 + t] = tile_side;
        }
        asm volatile("ldtilecfg %0" ::"m"(config));
    }
    ~tile_sums_scope() { asm volatile("tilerelease" ::); }
    tile_sums_scope(const tile_sums_scope&) = delete;
    tile_sums_scope& operator=(const tile_sums_scope&) = delete;

    template <int R, int C>
    static void zero() {
        each<R, C>([]<int t>(index_t, index_t) { asm volatile("tilezero %%tmm%c0" ::"i"(t)); });
    }
    /// Sums of 16 R rows and 16 C columns, rows `leading` apart.
    template <int R, int C>
    static void load(const float* from, index_t leading) {
        each<R, C>([&]<int t>(index_t i, index_t j) { load_tile<t>(from + i * leading + j, leading); });
    }
    template <int R, int C>
    static void store(float* to, index_t leading) {
        each<R, C>([&]<int t>(index_t i, index_t j) { store_tile<t>(to + i * leading + j, leading); });
    }
    /// += A B over `steps` of 16 words.
    template <int R, int C>
    static void add(const tile_factor& a, const tile_factor& b, index_t steps) {
        const float *left = a.at, *right = b.at;
        for (index_t k = 0; k < steps; ++k, left += a.step, right += b.step) {
            load_tile<4>(left, a.row);
            load_tile<6>(right, b.row);
            multiply<0, 4, 6>();
            if constexpr (C == 2) {
                load_tile<7>(right + b.next, b.row);
                multiply<1, 4, 7>();
            }
            if constexpr (R == 2) {
                load_tile<5>(left + a.next, a.row);
                multiply<2, 5, 6>();
                if constexpr (C == 2) multiply<3, 5, 7>();
            }
        }
    }

private:
    /// f<tile>(first row, first column) of the sums.
    template <int R, int C, class F>
    static void each(const F& f) {
        f.template operator()<0>(0, 0);
        if constexpr (C == 2) f.template operator()<1>(0, tile_side);
        if constexpr (R == 2) f.template operator()<2>(tile_side, 0);
        if constexpr (R == 2 && C == 2) f.template operator()<3>(tile_side, tile_side);
    }
    // The compiler knows nothing of these registers: `volatile` keeps the order.
    template <int t>
    static void load_tile(const float* from, index_t row) {
        asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(from), "r"(4 * row), "i"(t) : "memory");
    }
    template <int t>
    static void store_tile(float* to, index_t row) {
        asm volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(to), "r"(4 * row), "i"(t) : "memory");
    }
    template <int sum, int left, int right>
    static void multiply() {
        asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(sum), "i"(left), "i"(right));
    }
};

/// to (+)= scale sums + bias (may be null), `count` numbers.
inline void write_sums(const float* sums, index_t count, float scale, const float* bias, float* to, bool accumulate) {
    using S = simd<float>;
    for (index_t k = 0; k < count; k += S::width) {
        S::vec sum = scale * S::load(sums + k);
        if (bias) sum += load_some(bias + k, count - k);
        if (accumulate) sum += load_some(to + k, count - k);
        if (count - k >= S::width)
            S::store(to + k, sum);
        else
            S::store(to + k, sum, count - k);
    }
}

/// Calls f<R, C>(): as many tiles as `rows` and `columns`, at most 32 each, need.
template <class F>
void with_tiles(index_t rows, index_t columns, const F& f) {
    if (rows > tile_side)
        columns > tile_side ? f.template operator()<2, 2>() : f.template operator()<2, 1>();
    else
        columns > tile_side ? f.template operator()<1, 2>() : f.template operator()<1, 1>();
}

#endif

}  // namespace DIEM_SIMD_NAMESPACE
}  // namespace diem::detail::eigen
