// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <diem/backend/concept.hpp>
#include <diem/core/check.hpp>
#include <diem/nn/detail/loops.hpp>
#include <diem/nn/update.hpp>

/// \file
/// Linear rearrangements of images: nearest upsampling, concatenation of channels, space to depth. Each JVP is the forward
/// on the tangent. Images are C x (items H W), one column per pixel. Derivation: docs/derivations/kernels.md.
/// \snippet tests/examples/nn.cpp nn/resample.hpp

namespace diem::nn {

/// Extents of an image inside an item (height-width-channel).
struct image_shape {
    index_t height = 0, width = 0, channels = 0;
    [[nodiscard]] constexpr index_t pixels() const { return height * width; }
    [[nodiscard]] constexpr index_t features() const { return height * width * channels; }
    friend constexpr bool operator==(const image_shape&, const image_shape&) = default;
};

namespace detail {
/// Where pixel i of a batch of images of rows x columns lies.
struct pixel_place {
    index_t item, row, column;
};
[[nodiscard]] DIEM_HOST_DEVICE constexpr pixel_place pixel_at(index_t i, index_t rows, index_t columns) {
    const index_t line = i / columns, item = line / rows;
    return {item, line - item * rows, i - line * columns};
}

template <class T>
struct upsample_body {                // one pixel of y
    index_t height, width, channels;  // of x
    bool add;
    DIEM_HOST_DEVICE void operator()(index_t i, const T* x, T* y_) const {
        const auto [item, row, column] = pixel_at(i, 2 * height, 2 * width);
        const T* const from = x + ((item * height + row / 2) * width + column / 2) * channels;
        T* const y = y_ + i * channels;
        if (add) {
            DIEM_IVDEP
            for (index_t j = 0; j < channels; ++j) y[j] += from[j];
        } else {
            DIEM_IVDEP
            for (index_t j = 0; j < channels; ++j) y[j] = from[j];
        }
    }
};
template <class T>
struct upsample_adjoint_body {  // one pixel of x
    index_t width, channels;
    bool add;
    DIEM_HOST_DEVICE void operator()(index_t i, const T* y, T* x_) const {
        const index_t row = i / width, column = i - row * width;
        const T *const p = y + (4 * row * width + 2 * column) * channels, *const q = p + 2 * width * channels;
        T* const x = x_ + i * channels;
        DIEM_IVDEP
        for (index_t j = 0; j < channels; ++j) put(x[j], (p[j] + p[j + channels]) + (q[j] + q[j + channels]), add);
    }
};
}  // namespace detail

/// y (items x 2H x 2W): y[i, j] = x[i / 2, j / 2]. `shape` is that of an item of x; both contiguous.
template <Backend B>
void upsample_forward(B& b, image_shape shape, const_view_t<B> x, view_t<B> y, update mode = update::overwrite) {
    check_size("nn::upsample", "x.features()", x.features(), shape.features());
    check_shape("nn::upsample", "y", y, 4 * shape.features(), x.items());
    check_value("nn::upsample", x.contiguous() && y.contiguous(), "x and y are not contiguous");
    b.launch(4 * shape.pixels() * x.items(), shape.channels,
             detail::upsample_body<scalar_t<B>>{shape.height, shape.width, shape.channels, mode == update::accumulate},
             x.data(), y.data());
}
template <Backend B>
void upsample_jvp(B& b, image_shape shape, const_view_t<B> x_dot, view_t<B> y_dot, update mode = update::overwrite) {
    upsample_forward<B>(b, shape, x_dot, y_dot, mode);
}
/// x_bar[i, j] = sum of the four y_bar[2i + {0, 1}, 2j + {0, 1}].
template <Backend B>
void upsample_vjp(B& b, image_shape shape, const_view_t<B> y_bar, view_t<B> x_bar, update mode = update::overwrite) {
    check_size("nn::upsample_vjp", "x_bar.features()", x_bar.features(), shape.features());
    check_shape("nn::upsample_vjp", "y_bar", y_bar, 4 * shape.features(), x_bar.items());
    check_value("nn::upsample_vjp", x_bar.contiguous() && y_bar.contiguous(), "x_bar and y_bar are not contiguous");
    b.launch(shape.pixels() * x_bar.items(), 4 * shape.channels,
             detail::upsample_adjoint_body<scalar_t<B>>{shape.width, shape.channels, mode == update::accumulate},
             y_bar.data(), x_bar.data());
}

/// y = (x_1, x_2) along the features: x_1: C_1 x n, x_2: C_2 x n, y: (C_1 + C_2) x n (columns are pixels, or items).
template <Backend B>
void concatenate_forward(B& b, const_view_t<B> x_1, const_view_t<B> x_2, view_t<B> y, update mode = update::overwrite) {
    check_size("nn::concatenate", "x_2.items()", x_2.items(), x_1.items());
    check_shape("nn::concatenate", "y", y, x_1.features() + x_2.features(), x_1.items());
    const double old = mode == update::accumulate ? 1 : 0;
    b.axpby(1.0, x_1, old, y.feature_range(0, x_1.features()));
    b.axpby(1.0, x_2, old, y.feature_range(x_1.features(), x_2.features()));
}
template <Backend B>
void concatenate_jvp(B& b, const_view_t<B> x_1_dot, const_view_t<B> x_2_dot, view_t<B> y_dot,
                     update mode = update::overwrite) {
    concatenate_forward<B>(b, x_1_dot, x_2_dot, y_dot, mode);
}
/// Splits y_bar.
template <Backend B>
void concatenate_vjp(B& b, const_view_t<B> y_bar, view_t<B> x_1_bar, view_t<B> x_2_bar,
                     update mode = update::overwrite) {
    check_size("nn::concatenate_vjp", "x_2_bar.items()", x_2_bar.items(), x_1_bar.items());
    check_shape("nn::concatenate_vjp", "y_bar", y_bar, x_1_bar.features() + x_2_bar.features(), x_1_bar.items());
    const double old = mode == update::accumulate ? 1 : 0;
    b.axpby(1.0, y_bar.feature_range(0, x_1_bar.features()), old, x_1_bar);
    b.axpby(1.0, y_bar.feature_range(x_1_bar.features(), x_2_bar.features()), old, x_2_bar);
}

namespace detail {
/// One pixel of the deep image; `Inverse` goes from the deep image to the wide one.
template <class T, bool Inverse>
struct depth_body {
    index_t height, width, channels, factor;  // height, width of the deep image; channels of the wide one
    index_t deep_stride, wide_stride;         // between items
    bool add;
    DIEM_HOST_DEVICE void operator()(index_t i, const T* in, T* out) const {
        const auto [item, row, column] = pixel_at(i, height, width);
        const index_t deep = item * deep_stride + (row * width + column) * factor * factor * channels;
        for (index_t p = 0; p < factor; ++p) {
            // q and c together are contiguous on both sides.
            const index_t wide =
                item * wide_stride + ((row * factor + p) * width * factor + column * factor) * channels;
            const index_t part = deep + p * factor * channels;
            for (index_t k = 0; k < factor * channels; ++k) {
                if constexpr (Inverse)
                    put(out[wide + k], in[part + k], add);
                else
                    put(out[part + k], in[wide + k], add);
            }
        }
    }
};
template <Backend B>
void check_depth(const char* where, image_shape wide, index_t factor, const_view_t<B> x, const_view_t<B> y) {
    check_value(where, factor >= 1, "factor < 1");
    check_size(where, "height modulo factor", wide.height % factor, 0);
    check_size(where, "width modulo factor", wide.width % factor, 0);
    check_size(where, "features", x.features(), wide.features());
    check_shape(where, "result", y, x.features(), x.items());
}
}  // namespace detail

/// The deep shape of a wide one.
constexpr image_shape space_to_depth_shape(image_shape wide, index_t factor) {
    return {wide.height / factor, wide.width / factor, wide.channels * factor * factor};
}
/// y[i, j, (p f + q) C + c] = x[f i + p, f j + q, c]. `wide` is the shape of x.
template <Backend B>
void space_to_depth_forward(B& b, image_shape wide, index_t factor, const_view_t<B> x, view_t<B> y,
                            update mode = update::overwrite) {
    detail::check_depth<B>("nn::space_to_depth", wide, factor, x, y);
    const image_shape deep = space_to_depth_shape(wide, factor);
    b.launch(deep.pixels() * x.items(), deep.channels,
             detail::depth_body<scalar_t<B>, false>{deep.height, deep.width, wide.channels, factor, y.stride(),
                                                    x.stride(), mode == update::accumulate},
             x.data(), y.data());
}
/// The inverse, which is the adjoint. `wide` is the shape of y.
template <Backend B>
void depth_to_space_forward(B& b, image_shape wide, index_t factor, const_view_t<B> x, view_t<B> y,
                            update mode = update::overwrite) {
    detail::check_depth<B>("nn::depth_to_space", wide, factor, x, y);
    const image_shape deep = space_to_depth_shape(wide, factor);
    b.launch(deep.pixels() * x.items(), deep.channels,
             detail::depth_body<scalar_t<B>, true>{deep.height, deep.width, wide.channels, factor, x.stride(),
                                                   y.stride(), mode == update::accumulate},
             x.data(), y.data());
}
template <Backend B>
void space_to_depth_jvp(B& b, image_shape wide, index_t factor, const_view_t<B> x_dot, view_t<B> y_dot,
                        update mode = update::overwrite) {
    space_to_depth_forward<B>(b, wide, factor, x_dot, y_dot, mode);
}
template <Backend B>
void space_to_depth_vjp(B& b, image_shape wide, index_t factor, const_view_t<B> y_bar, view_t<B> x_bar,
                        update mode = update::overwrite) {
    depth_to_space_forward<B>(b, wide, factor, y_bar, x_bar, mode);
}
template <Backend B>
void depth_to_space_jvp(B& b, image_shape wide, index_t factor, const_view_t<B> x_dot, view_t<B> y_dot,
                        update mode = update::overwrite) {
    depth_to_space_forward<B>(b, wide, factor, x_dot, y_dot, mode);
}
template <Backend B>
void depth_to_space_vjp(B& b, image_shape wide, index_t factor, const_view_t<B> y_bar, view_t<B> x_bar,
                        update mode = update::overwrite) {
    space_to_depth_forward<B>(b, wide, factor, y_bar, x_bar, mode);
}

}  // namespace diem::nn
