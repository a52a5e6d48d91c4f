// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/backend/concept.hpp>
#include <diem/core/check.hpp>

/// \file
/// Structural similarity of images.
/// \snippet tests/examples/metrics.cpp metrics/ssim.hpp

namespace diem::metrics {

/// Shape of the images in a batch: height-width-channel inside an item.
struct image_shape {
    index_t height = 0, width = 0, channels = 1;
    [[nodiscard]] index_t size() const { return height * width * channels; }
};

struct ssim_options {
    double data_range = 0;  ///< greatest minus least possible value, to be given: 4 for images in [-2, 2]
    index_t window = 7;     ///< side of the uniform square window, odd, in pixels
    double k1 = 0.01, k2 = 0.03;
};

namespace detail {
/// Mean of the structural similarity over all windows inside one channel.
template <class T>
double channel_ssim(const T* x, const T* y, const image_shape& shape, const ssim_options& o) {
    const double c1 = o.k1 * o.data_range * o.k1 * o.data_range, c2 = o.k2 * o.data_range * o.k2 * o.data_range;
    const double n = static_cast<double>(o.window * o.window);
    double total = 0;
    for (index_t top = 0; top + o.window <= shape.height; ++top)
        for (index_t left = 0; left + o.window <= shape.width; ++left) {
            const auto over_window = [&](auto&& f) {
                for (index_t r = top; r < top + o.window; ++r)
                    for (index_t c = left; c < left + o.window; ++c) {
                        const index_t k = (r * shape.width + c) * shape.channels;
                        f(static_cast<double>(x[k]), static_cast<double>(y[k]));
                    }
            };
            double mx = 0, my = 0, vx = 0, vy = 0, vxy = 0;
            over_window([&](double a, double b) {
                mx += a / n;
                my += b / n;
            });
            over_window([&](double a, double b) {
                vx += (a - mx) * (a - mx) / (n - 1);
                vy += (b - my) * (b - my) / (n - 1);
                vxy += (a - mx) * (b - my) / (n - 1);
            });
            total += (2 * mx * my + c1) * (2 * vxy + c2) / ((mx * mx + my * my + c1) * (vx + vy + c2));
        }
    return total / static_cast<double>((shape.height - o.window + 1) * (shape.width - o.window + 1));
}
}  // namespace detail

/// Structural similarity, one number per item, computed on the host in float64:
///
///     SSIM = (2 m_x m_y + c_1) (2 s_xy + c_2) / ((m_x^2 + m_y^2 + c_1) (s_x^2 + s_y^2 + c_2)),   c_i = (k_i range)^2
///
/// with mean m, variance s^2 and covariance s_xy (divisor count - 1) in a uniform window of 7 x 7 pixels, averaged over
/// the windows that lie inside the image, then over channels: what scikit-image's `structural_similarity` gives with its
/// defaults, `channel_axis=-1` and this `data_range`. Source: Wang, Bovik, Sheikh, Simoncelli 2004 (there with a
/// Gaussian window).
template <Backend B>
[[nodiscard]] std::vector<double> ssim(B& backend, const_view_t<B> x, const_view_t<B> y, const image_shape& shape,
                                       const ssim_options& options) {
    check_positive("ssim", "data_range", options.data_range);
    check_shape("ssim", "y", y, x.features(), x.items());
    check_size("ssim", "x.features()", x.features(), shape.size());
    check_value("ssim", options.window >= 3 && options.window % 2 == 1, "window must be odd and at least 3");
    check_value("ssim", shape.channels > 0 && shape.height >= options.window && shape.width >= options.window,
                "images of " + std::to_string(shape.height) + " x " + std::to_string(shape.width) +
                    " pixels are smaller than the window, " + std::to_string(options.window));
    const auto a = to_host(backend, x), b = to_host(backend, y);
    std::vector<double> out;
    for (index_t i = 0; i < x.items(); ++i) {
        double sum = 0;
        for (index_t c = 0; c < shape.channels; ++c)
            sum +=
                detail::channel_ssim(a.data() + i * shape.size() + c, b.data() + i * shape.size() + c, shape, options);
        out.push_back(sum / static_cast<double>(shape.channels));
    }
    return out;
}

}  // namespace diem::metrics
