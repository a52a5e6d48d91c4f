// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include <diem/mri/kspace.hpp>

/// \file
/// Images and k-space of another size.
/// \snippet tests/examples/mri.cpp mri/resize.hpp

namespace diem::mri {

namespace detail {
/// A pixel of the new image, from the old one or zero. Index: (item, coil, row).
struct about_the_origin {
    index_t coils, height, width, new_height, new_width, x_stride, y_stride;
    template <class T>
    DIEM_HOST_DEVICE void operator()(index_t i, const T* x, T* y) const {
        const index_t line = i / new_height, row = i - line * new_height, item = line / coils,
                      coil = line - item * coils;
        const index_t from = row - new_height / 2 + height / 2;
        T* const to = y + item * y_stride + 2 * (coil * new_height + row) * new_width;
        for (index_t k = 0; k < new_width; ++k) {
            const index_t column = k - new_width / 2 + width / 2;
            const bool inside = from >= 0 && from < height && column >= 0 && column < width;
            const index_t at = inside ? item * x_stride + 2 * ((coil * height + from) * width + column) : 0;
            to[2 * k] = inside ? x[at] : T(0);
            to[2 * k + 1] = inside ? x[at + 1] : T(0);
        }
    }
};
}  // namespace detail

/// Images or coil maps of another size, cut or filled up with zeros about their origin, (height / 2, width / 2) before and after.
/// x: (coils, height, width, 2) an item. Throws shape_error, value_error where sizes do not fit or are below 1.
template <Backend B>
[[nodiscard]] batch<B> resize_images(B& b, const_view_t<B> x, const kspace_size& size, index_t height, index_t width) {
    detail::check_kspace("resize_images", size, x);
    check_value(
        "resize_images", height >= 1 && width >= 1,
        "the new size is " + std::to_string(height) + " x " + std::to_string(width) + ", expected at least 1 x 1");
    batch<B> y(b, 2 * size.coils * height * width, x.items());
    b.launch(
        x.items() * size.coils * height, 2 * width,
        detail::about_the_origin{size.coils, size.height, size.width, height, width, x.stride(), y.view().stride()},
        x.data(), y.view().data());
    return y;
}

/// K-space of the images cut in this way, as fastMRI crops: what readout oversampling and other margins are removed by. It is exact
/// along an axis whose frequencies are all measured; of an axis that is cut and under-sampled it would mix aliases, and an axis
/// filled up would claim that the image is zero there. Orthonormal: white noise keeps its standard deviation.
/// Lines that were not measured come out as rounding errors, not as zeros.
/// Throws as resize_images, and value_error where the new size is larger.
template <Backend B>
[[nodiscard]] batch<B> crop_kspace(B& b, const_view_t<B> kspace, const kspace_size& size, index_t height,
                                   index_t width) {
    detail::check_kspace("crop_kspace", size, kspace);
    check_value("crop_kspace", height <= size.height && width <= size.width,
                "k-space is " + std::to_string(size.height) + " x " + std::to_string(size.width) + ", asked for " +
                    std::to_string(height) + " x " + std::to_string(width));
    batch<B> images(b, size.numbers(), kspace.items());
    b.fft2(fft_direction::inverse, size.height, size.width, kspace, images.view());
    auto cut = resize_images<B>(b, images.cview(), size, height, width);
    b.fft2(fft_direction::forward, height, width, cut.cview(), cut.view());
    return cut;
}

}  // namespace diem::mri
