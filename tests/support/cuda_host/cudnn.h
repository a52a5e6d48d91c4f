// SPDX-License-Identifier: Apache-2.0
#pragma once

// Stands in for cuDNN: the calls that diem makes, as plain loops. It refuses what diem never means to ask: other layouts than
// channels last, other sizes than those of a 3x3 convolution with one pixel of padding, operands outside the device's memory, a
// stream that was not set, a work area that is too small, and algorithms that do not repeat.
#include <cublas_v2.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <vector>

enum cudnnStatus_t : int {
    CUDNN_STATUS_SUCCESS = 0,
    CUDNN_STATUS_NOT_INITIALIZED = 1001,
    CUDNN_STATUS_BAD_PARAM = 2000,
    CUDNN_STATUS_NOT_SUPPORTED = 3000,
    CUDNN_STATUS_EXECUTION_FAILED = 5000,
};
enum cudnnTensorFormat_t { CUDNN_TENSOR_NCHW = 0, CUDNN_TENSOR_NHWC = 1 };
enum cudnnDataType_t { CUDNN_DATA_FLOAT = 0, CUDNN_DATA_DOUBLE = 1 };
enum cudnnMathType_t {
    CUDNN_DEFAULT_MATH = 0,
    CUDNN_TENSOR_OP_MATH = 1,
    CUDNN_TENSOR_OP_MATH_ALLOW_CONVERSION = 2,
    CUDNN_FMA_MATH = 3,
};
enum cudnnDeterminism_t { CUDNN_NON_DETERMINISTIC = 0, CUDNN_DETERMINISTIC = 1 };
enum cudnnConvolutionMode_t { CUDNN_CONVOLUTION = 0, CUDNN_CROSS_CORRELATION = 1 };
enum cudnnConvolutionFwdAlgo_t {
    CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM = 0,
    CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM = 1,
    CUDNN_CONVOLUTION_FWD_ALGO_FFT = 4,
    CUDNN_CONVOLUTION_FWD_ALGO_WINOGRAD = 6,
};
enum cudnnConvolutionBwdDataAlgo_t {
    CUDNN_CONVOLUTION_BWD_DATA_ALGO_0 = 0,
    CUDNN_CONVOLUTION_BWD_DATA_ALGO_1 = 1,
};
enum cudnnConvolutionBwdFilterAlgo_t {
    CUDNN_CONVOLUTION_BWD_FILTER_ALGO_0 = 0,
    CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1 = 1,
    CUDNN_CONVOLUTION_BWD_FILTER_ALGO_3 = 3,
};
template <class A>
struct cuda_host_cudnn_candidate {
    A algo;
    cudnnStatus_t status;
    float time;
    std::size_t memory;
    cudnnDeterminism_t determinism;
    cudnnMathType_t mathType;
    int reserved[3];
};
using cudnnConvolutionFwdAlgoPerf_t = cuda_host_cudnn_candidate<cudnnConvolutionFwdAlgo_t>;
using cudnnConvolutionBwdDataAlgoPerf_t = cuda_host_cudnn_candidate<cudnnConvolutionBwdDataAlgo_t>;
using cudnnConvolutionBwdFilterAlgoPerf_t = cuda_host_cudnn_candidate<cudnnConvolutionBwdFilterAlgo_t>;

struct cudnnContext {
    cudaStream_t stream = nullptr;
};
struct cudnnTensorStruct {
    int n = 0, c = 0, h = 0, w = 0;
};
struct cudnnFilterStruct {
    int k = 0, c = 0;
};
struct cudnnConvolutionStruct {
    int stride = 0;
    cudnnMathType_t math = CUDNN_DEFAULT_MATH;
};
using cudnnHandle_t = cudnnContext*;
using cudnnTensorDescriptor_t = cudnnTensorStruct*;
using cudnnFilterDescriptor_t = cudnnFilterStruct*;
using cudnnConvolutionDescriptor_t = cudnnConvolutionStruct*;

namespace cuda_host {

/// What a test may set and read.
struct dnn {
    bool repeatable = true;                 ///< whether algorithms that repeat are proposed at all
    std::size_t searches = 0, objects = 0;  ///< for algorithms, and handles and descriptors that live
    static dnn& get() {
        static dnn d;
        return d;
    }
};
inline cudnnStatus_t dnn_failure(const char* call) { return static_cast<cudnnStatus_t>(device::get().failure(call)); }
template <class D>
cudnnStatus_t dnn_create(const char* call, D** d) {
    if (const auto status = dnn_failure(call)) return status;
    *d = new D;
    ++dnn::get().objects;
    return CUDNN_STATUS_SUCCESS;
}
template <class D>
cudnnStatus_t dnn_destroy(D* d) {
    if (d == nullptr) return CUDNN_STATUS_BAD_PARAM;
    delete d;
    --dnn::get().objects;
    return CUDNN_STATUS_SUCCESS;
}

/// The descriptors of one convolution.
struct dnn_problem {
    cudnnHandle_t h;
    const cudnnTensorStruct& x;
    const cudnnFilterStruct& w;
    const cudnnConvolutionStruct& v;
    const cudnnTensorStruct& y;

    [[nodiscard]] bool fits() const {
        return h != nullptr && h->stream != nullptr && v.stride > 0 && x.n > 0 && x.n == y.n && x.c > 0 && x.c == w.c &&
               w.k > 0 && w.k == y.c && y.h == (x.h - 1) / v.stride + 1 && y.w == (x.w - 1) / v.stride + 1;
    }
    [[nodiscard]] static std::size_t size(const cudnnTensorStruct& t) {
        return static_cast<std::size_t>(std::ptrdiff_t{t.n} * t.c * t.h * t.w);
    }
    [[nodiscard]] std::size_t filter_size() const {
        return 9 * static_cast<std::size_t>(w.k) * static_cast<std::size_t>(w.c);
    }
    [[nodiscard]] std::size_t workspace() const { return 64 + static_cast<std::size_t>(y.n); }

    /// First faster ones that may not be taken: they do not repeat, are not there, round further or need much memory.
    template <class A>
    cudnnStatus_t find(std::vector<A> restless, A good, int most, int* found, cuda_host_cudnn_candidate<A>* to) const {
        if (const auto status = dnn_failure("cudnnGetAlgorithm")) return status;
        if (!fits() || most < 1) return CUDNN_STATUS_BAD_PARAM;
        ++dnn::get().searches;
        std::vector<cuda_host_cudnn_candidate<A>> all;
        const auto add = [&](A a, cudnnStatus_t status, std::size_t bytes, bool repeats, cudnnMathType_t math) {
            all.push_back({a, status, 1, bytes, repeats ? CUDNN_DETERMINISTIC : CUDNN_NON_DETERMINISTIC, math, {}});
        };
        for (const A a : restless) add(a, CUDNN_STATUS_SUCCESS, workspace(), false, v.math);
        add(restless[0], CUDNN_STATUS_NOT_SUPPORTED, 0, true, v.math);
        add(restless[0], CUDNN_STATUS_SUCCESS, workspace(), true, CUDNN_TENSOR_OP_MATH_ALLOW_CONVERSION);
        add(restless[0], CUDNN_STATUS_SUCCESS, std::size_t{1} << 40, true, v.math);
        if (dnn::get().repeatable) {
            add(good, CUDNN_STATUS_SUCCESS, workspace(), true, CUDNN_TENSOR_OP_MATH);
            add(good, CUDNN_STATUS_SUCCESS, workspace(), true, v.math);
        }
        *found = std::min(most, static_cast<int>(all.size()));
        std::copy_n(all.begin(), *found, to);
        return CUDNN_STATUS_SUCCESS;
    }
    cudnnStatus_t size_of_workspace(bool good, std::size_t* bytes) const {
        if (!fits() || !good) return CUDNN_STATUS_NOT_SUPPORTED;
        *bytes = workspace();
        return CUDNN_STATUS_SUCCESS;
    }
    /// to = alpha sum + beta to: f(sum, at, i, j, k) adds one term, at(p, i) is number i of an operand, rounded.
    template <class F>
    cudnnStatus_t run(const char* call, bool good, const void* px, const void* pw, const void* py, const void* alpha,
                      const void* beta, void* work, std::size_t bytes, void* to, std::size_t n, const F& f) const {
        auto& d = device::get();
        if (const auto status = dnn_failure(call)) return status;
        if (!fits() || !good || d.knows(alpha) || d.knows(beta) || bytes < workspace() || !d.owns(work, bytes) ||
            !d.owns(px, 4 * size(x)) || !d.owns(pw, 4 * filter_size()) || !d.owns(py, 4 * size(y)))
            return CUDNN_STATUS_BAD_PARAM;
        const scope inside;
        std::memset(work, 0xFF, bytes);
        // As from Ampere on: whatever is not forbidden to be rounded is rounded to TF32.
        const int bits = v.math == CUDNN_FMA_MATH ? 0 : 10;
        const auto at = [bits](const void* p, std::ptrdiff_t i) {
            return static_cast<double>(rounded(static_cast<const float*>(p)[i], bits));
        };
        std::vector<double> sum(n);
        terms([&](std::ptrdiff_t i, std::ptrdiff_t j, std::ptrdiff_t k) { f(sum.data(), at, i, j, k); });
        const double a = *static_cast<const float*>(alpha), b = *static_cast<const float*>(beta);
        float* const out = static_cast<float*>(to);
        for (std::size_t k = 0; k < n; ++k) out[k] = static_cast<float>(a * sum[k] + (b == 0 ? 0 : b * out[k]));
        return CUDNN_STATUS_SUCCESS;
    }

private:
    /// f(element of x, of w, of y) for every term of the convolution.
    template <class F>
    void terms(const F& f) const {
        for (std::ptrdiff_t n = 0; n < y.n; ++n)
            for (std::ptrdiff_t i = 0; i < y.h; ++i)
                for (std::ptrdiff_t j = 0; j < y.w; ++j)
                    for (std::ptrdiff_t tap = 0; tap < 9; ++tap) {
                        const std::ptrdiff_t r = v.stride * i + tap / 3 - 1, s = v.stride * j + tap % 3 - 1;
                        if (r < 0 || r >= x.h || s < 0 || s >= x.w) continue;
                        const std::ptrdiff_t xs = ((n * x.h + r) * x.w + s) * x.c, ys = ((n * y.h + i) * y.w + j) * y.c;
                        for (std::ptrdiff_t k = 0; k < y.c; ++k)
                            for (std::ptrdiff_t c = 0; c < x.c; ++c) f(xs + c, (k * 9 + tap) * x.c + c, ys + k);
                    }
    }
};

// The algorithms that may be taken.
inline constexpr auto dnn_forward = CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM;
inline constexpr auto dnn_vjp = CUDNN_CONVOLUTION_BWD_DATA_ALGO_1;
inline constexpr auto dnn_vjp_params = CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1;

}  // namespace cuda_host

inline const char* cudnnGetErrorString(cudnnStatus_t status) {
    return status == CUDNN_STATUS_SUCCESS            ? "CUDNN_STATUS_SUCCESS"
           : status == CUDNN_STATUS_NOT_INITIALIZED  ? "CUDNN_STATUS_NOT_INITIALIZED"
           : status == CUDNN_STATUS_BAD_PARAM        ? "CUDNN_STATUS_BAD_PARAM"
           : status == CUDNN_STATUS_NOT_SUPPORTED    ? "CUDNN_STATUS_NOT_SUPPORTED"
           : status == CUDNN_STATUS_EXECUTION_FAILED ? "CUDNN_STATUS_EXECUTION_FAILED"
                                                     : "CUDNN_UNKNOWN_STATUS";
}
inline cudnnStatus_t cudnnCreate(cudnnHandle_t* h) { return cuda_host::dnn_create("cudnnCreate", h); }
inline cudnnStatus_t cudnnDestroy(cudnnHandle_t h) { return cuda_host::dnn_destroy(h); }
inline cudnnStatus_t cudnnSetStream(cudnnHandle_t h, cudaStream_t s) {
    if (const auto status = cuda_host::dnn_failure("cudnnSetStream")) return status;
    h->stream = s;
    return CUDNN_STATUS_SUCCESS;
}
inline cudnnStatus_t cudnnCreateTensorDescriptor(cudnnTensorDescriptor_t* d) {
    return cuda_host::dnn_create("cudnnCreateTensorDescriptor", d);
}
inline cudnnStatus_t cudnnDestroyTensorDescriptor(cudnnTensorDescriptor_t d) { return cuda_host::dnn_destroy(d); }
inline cudnnStatus_t cudnnSetTensor4dDescriptor(cudnnTensorDescriptor_t d, cudnnTensorFormat_t format,
                                                cudnnDataType_t type, int n, int c, int h, int w) {
    if (format != CUDNN_TENSOR_NHWC || type != CUDNN_DATA_FLOAT) return CUDNN_STATUS_NOT_SUPPORTED;
    if (n < 1 || c < 1 || h < 1 || w < 1 || static_cast<double>(n) * c * h * w >= 2147483648.0)
        return CUDNN_STATUS_BAD_PARAM;
    *d = {n, c, h, w};
    return CUDNN_STATUS_SUCCESS;
}
inline cudnnStatus_t cudnnCreateFilterDescriptor(cudnnFilterDescriptor_t* d) {
    return cuda_host::dnn_create("cudnnCreateFilterDescriptor", d);
}
inline cudnnStatus_t cudnnDestroyFilterDescriptor(cudnnFilterDescriptor_t d) { return cuda_host::dnn_destroy(d); }
inline cudnnStatus_t cudnnSetFilter4dDescriptor(cudnnFilterDescriptor_t d, cudnnDataType_t type,
                                                cudnnTensorFormat_t format, int k, int c, int h, int w) {
    if (format != CUDNN_TENSOR_NHWC || type != CUDNN_DATA_FLOAT) return CUDNN_STATUS_NOT_SUPPORTED;
    if (k < 1 || c < 1 || h != 3 || w != 3) return CUDNN_STATUS_BAD_PARAM;
    *d = {k, c};
    return CUDNN_STATUS_SUCCESS;
}
inline cudnnStatus_t cudnnCreateConvolutionDescriptor(cudnnConvolutionDescriptor_t* d) {
    return cuda_host::dnn_create("cudnnCreateConvolutionDescriptor", d);
}
inline cudnnStatus_t cudnnDestroyConvolutionDescriptor(cudnnConvolutionDescriptor_t d) {
    return cuda_host::dnn_destroy(d);
}
inline cudnnStatus_t cudnnSetConvolution2dDescriptor(cudnnConvolutionDescriptor_t d, int pad_h, int pad_w, int u, int v,
                                                     int dilation_h, int dilation_w, cudnnConvolutionMode_t mode,
                                                     cudnnDataType_t type) {
    if (pad_h != 1 || pad_w != 1 || u != v || (u != 1 && u != 2) || dilation_h != 1 || dilation_w != 1 ||
        mode != CUDNN_CROSS_CORRELATION || type != CUDNN_DATA_FLOAT)
        return CUDNN_STATUS_BAD_PARAM;
    d->stride = u;
    return CUDNN_STATUS_SUCCESS;
}
inline cudnnStatus_t cudnnSetConvolutionMathType(cudnnConvolutionDescriptor_t d, cudnnMathType_t type) {
    d->math = type;
    return CUDNN_STATUS_SUCCESS;
}

inline cudnnStatus_t cudnnGetConvolutionForwardAlgorithm_v7(cudnnHandle_t h, cudnnTensorStruct* x, cudnnFilterStruct* w,
                                                            cudnnConvolutionStruct* v, cudnnTensorStruct* y, int most,
                                                            int* found, cudnnConvolutionFwdAlgoPerf_t* to) {
    return cuda_host::dnn_problem{h, *x, *w, *v, *y}.find(
        {CUDNN_CONVOLUTION_FWD_ALGO_WINOGRAD, CUDNN_CONVOLUTION_FWD_ALGO_FFT}, cuda_host::dnn_forward, most, found, to);
}
inline cudnnStatus_t cudnnGetConvolutionForwardWorkspaceSize(cudnnHandle_t h, cudnnTensorStruct* x,
                                                             cudnnFilterStruct* w, cudnnConvolutionStruct* v,
                                                             cudnnTensorStruct* y, cudnnConvolutionFwdAlgo_t algo,
                                                             std::size_t* bytes) {
    return cuda_host::dnn_problem{h, *x, *w, *v, *y}.size_of_workspace(algo == cuda_host::dnn_forward, bytes);
}
inline cudnnStatus_t cudnnConvolutionForward(cudnnHandle_t h, const void* alpha, cudnnTensorStruct* x, const void* px,
                                             cudnnFilterStruct* w, const void* pw, cudnnConvolutionStruct* v,
                                             cudnnConvolutionFwdAlgo_t algo, void* work, std::size_t bytes,
                                             const void* beta, cudnnTensorStruct* y, void* py) {
    const cuda_host::dnn_problem p{h, *x, *w, *v, *y};
    return p.run("cudnnConvolutionForward", algo == cuda_host::dnn_forward, px, pw, py, alpha, beta, work, bytes, py,
                 p.size(*y), [&](double* sum, auto at, auto i, auto j, auto k) { sum[k] += at(px, i) * at(pw, j); });
}
inline cudnnStatus_t cudnnGetConvolutionBackwardDataAlgorithm_v7(cudnnHandle_t h, cudnnFilterStruct* w,
                                                                 cudnnTensorStruct* y, cudnnConvolutionStruct* v,
                                                                 cudnnTensorStruct* x, int most, int* found,
                                                                 cudnnConvolutionBwdDataAlgoPerf_t* to) {
    return cuda_host::dnn_problem{h, *x, *w, *v, *y}.find({CUDNN_CONVOLUTION_BWD_DATA_ALGO_0}, cuda_host::dnn_vjp, most,
                                                          found, to);
}
inline cudnnStatus_t cudnnGetConvolutionBackwardDataWorkspaceSize(cudnnHandle_t h, cudnnFilterStruct* w,
                                                                  cudnnTensorStruct* y, cudnnConvolutionStruct* v,
                                                                  cudnnTensorStruct* x,
                                                                  cudnnConvolutionBwdDataAlgo_t algo,
                                                                  std::size_t* bytes) {
    return cuda_host::dnn_problem{h, *x, *w, *v, *y}.size_of_workspace(algo == cuda_host::dnn_vjp, bytes);
}
inline cudnnStatus_t cudnnConvolutionBackwardData(cudnnHandle_t h, const void* alpha, cudnnFilterStruct* w,
                                                  const void* pw, cudnnTensorStruct* y, const void* py,
                                                  cudnnConvolutionStruct* v, cudnnConvolutionBwdDataAlgo_t algo,
                                                  void* work, std::size_t bytes, const void* beta, cudnnTensorStruct* x,
                                                  void* px) {
    const cuda_host::dnn_problem p{h, *x, *w, *v, *y};
    return p.run("cudnnConvolutionBackwardData", algo == cuda_host::dnn_vjp, px, pw, py, alpha, beta, work, bytes, px,
                 p.size(*x), [&](double* sum, auto at, auto i, auto j, auto k) { sum[i] += at(pw, j) * at(py, k); });
}
inline cudnnStatus_t cudnnGetConvolutionBackwardFilterAlgorithm_v7(cudnnHandle_t h, cudnnTensorStruct* x,
                                                                   cudnnTensorStruct* y, cudnnConvolutionStruct* v,
                                                                   cudnnFilterStruct* w, int most, int* found,
                                                                   cudnnConvolutionBwdFilterAlgoPerf_t* to) {
    return cuda_host::dnn_problem{h, *x, *w, *v, *y}.find(
        {CUDNN_CONVOLUTION_BWD_FILTER_ALGO_3, CUDNN_CONVOLUTION_BWD_FILTER_ALGO_0}, cuda_host::dnn_vjp_params, most,
        found, to);
}
inline cudnnStatus_t cudnnGetConvolutionBackwardFilterWorkspaceSize(cudnnHandle_t h, cudnnTensorStruct* x,
                                                                    cudnnTensorStruct* y, cudnnConvolutionStruct* v,
                                                                    cudnnFilterStruct* w,
                                                                    cudnnConvolutionBwdFilterAlgo_t algo,
                                                                    std::size_t* bytes) {
    return cuda_host::dnn_problem{h, *x, *w, *v, *y}.size_of_workspace(algo == cuda_host::dnn_vjp_params, bytes);
}
inline cudnnStatus_t cudnnConvolutionBackwardFilter(cudnnHandle_t h, const void* alpha, cudnnTensorStruct* x,
                                                    const void* px, cudnnTensorStruct* y, const void* py,
                                                    cudnnConvolutionStruct* v, cudnnConvolutionBwdFilterAlgo_t algo,
                                                    void* work, std::size_t bytes, const void* beta,
                                                    cudnnFilterStruct* w, void* pw) {
    const cuda_host::dnn_problem p{h, *x, *w, *v, *y};
    return p.run("cudnnConvolutionBackwardFilter", algo == cuda_host::dnn_vjp_params, px, pw, py, alpha, beta, work,
                 bytes, pw, p.filter_size(),
                 [&](double* sum, auto at, auto i, auto j, auto k) { sum[j] += at(px, i) * at(py, k); });
}
