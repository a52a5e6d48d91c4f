// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cudnn.h>

#include <array>
#include <compare>
#include <cstddef>
#include <map>
#include <memory>
#include <source_location>
#include <string>
#include <tuple>
#include <utility>

#include <diem/backend/cuda/device.cuh>
#include <diem/backend/cuda/error.cuh>
#include <diem/core/error.hpp>
#include <diem/core/view.hpp>

/// \file
/// Calls of cuDNN for 3x3 convolutions in float32: the convolution functions of cuDNN 8 and 9, channels last.
///
/// Version 9 calls these functions deprecated in favour of its graphs. They name their algorithms and say which of them
/// repeat, which is what is needed here.

namespace diem::detail::cuda {

inline void checked(cudnnStatus_t status, const char* call,
                    const std::source_location& where = std::source_location::current()) {
    if (status != CUDNN_STATUS_SUCCESS) fail(call, cudnnGetErrorString(status), static_cast<int>(status), where);
}

/// Images are items x (height, width, in) and items x (rows, columns, out), filters (out, 3, 3, in).
struct cudnn_shape {
    int items, height, width, in, rows, columns, out, stride;
    auto operator<=>(const cudnn_shape&) const = default;
};

template <class D, cudnnStatus_t (*Create)(D*), cudnnStatus_t (*Destroy)(D)>
class cudnn_descriptor {
public:
    explicit cudnn_descriptor(const char* call) { checked(Create(&d_), call); }
    cudnn_descriptor(const cudnn_descriptor&) = delete;
    cudnn_descriptor& operator=(const cudnn_descriptor&) = delete;
    ~cudnn_descriptor() { static_cast<void>(Destroy(d_)); }
    [[nodiscard]] D get() const { return d_; }

private:
    D d_ = nullptr;
};
using cudnn_tensor =
    cudnn_descriptor<cudnnTensorDescriptor_t, cudnnCreateTensorDescriptor, cudnnDestroyTensorDescriptor>;
using cudnn_filter =
    cudnn_descriptor<cudnnFilterDescriptor_t, cudnnCreateFilterDescriptor, cudnnDestroyFilterDescriptor>;
using cudnn_convolution =
    cudnn_descriptor<cudnnConvolutionDescriptor_t, cudnnCreateConvolutionDescriptor, cudnnDestroyConvolutionDescriptor>;

struct cudnn_descriptors {
    cudnn_tensor x{"cudnnCreateTensorDescriptor"}, y{"cudnnCreateTensorDescriptor"};
    cudnn_filter w{"cudnnCreateFilterDescriptor"};
    cudnn_convolution conv{"cudnnCreateConvolutionDescriptor"};

    explicit cudnn_descriptors(const cudnn_shape& s) {
        const auto tensor = [&](const cudnn_tensor& t, int channels, int height, int width) {
            checked(cudnnSetTensor4dDescriptor(t.get(), CUDNN_TENSOR_NHWC, CUDNN_DATA_FLOAT, s.items, channels, height,
                                               width),
                    "cudnnSetTensor4dDescriptor");
        };
        tensor(x, s.in, s.height, s.width);
        tensor(y, s.out, s.rows, s.columns);
        checked(cudnnSetFilter4dDescriptor(w.get(), CUDNN_DATA_FLOAT, CUDNN_TENSOR_NHWC, s.out, s.in, 3, 3),
                "cudnnSetFilter4dDescriptor");
        checked(cudnnSetConvolution2dDescriptor(conv.get(), 1, 1, s.stride, s.stride, 1, 1, CUDNN_CROSS_CORRELATION,
                                                CUDNN_DATA_FLOAT),
                "cudnnSetConvolution2dDescriptor");
    }
};

// The three products. Each calls f(a, b, to) with the descriptors in the order in which the library takes the operands.

/// y from x and w.
struct cudnn_forward {
    using candidate = cudnnConvolutionFwdAlgoPerf_t;
    static constexpr auto find = &cudnnGetConvolutionForwardAlgorithm_v7;
    static constexpr auto workspace = &cudnnGetConvolutionForwardWorkspaceSize;
    static constexpr auto run = &cudnnConvolutionForward;
    static constexpr const char *find_name = "cudnnGetConvolutionForwardAlgorithm_v7",
                                *workspace_name = "cudnnGetConvolutionForwardWorkspaceSize",
                                *run_name = "cudnnConvolutionForward";
    template <class F>
    static auto ordered(const cudnn_descriptors& d, const F& f) {
        return f(d.x.get(), d.w.get(), d.y.get());
    }
};
/// x_bar from w and y_bar.
struct cudnn_vjp {
    using candidate = cudnnConvolutionBwdDataAlgoPerf_t;
    static constexpr auto find = &cudnnGetConvolutionBackwardDataAlgorithm_v7;
    static constexpr auto workspace = &cudnnGetConvolutionBackwardDataWorkspaceSize;
    static constexpr auto run = &cudnnConvolutionBackwardData;
    static constexpr const char *find_name = "cudnnGetConvolutionBackwardDataAlgorithm_v7",
                                *workspace_name = "cudnnGetConvolutionBackwardDataWorkspaceSize",
                                *run_name = "cudnnConvolutionBackwardData";
    template <class F>
    static auto ordered(const cudnn_descriptors& d, const F& f) {
        return f(d.w.get(), d.y.get(), d.x.get());
    }
};
/// w_bar from x and y_bar.
struct cudnn_vjp_params {
    using candidate = cudnnConvolutionBwdFilterAlgoPerf_t;
    static constexpr auto find = &cudnnGetConvolutionBackwardFilterAlgorithm_v7;
    static constexpr auto workspace = &cudnnGetConvolutionBackwardFilterWorkspaceSize;
    static constexpr auto run = &cudnnConvolutionBackwardFilter;
    static constexpr const char *find_name = "cudnnGetConvolutionBackwardFilterAlgorithm_v7",
                                *workspace_name = "cudnnGetConvolutionBackwardFilterWorkspaceSize",
                                *run_name = "cudnnConvolutionBackwardFilter";
    template <class F>
    static auto ordered(const cudnn_descriptors& d, const F& f) {
        return f(d.x.get(), d.y.get(), d.w.get());
    }
};

/// One product of one shape: of the algorithms that the library proposes, from the one that it expects to be the fastest on,
/// the first that repeats bit for bit, rounds no operand further than allowed and needs at most 256 MiB. Nothing is
/// timed, so the choice repeats, too. Throws device_error where there is none.
template <class Pass>
class cudnn_plan {
public:
    cudnn_plan(cudnnHandle_t handle, const cudnn_shape& s, product_precision products) : d_(s) {
        const bool exact = products == product_precision::float32;
        // The default may round float32 to TF32. There is no bf16 for tensors of float32: TF32 is nearer to what was asked.
        set_math(exact ? CUDNN_FMA_MATH : CUDNN_DEFAULT_MATH);
        std::array<typename Pass::candidate, 16> candidates;
        int found = 0;
        Pass::ordered(d_, [&](auto a, auto b, auto to) {
            checked(Pass::find(handle, a, b, d_.conv.get(), to, static_cast<int>(candidates.size()), &found,
                               candidates.data()),
                    Pass::find_name);
        });
        for (int k = 0; k < found; ++k) {
            const auto& c = candidates[static_cast<std::size_t>(k)];
            const bool rounds =
                c.mathType == CUDNN_TENSOR_OP_MATH_ALLOW_CONVERSION || (exact && c.mathType == CUDNN_TENSOR_OP_MATH);
            if (c.status != CUDNN_STATUS_SUCCESS || c.determinism != CUDNN_DETERMINISTIC || rounds || c.memory > most)
                continue;
            algorithm_ = c.algo;
            if (!exact) set_math(c.mathType);
            Pass::ordered(d_, [&](auto a, auto b, auto to) {
                checked(Pass::workspace(handle, a, b, d_.conv.get(), to, algorithm_, &bytes_), Pass::workspace_name);
            });
            return;
        }
        throw device_error(std::string(Pass::find_name) + ": no algorithm that repeats, for " +
                           std::to_string(s.items) + " images of " + std::to_string(s.height) + " x " +
                           std::to_string(s.width) + ", channels " + std::to_string(s.in) + " to " +
                           std::to_string(s.out) + ", stride " + std::to_string(s.stride));
    }
    /// Of the work area.
    [[nodiscard]] std::size_t bytes() const { return bytes_; }
    /// to = product of a and b + beta to; where beta is zero, `to` is not read.
    void run(cudnnHandle_t handle, const float* a, const float* b, float beta, float* to, void* work) const {
        const float one = 1;
        Pass::ordered(d_, [&](auto da, auto db, auto dto) {
            checked(Pass::run(handle, &one, da, a, db, b, d_.conv.get(), algorithm_, work, bytes_, &beta, dto, to),
                    Pass::run_name);
        });
    }

private:
    static constexpr std::size_t most = std::size_t{256} << 20;

    void set_math(cudnnMathType_t type) {
        checked(cudnnSetConvolutionMathType(d_.conv.get(), type), "cudnnSetConvolutionMathType");
    }
    cudnn_descriptors d_;
    decltype(Pass::candidate::algo) algorithm_{};
    std::size_t bytes_ = 0;
};

/// A handle of cuDNN on the stream of a backend, and the plans made with it. The last 1024 or fewer are kept: they are
/// small, and none holds memory of the device.
class cudnn {
public:
    explicit cudnn(std::shared_ptr<device> where) : device_(std::move(where)) {
        device_->activate();
        checked(cudnnCreate(&handle_), "cudnnCreate");
        try {
            checked(cudnnSetStream(handle_, device_->stream()), "cudnnSetStream");
        } catch (...) {
            static_cast<void>(cudnnDestroy(handle_));
            throw;
        }
    }
    cudnn(const cudnn&) = delete;
    cudnn& operator=(const cudnn&) = delete;
    ~cudnn() {
        static_cast<void>(cudaSetDevice(device_->ordinal()));
        static_cast<void>(cudaStreamSynchronize(device_->stream()));
        static_cast<void>(cudnnDestroy(handle_));
    }

    template <class Pass>
    [[nodiscard]] const cudnn_plan<Pass>& plan(const cudnn_shape& s) {
        auto& plans = std::get<std::map<cudnn_shape, cudnn_plan<Pass>>>(plans_);
        if (const auto at = plans.find(s); at != plans.end()) return at->second;
        if (plans.size() >= most) plans.clear();
        device_->activate();
        return plans.try_emplace(s, handle_, s, device_->products()).first->second;
    }
    template <class Pass>
    void run(const cudnn_plan<Pass>& p, const float* a, const float* b, float beta, float* to, void* work) const {
        device_->activate();
        p.run(handle_, a, b, beta, to, work);
    }

private:
    static constexpr std::size_t most = 1024;

    std::shared_ptr<device> device_;
    cudnnHandle_t handle_ = nullptr;
    std::tuple<std::map<cudnn_shape, cudnn_plan<cudnn_forward>>, std::map<cudnn_shape, cudnn_plan<cudnn_vjp>>,
               std::map<cudnn_shape, cudnn_plan<cudnn_vjp_params>>>
        plans_;
};

}  // namespace diem::detail::cuda
