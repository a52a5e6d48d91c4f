// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <limits>
#include <type_traits>

#include <diem/backend/concept.hpp>
#include <diem/backend/cuda/conv3x3.cuh>
#include <diem/backend/cuda/cudnn.cuh>
#include <diem/backend/cuda/memory.cuh>
#include <diem/backend/cuda/pointer.cuh>
#include <diem/backend/memory.hpp>
#include <diem/core/check.hpp>
#include <diem/core/macros.hpp>
#include <diem/core/view.hpp>

namespace diem {

namespace detail::cuda {

/// Element k of a column-major matrix of `rows` rows: that of the transpose of `from`, added or not.
template <class T>
struct transpose_body {
    index_t rows, columns;
    bool add;
    DIEM_HOST_DEVICE void operator()(index_t k, const T* from, T* to) const {
        const index_t j = k / rows, i = k - j * rows;
        const T value = from[i * columns + j];
        to[k] = add ? to[k] + value : value;
    }
};

}  // namespace detail::cuda

/// A 3x3 convolution by cuDNN: `cuda_backend<float, cudnn_conv3x3>`. Same shapes and calls as `cuda_conv3x3`.
///
///     x: items x (height, width, in), kernel: (3, 3, in, out) row-major, y: items x (ceil(height / s), ceil(width / s), out)
/// Zero padding of one pixel. Views are contiguous; `bias` and `bias_bar` may be empty. Images stay as they are (NHWC);
/// cuDNN's kernels are (out, 3, 3, in), so the transpose of the kernel is kept until `changed`. Results repeat bit for bit.
/// `cuda_options::products`: with `tf32` and with `bf16` operands may be rounded to TF32.
///
/// Throws value_error where one image has more than 2^31 - 1 numbers, device_error as all of the backend does, and where
/// cuDNN has no algorithm that repeats.
template <class T>
class cudnn_conv3x3 {
    static_assert(std::is_same_v<T, float>,
                  "cudnn_conv3x3: cuDNN convolves images with channels last in float32, not float64");

public:
    /// What the layers of a backend share.
    using shared = detail::cuda::cudnn;

    /// Tensors of more than about `most` numbers are cut into blocks of items: cuDNN takes 2^31 - 1 at most, and its algorithms
    /// for float32 copy their operands into the work area.
    cudnn_conv3x3(index_t height, index_t width, index_t in, index_t out, index_t stride,
                  index_t most = index_t{1} << 24)
        : height_(height), width_(width), in_(in), out_(out), stride_(stride), rows_((height + stride - 1) / stride),
          columns_((width + stride - 1) / stride), most_(most) {}

    /// The kernel has changed: it is transposed again when next needed.
    void changed() { fresh_ = false; }

    template <class B>
    void forward(B& b, const_vector_t<B> kernel, const_vector_t<B> bias, const_view_t<B> x, view_t<B> y,
                 bool accumulate) {
        const T* const w = filter(b, kernel);
        blocks(x.items(), [&](index_t first, index_t count) {
            run<detail::cuda::cudnn_forward>(b, count, raw(x.item_range(first, count)), w, accumulate,
                                             raw(y.item_range(first, count)));
        });
        if (bias.size() > 0)
            b.map(detail::cuda::add_value{}, y.reshaped(out_, rows_ * columns_ * y.items()), per_feature{bias});
    }
    template <class B>
    void vjp(B& b, const_vector_t<B> kernel, const_view_t<B> y_bar, view_t<B> x_bar, bool accumulate) {
        const T* const w = filter(b, kernel);
        blocks(x_bar.items(), [&](index_t first, index_t count) {
            run<detail::cuda::cudnn_vjp>(b, count, w, raw(y_bar.item_range(first, count)), accumulate,
                                         raw(x_bar.item_range(first, count)));
        });
    }
    template <class B>
    void vjp_params(B& b, const_view_t<B> x, const_view_t<B> y_bar, vector_t<B> kernel_bar, vector_t<B> bias_bar,
                    bool accumulate) {
        if (x.items() == 0) {
            if (accumulate) return;
            b.fill(view_t<B>(kernel_bar.data(), kernel_bar.size(), 1), T(0));
            b.fill(view_t<B>(bias_bar.data(), bias_bar.size(), 1), T(0));
            return;
        }
        const auto w_bar = b.template allocate<T>(kernel_bar.size());
        blocks(x.items(), [&](index_t first, index_t count) {
            run<detail::cuda::cudnn_vjp_params>(b, count, raw(x.item_range(first, count)),
                                                raw(y_bar.item_range(first, count)), first > 0, w_bar.data().unwrap());
        });
        b.launch(kernel_bar.size(), 1, detail::cuda::transpose_body<T>{out_, 9 * in_, accumulate},
                 typename B::template pointer<const T>(w_bar.data()), kernel_bar.data());
        if (bias_bar.size() > 0)
            detail::cuda::sum_pixels(b, y_bar.reshaped(out_, rows_ * columns_ * y_bar.items()), T(accumulate ? 1 : 0),
                                     bias_bar);
    }

private:
    template <class P>
    [[nodiscard]] static auto raw(const batch_view<P>& v) {
        return v.data().unwrap();
    }
    template <class F>
    void blocks(index_t items, const F& f) const {
        const index_t each = std::max({height_ * width_ * in_, rows_ * columns_ * out_, index_t{1}});
        constexpr index_t largest = std::numeric_limits<int>::max();
        check_value("cudnn_conv3x3", each <= largest && 9 * in_ * out_ <= largest,
                    "an image or the kernel has more than 2^31 - 1 numbers");
        const index_t block = std::max<index_t>(1, std::min(most_, largest) / each);
        for (index_t first = 0; first < items; first += block) f(first, std::min(block, items - first));
    }
    template <class B>
    const T* filter(B& b, const_vector_t<B> kernel) {
        if (filter_.size() == 0) filter_ = b.template allocate<T>(kernel.size());
        if (!fresh_)
            b.launch(kernel.size(), 1, detail::cuda::transpose_body<T>{9 * in_, out_, false}, kernel.data(),
                     filter_.data());
        fresh_ = true;
        return filter_.data().unwrap();
    }
    template <class Pass, class B>
    void run(B& b, index_t items, const T* from, const T* with, bool add, T* to) const {
        const auto n = [](index_t size) { return static_cast<int>(size); };
        auto& library = b.convolutions();
        const auto& plan = library.template plan<Pass>(
            {n(items), n(height_), n(width_), n(in_), n(rows_), n(columns_), n(out_), n(stride_)});
        const auto work = b.template allocate<unsigned char>(static_cast<index_t>(plan.bytes()));
        library.run(plan, from, with, add ? T(1) : T(0), to, work.data().unwrap());
    }

    index_t height_, width_, in_, out_, stride_, rows_, columns_, most_;
    pool_buffer<device_pointer<T>, caching_pool<device_memory>> filter_;
    bool fresh_ = false;
};

}  // namespace diem
