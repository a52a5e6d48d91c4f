// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <diem/backend/concept.hpp>
#include <diem/core/check.hpp>
#include <diem/nn/resample.hpp>

/// Images made larger by zeros below and to the right, and cut back: adjoint to one another, each its own JVP.
namespace diem::nn {

namespace detail {
template <class T>
struct pad_row {  // one row of y
    index_t row, height, padded_row, padded_height, x_stride, y_stride;
    DIEM_HOST_DEVICE void operator()(index_t i, const T* x, T* y_) const {
        const index_t item = i / padded_height, r = i - item * padded_height;
        T* const y = y_ + item * y_stride + r * padded_row;
        const index_t filled = r < height ? row : 0;
        const T* const from = x + item * x_stride + (r < height ? r : 0) * row;
        for (index_t j = 0; j < filled; ++j) y[j] = from[j];
        for (index_t j = filled; j < padded_row; ++j) y[j] = T(0);
    }
};
template <class T>
struct crop_row {  // one row of y
    index_t row, height, padded_row, x_stride, y_stride;
    DIEM_HOST_DEVICE void operator()(index_t i, const T* x, T* y_) const {
        const index_t item = i / height, r = i - item * height;
        const T* const from = x + item * x_stride + r * padded_row;
        T* const y = y_ + item * y_stride + r * row;
        for (index_t j = 0; j < row; ++j) y[j] = from[j];
    }
};
inline void check_padding(image_shape shape, image_shape padded) {
    check_size("nn::pad_image", "padded.channels", padded.channels, shape.channels);
    check_value("nn::pad_image", padded.height >= shape.height && padded.width >= shape.width,
                "padded is smaller than shape");
}
}  // namespace detail

/// y (images of extents `padded`) = x (of extents `shape`) with zeros below and to the right.
template <Backend B>
void pad_image(B& b, image_shape shape, image_shape padded, const_view_t<B> x, view_t<B> y) {
    detail::check_padding(shape, padded);
    check_shape("nn::pad_image", "x", x, shape.features(), x.items());
    check_shape("nn::pad_image", "y", y, padded.features(), x.items());
    b.launch(padded.height * x.items(), padded.width * padded.channels,
             detail::pad_row<scalar_t<B>>{shape.width * shape.channels, shape.height, padded.width * padded.channels,
                                          padded.height, x.stride(), y.stride()},
             x.data(), y.data());
}
/// y (of extents `shape`) = the upper left part of x (of extents `padded`).
template <Backend B>
void crop_image(B& b, image_shape shape, image_shape padded, const_view_t<B> x, view_t<B> y) {
    detail::check_padding(shape, padded);
    check_shape("nn::crop_image", "x", x, padded.features(), x.items());
    check_shape("nn::crop_image", "y", y, shape.features(), x.items());
    b.launch(shape.height * x.items(), shape.width * shape.channels,
             detail::crop_row<scalar_t<B>>{shape.width * shape.channels, shape.height, padded.width * padded.channels,
                                           x.stride(), y.stride()},
             x.data(), y.data());
}

}  // namespace diem::nn
