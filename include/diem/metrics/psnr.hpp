// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/backend/concept.hpp>
#include <diem/backend/functors.hpp>
#include <diem/core/check.hpp>

/// \file
/// Mean squared error, and the peak signal-to-noise ratio.
/// \snippet tests/examples/metrics.cpp metrics/psnr.hpp

namespace diem::metrics {

/// Mean over the features of (x - y)^2, one number per item, summed in float64.
template <Backend B>
[[nodiscard]] std::vector<double> mean_squared_error(B& backend, const_view_t<B> x, const_view_t<B> y) {
    check_shape("mean_squared_error", "y", y, x.features(), x.items());
    check_value("mean_squared_error", x.features() > 0, "items have no features");
    batch<B> difference(backend, x.features(), x.items());
    batch<B, double> sum(backend, x.items(), 1);
    backend.map(functors::difference{}, difference.view(), x, y);
    backend.dot(difference.cview(), difference.cview(), sum.flat());
    auto out = to_host(backend, sum);
    for (double& value : out) value /= static_cast<double>(x.features());
    return out;
}

/// Peak signal-to-noise ratio 10 log10(range^2 / mean squared error) in decibels, one number per item; infinite where x
/// equals y. `data_range` is the distance between the least and the greatest possible value: 4 for images in [-2, 2], 255
/// for bytes.
template <Backend B>
[[nodiscard]] std::vector<double> psnr(B& backend, const_view_t<B> x, const_view_t<B> y, double data_range) {
    check_positive("psnr", "data_range", data_range);
    auto out = mean_squared_error(backend, x, y);
    for (double& value : out) value = 10 * std::log10(data_range * data_range / value);
    return out;
}

}  // namespace diem::metrics
