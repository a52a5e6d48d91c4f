// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <vector>

#include <diem/backend/concept.hpp>
#include <diem/core/check.hpp>
#include <diem/nn/detail/loops.hpp>
#include <diem/nn/resample.hpp>
#include <diem/nn/update.hpp>

/// \file
/// Images halved and doubled behind a separable filter of an even number of taps f, sum 1 (zeros outside the image): adjoint to one
/// another up to a factor, each its own JVP. f = (1, 1) / 2: averages of 2 x 2 pixels, and nearest neighbours.
///
///     down[i, j] = sum over p, q of f_p f_q x[2 i + p - margin, 2 j + q - margin]
///     up = 4 down'
///
/// \snippet tests/examples/nn.cpp nn/filtered_resample.hpp

namespace diem::nn {

struct resample_filter {
    static constexpr int most = 8;
    double taps[most] = {0.5, 0.5};
    int length = 2;

    /// Of weights, which are divided by their sum. Throws value_error.
    [[nodiscard]] static resample_filter of(const std::vector<double>& weights) {
        resample_filter f;
        f.length = static_cast<int>(weights.size());
        check_value("nn::resample_filter", weights.size() >= 2 && weights.size() % 2 == 0 && weights.size() <= most,
                    "the number of taps is not 2, 4, 6 or 8");
        double sum = 0;
        for (const double w : weights) sum += w;
        check_value("nn::resample_filter", std::isfinite(sum) && sum > 0, "the sum of the taps is not positive");
        for (std::size_t k = 0; k < weights.size(); ++k) f.taps[k] = weights[k] / sum;
        return f;
    }
    /// The margin with which images are exactly halved.
    [[nodiscard]] constexpr index_t margin() const { return (length - 1) / 2; }
};

/// `fine` is the larger image.
struct resample_shape {
    image_shape fine;
    resample_filter filter;
    index_t margin;
    [[nodiscard]] constexpr image_shape coarse() const {
        return {(fine.height + 2 * margin - filter.length) / 2 + 1, (fine.width + 2 * margin - filter.length) / 2 + 1,
                fine.channels};
    }
};

namespace detail {
template <class T>
struct filter_down_body {  // one pixel of the coarse image
    resample_shape s;
    index_t rows, columns;
    T factor;
    bool add;
    DIEM_HOST_DEVICE void operator()(index_t i, const T* x, T* y_) const {
        const auto [item, u, v] = pixel_at(i, rows, columns);
        const index_t c = s.fine.channels;
        T* const y = y_ + i * c;
        if (!add)
            for (index_t j = 0; j < c; ++j) y[j] = 0;
        for (index_t p = 0; p < s.filter.length; ++p)
            for (index_t q = 0; q < s.filter.length; ++q) {
                const index_t r = 2 * u + p - s.margin, t = 2 * v + q - s.margin;
                if (r < 0 || r >= s.fine.height || t < 0 || t >= s.fine.width) continue;
                const T w = factor * static_cast<T>(s.filter.taps[p] * s.filter.taps[q]);
                const T* const from = x + ((item * s.fine.height + r) * s.fine.width + t) * c;
                DIEM_IVDEP
                for (index_t j = 0; j < c; ++j) y[j] += w * from[j];
            }
    }
};
template <class T>
struct filter_up_body {  // one pixel of the fine image
    resample_shape s;
    index_t rows, columns;
    T factor;
    bool add;
    DIEM_HOST_DEVICE void operator()(index_t i, const T* x, T* y_) const {
        const auto [item, r, t] = pixel_at(i, s.fine.height, s.fine.width);
        const index_t c = s.fine.channels;
        T* const y = y_ + i * c;
        if (!add)
            for (index_t j = 0; j < c; ++j) y[j] = 0;
        for (index_t p = (r + s.margin) % 2; p < s.filter.length; p += 2)
            for (index_t q = (t + s.margin) % 2; q < s.filter.length; q += 2) {
                if (r + s.margin < p || t + s.margin < q) continue;
                const index_t u = (r + s.margin - p) / 2, v = (t + s.margin - q) / 2;
                if (u >= rows || v >= columns) continue;
                const T w = factor * static_cast<T>(s.filter.taps[p] * s.filter.taps[q]);
                const T* const from = x + ((item * rows + u) * columns + v) * c;
                DIEM_IVDEP
                for (index_t j = 0; j < c; ++j) y[j] += w * from[j];
            }
    }
};
template <class Body, Backend B>
void filter_image(B& b, const char* where, const resample_shape& s, bool down, double factor, const_view_t<B> x,
                  view_t<B> y, update mode) {
    const image_shape coarse = s.coarse(), &in = down ? s.fine : coarse, &out = down ? coarse : s.fine;
    check_size(where, "x.features()", x.features(), in.features());
    check_shape(where, "y", y, out.features(), x.items());
    check_value(where, x.contiguous() && y.contiguous(), "x and y are not contiguous");
    b.launch(out.pixels() * x.items(), s.filter.length * s.filter.length * out.channels,
             Body{s, coarse.height, coarse.width, static_cast<scalar_t<B>>(factor), mode == update::accumulate},
             x.data(), y.data());
}
}  // namespace detail

/// y (coarse) = factor down(x); with factor 4 the adjoint of `filter_up`.
template <Backend B>
void filter_down(B& b, const resample_shape& s, const_view_t<B> x, view_t<B> y, double factor = 1,
                 update mode = update::overwrite) {
    detail::filter_image<detail::filter_down_body<scalar_t<B>>>(b, "nn::filter_down", s, true, factor, x, y, mode);
}
/// y (fine) = factor down'(x); with factor 1 the adjoint of `filter_down`.
template <Backend B>
void filter_up(B& b, const resample_shape& s, const_view_t<B> x, view_t<B> y, double factor = 4,
               update mode = update::overwrite) {
    detail::filter_image<detail::filter_up_body<scalar_t<B>>>(b, "nn::filter_up", s, false, factor, x, y, mode);
}

}  // namespace diem::nn
