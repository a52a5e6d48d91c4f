// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <diem/linop/image_transform.hpp>

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
class hartley : public detail::image_transform {
public:
    using operator_tag = symmetric_tag;
    hartley(index_t height, index_t width, index_t channels = 1)
        : image_transform("hartley", height, width, channels) {}

    using image_transform::items;
    [[nodiscard]] hartley items(index_t, index_t) const { return *this; }
    /// x and y may be the same.
    template <Backend B>
    void apply(B& b, const_view_t<B> x, view_t<B> y) const {
        check_apply("hartley", *this, x, y);
        const auto runs = this->template runs<B>();
        batch<B> f(b, 2 * rows(), x.items());
        const index_t count = runs.count(x.items());
        b.launch(count, 2 * runs.length, detail::channels_to_complex{runs, channels(), x.stride()}, x.data(),
                 f.view().data());
        b.fft2(fft_direction::forward, height(), width(), f.cview(), f.view());
        b.launch(count, 2 * runs.length, detail::complex_to_hartley{runs, channels(), y.stride()}, f.cview().data(),
                 y.data());
    }
    template <Backend B>
    void apply_adjoint(B& b, const_view_t<B> y, view_t<B> x) const {
        apply(b, y, x);
    }
};

}  // namespace diem::linop
