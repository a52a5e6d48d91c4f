// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>

#include <diem/backend/batch.hpp>
#include <diem/backend/concept.hpp>
#include <diem/core/check.hpp>
#include <diem/nn/detail/loops.hpp>
#include <diem/nn/linear.hpp>
#include <diem/nn/resample.hpp>
#include <diem/nn/update.hpp>
#include <diem/nn/window.hpp>

/// \file
/// Two-dimensional convolution (cross-correlation), odd square kernel, zero padding k / 2 on both ends, any stride.
/// Derivation: docs/derivations/kernels.md.
///
///     x: items x (H, W, in), kernel: (k, k, in, out) row-major, bias: out or empty, y: items x (ceil(H/s), ceil(W/s), out)
///     y[i, j] = b + sum over p, q of kernel[p, q]' x[s i + p - k/2, s j + q - k/2], x = 0 outside
/// Views are contiguous. Here: patches gathered in blocks of items, then one product; conv_plan.hpp takes the backend's
/// faster form where it has one.
/// \snippet tests/examples/nn.cpp nn/conv.hpp

namespace diem::nn {

struct conv_shape {
    image_shape in;
    index_t out = 0;  ///< channels of the result
    index_t kernel = 3, stride = 1;

    [[nodiscard]] constexpr image_shape result() const {
        return {(in.height + stride - 1) / stride, (in.width + stride - 1) / stride, out};
    }
    /// Length of one patch, k k in.
    [[nodiscard]] DIEM_HOST_DEVICE constexpr index_t depth() const { return kernel * kernel * in.channels; }
    [[nodiscard]] constexpr index_t kernel_size() const { return depth() * out; }
    [[nodiscard]] constexpr window over() const { return {in, kernel, kernel, stride, border::same}; }
    [[nodiscard]] constexpr bool pointwise() const { return kernel == 1 && stride == 1; }
};

namespace detail {
/// One pixel of x_bar: the sum of what the patches hold of it.
template <class T>
struct gather_patch_adjoint {
    conv_shape s;
    index_t rows, columns;
    bool add;
    DIEM_HOST_DEVICE void operator()(index_t pixel, const T* patches, T* x_bar) const {
        const auto [item, u, v] = pixel_at(pixel, s.in.height, s.in.width);
        const index_t c = s.in.channels;
        T* const to = x_bar + pixel * c;
        if (!add)
            for (index_t k = 0; k < c; ++k) to[k] = 0;
        for (index_t p = 0; p < s.kernel; ++p)
            for (index_t q = 0; q < s.kernel; ++q) {
                const index_t su = u + s.kernel / 2 - p, sv = v + s.kernel / 2 - q;
                if (su < 0 || sv < 0 || su % s.stride != 0 || sv % s.stride != 0) continue;
                const index_t i = su / s.stride, j = sv / s.stride;
                if (i >= rows || j >= columns) continue;
                const T* const from = patches + ((item * rows + i) * columns + j) * s.depth() + (p * s.kernel + q) * c;
                DIEM_IVDEP
                for (index_t k = 0; k < c; ++k) to[k] += from[k];
            }
    }
};

/// Items whose patches are held at once: about 2^21 numbers.
inline index_t patch_items(const conv_shape& s, index_t items) {
    const index_t each = std::max<index_t>(1, s.depth() * s.result().pixels());
    return std::clamp<index_t>((index_t{1} << 21) / each, 1, std::max<index_t>(items, 1));
}
template <class P, class Q>
void check_conv(const char* where, const conv_shape& s, const batch_view<P>& x, const batch_view<Q>& y) {
    check_value(where, s.kernel % 2 == 1 && s.stride >= 1, "kernel is not odd or stride < 1");
    check_size(where, "features of the input", x.features(), s.in.features());
    check_shape(where, "result", y, s.result().features(), x.items());
    check_value(where, x.contiguous() && y.contiguous(), "views are not contiguous");
}
/// Calls f(first item, items) on blocks of items.
template <class F>
void for_item_blocks(const conv_shape& s, index_t items, const F& f) {
    const index_t block = patch_items(s, items);
    for (index_t first = 0; first < items; first += block) f(first, std::min(block, items - first));
}
}  // namespace detail

template <Backend B>
void conv_forward(B& b, const conv_shape& s, const_view_t<B> x, const_vector_t<B> kernel, const_vector_t<B> bias,
                  view_t<B> y, update mode = update::overwrite) {
    detail::check_conv("nn::conv", s, x, y);
    check_size("nn::conv", "kernel.size()", kernel.size(), s.kernel_size());
    const image_shape r = s.result();
    if (s.pointwise())
        return linear_forward<B>(b, x.reshaped(s.in.channels, s.in.pixels() * x.items()), kernel, bias,
                                 y.reshaped(s.out, r.pixels() * x.items()), mode);
    detail::for_item_blocks(s, x.items(), [&](index_t first, index_t count) {
        batch<B> patches(b, s.depth(), r.pixels() * count);
        b.launch(patches.items(), s.depth(), detail::gather_window<scalar_t<B>>{s.over(), r.height, r.width, 0},
                 x.item_range(first, count).data(), patches.view().data());
        linear_forward<B>(b, patches.cview(), kernel, bias, y.item_range(first, count).reshaped(s.out, patches.items()),
                          mode);
    });
}
template <Backend B>
void conv_jvp(B& b, const conv_shape& s, const_view_t<B> x_dot, const_vector_t<B> kernel, view_t<B> y_dot,
              update mode = update::overwrite) {
    conv_forward<B>(b, s, x_dot, kernel, const_vector_t<B>(), y_dot, mode);
}
/// x_bar[u, v] = sum over taps of kernel[p, q] y_bar[(u + k/2 - p) / s, (v + k/2 - q) / s], where these are pixels of y.
template <Backend B>
void conv_vjp(B& b, const conv_shape& s, const_view_t<B> y_bar, const_vector_t<B> kernel, view_t<B> x_bar,
              update mode = update::overwrite) {
    detail::check_conv("nn::conv_vjp", s, x_bar, y_bar);
    check_size("nn::conv_vjp", "kernel.size()", kernel.size(), s.kernel_size());
    const image_shape r = s.result();
    if (s.pointwise())
        return linear_vjp<B>(b, y_bar.reshaped(s.out, r.pixels() * y_bar.items()), kernel,
                             x_bar.reshaped(s.in.channels, s.in.pixels() * y_bar.items()), mode);
    detail::for_item_blocks(s, y_bar.items(), [&](index_t first, index_t count) {
        batch<B> patches(b, s.depth(), r.pixels() * count);
        linear_vjp<B>(b, y_bar.item_range(first, count).reshaped(s.out, patches.items()), kernel, patches.view());
        b.launch(s.in.pixels() * count, s.depth(),
                 detail::gather_patch_adjoint<scalar_t<B>>{s, r.height, r.width, mode == update::accumulate},
                 patches.cview().data(), x_bar.item_range(first, count).data());
    });
}
/// kernel_bar[p, q] = sum over items and pixels of x[s i + p - k/2, s j + q - k/2] y_bar[i, j]', bias_bar = sum of y_bar.
template <Backend B>
void conv_vjp_params(B& b, const conv_shape& s, const_view_t<B> x, const_view_t<B> y_bar, vector_t<B> kernel_bar,
                     vector_t<B> bias_bar, update mode = update::overwrite) {
    detail::check_conv("nn::conv_vjp_params", s, x, y_bar);
    check_size("nn::conv_vjp_params", "kernel_bar.size()", kernel_bar.size(), s.kernel_size());
    const image_shape r = s.result();
    if (x.items() == 0 && mode == update::overwrite) {
        b.fill(as_batch(kernel_bar), scalar_t<B>(0));
        if (bias_bar.size() > 0) b.fill(as_batch(bias_bar), scalar_t<B>(0));
    }
    if (s.pointwise())
        return linear_vjp_params<B>(b, x.reshaped(s.in.channels, s.in.pixels() * x.items()),
                                    y_bar.reshaped(s.out, r.pixels() * x.items()), kernel_bar, bias_bar, mode);
    detail::for_item_blocks(s, x.items(), [&](index_t first, index_t count) {
        batch<B> patches(b, s.depth(), r.pixels() * count);
        b.launch(patches.items(), s.depth(), detail::gather_window<scalar_t<B>>{s.over(), r.height, r.width, 0},
                 x.item_range(first, count).data(), patches.view().data());
        linear_vjp_params<B>(b, patches.cview(), y_bar.item_range(first, count).reshaped(s.out, patches.items()),
                             kernel_bar, bias_bar, first == 0 ? mode : update::accumulate);
    });
}

}  // namespace diem::nn
