// SPDX-License-Identifier: Apache-2.0
#pragma once

/// One program, one set of vector instructions. Eigen's functions and ours have the same names whatever -march they are
/// compiled with, so that a linker would take any one of several and run it everywhere, with vectors of another length than
/// the caller's, or on a processor that has not got them.
///
/// - `DIEM_SIMD_NAMESPACE`, an inline namespace, keeps our functions of different levels apart: a unit that calls what another
///   one defines for another level is not linked.
/// - Where the format of object files is ELF, units of different levels are not linked at all: each defines one absolute symbol
///   whose value is its level, and linkers take several definitions only when they agree. (Not seen where the units are
///   optimised at link time.) `DIEM_ALLOW_MIXED_SIMD` leaves that out, for those who hide Eigen's names themselves.

#if defined(__AVX512F__)
#define DIEM_SIMD_NAMESPACE simd_avx512
#elif defined(__AVX2__)
#define DIEM_SIMD_NAMESPACE simd_avx2
#elif defined(__AVX__)
#define DIEM_SIMD_NAMESPACE simd_avx
#elif defined(__SSE2__)
#define DIEM_SIMD_NAMESPACE simd_sse
#elif defined(__ARM_NEON)
#define DIEM_SIMD_NAMESPACE simd_neon
#else
#define DIEM_SIMD_NAMESPACE simd_none
#endif

#if defined(__ELF__) && defined(__GNUC__) && !defined(__CUDACC__) && !defined(DIEM_ALLOW_MIXED_SIMD)
// The name is what the linker shows.
asm(".globl diem_all_units_of_a_program_need_the_same_march\n"
    ".hidden diem_all_units_of_a_program_need_the_same_march\n"
    ".set diem_all_units_of_a_program_need_the_same_march, 0"
#if defined(__SSE3__)
    "+1"
#endif
#if defined(__SSSE3__)
    "+2"
#endif
#if defined(__SSE4_1__)
    "+4"
#endif
#if defined(__SSE4_2__)
    "+8"
#endif
#if defined(__AVX__)
    "+16"
#endif
#if defined(__AVX2__)
    "+32"
#endif
#if defined(__FMA__)
    "+64"
#endif
#if defined(__F16C__)
    "+128"
#endif
#if defined(__AVX512F__)
    "+256"
#endif
#if defined(__AVX512DQ__)
    "+512"
#endif
#if defined(__AVX512BW__)
    "+1024"
#endif
#if defined(__ARM_FEATURE_SVE)
    "+2048"
#endif
#if defined(EIGEN_DONT_VECTORIZE)
    "+4096"
#endif
    "\n");
#endif
