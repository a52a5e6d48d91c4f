// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include <diem/linop/data.hpp>

/// \file
/// The Fourier transform of complex images.
/// \snippet tests/examples/linop.cpp linop/fourier.hpp

namespace diem::linop {

namespace detail {
/// Pixels of an image, whose sides must be at least 1.
inline index_t pixels_of(std::string_view where, index_t height, index_t width) {
    check_value(where, height >= 1 && width >= 1,
                "an image is " + std::to_string(height) + " x " + std::to_string(width) + ", expected at least 1 x 1");
    return checked_product(where, "height x width", height, width);
}
}  // namespace detail

/// y = F x: the centred orthonormal Fourier transform of `count` complex images an item, (count, height, width, 2) on both
/// sides, the last axis (re, im); see `Backend`, fft2. The zero frequency is at (height / 2, width / 2), as is the origin of
/// the image. F is unitary, so the adjoint is the inverse. Throws value_error where a side is below 1 or the count negative.
class fourier {
public:
    using operator_tag = linear_tag;
    fourier(index_t height, index_t width, index_t count = 1)
        : height_(height), width_(width), size_(2 * count * detail::pixels_of("fourier", height, width)) {
        check_value("fourier", count >= 0, "the number of images is negative");
    }

    [[nodiscard]] index_t rows() const { return size_; }
    [[nodiscard]] index_t cols() const { return size_; }
    [[nodiscard]] index_t items() const { return any_items; }
    [[nodiscard]] fourier items(index_t, index_t) const { return *this; }
    template <Backend B>
    void apply(B& b, const_view_t<B> x, view_t<B> y) const {
        check_apply("fourier", *this, x, y);
        b.fft2(fft_direction::forward, height_, width_, x, y);
    }
    template <Backend B>
    void apply_adjoint(B& b, const_view_t<B> y, view_t<B> x) const {
        check_adjoint("fourier", *this, y, x);
        b.fft2(fft_direction::inverse, height_, width_, y, x);
    }

private:
    index_t height_, width_, size_;
};

}  // namespace diem::linop
