// SPDX-License-Identifier: Apache-2.0
#pragma once

/// \file
/// `DIEM_HOST_DEVICE`, for functions that device code calls, too; `DIEM_IVDEP`, for loops that become vectors.
/// \snippet tests/examples/core.cpp core/macros.hpp

// Solvers, guards and statuses tell NaN and infinity from numbers, which these options let compilers take for impossible.
#if (defined(__FAST_MATH__) || (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__ > 0)) && \
    !defined(DIEM_ALLOW_FAST_MATH)
#error \
    "diem: -ffast-math and -ffinite-math-only break the checks for NaN; to have them all the same, define DIEM_ALLOW_FAST_MATH"
#endif

/// Marks a function that device code may call. Plain under a host compiler.
#if defined(__CUDACC__)
#define DIEM_HOST_DEVICE __host__ __device__
#else
#define DIEM_HOST_DEVICE
#endif

/// Iterations of the next loop do not depend on one another: element j of a result depends on elements j alone.
#if defined(__CUDACC__)
#define DIEM_IVDEP
#elif defined(__clang__)
#define DIEM_IVDEP _Pragma("clang loop vectorize(assume_safety)")
#else
#define DIEM_IVDEP _Pragma("GCC ivdep")
#endif
