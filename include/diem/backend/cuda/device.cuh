// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cublas_v2.h>
#include <cuda_runtime.h>
#include <cusolverDn.h>

#include <cstddef>
#include <string>

#include <diem/backend/cuda/error.cuh>
#include <diem/backend/product_precision.hpp>

namespace diem {

/// Devices that the runtime finds; 0 where there is no device or no driver, and then `why` says so. Throws nothing.
inline int cuda_device_count(std::string* why = nullptr) {
    int count = 0;
    const cudaError_t status = cudaGetDeviceCount(&count);
    if (status == cudaSuccess) return count;
    static_cast<void>(cudaGetLastError());
    if (why != nullptr) *why = std::string(cudaGetErrorName(status)) + ": " + cudaGetErrorString(status);
    return 0;
}

struct cuda_options {
    int device = 0;                                           ///< ordinal of the device
    product_precision products = product_precision::float32;  ///< of all products
    std::size_t workspace_bytes = std::size_t{32} << 20;      ///< of cuBLAS; fixed, so that its results repeat
    /// The caller's, of that device, which must outlive the backend; null: a stream of the backend's own. The default streams are
    /// cudaStreamLegacy and cudaStreamPerThread.
    cudaStream_t stream = nullptr;
};

namespace detail::cuda {

/// A stream of one device with the library handles bound to it.
class device {
public:
    explicit device(const cuda_options& o) : ordinal_(o.device), products_(o.products), stream_(o.stream) {
        std::string why = "there is none";
        const int count = cuda_device_count(&why);
        if (count == 0) throw device_error("cuda_backend: no CUDA device (" + why + ")");
        if (o.device < 0 || o.device >= count)
            throw device_error("cuda_backend: device " + std::to_string(o.device) + " of " + std::to_string(count) +
                               ", expected 0 .. " + std::to_string(count - 1));
        try {
            activate();
            if (o.stream == nullptr) {
                checked(cudaStreamCreateWithFlags(&own_, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
                stream_ = own_;
            }
            checked(cublasCreate(&blas_), "cublasCreate");
            checked(cublasSetStream(blas_, stream_), "cublasSetStream");
            if (o.workspace_bytes > 0) {
                checked(cudaMalloc(&workspace_, o.workspace_bytes), "cudaMalloc");
                checked(cublasSetWorkspace(blas_, workspace_, o.workspace_bytes), "cublasSetWorkspace");
            }
            checked(cusolverDnCreate(&solver_), "cusolverDnCreate");
            checked(cusolverDnSetStream(solver_, stream_), "cusolverDnSetStream");
        } catch (...) {
            release();
            throw;
        }
    }
    device(const device&) = delete;
    device& operator=(const device&) = delete;
    ~device() { release(); }

    /// Makes it the calling thread's device: before every call that depends on it.
    void activate() const { checked(cudaSetDevice(ordinal_), "cudaSetDevice"); }
    void synchronize() const { checked(cudaStreamSynchronize(stream_), "cudaStreamSynchronize"); }
    [[nodiscard]] int ordinal() const { return ordinal_; }
    [[nodiscard]] cudaStream_t stream() const { return stream_; }
    [[nodiscard]] cublasHandle_t blas() const { return blas_; }
    [[nodiscard]] product_precision products() const { return products_; }
    [[nodiscard]] cusolverDnHandle_t solver() const { return solver_; }

private:
    void release() noexcept {
        if (stream_ != nullptr) static_cast<void>(cudaStreamSynchronize(stream_));
        if (solver_ != nullptr) static_cast<void>(cusolverDnDestroy(solver_));
        if (blas_ != nullptr) static_cast<void>(cublasDestroy(blas_));
        if (workspace_ != nullptr) static_cast<void>(cudaFree(workspace_));
        if (own_ != nullptr) static_cast<void>(cudaStreamDestroy(own_));
    }

    int ordinal_;
    product_precision products_;
    cudaStream_t stream_;
    cudaStream_t own_ = nullptr;  // the same, where it is not the caller's
    cublasHandle_t blas_ = nullptr;
    cusolverDnHandle_t solver_ = nullptr;
    void* workspace_ = nullptr;
};

}  // namespace detail::cuda
}  // namespace diem
