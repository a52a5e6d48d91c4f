// SPDX-License-Identifier: Apache-2.0
#pragma once

// Stands in for cuBLAS: the calls that diem makes, as plain loops. Arguments are checked as the library documents them, and
// every operand must lie inside one block of device memory.
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

enum cublasStatus_t : int {
    CUBLAS_STATUS_SUCCESS = 0,
    CUBLAS_STATUS_NOT_INITIALIZED = 1,
    CUBLAS_STATUS_INVALID_VALUE = 7,
    CUBLAS_STATUS_EXECUTION_FAILED = 13,
};
enum cublasOperation_t { CUBLAS_OP_N = 0, CUBLAS_OP_T = 1 };
enum cublasFillMode_t { CUBLAS_FILL_MODE_LOWER = 0 };
enum cublasSideMode_t { CUBLAS_SIDE_LEFT = 0 };
enum cublasDiagType_t { CUBLAS_DIAG_NON_UNIT = 0 };
enum cublasComputeType_t {
    CUBLAS_COMPUTE_32F = 68,
    CUBLAS_COMPUTE_32F_FAST_16BF = 75,
    CUBLAS_COMPUTE_32F_FAST_TF32 = 77,
    CUBLAS_COMPUTE_64F = 70,
};
enum cublasGemmAlgo_t { CUBLAS_GEMM_DEFAULT = -1 };
enum cudaDataType_t { CUDA_R_32F = 0, CUDA_R_64F = 1 };
struct cuda_host_blas {};
using cublasHandle_t = cuda_host_blas*;

namespace cuda_host {

inline cublasStatus_t blas_failure(const char* call) {
    return static_cast<cublasStatus_t>(device::get().failure(call));
}
/// Whether a column-major matrix is a legal operand.
template <class T>
bool legal(const T* a, std::int64_t rows, std::int64_t cols, std::int64_t leading) {
    if (rows < 0 || cols < 0 || leading < std::max<std::int64_t>(1, rows)) return false;
    if (rows == 0 || cols == 0) return true;
    return device::get().owns(a, static_cast<std::size_t>((cols - 1) * leading + rows) * sizeof(T));
}

/// x with so many bits behind the leading one, to nearest even; 0: as it is.
template <class T>
T rounded(T x, int bits) {
    if (bits == 0 || sizeof(T) != 4) return x;
    std::uint32_t word;
    std::memcpy(&word, &x, 4);
    const int dropped = 23 - bits;
    word += (1U << (dropped - 1)) - 1 + (word >> dropped & 1U);
    word &= ~((1U << dropped) - 1);
    std::memcpy(&x, &word, 4);
    return x;
}

template <class T>
void product(int bits, cublasOperation_t ta, cublasOperation_t tb, std::int64_t m, std::int64_t n, std::int64_t k, T alpha,
             const T* a, std::int64_t lda, const T* b, std::int64_t ldb, T beta, T* c, std::int64_t ldc) {
    std::vector<T> packed;
    if (ta == CUBLAS_OP_T || bits > 0) {  // columns of op(A) contiguous
        packed.resize(static_cast<std::size_t>(m * k));
        for (std::int64_t i = 0; i < m; ++i)
            for (std::int64_t l = 0; l < k; ++l)
                packed[static_cast<std::size_t>(i + l * m)] =
                    rounded(ta == CUBLAS_OP_T ? a[l + i * lda] : a[i + l * lda], bits);
        a = packed.data();
        lda = m;
    }
    std::vector<T> sum(static_cast<std::size_t>(m));
    for (std::int64_t j = 0; j < n; ++j) {
        std::fill(sum.begin(), sum.end(), T(0));
        for (std::int64_t l = 0; l < k; ++l) {
            const T s = rounded(tb == CUBLAS_OP_N ? b[l + j * ldb] : b[j + l * ldb], bits);
            const T* const column = a + l * lda;
            T* const to = sum.data();
            for (std::int64_t i = 0; i < m; ++i) to[i] += s * column[i];
        }
        for (std::int64_t i = 0; i < m; ++i) {
            T& y = c[i + j * ldc];
            y = alpha * sum[static_cast<std::size_t>(i)] + (beta == 0 ? T(0) : beta * y);
        }
    }
}
template <class T>
cublasStatus_t gemm(cublasComputeType_t compute, cublasHandle_t h, cublasOperation_t ta, cublasOperation_t tb, std::int64_t m,
                    std::int64_t n, std::int64_t k, T alpha, const T* a, std::int64_t lda, long long sa, const T* b,
                    std::int64_t ldb, long long sb, T beta, T* c, std::int64_t ldc, long long sc, std::int64_t count) {
    if (const auto status = blas_failure("cublasgemm")) return status;
    if (h == nullptr) return CUBLAS_STATUS_NOT_INITIALIZED;
    if ((compute == CUBLAS_COMPUTE_64F) != (sizeof(T) == 8)) return CUBLAS_STATUS_INVALID_VALUE;
    if (count < 0 || sa < 0 || sb < 0 || (count > 1 && sc < (n - 1) * ldc + m && sc < m))
        return CUBLAS_STATUS_INVALID_VALUE;
    for (std::int64_t i = 0; i < count; ++i)
        if (!legal(a + i * sa, ta == CUBLAS_OP_N ? m : k, ta == CUBLAS_OP_N ? k : m, lda) ||
            !legal(b + i * sb, tb == CUBLAS_OP_N ? k : n, tb == CUBLAS_OP_N ? n : k, ldb) ||
            !legal(c + i * sc, m, n, ldc))
            return CUBLAS_STATUS_INVALID_VALUE;
    const scope inside;
    const int bits = compute == CUBLAS_COMPUTE_32F_FAST_TF32 ? 10 : compute == CUBLAS_COMPUTE_32F_FAST_16BF ? 7 : 0;
    for (std::int64_t i = 0; i < count; ++i)
        product(bits, ta, tb, m, n, k, alpha, a + i * sa, lda, b + i * sb, ldb, beta, c + i * sc, ldc);
    return CUBLAS_STATUS_SUCCESS;
}
template <class T>
void solve(cublasOperation_t t, std::int64_t m, std::int64_t n, T alpha, const T* l, std::int64_t ldl, T* x,
           std::int64_t ldx) {
    for (std::int64_t c = 0; c < n; ++c) {
        T* const v = x + c * ldx;
        for (std::int64_t s = 0; s < m; ++s) {
            const std::int64_t r = t == CUBLAS_OP_N ? s : m - 1 - s;
            T sum = alpha * v[r];
            if (t == CUBLAS_OP_N)
                for (std::int64_t k = 0; k < r; ++k) sum -= l[r + k * ldl] * v[k];
            else
                for (std::int64_t k = r + 1; k < m; ++k) sum -= l[k + r * ldl] * v[k];
            v[r] = sum / l[r + r * ldl];
        }
    }
}
template <class T>
cublasStatus_t trsm(const char* call, cublasHandle_t h, cublasOperation_t t, std::int64_t m, std::int64_t n, T alpha,
                    const T* l, std::int64_t ldl, T* x, std::int64_t ldx) {
    if (const auto status = blas_failure(call)) return status;
    if (h == nullptr) return CUBLAS_STATUS_NOT_INITIALIZED;
    if (!legal(l, m, m, ldl) || !legal(x, m, n, ldx)) return CUBLAS_STATUS_INVALID_VALUE;
    const scope inside;
    solve(t, m, n, alpha, l, ldl, x, ldx);
    return CUBLAS_STATUS_SUCCESS;
}
template <class T>
cublasStatus_t trsm_batched(const char* call, cublasHandle_t h, cublasOperation_t t, std::int64_t m, std::int64_t n,
                            T alpha, const T* const* l, std::int64_t ldl, T* const* x, std::int64_t ldx,
                            std::int64_t count) {
    if (const auto status = blas_failure(call)) return status;
    if (h == nullptr) return CUBLAS_STATUS_NOT_INITIALIZED;
    const auto bytes = static_cast<std::size_t>(count) * sizeof(void*);
    if (count < 0 || !device::get().owns(l, bytes) || !device::get().owns(x, bytes)) return CUBLAS_STATUS_INVALID_VALUE;
    const scope inside;
    for (std::int64_t i = 0; i < count; ++i) {
        if (!legal(l[i], m, m, ldl) || !legal(x[i], m, n, ldx)) return CUBLAS_STATUS_INVALID_VALUE;
        solve(t, m, n, alpha, l[i], ldl, x[i], ldx);
    }
    return CUBLAS_STATUS_SUCCESS;
}

}  // namespace cuda_host

inline const char* cublasGetStatusName(cublasStatus_t s) {
    switch (s) {
        case CUBLAS_STATUS_SUCCESS:
            return "CUBLAS_STATUS_SUCCESS";
        case CUBLAS_STATUS_NOT_INITIALIZED:
            return "CUBLAS_STATUS_NOT_INITIALIZED";
        case CUBLAS_STATUS_INVALID_VALUE:
            return "CUBLAS_STATUS_INVALID_VALUE";
        case CUBLAS_STATUS_EXECUTION_FAILED:
            return "CUBLAS_STATUS_EXECUTION_FAILED";
    }
    return "unknown";
}
inline cublasStatus_t cublasCreate(cublasHandle_t* h) {
    if (const auto status = cuda_host::blas_failure("cublasCreate")) return status;
    *h = new cuda_host_blas;
    return CUBLAS_STATUS_SUCCESS;
}
inline cublasStatus_t cublasDestroy(cublasHandle_t h) {
    delete h;
    return CUBLAS_STATUS_SUCCESS;
}
inline cublasStatus_t cublasSetStream(cublasHandle_t, cudaStream_t) { return CUBLAS_STATUS_SUCCESS; }
inline cublasStatus_t cublasSetWorkspace(cublasHandle_t, void*, std::size_t) { return CUBLAS_STATUS_SUCCESS; }

inline cublasStatus_t cublasGemmStridedBatchedEx_64(cublasHandle_t h, cublasOperation_t ta, cublasOperation_t tb,
                                                    std::int64_t m, std::int64_t n, std::int64_t k, const void* alpha,
                                                    const void* a, cudaDataType_t at, std::int64_t lda, long long sa,
                                                    const void* b, cudaDataType_t bt, std::int64_t ldb, long long sb,
                                                    const void* beta, void* c, cudaDataType_t ct, std::int64_t ldc,
                                                    long long sc, std::int64_t count, cublasComputeType_t compute,
                                                    cublasGemmAlgo_t) {
    if (at != bt || at != ct) return CUBLAS_STATUS_INVALID_VALUE;
    const auto run = [&]<class T>(T) {
        return cuda_host::gemm<T>(compute, h, ta, tb, m, n, k, *static_cast<const T*>(alpha),
                                  static_cast<const T*>(a), lda, sa, static_cast<const T*>(b), ldb, sb,
                                  *static_cast<const T*>(beta), static_cast<T*>(c), ldc, sc, count);
    };
    return at == CUDA_R_32F ? run(0.0F) : run(0.0);
}
inline cublasStatus_t cublasGemmEx_64(cublasHandle_t h, cublasOperation_t ta, cublasOperation_t tb, std::int64_t m,
                                      std::int64_t n, std::int64_t k, const void* alpha, const void* a,
                                      cudaDataType_t at, std::int64_t lda, const void* b, cudaDataType_t bt,
                                      std::int64_t ldb, const void* beta, void* c, cudaDataType_t ct, std::int64_t ldc,
                                      cublasComputeType_t compute, cublasGemmAlgo_t algorithm) {
    return cublasGemmStridedBatchedEx_64(h, ta, tb, m, n, k, alpha, a, at, lda, 0, b, bt, ldb, 0, beta, c, ct, ldc, 0, 1,
                                         compute, algorithm);
}

#define CUDA_HOST_BLAS(T, P)                                                                                           \
    inline cublasStatus_t cublas##P##trsm_64(cublasHandle_t h, cublasSideMode_t, cublasFillMode_t,                     \
                                             cublasOperation_t t, cublasDiagType_t, std::int64_t m, std::int64_t n,    \
                                             const T* alpha, const T* l, std::int64_t ldl, T* x, std::int64_t ldx) {   \
        return cuda_host::trsm<T>("cublastrsm", h, t, m, n, *alpha, l, ldl, x, ldx);                                   \
    }                                                                                                                  \
    inline cublasStatus_t cublas##P##trsmBatched_64(                                                                   \
        cublasHandle_t h, cublasSideMode_t, cublasFillMode_t, cublasOperation_t t, cublasDiagType_t, std::int64_t m,   \
        std::int64_t n, const T* alpha, const T* const l[], std::int64_t ldl, T* const x[], std::int64_t ldx,          \
        std::int64_t count) {                                                                                          \
        return cuda_host::trsm_batched<T>("cublastrsm", h, t, m, n, *alpha, l, ldl, x, ldx, count);                    \
    }
CUDA_HOST_BLAS(float, S)
CUDA_HOST_BLAS(double, D)
#undef CUDA_HOST_BLAS
