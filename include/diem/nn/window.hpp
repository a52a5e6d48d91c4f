// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <diem/core/macros.hpp>
#include <diem/nn/resample.hpp>

/// \file
/// Windows that move over images.
/// \snippet tests/examples/nn.cpp nn/window.hpp

namespace diem::nn {

/// What lies beyond the border: zeros, half a window of them on both ends (`same`), or nothing: the window stays inside (`valid`).
enum class border { same, valid };

/// A window of rows x columns pixels that moves over an image (H, W, C) in steps of `stride`. Pixel (i, j) of the result sees
///     x[s i + p - above, s j + q - before],  p = 0 .. rows - 1,  q = 0 .. columns - 1
/// with (above, before) = (rows / 2, columns / 2), or 0 where the border is `valid`.
struct window {
    image_shape in;
    index_t rows = 3, columns = 3, stride = 1;
    border edge = border::same;

    [[nodiscard]] DIEM_HOST_DEVICE constexpr index_t above() const { return edge == border::same ? rows / 2 : 0; }
    [[nodiscard]] DIEM_HOST_DEVICE constexpr index_t before() const { return edge == border::same ? columns / 2 : 0; }
    /// Extents of the result: ceil(H / s) with `same`, floor((H - rows) / s) + 1 with `valid`.
    [[nodiscard]] DIEM_HOST_DEVICE constexpr index_t result_height() const { return steps(in.height, rows); }
    [[nodiscard]] DIEM_HOST_DEVICE constexpr index_t result_width() const { return steps(in.width, columns); }
    /// Numbers that it sees, rows columns C.
    [[nodiscard]] DIEM_HOST_DEVICE constexpr index_t depth() const { return rows * columns * in.channels; }

private:
    [[nodiscard]] DIEM_HOST_DEVICE constexpr index_t steps(index_t length, index_t taps) const {
        return edge == border::same ? (length + stride - 1) / stride : (length - taps + stride) / stride;
    }
};

namespace detail {
/// What one window sees, row by row, channels innermost. Index: a pixel of `to`, of the results of a batch pixel `first` + index.
template <class T>
struct gather_window {
    window w;
    index_t height, width;  // of the result
    index_t first;
    DIEM_HOST_DEVICE void operator()(index_t index, const T* x, T* to_) const {
        const auto [item, i, j] = pixel_at(first + index, height, width);
        const index_t c = w.in.channels, row = w.columns * c;
        const index_t v = w.stride * j - w.before(), left = v < 0 ? -v : 0;
        const index_t right = v + w.columns > w.in.width ? w.in.width - v : w.columns;
        T* to = to_ + index * w.depth();
        for (index_t p = 0; p < w.rows; ++p, to += row) {
            const index_t u = w.stride * i + p - w.above();
            const bool inside = u >= 0 && u < w.in.height;
            const index_t begin = inside ? left * c : row, end = inside ? right * c : row;
            const index_t from = ((item * w.in.height + u) * w.in.width + v) * c;
            for (index_t k = 0; k < begin; ++k) to[k] = 0;
            DIEM_IVDEP
            for (index_t k = begin; k < end; ++k) to[k] = x[from + k];
            for (index_t k = end; k < row; ++k) to[k] = 0;
        }
    }
};
}  // namespace detail

}  // namespace diem::nn
