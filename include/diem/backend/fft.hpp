// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <numbers>
#include <utility>
#include <vector>

#include <diem/core/check.hpp>
#include <diem/core/view.hpp>

/// \file
/// The direction of a Fourier transform.
/// \snippet tests/examples/backend.cpp backend/fft.hpp

namespace diem {

/// Of a discrete Fourier transform: exponent -2 pi i, or its inverse +2 pi i.
enum class fft_direction { forward, inverse };

namespace detail {

/// Arguments of `Backend::fft2`: views of one shape, whose features are whole complex images.
template <class P, class Q>
void check_fft2(index_t height, index_t width, const batch_view<P>& x, const batch_view<Q>& y) {
    check_value("fft2", height >= 1 && width >= 1,
                "an image is " + std::to_string(height) + " x " + std::to_string(width) + ", expected at least 1 x 1");
    check_shape("fft2", "y", y, x.features(), x.items());
    const index_t sizes[] = {2, height, width};
    const index_t image = checked_product("fft2", "2 x height x width", sizes);
    if (x.features() % image != 0)
        throw shape_error("fft2: an item has " + std::to_string(x.features()) + " features, expected a multiple of " +
                          std::to_string(image) + " (2 x " + std::to_string(height) + " x " + std::to_string(width) +
                          ")");
}

/// cos and sin of 2 pi k / n, 0 <= k < n. The angle is brought into [0, pi / 4] in integers, so that both are right to the
/// last bit or so and exact on the axes.
inline std::pair<double, double> root_of_unity(index_t k, index_t n) {
    if (8 * k >= 7 * n) {
        const auto [c, s] = root_of_unity(n - k, n);
        return {c, -s};
    }
    const index_t quarter = (8 * k + n) / (2 * n);  // the nearest multiple of pi / 2
    const double angle = std::numbers::pi / 2 * static_cast<double>(4 * k - quarter * n) / static_cast<double>(n);
    const double c = std::cos(angle), s = std::sin(angle);
    switch (quarter) {
        case 0:
            return {c, s};
        case 1:
            return {-s, c};
        case 2:
            return {-c, -s};
        default:
            return {s, -c};
    }
}

/// The centred orthonormal transform of one height x width image by its definition, one axis after the other, in float64.
///     y[u, v] = (H W)^-1/2 sum over i, j of x[i, j] exp(-+ 2 pi i ((u - H/2)(i - H/2) / H + (v - W/2)(j - W/2) / W))
/// with H/2 and W/2 rounded down. x and y are interleaved (re, im) and may be the same.
template <class T>
void fft2_by_definition(fft_direction direction, index_t height, index_t width, const T* x, T* y) {
    const auto at = [](index_t k) { return static_cast<std::size_t>(k); };
    std::vector<double> from(x, x + 2 * height * width), to(from.size());
    const auto axis = [&](index_t n, index_t step, index_t lines, index_t line_step) {
        const index_t centre = n / 2;
        const double sign = direction == fft_direction::forward ? -1 : 1, scale = 1 / std::sqrt(static_cast<double>(n));
        std::vector<std::pair<double, double>> roots;
        for (index_t k = 0; k < n; ++k) roots.push_back(root_of_unity(k, n));
        for (index_t line = 0; line < lines; ++line)
            for (index_t u = 0; u < n; ++u) {
                double re = 0, im = 0;
                for (index_t i = 0; i < n; ++i) {
                    const index_t power = (u - centre) * (i - centre) % n;
                    const auto [c, s] = roots[at(power < 0 ? power + n : power)];
                    const double a = from[at(2 * (line * line_step + i * step))];
                    const double b = from[at(2 * (line * line_step + i * step) + 1)];
                    re += a * c - sign * b * s;
                    im += b * c + sign * a * s;
                }
                to[at(2 * (line * line_step + u * step))] = scale * re;
                to[at(2 * (line * line_step + u * step) + 1)] = scale * im;
            }
        std::swap(from, to);
    };
    axis(width, 1, height, width);
    axis(height, width, width, 1);
    for (std::size_t k = 0; k < from.size(); ++k) y[k] = static_cast<T>(from[k]);
}

}  // namespace detail
}  // namespace diem
