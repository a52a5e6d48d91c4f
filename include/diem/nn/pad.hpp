// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <diem/backend/concept.hpp>
#include <diem/core/check.hpp>
#include <diem/nn/resample.hpp>

/// \file
/// Images made larger by zeros, and cut back: adjoint to one another, each its own JVP. `margin` rows above and columns to the left are
/// zeros, too.
/// \snippet tests/examples/nn.cpp nn/pad.hpp

namespace diem::nn {

namespace detail {
template <class T>
struct pad_row {  // one row of y
    index_t row, height, padded_row, padded_height, above, before, x_stride, y_stride;
    DIEM_HOST_DEVICE void operator()(index_t i, const T* x, T* y_) const {
        const index_t item = i / padded_height, line = i - item * padded_height, r = line - above;
        T* const y = y_ + item * y_stride + line * padded_row;
        const bool inside = r >= 0 && r < height;
        const index_t first = inside ? before : padded_row, last = inside ? before + row : padded_row;
        const T* const from = x + item * x_stride + (inside ? r : 0) * row;
        for (index_t j = 0; j < first; ++j) y[j] = T(0);
        for (index_t j = first; j < last; ++j) y[j] = from[j - first];
        for (index_t j = last; j < padded_row; ++j) y[j] = T(0);
    }
};
template <class T>
struct crop_row {  // one row of y
    index_t row, height, padded_row, above, before, x_stride, y_stride;
    DIEM_HOST_DEVICE void operator()(index_t i, const T* x, T* y_) const {
        const index_t item = i / height, r = i - item * height;
        const T* const from = x + item * x_stride + (r + above) * padded_row + before;
        T* const y = y_ + item * y_stride + r * row;
        for (index_t j = 0; j < row; ++j) y[j] = from[j];
    }
};
inline void check_padding(image_shape shape, image_shape padded, index_t margin) {
    check_size("nn::pad_image", "padded.channels", padded.channels, shape.channels);
    check_value("nn::pad_image",
                margin >= 0 && padded.height >= shape.height + margin && padded.width >= shape.width + margin,
                "padded is smaller than shape");
}
}  // namespace detail

/// y (images of extents `padded`) = x (of extents `shape`) with zeros around it.
template <Backend B>
void pad_image(B& b, image_shape shape, image_shape padded, const_view_t<B> x, view_t<B> y, index_t margin = 0) {
    detail::check_padding(shape, padded, margin);
    check_shape("nn::pad_image", "x", x, shape.features(), x.items());
    check_shape("nn::pad_image", "y", y, padded.features(), x.items());
    b.launch(padded.height * x.items(), padded.width * padded.channels,
             detail::pad_row<scalar_t<B>>{shape.width * shape.channels, shape.height, padded.width * padded.channels,
                                          padded.height, margin, margin * shape.channels, x.stride(), y.stride()},
             x.data(), y.data());
}
/// y (of extents `shape`) = the part of x (of extents `padded`) that `pad_image` fills.
template <Backend B>
void crop_image(B& b, image_shape shape, image_shape padded, const_view_t<B> x, view_t<B> y, index_t margin = 0) {
    detail::check_padding(shape, padded, margin);
    check_shape("nn::crop_image", "x", x, padded.features(), x.items());
    check_shape("nn::crop_image", "y", y, shape.features(), x.items());
    b.launch(shape.height * x.items(), shape.width * shape.channels,
             detail::crop_row<scalar_t<B>>{shape.width * shape.channels, shape.height, padded.width * padded.channels,
                                           margin, margin * shape.channels, x.stride(), y.stride()},
             x.data(), y.data());
}

}  // namespace diem::nn
