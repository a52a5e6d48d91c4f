// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/metrics/psnr.hpp>

#include "support/image_grid.hpp"

/// Images as batches of float32 of any backend: figures, pictures.
namespace support {

/// 10 log10(range^2 / mean squared error) over all values of all items, dB; the range is that of data in [-2, 2] if not given.
template <diem::Backend B>
[[nodiscard]] double psnr(B& b, diem::const_view_t<B> x, diem::const_view_t<B> truth, double data_range = 4) {
    double sum = 0;
    for (const double e : diem::metrics::mean_squared_error(b, x, truth)) sum += e;
    return 10 * std::log10(data_range * data_range * static_cast<double>(truth.items()) / sum);
}

/// Mean over s of samples s n + i.
template <diem::Backend B>
[[nodiscard]] diem::batch<B> mean_of_samples(B& b, diem::const_view_t<B> x, diem::index_t items) {
    diem::batch<B> mean(b, x.features(), items);
    const diem::index_t count = x.items() / items;
    b.fill(mean.view(), 0.0F);
    for (diem::index_t s = 0; s < count; ++s)
        b.axpby(1.0 / static_cast<double>(count), x.item_range(s * items, items), 1.0, mean.view());
    return mean;
}

/// Images as a picture, in rows of `columns` (0: all in one row); `masks` (or an empty view): deleted pixels are shown as such.
template <diem::Backend B>
[[nodiscard]] image picture_row(B& b, diem::const_view_t<B> x, const image_shape& shape, diem::index_t scale,
                                diem::const_view_t<B> masks = {}, diem::index_t columns = 0) {
    const auto host = diem::to_host(b, x);
    const std::vector<float> hidden = masks.items() > 0 ? diem::to_host(b, masks) : std::vector<float>{};
    const diem::host_view<const float> view(host.data(), x.features(), x.items());
    const diem::host_view<const float> mask =
        hidden.empty() ? diem::host_view<const float>{}
                       : diem::host_view<const float>(hidden.data(), x.features(), x.items());
    return image_grid<float>(view, shape, {.columns = columns > 0 ? columns : x.items(), .scale = scale, .gap = scale},
                             mask);
}

}  // namespace support
