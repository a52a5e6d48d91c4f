// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <numbers>

#include <diem/linop/fourier.hpp>
#include <diem/linop/pixel_runs.hpp>

/// \file
/// The cosine transform: coefficients of images that are not periodic.
/// \snippet tests/examples/linop.cpp linop/cosine.hpp

namespace diem::linop {

namespace detail {

/// C_kn = sqrt(2 / n) cos(pi (i + 1/2) k / n), and 1 / sqrt(n) for k = 0.
[[nodiscard]] DIEM_HOST_DEVICE inline double cosine_entry(index_t k, index_t i, index_t n) {
    const auto size = static_cast<double>(n);
    if (k == 0) return 1 / std::sqrt(size);
    return std::sqrt(2 / size) *
           std::cos(std::numbers::pi * (static_cast<double>(i) + 0.5) * static_cast<double>(k) / size);
}
/// Where the Fourier transform of one axis, which is centred, has coordinate m >= 0.
[[nodiscard]] DIEM_HOST_DEVICE inline index_t centred(index_t m, index_t n) {
    const index_t at = m + n / 2;
    return at < n ? at : at - n;
}
/// Of pixel i in the order i = 0, 2, 4, .. 5, 3, 1, whose Fourier transform, turned, is the cosine transform.
[[nodiscard]] DIEM_HOST_DEVICE inline index_t even_then_odd(index_t i, index_t n) {
    return centred(i % 2 == 0 ? i / 2 : n - (i + 1) / 2, n);
}
/// exp(i pi k / (2 n)).
struct quarter_turn {
    double re, im;
    DIEM_HOST_DEVICE quarter_turn(index_t k, index_t n) {
        const double angle = std::numbers::pi * static_cast<double>(k) / static_cast<double>(2 * n);
        re = std::cos(angle);
        im = std::sin(angle);
    }
    DIEM_HOST_DEVICE void turn(const quarter_turn& by) {
        const double r = re * by.re - im * by.im;
        im = re * by.im + im * by.re;
        re = r;
    }
};

/// Each coefficient of the channels as a plane, its pixels in the order of `even_then_odd`, + 0 i.
struct pixels_to_ordered {
    pixel_runs runs;
    index_t x_stride;
    template <class T>
    DIEM_HOST_DEVICE void operator()(index_t i, const T* x, T* y) const {
        const auto r = runs(i);
        const index_t row = r.first / runs.width;
        const T* const from = x + r.item * x_stride + r.first * runs.images;
        T* const to =
            y + 2 * ((r.item * runs.images + r.image) * runs.height + even_then_odd(row, runs.height)) * runs.width;
        for (index_t c = 0; c < runs.images; ++c) {
            const auto weight = static_cast<T>(cosine_entry(r.image, c, runs.images));
            for (index_t k = 0; k < runs.length; ++k) {
                T* const at = to + 2 * even_then_odd(r.column + k, runs.width);
                at[0] = (c == 0 ? T(0) : at[0]) + weight * from[k * runs.images + c];
                at[1] = 0;
            }
        }
    }
};
/// And back, from the real part.
struct ordered_to_pixels {
    pixel_runs runs;
    index_t x_stride;
    template <class T>
    DIEM_HOST_DEVICE void operator()(index_t i, const T* y, T* x) const {
        const auto r = runs(i);
        const index_t row = r.first / runs.width, plane = runs.height * runs.width;
        T* const to = x + r.item * x_stride + r.first * runs.images + r.image;
        const T* const from = y + 2 * (r.item * runs.images * plane + even_then_odd(row, runs.height) * runs.width);
        for (index_t c = 0; c < runs.images; ++c) {
            const auto weight = static_cast<T>(cosine_entry(c, r.image, runs.images));
            for (index_t k = 0; k < runs.length; ++k) {
                T& at = to[k * runs.images];
                at = (c == 0 ? T(0) : at) + weight * from[2 * (c * plane + even_then_odd(r.column + k, runs.width))];
            }
        }
    }
};
/// z_kl = a_k a_l Re{conj(t_k) (conj(t_l) F_kl + t_l F_k,-l)}, with t_k = exp(i pi k / 2 n), a_0 = 1 / sqrt(2), others 1.
struct ordered_to_cosine {
    pixel_runs runs;
    index_t z_stride;
    template <class T>
    DIEM_HOST_DEVICE void operator()(index_t i, const T* f, T* z) const {
        const auto r = runs(i);
        const index_t row = r.first / runs.width, n = runs.width;
        const T* const from = f + 2 * ((r.item * runs.images + r.image) * runs.height + centred(row, runs.height)) * n;
        T* const to = z + r.item * z_stride + r.first * runs.images + r.image;
        const double half = std::sqrt(0.5), scale = row == 0 ? half : 1;
        const quarter_turn t(row, runs.height), step(1, n);
        quarter_turn u(r.column, n);
        for (index_t k = 0; k < runs.length; ++k, u.turn(step)) {
            const index_t l = r.column + k;
            const T *const p = from + 2 * centred(l, n), *const q = from + 2 * centred(l == 0 ? 0 : n - l, n);
            const double re = u.re * (double(p[0]) + double(q[0])) + u.im * (double(p[1]) - double(q[1]));
            const double im = u.re * (double(p[1]) + double(q[1])) - u.im * (double(p[0]) - double(q[0]));
            to[k * runs.images] = static_cast<T>(scale * (l == 0 ? half : 1) * (t.re * re + t.im * im));
        }
    }
};
/// The transpose: F_kl = a_k t_k t_l (z_kl - i z_k,-l), sqrt(2) a_k t_k z_k0 for l = 0.
struct cosine_to_ordered {
    pixel_runs runs;
    index_t z_stride;
    template <class T>
    DIEM_HOST_DEVICE void operator()(index_t i, const T* z, T* f) const {
        const auto r = runs(i);
        const index_t row = r.first / runs.width, n = runs.width;
        const T* const from = z + r.item * z_stride + row * n * runs.images + r.image;
        T* const to = f + 2 * ((r.item * runs.images + r.image) * runs.height + centred(row, runs.height)) * n;
        const double half = std::sqrt(0.5), scale = row == 0 ? half : 1;
        const quarter_turn step(1, n);
        quarter_turn t(row, runs.height);
        t.turn(quarter_turn(r.column, n));
        for (index_t k = 0; k < runs.length; ++k, t.turn(step)) {
            const index_t l = r.column + k;
            const double re = scale * (l == 0 ? 2 * half : 1) * double(from[l * runs.images]);
            const double im = l == 0 ? 0 : -scale * double(from[(n - l) * runs.images]);
            T* const at = to + 2 * centred(l, n);
            at[0] = static_cast<T>(t.re * re - t.im * im);
            at[1] = static_cast<T>(t.re * im + t.im * re);
        }
    }
};

}  // namespace detail

/// y = C x, the orthonormal cosine transform (DCT-II) along rows, columns and channels of images (height, width, channels):
///
///     y_klm = sum_rsc C_kr C_ls C_mc x_rsc,  C_kr = sqrt(2 / n) cos(pi (r + 1/2) k / n), 1 / sqrt(n) for k = 0
///
/// C is orthogonal: the adjoint is the inverse. Other than a Fourier transform it takes no edge for the neighbour of the
/// opposite one; of red, green and blue it makes grey and two differences of colours. The covariance of natural images
/// is nearly diagonal in it. Throws value_error where a side or the number of channels is below 1. Source: N. Ahmed,
/// T. Natarajan, K. R. Rao, IEEE Trans. Computers 23 (1974); by one Fourier transform: J. Makhoul, IEEE Trans. ASSP 28 (1980).
class cosine {
public:
    using operator_tag = linear_tag;
    cosine(index_t height, index_t width, index_t channels = 1) : height_(height), width_(width), channels_(channels) {
        check_value("cosine", channels >= 1, "the number of channels is below 1");
        size_ = checked_product("cosine", "pixels x channels", detail::pixels_of("cosine", height, width), channels);
    }

    [[nodiscard]] index_t height() const { return height_; }
    [[nodiscard]] index_t width() const { return width_; }
    [[nodiscard]] index_t channels() const { return channels_; }
    [[nodiscard]] index_t rows() const { return size_; }
    [[nodiscard]] index_t cols() const { return size_; }
    [[nodiscard]] index_t items() const { return any_items; }
    [[nodiscard]] cosine items(index_t, index_t) const { return *this; }
    /// x and y may be the same, in both directions.
    template <Backend B>
    void apply(B& b, const_view_t<B> x, view_t<B> y) const {
        check_apply("cosine", *this, x, y);
        transform(b, fft_direction::forward, x, y, detail::pixels_to_ordered{runs<B>(), x.stride()},
                  detail::ordered_to_cosine{runs<B>(), y.stride()});
    }
    template <Backend B>
    void apply_adjoint(B& b, const_view_t<B> y, view_t<B> x) const {
        check_adjoint("cosine", *this, y, x);
        transform(b, fft_direction::inverse, y, x, detail::cosine_to_ordered{runs<B>(), y.stride()},
                  detail::ordered_to_pixels{runs<B>(), x.stride()});
    }

private:
    template <Backend B>
    [[nodiscard]] detail::pixel_runs runs() const {
        return detail::runs_of<B>(height_, width_, channels_);
    }
    template <Backend B, class Before, class After>
    void transform(B& b, fft_direction direction, const_view_t<B> x, view_t<B> y, const Before& before,
                   const After& after) const {
        batch<B> f(b, 2 * size_, x.items());
        const index_t count = before.runs.count(x.items()), work = (2 + channels_) * before.runs.length;
        b.launch(count, work, before, x.data(), f.view().data());
        b.fft2(direction, height_, width_, f.cview(), f.view());
        b.launch(count, work, after, f.cview().data(), y.data());
    }

    index_t height_, width_, channels_, size_ = 0;
};

}  // namespace diem::linop
