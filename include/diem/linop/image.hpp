// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include <diem/core/random.hpp>
#include <diem/linop/compose.hpp>
#include <diem/linop/sparse.hpp>

/// \file
/// Operators on images, (height, width, channels) an item, made of `sparse` maps of one axis.
/// \snippet tests/examples/linop.cpp linop/image.hpp

namespace diem::linop {

struct image_extent {
    index_t height = 1, width = 1, channels = 1;
    [[nodiscard]] index_t size() const { return height * width * channels; }
    [[nodiscard]] index_t pixels() const { return height * width; }
};

/// What lies beyond an image: zeros, its other side, or its mirror image about the edge: (c b a | a b c | c b a).
enum class border { zero, circular, reflect };

namespace detail {

inline void check_image(std::string_view where, const image_extent& image) {
    check_value(where, image.height >= 1 && image.width >= 1 && image.channels >= 1,
                "an image is " + std::to_string(image.height) + " x " + std::to_string(image.width) + " x " +
                    std::to_string(image.channels) + ", expected at least 1 x 1 x 1");
}
/// The pixel that stands at position i of an axis of n; -1: none, it is zero.
[[nodiscard]] inline index_t at_border(index_t i, index_t n, border kind) {
    if (i >= 0 && i < n) return i;
    if (kind == border::zero) return -1;
    const index_t period = kind == border::circular ? n : 2 * n, m = ((i % period) + period) % period;
    return m < n ? m : 2 * n - 1 - m;
}
/// Keys' cubic with a = -1/2 (the bicubic filter of most programs). R. Keys, IEEE Trans. ASSP 29 (1981) 1153.
[[nodiscard]] inline double keys_cubic(double t) {
    const double a = std::abs(t);
    if (a < 1) return (1.5 * a - 2.5) * a * a + 1;
    if (a < 2) return ((-0.5 * a + 2.5) * a - 4) * a + 2;
    return 0;
}
/// A map of the rows, then one of the columns.
template <Backend B>
[[nodiscard]] auto on_both_axes(B& b, const image_extent& image, const sparse_rows& vertical,
                                const sparse_rows& horizontal) {
    const auto height = static_cast<index_t>(vertical.size());
    return compose(make_sparse(b, image.width, horizontal, height, image.channels),
                   make_sparse(b, image.height, vertical, 1, image.width * image.channels));
}

}  // namespace detail

/// How `downsample` weights the pixels.
enum class filter {
    box,     ///< the mean of the `stride` pixels; of those that there are, in a last block that is cut off
    bicubic  ///< Keys' cubic, `stride` times as wide (so that nothing aliases), reflecting borders, weights of sum 1
};

/// Rows of the map from n to ceil(n / stride) pixels; centres of the small pixels are (o + 1/2) stride - 1/2.
[[nodiscard]] inline sparse_rows downsampling_rows(index_t n, index_t stride, filter f) {
    check_value("downsample", n >= 1 && stride >= 1, "a size or the stride is below 1");
    sparse_rows rows(static_cast<std::size_t>((n + stride - 1) / stride));
    for (index_t o = 0; o < static_cast<index_t>(rows.size()); ++o) {
        auto& row = rows[static_cast<std::size_t>(o)];
        if (f == filter::box) {
            const index_t first = o * stride, last = std::min(n, first + stride);
            for (index_t i = first; i < last; ++i) row.emplace_back(i, 1.0 / static_cast<double>(last - first));
            continue;
        }
        const double s = static_cast<double>(stride), centre = (static_cast<double>(o) + 0.5) * s - 0.5;
        double total = 0;
        for (auto i = static_cast<index_t>(std::ceil(centre - 2 * s)); static_cast<double>(i) <= centre + 2 * s; ++i) {
            const double weight = detail::keys_cubic((static_cast<double>(i) - centre) / s);
            if (weight == 0) continue;
            row.emplace_back(detail::at_border(i, n, border::reflect), weight);
            total += weight;
        }
        for (auto& [place, weight] : row) weight /= total;
    }
    return rows;
}

/// A smaller image: ceil(height / stride_y) x ceil(width / stride_x) x channels.
template <Backend B>
[[nodiscard]] auto downsample(B& b, const image_extent& image, index_t stride_y, index_t stride_x, filter f) {
    detail::check_image("downsample", image);
    return detail::on_both_axes(b, image, downsampling_rows(image.height, stride_y, f),
                                downsampling_rows(image.width, stride_x, f));
}

/// The part of an image from (top, left) on, `height` x `width`, which may reach beyond it on all sides: `kind` says
/// what is there. So this crops and pads.
template <Backend B>
[[nodiscard]] auto window(B& b, const image_extent& image, index_t top, index_t left, index_t height, index_t width,
                          border kind = border::zero) {
    detail::check_image("window", image);
    check_value("window", height >= 1 && width >= 1, "a size is below 1");
    const auto rows = [&](index_t first, index_t count, index_t n) {
        sparse_rows out(static_cast<std::size_t>(count));
        for (index_t i = 0; i < count; ++i)
            if (const index_t at = detail::at_border(first + i, n, kind); at >= 0)
                out[static_cast<std::size_t>(i)].emplace_back(at, 1.0);
        return out;
    };
    return detail::on_both_axes(b, image, rows(top, height, image.height), rows(left, width, image.width));
}

/// One channel of several: y = sum of weights_c x_c in every pixel; the default is luma of BT.601.
template <Backend B>
[[nodiscard]] sparse<B> to_grey(B& b, const image_extent& image,
                                const std::vector<double>& weights = {0.299, 0.587, 0.114}) {
    detail::check_image("to_grey", image);
    check_size("to_grey", "weights.size()", static_cast<index_t>(weights.size()), image.channels);
    sparse_rows row(1);
    for (std::size_t c = 0; c < weights.size(); ++c) row[0].emplace_back(static_cast<index_t>(c), weights[c]);
    return make_sparse(b, image.channels, row, image.pixels(), 1);
}

/// Differences of neighbours: x[i + 1, j] - x[i, j], (height - 1) x width x channels of them, then x[i, j + 1] - x[i, j],
/// height x (width - 1) x channels.
template <Backend B>
[[nodiscard]] auto differences(B& b, const image_extent& image) {
    detail::check_image("differences", image);
    const auto rows = [](index_t n) {
        sparse_rows out(static_cast<std::size_t>(n - 1));
        for (index_t i = 0; i + 1 < n; ++i) out[static_cast<std::size_t>(i)] = {{i, -1.0}, {i + 1, 1.0}};
        return out;
    };
    return stack(make_sparse(b, image.height, rows(image.height), 1, image.width * image.channels),
                 make_sparse(b, image.width, rows(image.width), image.height, image.channels));
}

namespace detail {
struct draw_box_row {
    random_key key;
    index_t image_height, image_width, channels, height, width, stride;
    template <class T>
    DIEM_HOST_DEVICE void operator()(index_t i, T* y) const {
        const auto item = static_cast<std::uint32_t>(i);
        const auto place = [&](std::uint32_t axis, index_t room) {
            const auto at = static_cast<index_t>(uniform<double>(key, item, axis) * static_cast<double>(room));
            return at < room ? at : room - 1;
        };
        const index_t top = place(0, image_height - height + 1), left = place(1, image_width - width + 1);
        T* out = y + i * stride;
        for (index_t row = 0; row < image_height; ++row)
            for (index_t col = 0; col < image_width; ++col) {
                const bool hidden = row >= top && row < top + height && col >= left && col < left + width;
                for (index_t c = 0; c < channels; ++c)
                    out[(row * image_width + col) * channels + c] = hidden ? T(0) : T(1);
            }
    }
};
}  // namespace detail

/// Draws values for `mask`: 0 in a box of height x width at a random place of every item, 1 elsewhere (box inpainting;
/// for random inpainting see `draw_mask`). values: image.size() x items.
template <Backend B>
void draw_box_mask(B& b, const random_key& key, const image_extent& image, index_t height, index_t width,
                   view_t<B> values) {
    detail::check_image("draw_box_mask", image);
    check_size("draw_box_mask", "values.features()", values.features(), image.size());
    check_value("draw_box_mask", height >= 0 && width >= 0 && height <= image.height && width <= image.width,
                "the box is larger than the image, or negative");
    b.launch(values.items(), image.size(),
             detail::draw_box_row{key, image.height, image.width, image.channels, height, width, values.stride()},
             values.data());
}

}  // namespace diem::linop
