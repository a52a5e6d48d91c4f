// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <diem/backend/capabilities.hpp>
#include <diem/linop/concept.hpp>

/// \file
/// Internal: how rows of images are shared out.

namespace diem::linop::detail {

/// What index i of a launch does: `length` pixels of a row of an image; a whole row on a core, one pixel on a device.
struct pixel_runs {
    index_t height, width, images, length;  ///< images: of an item
    struct run {
        index_t item, image, first, column;  ///< first: number of its first pixel in the image
    };
    [[nodiscard]] DIEM_HOST_DEVICE run operator()(index_t i) const {
        const index_t runs = width / length, line = i / runs, n = line / height, item = n / images;
        const index_t column = (i - line * runs) * length;
        return {item, n - item * images, (line - n * height) * width + column, column};
    }
    /// Where the row of an image begins, the images of an item one after another.
    [[nodiscard]] DIEM_HOST_DEVICE index_t plane_row(const run& r, index_t row) const {
        return ((r.item * images + r.image) * height + row) * width;
    }
    [[nodiscard]] index_t count(index_t items) const { return items * images * height * (width / length); }
};
template <Backend B>
[[nodiscard]] pixel_runs runs_of(index_t height, index_t width, index_t images) {
    return {height, width, images, FineGrained<B> ? 1 : width};
}

}  // namespace diem::linop::detail
