// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>

#include <diem/backend/batch.hpp>
#include <diem/backend/concept.hpp>
#include <diem/core/check.hpp>
#include <diem/nn/linear.hpp>
#include <diem/nn/window.hpp>

/// \file
/// Layers of networks that are only evaluated, such as those of metrics: forward alone, without JVP and VJP. Convolutions with windows
/// that are not square or stay inside the image, pools, bilinear resizing. What is trained takes conv.hpp.
/// \snippet tests/examples/nn.cpp nn/window_layers.hpp

namespace diem::nn {

namespace detail {
template <class P, class Q>
void check_window(const char* where, const window& w, index_t channels, const batch_view<P>& x,
                  const batch_view<Q>& y) {
    check_value(where, w.stride >= 1 && w.rows >= 1 && w.columns >= 1, "window or stride < 1");
    check_value(where, w.result_height() >= 1 && w.result_width() >= 1, "the window is larger than the image");
    check_size(where, "features of the input", x.features(), w.in.features());
    check_shape(where, "result", y, w.result_height() * w.result_width() * channels, x.items());
    check_value(where, x.contiguous() && y.contiguous(), "views are not contiguous");
}
struct rectify {  // y = max(y, 0)
    template <class V>
    DIEM_HOST_DEVICE void operator()(V& y) const {
        using std::abs;
        using T = typename diem::detail::random_scalar<V>::type;
        y = T(0.5) * (y + abs(y));
    }
};
/// One pixel of y: the mean or the largest of what the window sees inside the image.
template <class T>
struct pool_body {
    window w;
    index_t height, width;  // of the result
    bool mean;
    DIEM_HOST_DEVICE void operator()(index_t pixel, const T* x, T* y_) const {
        const auto [item, i, j] = pixel_at(pixel, height, width);
        const index_t c = w.in.channels;
        const index_t u = w.stride * i - w.above(), v = w.stride * j - w.before();
        const index_t top = u < 0 ? 0 : u, bottom = u + w.rows > w.in.height ? w.in.height : u + w.rows;
        const index_t left = v < 0 ? 0 : v, right = v + w.columns > w.in.width ? w.in.width : v + w.columns;
        T* const y = y_ + pixel * c;
        for (index_t r = top; r < bottom; ++r)
            for (index_t q = left; q < right; ++q) {
                const T* const from = x + ((item * w.in.height + r) * w.in.width + q) * c;
                if (r == top && q == left) {
                    for (index_t k = 0; k < c; ++k) y[k] = from[k];
                } else if (mean) {
                    DIEM_IVDEP
                    for (index_t k = 0; k < c; ++k) y[k] += from[k];
                } else {
                    DIEM_IVDEP
                    for (index_t k = 0; k < c; ++k) y[k] = y[k] < from[k] ? from[k] : y[k];
                }
            }
        const T scale = T(1) / static_cast<T>((bottom - top) * (right - left));
        if (mean)
            for (index_t k = 0; k < c; ++k) y[k] *= scale;
    }
};
/// One pixel of y.
template <class T>
struct resize_body {
    image_shape in, out;
    struct place {
        index_t low, high;
        double part;  // of `high`
    };
    DIEM_HOST_DEVICE static place source(index_t i, index_t from, index_t to) {
        const double at = (static_cast<double>(i) + 0.5) * static_cast<double>(from) / static_cast<double>(to) - 0.5;
        const double inside = at < 0 ? 0 : at;
        const auto low = static_cast<index_t>(inside);
        return {low, low + 1 < from ? low + 1 : low, inside - static_cast<double>(low)};
    }
    DIEM_HOST_DEVICE void operator()(index_t pixel, const T* x_, T* y_) const {
        const auto [item, i, j] = pixel_at(pixel, out.height, out.width);
        const index_t c = in.channels;
        const place r = source(i, in.height, out.height), q = source(j, in.width, out.width);
        const T* const x = x_ + item * in.height * in.width * c;
        const T *const a = x + r.low * in.width * c, *const b = x + r.high * in.width * c;
        const T s = static_cast<T>(r.part), t = static_cast<T>(q.part);
        for (index_t k = 0; k < c; ++k)
            y_[pixel * c + k] = (1 - s) * ((1 - t) * a[q.low * c + k] + t * a[q.high * c + k]) +
                                s * ((1 - t) * b[q.low * c + k] + t * b[q.high * c + k]);
    }
};
}  // namespace detail

enum class pooling { mean, maximum };

/// y = mean or maximum over each window, of what lies inside the image alone: zeros beyond the border are not counted. Contiguous views.
template <Backend B>
void pool_forward(B& b, pooling kind, const window& w, const_view_t<B> x, view_t<B> y) {
    detail::check_window("nn::pool", w, w.in.channels, x, y);
    const index_t height = w.result_height(), width = w.result_width();
    b.launch(height * width * x.items(), w.depth(),
             detail::pool_body<scalar_t<B>>{w, height, width, kind == pooling::mean}, x.data(), y.data());
}

/// y = max(conv(x) + bias, 0): kernel (rows, columns, in, out) row-major, bias: out, y: items x (window's result, out). Contiguous views.
/// Patches are gathered a block of pixels at a time, small enough to stay in the cache for their product.
template <Backend B>
void conv_relu_forward(B& b, const window& w, index_t out, const_view_t<B> x, const_vector_t<B> kernel,
                       const_vector_t<B> bias, view_t<B> y) {
    detail::check_window("nn::conv_relu", w, out, x, y);
    check_size("nn::conv_relu", "kernel.size()", kernel.size(), w.depth() * out);
    const index_t height = w.result_height(), width = w.result_width(), pixels = height * width * x.items();
    const bool pointwise = w.rows == 1 && w.columns == 1 && w.stride == 1;
    const index_t most = std::max<index_t>((index_t{1} << 19) / std::max(w.depth(), out), 64);
    const const_view_t<B> columns = pointwise ? x.reshaped(w.depth(), pixels) : const_view_t<B>();
    const view_t<B> results = y.reshaped(out, pixels);
    batch<B> patches(b, w.depth(), pointwise ? 0 : std::min(most, pixels));
    for (index_t first = 0; first < pixels; first += most) {
        const index_t count = std::min(most, pixels - first);
        if (!pointwise)
            b.launch(count, w.depth(), detail::gather_window<scalar_t<B>>{w, height, width, first}, x.data(),
                     patches.view().data());
        const view_t<B> part = results.item_range(first, count);
        linear_forward<B>(b, pointwise ? columns.item_range(first, count) : patches.cview().item_range(0, count),
                          kernel, bias, part);
        b.map(detail::rectify{}, part);
    }
}

/// Bilinear: pixel i of y lies at (i + 1/2) H / H' - 1/2 in x, held at the first and the last pixel; no smoothing where y is smaller.
/// As PyTorch's `interpolate(mode="bilinear", align_corners=False)`. `out` has the channels of `in`; contiguous views.
template <Backend B>
void resize_forward(B& b, image_shape in, image_shape out, const_view_t<B> x, view_t<B> y) {
    check_size("nn::resize", "channels of the result", out.channels, in.channels);
    check_size("nn::resize", "features of the input", x.features(), in.features());
    check_shape("nn::resize", "result", y, out.features(), x.items());
    check_value("nn::resize", x.contiguous() && y.contiguous(), "views are not contiguous");
    b.launch(out.pixels() * x.items(), 4 * in.channels, detail::resize_body<scalar_t<B>>{in, out}, x.data(), y.data());
}

}  // namespace diem::nn
