// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <diem/linop/data.hpp>

/// \file
/// Low resolution: means of blocks of pixels.
/// \snippet tests/examples/linop.cpp linop/subsample.hpp

namespace diem::linop {

namespace detail {

/// One row of the small image: means over blocks. Index: item * (height / block) + row.
struct average_blocks {
    index_t height, width, channels, block, x_stride, y_stride;
    template <class T>
    DIEM_HOST_DEVICE void operator()(index_t index, const T* x, T* y) const {
        const index_t rows = height / block, item = index / rows, row = index - item * rows;
        const index_t line = width * channels, small_line = line / block;
        const T* in = x + item * x_stride + row * block * line;
        T* out = y + item * y_stride + row * small_line;
        for (index_t p = 0; p < small_line; p += channels)
            for (index_t c = 0; c < channels; ++c) {
                T sum = 0;
                for (index_t dy = 0; dy < block; ++dy)
                    for (index_t dx = 0; dx < block; ++dx) sum += in[dy * line + p * block + dx * channels + c];
                out[p + c] = sum / static_cast<T>(block * block);
            }
    }
};

/// One row of the large image. Index: item * height + row.
struct spread_blocks {
    index_t height, width, channels, block, y_stride, x_stride;
    template <class T>
    DIEM_HOST_DEVICE void operator()(index_t index, const T* y, T* x) const {
        const index_t item = index / height, row = index - item * height, line = width * channels;
        const T* in = y + item * y_stride + row / block * (line / block);
        T* out = x + item * x_stride + row * line;
        for (index_t p = 0; p < width; ++p)
            for (index_t c = 0; c < channels; ++c)
                out[p * channels + c] = in[p / block * channels + c] / static_cast<T>(block * block);
    }
};

}  // namespace detail

/// Low resolution: the mean of every block x block square of a height x width x channels image, channel by channel.
/// rows = cols / block^2. `block` must divide height and width. For any number of items.
class subsample {
public:
    using operator_tag = linear_tag;
    subsample(index_t height, index_t width, index_t channels, index_t block)
        : height_(height), width_(width), channels_(channels), block_(block) {
        check_value("subsample", height >= 0 && width >= 0 && channels >= 0, "a size of the image is negative");
        check_value("subsample", block >= 1 && height % block == 0 && width % block == 0,
                    "block must be >= 1 and divide height and width");
    }

    [[nodiscard]] index_t rows() const { return cols() / (block_ * block_); }
    [[nodiscard]] index_t cols() const { return height_ * width_ * channels_; }
    [[nodiscard]] index_t items() const { return any_items; }
    [[nodiscard]] subsample items(index_t, index_t) const { return *this; }
    template <Backend B>
    void apply(B& b, const_view_t<B> x, view_t<B> y) const {
        check_apply("subsample", *this, x, y);
        b.launch(x.items() * (height_ / block_), block_ * width_ * channels_,
                 detail::average_blocks{height_, width_, channels_, block_, x.stride(), y.stride()}, x.data(),
                 y.data());
    }
    template <Backend B>
    void apply_adjoint(B& b, const_view_t<B> y, view_t<B> x) const {
        check_adjoint("subsample (adjoint)", *this, y, x);
        b.launch(x.items() * height_, width_ * channels_,
                 detail::spread_blocks{height_, width_, channels_, block_, y.stride(), x.stride()}, y.data(), x.data());
    }

private:
    index_t height_, width_, channels_, block_;
};

}  // namespace diem::linop
