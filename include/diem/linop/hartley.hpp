// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <diem/linop/fourier.hpp>
#include <diem/linop/pixel_runs.hpp>

/// \file
/// The Hartley transform: real coefficients of real images.
/// \snippet tests/examples/linop.cpp linop/hartley.hpp

namespace diem::linop {

namespace detail {
/// y = x + 0 i, the channels of an item one after another: pixels (height, width, channels) to planes (channels, height, width).
struct channels_to_complex {
    pixel_runs runs;
    index_t channels, x_stride;
    template <class T>
    DIEM_HOST_DEVICE void operator()(index_t i, const T* x, T* y) const {
        const auto r = runs(i);
        const T* const from = x + r.item * x_stride + r.first * channels + r.image;
        T* const to = y + 2 * ((r.item * channels + r.image) * runs.height * runs.width + r.first);
        for (index_t k = 0; k < runs.length; ++k) {
            to[2 * k] = from[k * channels];
            to[2 * k + 1] = 0;
        }
    }
};
/// x = Re y - Im y, back to pixels.
struct complex_to_hartley {
    pixel_runs runs;
    index_t channels, x_stride;
    template <class T>
    DIEM_HOST_DEVICE void operator()(index_t i, const T* y, T* x) const {
        const auto r = runs(i);
        const T* const from = y + 2 * ((r.item * channels + r.image) * runs.height * runs.width + r.first);
        T* const to = x + r.item * x_stride + r.first * channels + r.image;
        for (index_t k = 0; k < runs.length; ++k) to[k * channels] = from[2 * k] - from[2 * k + 1];
    }
};
}  // namespace detail

/// y = H x, H = Re F - Im F with the centred orthonormal Fourier transform F: of each channel of images (height, width, channels).
/// A real image has real coefficients, one for each frequency, in the order of F's. H is symmetric and orthogonal, so that it
/// is its own inverse. The covariance of a stationary field (one that is the same everywhere, periodic) is diagonal in it.
/// Throws value_error where a side or the number of channels is below 1. Source: R. V. L. Hartley, Proc. IRE 30 (1942).
class hartley {
public:
    using operator_tag = symmetric_tag;
    hartley(index_t height, index_t width, index_t channels = 1) : height_(height), width_(width), channels_(channels) {
        check_value("hartley", channels >= 1, "the number of channels is below 1");
        size_ = checked_product("hartley", "pixels x channels", detail::pixels_of("hartley", height, width), channels);
    }

    [[nodiscard]] index_t height() const { return height_; }
    [[nodiscard]] index_t width() const { return width_; }
    [[nodiscard]] index_t channels() const { return channels_; }
    [[nodiscard]] index_t rows() const { return size_; }
    [[nodiscard]] index_t cols() const { return size_; }
    [[nodiscard]] index_t items() const { return any_items; }
    [[nodiscard]] hartley items(index_t, index_t) const { return *this; }
    /// x and y may be the same.
    template <Backend B>
    void apply(B& b, const_view_t<B> x, view_t<B> y) const {
        check_apply("hartley", *this, x, y);
        const auto runs = detail::runs_of<B>(height_, width_, channels_);
        batch<B> f(b, 2 * size_, x.items());
        const index_t count = runs.count(x.items());
        b.launch(count, 2 * runs.length, detail::channels_to_complex{runs, channels_, x.stride()}, x.data(),
                 f.view().data());
        b.fft2(fft_direction::forward, height_, width_, f.cview(), f.view());
        b.launch(count, 2 * runs.length, detail::complex_to_hartley{runs, channels_, y.stride()}, f.cview().data(),
                 y.data());
    }
    template <Backend B>
    void apply_adjoint(B& b, const_view_t<B> y, view_t<B> x) const {
        apply(b, y, x);
    }

private:
    index_t height_, width_, channels_, size_ = 0;
};

}  // namespace diem::linop
