// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include <diem/backend/eigen/gemm_packed.hpp>
#include <diem/backend/eigen/simd_level.hpp>

/// \file
/// Factors rounded to bfloat16 (8 bits of significand, float32's exponents), two of them in a word: what vdpbf16ps of
/// AVX512-BF16 multiplies, and what two multiplications of float32 do elsewhere, where the products are exact, too. On AMD's
/// Zen 5 the instruction adds the second product of a word first, each sum rounded to nearest even, and so do we: results then
/// differ only where numbers below 2^-126 occur, which the instruction takes and makes to be zero.

namespace diem::detail::eigen {
inline namespace DIEM_SIMD_NAMESPACE {

#if defined(__AVX512BW__) && defined(__GNUC__)
#define DIEM_HAS_BFLOAT16_INSTRUCTIONS
#endif

/// Whether the processor that runs this has AVX512-BF16 and this unit may use it.
inline bool has_bfloat16_instructions() {
#if defined(DIEM_HAS_BFLOAT16_INSTRUCTIONS)
    return __builtin_cpu_supports("avx512bf16") != 0;
#else
    return false;
#endif
}

/// Factors of `float` as pairs of bfloat16: index k of a depth is the lower half of word k / 2 where it is even. The last
/// upper half is zero where the depth is odd. See exact_factors.
struct bfloat16_factors {
    using S = simd<float>;
    using vec = S::vec;
    typedef std::uint32_t bits __attribute__((vector_size(S::bytes)));
    typedef std::uint32_t loose_bits __attribute__((vector_size(S::bytes), aligned(alignof(float)), may_alias));
    typedef std::uint16_t halves __attribute__((vector_size(S::bytes / 2)));
    typedef std::uint16_t loose_halves
        __attribute__((vector_size(S::bytes / 2), aligned(alignof(std::uint16_t)), may_alias));

    static constexpr index_t words(index_t depth) { return (depth + 1) / 2; }
    static constexpr index_t word(index_t k) { return k / 2; }

    /// With the instructions of every processor.
    struct plain {
        struct pair {
            vec low, high;
        };
        using left = pair;
        using right = pair;
        static left load_left(const float* p) { return split(broadcast(p)); }
        static right load_right(const float* p) { return split(bits_at(p)); }
        static void add(vec& sum, const left& a, const right& b) {
            sum += a.high * b.high;
            sum += a.low * b.low;
        }
        static void store_row(float* row, index_t k, vec v) {
            store_halves(row + k / 2, __builtin_convertvector(rounded(v) >> 16U, halves));
        }
        static void store_columns(float* to, index_t k, vec v) {
            if (k % 2 == 0)
                store_bits(to, rounded(v) >> 16U);
            else
                store_bits(to, (rounded(v) & 0xffff0000U) | bits_at(to));
        }
        static void store_pair(float* to, vec even, vec odd) {
            store_bits(to, (rounded(even) >> 16U) | (rounded(odd) & 0xffff0000U));
        }

    private:
        static pair split(bits b) { return {reinterpret_cast<vec>(b << 16U), reinterpret_cast<vec>(b & 0xffff0000U)}; }
        /// `nearest_bfloat16` in the upper halves of the lanes; the lower ones hold anything.
        static bits rounded(vec v) {
            const auto u = reinterpret_cast<bits>(v);
            const auto nan = reinterpret_cast<bits>((u & 0x7fffffffU) > 0x7f800000U);
            return ((u + (0x7fffU + (u >> 16U & 1U))) & ~nan) | ((u | 0x400000U) & nan);
        }
    };

#if defined(DIEM_HAS_BFLOAT16_INSTRUCTIONS)
    /// With those of AVX512-BF16. In assembler, as units are compiled for x86-64-v4, which has not got them.
    struct instructions {
        using left = bits;
        using right = bits;
        static left load_left(const float* p) { return broadcast(p); }
        static right load_right(const float* p) { return bits_at(p); }
        static void add(vec& sum, left a, right b) {
            vec s = sum;  // an operand in an array would keep the array in memory
            asm("vdpbf16ps %2, %1, %0" : "+v"(s) : "v"(a), "v"(b));
            sum = s;
        }
        static void store_row(float* row, index_t k, vec v) { store_halves(row + k / 2, rounded(v)); }
        static void store_columns(float* to, index_t k, vec v) {
            const bits one = __builtin_convertvector(rounded(v), bits);
            if (k % 2 == 0)
                store_bits(to, one);
            else
                store_bits(to, one << 16U | bits_at(to));
        }
        static void store_pair(float* to, vec even, vec odd) {
            store_bits(to, __builtin_convertvector(rounded(even), bits) | __builtin_convertvector(rounded(odd), bits)
                                                                              << 16U);
        }

    private:
        static halves rounded(vec v) {
            halves h;
            asm("vcvtneps2bf16 %1, %0" : "=v"(h) : "v"(v));
            return h;
        }
    };
#endif
    template <class F>
    static void with_arithmetic(F&& f) {
#if defined(DIEM_HAS_BFLOAT16_INSTRUCTIONS)
        if (has_bfloat16_instructions()) return f(instructions{});
#endif
        f(plain{});
    }

private:
    // Not by pointers that are deduced: deduction forgets the alignment.
    static bits bits_at(const float* p) { return *reinterpret_cast<const loose_bits*>(p); }
    static void store_bits(float* p, bits b) { *reinterpret_cast<loose_bits*>(p) = b; }
    static void store_halves(float* p, halves h) { *reinterpret_cast<loose_halves*>(p) = h; }
    static bits broadcast(const float* p) {
        typedef std::uint32_t loose_word __attribute__((may_alias));
        return bits{} + *reinterpret_cast<const loose_word*>(p);
    }
};

}  // namespace DIEM_SIMD_NAMESPACE
}  // namespace diem::detail::eigen
