// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

#include <diem/linop/fourier.hpp>
#include <diem/linop/pixel_runs.hpp>

/// \file
/// Internal: what transforms of images to as many coefficients have in common.

namespace diem::linop::detail {

/// Of images (height, width, channels), any number of items.
class image_transform {
public:
    [[nodiscard]] index_t height() const { return height_; }
    [[nodiscard]] index_t width() const { return width_; }
    [[nodiscard]] index_t channels() const { return channels_; }
    [[nodiscard]] index_t rows() const { return size_; }
    [[nodiscard]] index_t cols() const { return size_; }
    [[nodiscard]] index_t items() const { return any_items; }

protected:
    image_transform(std::string_view where, index_t height, index_t width, index_t channels)
        : height_(height), width_(width), channels_(channels) {
        check_value(where, channels >= 1, "the number of channels is below 1");
        size_ = checked_product(where, "pixels x channels", pixels_of(where, height, width), channels);
    }
    template <Backend B>
    [[nodiscard]] pixel_runs runs() const {
        return runs_of<B>(height_, width_, channels_);
    }

private:
    index_t height_, width_, channels_, size_ = 0;
};

}  // namespace diem::linop::detail
