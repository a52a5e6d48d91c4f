// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>

#include <diem/backend/concept.hpp>
#include <diem/backend/cuda/device.cuh>
#include <diem/backend/operand.hpp>
#include <diem/core/macros.hpp>
#include <diem/core/view.hpp>

namespace diem {

namespace detail::cuda {

/// Four numbers that are read and written at once.
template <class T>
struct alignas(4 * sizeof(T)) quad {
    T v[4];
    DIEM_HOST_DEVICE quad& operator+=(const quad& other) {
        for (int k = 0; k < 4; ++k) v[k] += other.v[k];
        return *this;
    }
};

/// Element k of the patches: channels innermost, then the nine taps row by row, then the pixels of the result. So threads
/// side by side read and write side by side. An element V is a number or, with a fourth of the channels, a quad of them.
template <class I>
struct patch_shape {
    I height, width, channels, rows, columns, stride;

    template <class V>
    DIEM_HOST_DEVICE void gather(I k, const V* x, V* patches) const {
        const I pixel_tap = k / channels, c = k - pixel_tap * channels;
        const I pixel = pixel_tap / 9, tap = pixel_tap - pixel * 9;
        const I line = pixel / columns, j = pixel - line * columns, item = line / rows, i = line - item * rows;
        const I u = stride * i + tap / 3, v = stride * j + tap % 3;  // of the padded image
        const bool inside = u >= 1 && u <= height && v >= 1 && v <= width;
        patches[k] = inside ? x[((item * height + (u - 1)) * width + (v - 1)) * channels + c] : V{};
    }
    /// Element k of the images: the sum of what the patches hold of it.
    template <class V>
    DIEM_HOST_DEVICE void adjoint(I k, const V* patches, V* x_bar, bool add) const {
        const I pixel = k / channels, c = k - pixel * channels;
        const I line = pixel / width, v = pixel - line * width, item = line / height, u = line - item * height;
        V sum = add ? x_bar[k] : V{};
        for (I p = 0; p < 3; ++p)
            for (I q = 0; q < 3; ++q) {
                if (u + 1 < p || v + 1 < q) continue;
                const I su = u + 1 - p, sv = v + 1 - q;
                if (su % stride != 0 || sv % stride != 0) continue;
                const I i = su / stride, j = sv / stride;
                if (i >= rows || j >= columns) continue;
                sum += patches[(((item * rows + i) * columns + j) * 9 + 3 * p + q) * channels + c];
            }
        x_bar[k] = sum;
    }
};
template <class V>
struct gather_patches {
    patch_shape<std::uint32_t> s;
    template <class T>
    DIEM_HOST_DEVICE void operator()(index_t k, const T* x, T* patches) const {
        s.gather(static_cast<std::uint32_t>(k), reinterpret_cast<const V*>(x), reinterpret_cast<V*>(patches));
    }
};
template <class V>
struct scatter_patches {
    patch_shape<std::uint32_t> s;
    bool add;
    template <class T>
    DIEM_HOST_DEVICE void operator()(index_t k, const T* patches, T* x_bar) const {
        s.adjoint(static_cast<std::uint32_t>(k), reinterpret_cast<const V*>(patches), reinterpret_cast<V*>(x_bar), add);
    }
};
struct assign_value {
    template <class V>
    DIEM_HOST_DEVICE void operator()(V& y, const V& x) const {
        y = x;
    }
};
struct add_value {
    template <class V>
    DIEM_HOST_DEVICE void operator()(V& y, const V& x) const {
        y += x;
    }
};
/// sum = sum of the columns of `pixels` + old sum: a product with ones, so that its order is fixed.
template <class B>
void sum_pixels(B& b, const_view_t<B> pixels, scalar_t<B> old, vector_t<B> sum) {
    using T = scalar_t<B>;
    const auto ones = b.template allocate<T>(pixels.items());
    b.fill(view_t<B>(ones.data(), pixels.items(), 1), T(1));
    b.gemm(T(1), pixels, op::none, const_view_t<B>(ones.data(), pixels.items(), 1), op::none, old,
           view_t<B>(sum.data(), sum.size(), 1));
}

}  // namespace detail::cuda

/// A 3x3 convolution as patches times kernel: blocks of items whose patches fill about 256 MiB, one cuBLAS product each.
///
///     x: items x (height, width, in), kernel: (3, 3, in, out) row-major, y: items x (ceil(height / s), ceil(width / s), out)
/// Zero padding of one pixel. Views are contiguous; `bias` and `bias_bar` may be empty.
template <class T>
class cuda_conv3x3 {
public:
    /// What the layers of a backend share: here nothing.
    struct shared {
        explicit shared(const std::shared_ptr<detail::cuda::device>&) {}
    };

    cuda_conv3x3(index_t height, index_t width, index_t in, index_t out, index_t stride)
        : height_(height), width_(width), in_(in), out_(out), stride_(stride), rows_((height + stride - 1) / stride),
          columns_((width + stride - 1) / stride) {}

    /// Nothing is kept of the kernel.
    void changed() {}

    template <class B>
    void forward(B& b, const_vector_t<B> kernel, const_vector_t<B> bias, const_view_t<B> x, view_t<B> y,
                 bool accumulate) {
        blocks(x.items(), [&](index_t first, index_t count) {
            const index_t pixels = rows_ * columns_ * count;
            const auto patches = gather(b, x.item_range(first, count));
            const view_t<B> to = y.item_range(first, count).reshaped(out_, pixels);
            if (bias.size() > 0 && accumulate) b.map(detail::cuda::add_value{}, to, per_feature{bias});
            if (bias.size() > 0 && !accumulate) b.map(detail::cuda::assign_value{}, to, per_feature{bias});
            b.gemm(T(1), const_view_t<B>(kernel.data(), out_, depth()), op::none,
                   const_view_t<B>(patches.data(), depth(), pixels), op::none, T(accumulate || bias.size() > 0 ? 1 : 0),
                   to);
        });
    }
    template <class B>
    void vjp(B& b, const_vector_t<B> kernel, const_view_t<B> y_bar, view_t<B> x_bar, bool accumulate) {
        blocks(x_bar.items(), [&](index_t first, index_t count) {
            const index_t pixels = rows_ * columns_ * count;
            const auto patches = b.template allocate<T>(depth() * pixels);
            b.gemm(T(1), const_view_t<B>(kernel.data(), out_, depth()), op::transpose,
                   y_bar.item_range(first, count).reshaped(out_, pixels), op::none, T(0),
                   view_t<B>(patches.data(), depth(), pixels));
            const view_t<B> to = x_bar.item_range(first, count);
            const auto scatter = [&]<class V>(index_t width) {
                b.launch(to.size() / width, 9, detail::cuda::scatter_patches<V>{shape(width), accumulate},
                         typename B::template pointer<const T>(patches.data()), to.data());
            };
            if (by_quads(to))
                scatter.template operator()<detail::cuda::quad<T>>(4);
            else
                scatter.template operator()<T>(1);
        });
    }
    template <class B>
    void vjp_params(B& b, const_view_t<B> x, const_view_t<B> y_bar, vector_t<B> kernel_bar, vector_t<B> bias_bar,
                    bool accumulate) {
        if (x.items() == 0 && !accumulate) {
            b.fill(view_t<B>(kernel_bar.data(), kernel_bar.size(), 1), T(0));
            b.fill(view_t<B>(bias_bar.data(), bias_bar.size(), 1), T(0));
        }
        blocks(x.items(), [&](index_t first, index_t count) {
            const index_t pixels = rows_ * columns_ * count;
            const T old = T(accumulate || first > 0 ? 1 : 0);
            const auto patches = gather(b, x.item_range(first, count));
            const const_view_t<B> from = y_bar.item_range(first, count).reshaped(out_, pixels);
            b.gemm(T(1), from, op::none, const_view_t<B>(patches.data(), depth(), pixels), op::transpose, old,
                   view_t<B>(kernel_bar.data(), out_, depth()));
            if (bias_bar.size() > 0) detail::cuda::sum_pixels(b, from, old, bias_bar);
        });
    }

private:
    static constexpr index_t patch_elements = index_t{1} << 26;

    [[nodiscard]] index_t depth() const { return 9 * in_; }
    /// With elements of `width` channels. Indices inside a block fit 32 bits up to images of 2^32 / (9 in) pixels.
    [[nodiscard]] detail::cuda::patch_shape<std::uint32_t> shape(index_t width) const {
        const auto u = [](index_t n) { return static_cast<std::uint32_t>(n); };
        return {u(height_), u(width_), u(in_ / width), u(rows_), u(columns_), u(stride_)};
    }
    template <class P>
    [[nodiscard]] bool by_quads(const batch_view<P>& images) const {
        return in_ % 4 == 0 && reinterpret_cast<std::uintptr_t>(detail::raw(images.data())) % (4 * sizeof(T)) == 0;
    }
    template <class F>
    void blocks(index_t items, const F& f) const {
        const index_t each = std::max<index_t>(1, depth() * rows_ * columns_);
        const index_t block = std::max<index_t>(1, patch_elements / each);
        for (index_t first = 0; first < items; first += block) f(first, std::min(block, items - first));
    }
    template <class B>
    buffer_t<B, T> gather(B& b, const_view_t<B> x) const {
        const index_t size = depth() * rows_ * columns_ * x.items();
        auto patches = b.template allocate<T>(size);
        if (by_quads(x))
            b.launch(size / 4, 4, detail::cuda::gather_patches<detail::cuda::quad<T>>{shape(4)}, x.data(),
                     patches.data());
        else
            b.launch(size, 1, detail::cuda::gather_patches<T>{shape(1)}, x.data(), patches.data());
        return patches;
    }

    index_t height_, width_, in_, out_, stride_, rows_, columns_;
};

}  // namespace diem
