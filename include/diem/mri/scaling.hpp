// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>

#include <diem/backend/functors.hpp>
#include <diem/linop/concept.hpp>
#include <diem/mri/kspace.hpp>

/// \file
/// Between the units of a scanner and those of a prior.
/// \snippet tests/examples/mri.cpp mri/scaling.hpp

namespace diem::mri {

/// Between the units of a measurement and those of a prior, whose images are in about [-2, 2]:
///
///     x_prior = scale x_input + offset,    y_prior = scale y_input + A offset,    sigma_prior = scale sigma_input
///
/// Magnitudes 0 .. max become -2 .. 2 (`of_magnitude`); complex images, whose zero must stay zero, magnitude 2 (`of_complex`,
/// offset 0).
struct scaling {
    double scale = 1, offset = 0;

    /// Throws value_error unless `largest` is finite and positive.
    [[nodiscard]] static scaling of_magnitude(double largest) {
        check_positive("scaling::of_magnitude", "largest", largest);
        return {4 / largest, -2};
    }
    /// Throws value_error unless `largest` is finite and positive.
    [[nodiscard]] static scaling of_complex(double largest) {
        check_positive("scaling::of_complex", "largest", largest);
        return {2 / largest, 0};
    }
    [[nodiscard]] double to_prior(double value) const { return scale * value + offset; }
    [[nodiscard]] double to_input(double value) const { return (value - offset) / scale; }
    /// Standard deviations, which an offset does not move.
    [[nodiscard]] double sigma_to_prior(double sigma) const { return scale * sigma; }
    [[nodiscard]] double sigma_to_input(double sigma) const { return sigma / scale; }
};

namespace detail {
struct affine {  // y = a x + b
    double a, b;
    template <class V>
    DIEM_HOST_DEVICE void operator()(V& y, const V& x) const {
        using T = typename diem::detail::random_scalar<V>::type;
        y = T(a) * x + T(b);
    }
};
struct root_of_squares {
    index_t pixels, coils, x_stride, y_stride;
    template <class T>
    DIEM_HOST_DEVICE void operator()(index_t i, const T* x, T* y) const {
        const index_t item = i / pixels, pixel = i - item * pixels;
        T sum = 0;
        for (index_t c = 0; c < coils; ++c) {
            const T* const at = x + item * x_stride + 2 * (c * pixels + pixel);
            sum += at[0] * at[0] + at[1] * at[1];
        }
        y[item * y_stride + pixel] = std::sqrt(sum);
    }
};
}  // namespace detail

/// Images (every number of x) from one unit to the other; y may be x.
template <Backend B>
void image_to_prior(B& b, const scaling& s, const_view_t<B> x, view_t<B> y) {
    check_shape("image_to_prior", "y", y, x.features(), x.items());
    b.map(detail::affine{s.scale, s.offset}, y, x);
}
template <Backend B>
void image_to_input(B& b, const scaling& s, const_view_t<B> x, view_t<B> y) {
    check_shape("image_to_input", "y", y, x.features(), x.items());
    b.map(detail::affine{1 / s.scale, -s.offset / s.scale}, y, x);
}

/// Measurements y = A x of images in input units to those of images in the prior's, in place. The offset is added to every number
/// of an image: it is for operators on real images.
template <Backend B, linop::LinearOperator<B> A>
void measurement_to_prior(B& b, const scaling& s, const A& a, view_t<B> y) {
    check_size("measurement_to_prior", "y.features()", y.features(), a.rows());
    if (s.offset == 0) return b.axpby(0.0, const_view_t<B>(y), s.scale, y);
    batch<B> x(b, a.cols(), y.items()), shift(b, a.rows(), y.items());
    b.fill(x.view(), static_cast<scalar_t<B>>(s.offset));
    a.apply(b, x.cview(), shift.view());
    b.axpby(1.0, shift.cview(), s.scale, y);
}

/// Root of the sum over coils of the squared magnitudes of the images of k-space: (height, width) an item, in the units of the
/// orthonormal transform. Its largest number is what `scaling` is usually made of.
template <Backend B>
[[nodiscard]] batch<B> root_sum_of_squares(B& b, const_view_t<B> kspace, const kspace_size& size) {
    detail::check_kspace("root_sum_of_squares", size, kspace);
    batch<B> images(b, size.numbers(), kspace.items()), out(b, size.pixels(), kspace.items());
    b.fft2(fft_direction::inverse, size.height, size.width, kspace, images.view());
    b.launch(out.features() * out.items(), 2 * size.coils,
             detail::root_of_squares{size.pixels(), size.coils, images.view().stride(), out.view().stride()},
             images.cview().data(), out.view().data());
    return out;
}

}  // namespace diem::mri
