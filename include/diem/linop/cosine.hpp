// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <numbers>

#include <diem/linop/image_transform.hpp>

/// \file
/// The cosine transform: coefficients of images that are not periodic.
/// \snippet tests/examples/linop.cpp linop/cosine.hpp

namespace diem::linop {

namespace detail {

/// What the transform multiplies by, for all items: C_mc of channels, then exp(i pi k / (2 n)) for the rows and for the columns.
struct cosine_table {
    index_t height, width, channels;
    [[nodiscard]] index_t size() const { return channels * channels + 2 * (height + width); }
    [[nodiscard]] DIEM_HOST_DEVICE const double* rows(const double* t) const { return t + channels * channels; }
    [[nodiscard]] DIEM_HOST_DEVICE const double* columns(const double* t) const { return rows(t) + 2 * height; }
    DIEM_HOST_DEVICE void operator()(index_t i, double* t) const {
        if (i < channels * channels) {
            const index_t m = i / channels, c = i % channels;
            const auto n = static_cast<double>(channels);
            const double angle = std::numbers::pi * (static_cast<double>(c) + 0.5) * static_cast<double>(m) / n;
            t[i] = std::sqrt((m == 0 ? 1 : 2) / n) * std::cos(angle);
            return;
        }
        const index_t j = i - channels * channels;
        const bool row = j < height;
        const double angle = std::numbers::pi * static_cast<double>(row ? j : j - height) /
                             static_cast<double>(2 * (row ? height : width));
        t[channels * channels + 2 * j] = std::cos(angle);
        t[channels * channels + 2 * j + 1] = std::sin(angle);
    }
    [[nodiscard]] index_t count() const { return channels * channels + height + width; }
};

/// Where the Fourier transform of an axis, which is centred, has coordinate m >= 0.
[[nodiscard]] DIEM_HOST_DEVICE inline index_t centred(index_t m, index_t n) {
    const index_t at = m + n / 2;
    return at < n ? at : at - n;
}
/// The order of pixels whose Fourier transform, turned, is the cosine transform: .., 5, 3, 1, 0, 2, 4, ... with 0 at the origin, the
/// centre. Where pixel i is, and which one is at p.
[[nodiscard]] DIEM_HOST_DEVICE inline index_t place_of(index_t i, index_t n) {
    return i % 2 == 0 ? n / 2 + i / 2 : n / 2 - (i + 1) / 2;
}
[[nodiscard]] DIEM_HOST_DEVICE inline index_t pixel_at(index_t p, index_t n) {
    return p >= n / 2 ? 2 * (p - n / 2) : 2 * (n / 2 - p) - 1;
}

/// Each coefficient of the channels as a plane of complex numbers, its pixels in that order.
struct pixels_to_ordered {
    pixel_runs runs;
    index_t x_stride;
    template <class T>
    DIEM_HOST_DEVICE void operator()(index_t i, const double* table, const T* x, T* y) const {
        const auto r = runs(i);
        const index_t row = r.first / runs.width, channels = runs.images;
        const double* const weights = table + r.image * channels;
        const T* const from = x + r.item * x_stride + pixel_at(row, runs.height) * runs.width * channels;
        T* const to = y + 2 * (runs.plane_row(r, row) + r.column);
        for (index_t k = 0; k < runs.length; ++k) {
            const T* const pixel = from + pixel_at(r.column + k, runs.width) * channels;
            T sum = 0;
            for (index_t c = 0; c < channels; ++c) sum += static_cast<T>(weights[c]) * pixel[c];
            to[2 * k] = sum;
            to[2 * k + 1] = 0;
        }
    }
};
/// And back, from the real part.
struct ordered_to_pixels {
    pixel_runs runs;
    index_t x_stride;
    template <class T>
    DIEM_HOST_DEVICE void operator()(index_t i, const double* table, const T* y, T* x) const {
        const auto r = runs(i);
        const index_t row = r.first / runs.width, channels = runs.images, plane = 2 * runs.height * runs.width;
        T* const to = x + r.item * x_stride + r.first * channels + r.image;
        const T* const from = y + r.item * channels * plane + 2 * place_of(row, runs.height) * runs.width;
        for (index_t k = 0; k < runs.length; ++k) {
            const T* const pixel = from + 2 * place_of(r.column + k, runs.width);
            T sum = 0;
            for (index_t c = 0; c < channels; ++c)
                sum += static_cast<T>(table[c * channels + r.image]) * pixel[c * plane];
            to[k * channels] = sum;
        }
    }
};
/// z_kl = a_k a_l Re{conj(t_k) (conj(u_l) F_kl + u_l F_k,-l)}, t and u of the table, a_0 = 1 / sqrt(2), others 1.
struct ordered_to_cosine {
    pixel_runs runs;
    cosine_table of;
    index_t z_stride;
    template <class T>
    DIEM_HOST_DEVICE void operator()(index_t i, const double* table, const T* f, T* z) const {
        const auto r = runs(i);
        const index_t row = r.first / runs.width, n = runs.width;
        const T* const from = f + 2 * runs.plane_row(r, centred(row, runs.height));
        T* const to = z + r.item * z_stride + r.first * runs.images + r.image;
        const double half = std::sqrt(0.5);
        const double *const t = of.rows(table) + 2 * row, *const u = of.columns(table) + 2 * r.column;
        const auto t_re = static_cast<T>(t[0] * (row == 0 ? half : 1)),
                   t_im = static_cast<T>(t[1] * (row == 0 ? half : 1));
        for (index_t k = 0; k < runs.length; ++k) {
            const index_t l = r.column + k;
            const T *const p = from + 2 * centred(l, n), *const q = from + 2 * centred(l == 0 ? 0 : n - l, n);
            const auto u_re = static_cast<T>(u[2 * k]), u_im = static_cast<T>(u[2 * k + 1]);
            const T re = u_re * (p[0] + q[0]) + u_im * (p[1] - q[1]);
            const T im = u_re * (p[1] + q[1]) - u_im * (p[0] - q[0]);
            to[k * runs.images] = static_cast<T>(l == 0 ? half : 1) * (t_re * re + t_im * im);
        }
    }
};
/// The transpose: F_kl = a_k t_k u_l (z_kl - i z_k,-l), sqrt(2) a_k t_k z_k0 for l = 0.
struct cosine_to_ordered {
    pixel_runs runs;
    cosine_table of;
    index_t z_stride;
    template <class T>
    DIEM_HOST_DEVICE void operator()(index_t i, const double* table, const T* z, T* f) const {
        const auto r = runs(i);
        const index_t row = r.first / runs.width, n = runs.width;
        const T* const from = z + r.item * z_stride + row * n * runs.images + r.image;
        T* const to = f + 2 * runs.plane_row(r, centred(row, runs.height));
        const double scale = row == 0 ? std::sqrt(0.5) : 1;
        const double *const t = of.rows(table) + 2 * row, *const u = of.columns(table) + 2 * r.column;
        for (index_t k = 0; k < runs.length; ++k) {
            const index_t l = r.column + k;
            const auto w_re = static_cast<T>(scale * (t[0] * u[2 * k] - t[1] * u[2 * k + 1])),
                       w_im = static_cast<T>(scale * (t[0] * u[2 * k + 1] + t[1] * u[2 * k]));
            const T re = from[l * runs.images] * static_cast<T>(l == 0 ? std::sqrt(2.0) : 1);
            const T im = l == 0 ? T(0) : -from[(n - l) * runs.images];
            T* const at = to + 2 * centred(l, n);
            at[0] = w_re * re - w_im * im;
            at[1] = w_re * im + w_im * re;
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
class cosine : public detail::image_transform {
public:
    using operator_tag = linear_tag;
    cosine(index_t height, index_t width, index_t channels = 1) : image_transform("cosine", height, width, channels) {}

    using image_transform::items;
    [[nodiscard]] cosine items(index_t, index_t) const { return *this; }
    /// x and y may be the same, in both directions.
    template <Backend B>
    void apply(B& b, const_view_t<B> x, view_t<B> y) const {
        check_apply("cosine", *this, x, y);
        transform(b, fft_direction::forward, x, y, detail::pixels_to_ordered{runs<B>(), x.stride()},
                  detail::ordered_to_cosine{runs<B>(), table(), y.stride()});
    }
    template <Backend B>
    void apply_adjoint(B& b, const_view_t<B> y, view_t<B> x) const {
        check_adjoint("cosine", *this, y, x);
        transform(b, fft_direction::inverse, y, x, detail::cosine_to_ordered{runs<B>(), table(), y.stride()},
                  detail::ordered_to_pixels{runs<B>(), x.stride()});
    }

private:
    [[nodiscard]] detail::cosine_table table() const { return {height(), width(), channels()}; }
    template <Backend B, class Before, class After>
    void transform(B& b, fft_direction direction, const_view_t<B> x, view_t<B> y, const Before& before,
                   const After& after) const {
        batch<B, double> t(b, table().size(), 1);
        batch<B> f(b, 2 * rows(), x.items());
        const index_t count = before.runs.count(x.items()), work = (2 + channels()) * before.runs.length;
        b.launch(table().count(), 64, table(), t.view().data());
        b.launch(count, work, before, t.cview().data(), x.data(), f.view().data());
        b.fft2(direction, height(), width(), f.cview(), f.view());
        b.launch(count, work, after, t.cview().data(), f.cview().data(), y.data());
    }
};

}  // namespace diem::linop
