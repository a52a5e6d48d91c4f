// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>
#include <vector>

#include <diem/linop/diagonal.hpp>
#include <diem/linop/fourier.hpp>
#include <diem/linop/image.hpp>
#include <diem/linop/nonlinear.hpp>

/// \file
/// Measurements of images that are not linear.
/// \snippet tests/examples/linop.cpp linop/nonlinear_image.hpp

namespace diem::linop {

/// The magnitudes of an image's Fourier transform, (channels, height', width') an item, of the image padded with zeros about
/// its centre to height' x width'. An image, its negative, its mirror image and shifts of it have the same ones: the posterior
/// has several modes. Throws value_error where the padded image is smaller.
template <Backend B>
[[nodiscard]] auto fourier_magnitudes(B& b, const image_extent& image, index_t height, index_t width) {
    detail::check_image("fourier_magnitudes", image);
    check_value("fourier_magnitudes", height >= image.height && width >= image.width,
                "the padded image is smaller than the image");
    const index_t pixels = height * width, top = height / 2 - image.height / 2, left = width / 2 - image.width / 2;
    sparse_rows rows(static_cast<std::size_t>(2 * pixels * image.channels));
    for (index_t c = 0; c < image.channels; ++c)
        for (index_t i = 0; i < image.height; ++i)
            for (index_t j = 0; j < image.width; ++j)
                rows[static_cast<std::size_t>(2 * (c * pixels + (top + i) * width + left + j))] = {
                    {(i * image.width + j) * image.channels + c, 1.0}};
    return after(magnitude(pixels * image.channels),
                 compose(fourier(height, width, image.channels), make_sparse(b, image.size(), rows)));
}

/// The orthonormal discrete cosine transform of blocks of `block` x `block` pixels, each channel alone, in the places of the
/// pixels. Throws value_error where blocks do not fill the image.
template <Backend B>
[[nodiscard]] auto block_dct(B& b, const image_extent& image, index_t block = 8) {
    detail::check_image("block_dct", image);
    check_value("block_dct", block >= 1 && image.height % block == 0 && image.width % block == 0,
                "blocks do not fill the image");
    const auto rows = [&](index_t n) {
        sparse_rows out(static_cast<std::size_t>(n));
        const double size = static_cast<double>(block);
        for (index_t r = 0; r < n; ++r) {
            const index_t k = r % block, first = r - k;
            for (index_t i = 0; i < block; ++i) {
                const double angle = std::numbers::pi * (static_cast<double>(i) + 0.5) * static_cast<double>(k) / size;
                out[static_cast<std::size_t>(r)].emplace_back(first + i,
                                                              std::sqrt((k == 0 ? 1 : 2) / size) * std::cos(angle));
            }
        }
        return out;
    };
    return detail::on_both_axes(b, image, rows(image.height), rows(image.width));
}

/// Steps between the levels of JPEG's coefficients, 8 x 8, row-major, in units of 1 / 255 of the range: the example table for
/// luminance of ITU-T T.81 (K.1), scaled by a quality of 1 to 100 as the Independent JPEG Group does.
[[nodiscard]] inline std::vector<double> jpeg_steps(int quality) {
    check_value("jpeg_steps", quality >= 1 && quality <= 100, "the quality is not in 1 .. 100");
    constexpr int table[64] = {16, 11, 10, 16, 24,  40,  51,  61,  12, 12, 14, 19, 26,  58,  60,  55,
                               14, 13, 16, 24, 40,  57,  69,  56,  14, 17, 22, 29, 51,  87,  80,  62,
                               18, 22, 37, 56, 68,  109, 103, 77,  24, 35, 55, 64, 81,  104, 113, 92,
                               49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99};
    const int scale = quality < 50 ? 5000 / quality : 200 - 2 * quality;
    std::vector<double> steps;
    for (const int t : table) steps.push_back(std::clamp((t * scale + 50) / 100, 1, 255));
    return steps;
}

/// What JPEG keeps of data in [-2, 2]: y = round(D^-1 C x), C the transform of 8 x 8 blocks and D the steps of this quality.
/// Each channel alone, by the table for luminance. y is in steps, so that rounding is noise of variance 1 / 12; see `rounding`
/// for the derivative. Throws value_error.
template <Backend B>
[[nodiscard]] auto jpeg(B& b, const image_extent& image, int quality) {
    const auto steps = jpeg_steps(quality);
    auto transform = block_dct(b, image);
    std::vector<scalar_t<B>> inverse;
    for (index_t i = 0; i < image.height; ++i)
        for (index_t j = 0; j < image.width; ++j)
            inverse.insert(inverse.end(), static_cast<std::size_t>(image.channels),
                           static_cast<scalar_t<B>>(255 / (4 * steps[static_cast<std::size_t>(i % 8 * 8 + j % 8)])));
    return after(rounding(image.size()),
                 compose(diagonal<B>::shared(to_backend(b, inverse, image.size(), 1)), std::move(transform)));
}

}  // namespace diem::linop
