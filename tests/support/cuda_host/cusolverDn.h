// SPDX-License-Identifier: Apache-2.0
#pragma once

// Stands in for cuSOLVER: the calls that diem makes, on the loops of the reference backend.
#include <cublas_v2.h>

#include <limits>

#include <diem/backend/reference.hpp>

enum cusolverStatus_t : int {
    CUSOLVER_STATUS_SUCCESS = 0,
    CUSOLVER_STATUS_NOT_INITIALIZED = 1,
    CUSOLVER_STATUS_ALLOC_FAILED = 2,
    CUSOLVER_STATUS_INVALID_VALUE = 3,
    CUSOLVER_STATUS_ARCH_MISMATCH = 4,
    CUSOLVER_STATUS_EXECUTION_FAILED = 6,
    CUSOLVER_STATUS_INTERNAL_ERROR = 7,
};
enum cusolverEigMode_t { CUSOLVER_EIG_MODE_VECTOR = 1 };
struct cuda_host_solver {};
using cusolverDnHandle_t = cuda_host_solver*;

namespace cuda_host {

template <class T>
cusolverStatus_t factor(cusolverDnHandle_t h, int n, T* a, int lda, T* work, int size, int* info) {
    if (const int code = device::get().failure("cusolverDnpotrf")) return static_cast<cusolverStatus_t>(code);
    if (h == nullptr || !legal(a, n, n, lda) || size < n || !device::get().owns(work, sizeof(T) * std::size_t(size)) ||
        !device::get().owns(info, sizeof(int)))
        return CUSOLVER_STATUS_INVALID_VALUE;
    const scope inside;
    std::fill_n(work, size, std::numeric_limits<T>::quiet_NaN());
    diem::reference_backend<T>().cholesky(diem::matrix_batch<T*>(a, n, n, lda, 0, 1), diem::vector_view<int*>(info, 1));
    return CUSOLVER_STATUS_SUCCESS;
}
template <class T>
cusolverStatus_t factor_batched(cusolverDnHandle_t h, int n, T** a, int lda, int* info, int count) {
    if (const int code = device::get().failure("cusolverDnpotrf")) return static_cast<cusolverStatus_t>(code);
    if (h == nullptr || !device::get().owns(a, sizeof(T*) * std::size_t(count)) ||
        !device::get().owns(info, sizeof(int) * std::size_t(count)))
        return CUSOLVER_STATUS_INVALID_VALUE;
    const scope inside;
    for (int m = 0; m < count; ++m) {
        if (!legal(a[m], n, n, lda)) return CUSOLVER_STATUS_INVALID_VALUE;
        diem::reference_backend<T>().cholesky(diem::matrix_batch<T*>(a[m], n, n, lda, 0, 1),
                                              diem::vector_view<int*>(info + m, 1));
        for (int j = 1; j < n; ++j)  // the library uses the upper triangle as work space
            std::fill_n(a[m] + std::ptrdiff_t(j) * lda, j, std::numeric_limits<T>::quiet_NaN());
    }
    return CUSOLVER_STATUS_SUCCESS;
}
template <class T>
cusolverStatus_t eigenvectors(cusolverDnHandle_t h, int n, T* a, int lda, T* w, T* work, int size, int* info) {
    if (const int code = device::get().failure("cusolverDnsyevd")) return static_cast<cusolverStatus_t>(code);
    if (h == nullptr || !legal(a, n, n, lda) || !device::get().owns(w, sizeof(T) * std::size_t(n)) || size < n ||
        !device::get().owns(work, sizeof(T) * std::size_t(size)) || !device::get().owns(info, sizeof(int)))
        return CUSOLVER_STATUS_INVALID_VALUE;
    const scope inside;
    std::fill_n(work, size, std::numeric_limits<T>::quiet_NaN());
    diem::reference_backend<T>().eigh(diem::batch_view<T*>(a, n, n, lda), diem::vector_view<T*>(w, n));
    *info = 0;
    return CUSOLVER_STATUS_SUCCESS;
}

}  // namespace cuda_host

inline cusolverStatus_t cusolverDnCreate(cusolverDnHandle_t* h) {
    if (const int code = cuda_host::device::get().failure("cusolverDnCreate"))
        return static_cast<cusolverStatus_t>(code);
    *h = new cuda_host_solver;
    return CUSOLVER_STATUS_SUCCESS;
}
inline cusolverStatus_t cusolverDnDestroy(cusolverDnHandle_t h) {
    delete h;
    return CUSOLVER_STATUS_SUCCESS;
}
inline cusolverStatus_t cusolverDnSetStream(cusolverDnHandle_t, cudaStream_t) { return CUSOLVER_STATUS_SUCCESS; }

#define CUDA_HOST_SOLVER(T, P)                                                                                       \
    inline cusolverStatus_t cusolverDn##P##potrf_bufferSize(cusolverDnHandle_t, cublasFillMode_t, int n, T*, int,    \
                                                            int* size) {                                             \
        *size = n + 3;                                                                                               \
        return CUSOLVER_STATUS_SUCCESS;                                                                              \
    }                                                                                                                \
    inline cusolverStatus_t cusolverDn##P##potrf(cusolverDnHandle_t h, cublasFillMode_t, int n, T* a, int lda,       \
                                                 T* work, int size, int* info) {                                     \
        return cuda_host::factor<T>(h, n, a, lda, work, size, info);                                                 \
    }                                                                                                                \
    inline cusolverStatus_t cusolverDn##P##potrfBatched(cusolverDnHandle_t h, cublasFillMode_t, int n, T* a[],       \
                                                        int lda, int* info, int count) {                             \
        return cuda_host::factor_batched<T>(h, n, a, lda, info, count);                                              \
    }                                                                                                                \
    inline cusolverStatus_t cusolverDn##P##syevd_bufferSize(cusolverDnHandle_t, cusolverEigMode_t, cublasFillMode_t, \
                                                            int n, const T*, int, const T*, int* size) {             \
        *size = 2 * n + 1;                                                                                           \
        return CUSOLVER_STATUS_SUCCESS;                                                                              \
    }                                                                                                                \
    inline cusolverStatus_t cusolverDn##P##syevd(cusolverDnHandle_t h, cusolverEigMode_t, cublasFillMode_t, int n,   \
                                                 T* a, int lda, T* w, T* work, int size, int* info) {                \
        return cuda_host::eigenvectors<T>(h, n, a, lda, w, work, size, info);                                        \
    }
CUDA_HOST_SOLVER(float, S)
CUDA_HOST_SOLVER(double, D)
#undef CUDA_HOST_SOLVER
