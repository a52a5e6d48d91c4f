// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include <diem/linop/image.hpp>

namespace diem::linop {

namespace detail {
/// Area, left of t, of a square of side 1 about 0 that is seen along a direction of |cos| a and |sin| c: the integral
/// of a box of width a folded with one of width c, which is a trapezoid.
[[nodiscard]] inline double shadow_left_of(double t, double a, double c) {
    const double wide = std::max(a, c), narrow = std::min(a, c), outer = (wide + narrow) / 2,
                 inner = (wide - narrow) / 2;
    const double s = std::abs(t);
    double half;  // area between 0 and |t|
    if (s <= inner || narrow == 0)
        half = std::min(s, outer) / wide;
    else if (s < outer)
        half = 0.5 - (outer - s) * (outer - s) / (2 * wide * narrow);
    else
        half = 0.5;
    return t < 0 ? 0.5 - half : 0.5 + half;
}
}  // namespace detail

/// The Radon transform by parallel beams: (angles, detectors, channels) of
///     y[k, d] = area of image under the strip of detector d seen at angle k / width of the strip,
/// integrals over strips of width 1 (pixels), through an image of square pixels: exact for such images, and its adjoint
/// is the transposed matrix (a matched pair). At angle t the position of a point is x cos t + y sin t, x to the right
/// and y upwards from the centre of the image; the detectors lie symmetrically about 0. What falls beside them is lost;
/// `detectors` >= the image's diagonal loses nothing. Made on the host; about 3 entries of 16 bytes for each pixel and
/// angle.
template <Backend B>
[[nodiscard]] sparse<B> radon(B& b, const image_extent& image, const std::vector<double>& degrees, index_t detectors) {
    detail::check_image("radon", image);
    check_value("radon", detectors >= 1, "detectors is below 1");
    std::vector<sparse_entry> entries;
    std::vector<scalar_t<B>> weights;
    for (std::size_t k = 0; k < degrees.size(); ++k) {
        const double angle = degrees[k] * 3.14159265358979323846 / 180;
        double cosine = std::cos(angle), sine = std::sin(angle);
        if (std::abs(cosine) < 1e-12) cosine = 0;
        if (std::abs(sine) < 1e-12) sine = 0;
        const double reach = (std::abs(cosine) + std::abs(sine)) / 2;
        for (index_t i = 0; i < image.height; ++i)
            for (index_t j = 0; j < image.width; ++j) {
                const double x = static_cast<double>(j) - static_cast<double>(image.width - 1) / 2;
                const double y = static_cast<double>(image.height - 1) / 2 - static_cast<double>(i);
                // In units of detectors, detector d from d to d + 1.
                const double t = x * cosine + y * sine + static_cast<double>(detectors) / 2;
                for (auto d = static_cast<index_t>(std::floor(t - reach)); static_cast<double>(d) < t + reach; ++d) {
                    const double at = static_cast<double>(d) - t;
                    const double w = detail::shadow_left_of(at + 1, std::abs(cosine), std::abs(sine)) -
                                     detail::shadow_left_of(at, std::abs(cosine), std::abs(sine));
                    if (d < 0 || d >= detectors || !(w > 1e-14)) continue;
                    entries.push_back({static_cast<index_t>(k) * detectors + d, i * image.width + j,
                                       static_cast<index_t>(weights.size())});
                    weights.push_back(static_cast<scalar_t<B>>(w));
                }
            }
    }
    auto places = std::make_shared<const typename sparse<B>::pattern>(
        b, static_cast<index_t>(degrees.size()) * detectors, image.pixels(), entries);
    const auto count = static_cast<index_t>(weights.size());
    return sparse<B>::shared(std::move(places), to_backend(b, weights, count, 1), 1, image.channels);
}

}  // namespace diem::linop
