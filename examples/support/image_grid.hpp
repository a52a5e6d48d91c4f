// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include <diem/core/check.hpp>
#include <diem/core/view.hpp>
#include <diem/io/array.hpp>
#include <diem/io/png.hpp>

/// Pictures of batches of images: items are height-width-channel in [-2, 2], as everywhere in the library.
namespace support {

using diem::index_t;
using image = diem::io::array<std::uint8_t>;  // (height, width, channels)

struct image_shape {
    index_t height = 0, width = 0, channels = 1;  // channels: 1 (grey) or 3 (RGB)
};

struct grid_options {
    index_t columns = 0;            ///< images in a row; 0: as near to a square as possible
    index_t scale = 1;              ///< pixels per image pixel and side
    index_t gap = 1;                ///< pixels between images, and around them
    std::uint8_t background = 255;  ///< grey value of the gaps
    std::uint8_t missing = 96;      ///< grey value of pixels that are not observed
};

/// The pixel value of data in [-2, 2], both ends included.
template <class T>
[[nodiscard]] std::uint8_t pixel_of(T value) {
    const double pixel = (static_cast<double>(value) + 2) / 4 * 255 + 0.5;
    if (!(pixel > 0)) return 0;
    return pixel >= 255 ? 255 : static_cast<std::uint8_t>(pixel);
}

/// The items of a batch, row by row. `mask` (same shape, or empty): pixels whose mask is 0 in every channel are drawn as
/// missing. Throws shape_error where the batch does not fit the shape.
template <class T>
[[nodiscard]] image image_grid(diem::host_view<const T> items, const image_shape& shape,
                               const grid_options& options = {}, diem::host_view<const T> mask = {}) {
    const index_t count = items.items(), scale = options.scale, gap = options.gap;
    diem::check_size("image_grid", "items.features()", items.features(), shape.height * shape.width * shape.channels);
    if (mask.data() != nullptr) diem::check_shape("image_grid", "mask", mask, items.features(), count);
    diem::check_value("image_grid", count > 0 && scale > 0 && gap >= 0, "needs an image and a scale of at least 1");
    const index_t columns =
        options.columns > 0 ? options.columns : static_cast<index_t>(std::ceil(std::sqrt(static_cast<double>(count))));
    const index_t rows = (count + columns - 1) / columns;
    image picture(diem::io::shape_type{rows * (shape.height * scale + gap) + gap,
                                       columns * (shape.width * scale + gap) + gap, shape.channels});
    const index_t picture_width = picture.shape[1];
    std::fill(picture.data.begin(), picture.data.end(), options.background);
    for (index_t n = 0; n < count; ++n) {
        const T* item = items.data() + n * items.stride();
        const index_t top = gap + n / columns * (shape.height * scale + gap);
        const index_t left = gap + n % columns * (shape.width * scale + gap);
        for (index_t y = 0; y < shape.height * scale; ++y)
            for (index_t x = 0; x < shape.width * scale; ++x) {
                const index_t source = (y / scale * shape.width + x / scale) * shape.channels;
                bool observed = mask.data() == nullptr;
                for (index_t c = 0; c < shape.channels && !observed; ++c)
                    observed = mask.data()[n * mask.stride() + source + c] != T(0);
                for (index_t c = 0; c < shape.channels; ++c)
                    picture[((top + y) * picture_width + left + x) * shape.channels + c] =
                        observed ? pixel_of(item[source + c]) : options.missing;
            }
    }
    return picture;
}

/// Pictures of equal width and channels, one below another. Throws shape_error where they are not.
[[nodiscard]] inline image stack(const std::vector<image>& pictures) {
    image result;
    for (const image& picture : pictures) {
        if (result.shape.empty()) result.shape = {0, picture.shape.at(1), picture.shape.at(2)};
        diem::check_size("stack", "width", picture.shape.at(1), result.shape[1]);
        diem::check_size("stack", "channels", picture.shape.at(2), result.shape[2]);
        result.shape[0] += picture.shape[0];
        result.data.insert(result.data.end(), picture.data.begin(), picture.data.end());
    }
    return result;
}

}  // namespace support
