// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cublas_v2.h>
#include <cuda_runtime.h>
#include <cusolverDn.h>

#include <cstdint>
#include <type_traits>

#include <diem/backend/concept.hpp>
#include <diem/backend/cuda/device.cuh>
#include <diem/backend/cuda/error.cuh>

/// \file
/// Calls of cuBLAS and cuSOLVER, one name for float and double. Raw device pointers, column-major, lower triangles.

namespace diem::detail::cuda {

inline cublasOperation_t operation(op t) { return t == op::none ? CUBLAS_OP_N : CUBLAS_OP_T; }

template <class T>
inline constexpr bool single = std::is_same_v<T, float>;

template <class T>
inline constexpr cudaDataType_t data_type = single<T> ? CUDA_R_32F : CUDA_R_64F;

template <class T>
cublasComputeType_t compute_type(product_precision products) {
    if (!single<T>) return CUBLAS_COMPUTE_64F;
    return products == product_precision::tf32   ? CUBLAS_COMPUTE_32F_FAST_TF32
           : products == product_precision::bf16 ? CUBLAS_COMPUTE_32F_FAST_16BF
                                                 : CUBLAS_COMPUTE_32F;
}

template <class T>
void gemm(const device& d, op ta, op tb, std::int64_t m, std::int64_t n, std::int64_t k, T alpha, const T* a,
          std::int64_t lda, const T* b, std::int64_t ldb, T beta, T* c, std::int64_t ldc) {
    checked(
        cublasGemmEx_64(d.blas(), operation(ta), operation(tb), m, n, k, &alpha, a, data_type<T>, lda, b, data_type<T>,
                        ldb, &beta, c, data_type<T>, ldc, compute_type<T>(d.products()), CUBLAS_GEMM_DEFAULT),
        "cublasGemmEx");
}
template <class T>
void gemm_strided(const device& d, op ta, op tb, std::int64_t m, std::int64_t n, std::int64_t k, T alpha, const T* a,
                  std::int64_t lda, std::int64_t sa, const T* b, std::int64_t ldb, std::int64_t sb, T beta, T* c,
                  std::int64_t ldc, std::int64_t sc, std::int64_t count) {
    checked(cublasGemmStridedBatchedEx_64(d.blas(), operation(ta), operation(tb), m, n, k, &alpha, a, data_type<T>, lda,
                                          sa, b, data_type<T>, ldb, sb, &beta, c, data_type<T>, ldc, sc, count,
                                          compute_type<T>(d.products()), CUBLAS_GEMM_DEFAULT),
            "cublasGemmStridedBatchedEx");
}

/// X = op(L)^-1 X, X m x n.
template <class T>
void trsm(cublasHandle_t h, op t, std::int64_t m, std::int64_t n, const T* l, std::int64_t ldl, T* x,
          std::int64_t ldx) {
    const T one = 1;
    if constexpr (single<T>)
        checked(cublasStrsm_64(h, CUBLAS_SIDE_LEFT, CUBLAS_FILL_MODE_LOWER, operation(t), CUBLAS_DIAG_NON_UNIT, m, n,
                               &one, l, ldl, x, ldx),
                "cublasStrsm");
    else
        checked(cublasDtrsm_64(h, CUBLAS_SIDE_LEFT, CUBLAS_FILL_MODE_LOWER, operation(t), CUBLAS_DIAG_NON_UNIT, m, n,
                               &one, l, ldl, x, ldx),
                "cublasDtrsm");
}
template <class T>
void trsm_batched(cublasHandle_t h, op t, std::int64_t m, std::int64_t n, const T* const* l, std::int64_t ldl,
                  T* const* x, std::int64_t ldx, std::int64_t count) {
    const T one = 1;
    if constexpr (single<T>)
        checked(cublasStrsmBatched_64(h, CUBLAS_SIDE_LEFT, CUBLAS_FILL_MODE_LOWER, operation(t), CUBLAS_DIAG_NON_UNIT,
                                      m, n, &one, l, ldl, x, ldx, count),
                "cublasStrsmBatched");
    else
        checked(cublasDtrsmBatched_64(h, CUBLAS_SIDE_LEFT, CUBLAS_FILL_MODE_LOWER, operation(t), CUBLAS_DIAG_NON_UNIT,
                                      m, n, &one, l, ldl, x, ldx, count),
                "cublasDtrsmBatched");
}

template <class T>
int potrf_workspace(cusolverDnHandle_t h, int n, T* a, int lda) {
    int size = 0;
    if constexpr (single<T>)
        checked(cusolverDnSpotrf_bufferSize(h, CUBLAS_FILL_MODE_LOWER, n, a, lda, &size),
                "cusolverDnSpotrf_bufferSize");
    else
        checked(cusolverDnDpotrf_bufferSize(h, CUBLAS_FILL_MODE_LOWER, n, a, lda, &size),
                "cusolverDnDpotrf_bufferSize");
    return size;
}
template <class T>
void potrf(cusolverDnHandle_t h, int n, T* a, int lda, T* work, int size, int* info) {
    if constexpr (single<T>)
        checked(cusolverDnSpotrf(h, CUBLAS_FILL_MODE_LOWER, n, a, lda, work, size, info), "cusolverDnSpotrf");
    else
        checked(cusolverDnDpotrf(h, CUBLAS_FILL_MODE_LOWER, n, a, lda, work, size, info), "cusolverDnDpotrf");
}
/// The strict upper triangles are destroyed.
template <class T>
void potrf_batched(cusolverDnHandle_t h, int n, T** a, int lda, int* info, int count) {
    if constexpr (single<T>)
        checked(cusolverDnSpotrfBatched(h, CUBLAS_FILL_MODE_LOWER, n, a, lda, info, count), "cusolverDnSpotrfBatched");
    else
        checked(cusolverDnDpotrfBatched(h, CUBLAS_FILL_MODE_LOWER, n, a, lda, info, count), "cusolverDnDpotrfBatched");
}

template <class T>
int syevd_workspace(cusolverDnHandle_t h, int n, const T* a, int lda, const T* w) {
    int size = 0;
    if constexpr (single<T>)
        checked(cusolverDnSsyevd_bufferSize(h, CUSOLVER_EIG_MODE_VECTOR, CUBLAS_FILL_MODE_LOWER, n, a, lda, w, &size),
                "cusolverDnSsyevd_bufferSize");
    else
        checked(cusolverDnDsyevd_bufferSize(h, CUSOLVER_EIG_MODE_VECTOR, CUBLAS_FILL_MODE_LOWER, n, a, lda, w, &size),
                "cusolverDnDsyevd_bufferSize");
    return size;
}
template <class T>
void syevd(cusolverDnHandle_t h, int n, T* a, int lda, T* w, T* work, int size, int* info) {
    if constexpr (single<T>)
        checked(cusolverDnSsyevd(h, CUSOLVER_EIG_MODE_VECTOR, CUBLAS_FILL_MODE_LOWER, n, a, lda, w, work, size, info),
                "cusolverDnSsyevd");
    else
        checked(cusolverDnDsyevd(h, CUSOLVER_EIG_MODE_VECTOR, CUBLAS_FILL_MODE_LOWER, n, a, lda, w, work, size, info),
                "cusolverDnDsyevd");
}

}  // namespace diem::detail::cuda
