// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/io/json.hpp>
#include <diem/io/png.hpp>
#include <diem/metrics/calibration.hpp>
#include <diem/metrics/psnr.hpp>
#include <diem/metrics/ssim.hpp>
#include <diem/posterior/sample.hpp>
#include <diem/prior/diagnostics.hpp>
#include <diem/prior/moments.hpp>

#include "support/image_batches.hpp"
#include "support/image_grid.hpp"
#include "support/progress.hpp"
#include "support/report.hpp"

/// Posterior samples of images that were held out: drawn, compared with the truth, shown. `Images` are observations with their
/// truth beside them: `shape`, `truth` (D x n), `items()`, `observed(b)`, `picture(b, count, scale)` and what it shows (`pictured`),
/// `baselines(b, train)`, `closed_form`.
namespace support {

/// Images restored without a prior; `key`: of their PSNR in the report.
template <diem::Backend B>
struct baseline {
    std::string title, key;
    diem::batch<B> x;
};

/// One set to restore, which needs no name in tables.
template <class Images>
[[nodiscard]] std::vector<std::pair<std::string, Images>> one_set(Images images) {
    std::vector<std::pair<std::string, Images>> out;
    out.emplace_back("", std::move(images));
    return out;
}

/// Draws posterior samples of every observation with any prior; a bar on the terminal names the prior. `x` receives the
/// samples: sample s n + i belongs to observation i. `ranks` share them.
template <diem::Backend B, class Model, class Images>
diem::prior::lap_diagnostics sample_held_out(B& b, Model& prior, const Images& data,
                                             const diem::posterior::sample_options<B>& how, std::uint64_t seed,
                                             diem::batch<B>& x, const std::string& name,
                                             const diem::parallel::any_communicator& ranks = {}) {
    x = diem::batch<B>(b, data.truth.features(), data.items() * how.sampling.samples_per_observation);
    progress bar("posterior samples, " + name, static_cast<long>(x.items()));
    diem::posterior::sample_state state;
    const auto show = [&](const auto& s, const auto&) {
        bar.update(static_cast<long>(s.done));
        return true;
    };
    diem::posterior::sample<B>(b, prior, data.observed(b), how, {.seed = seed}, x.view(), state, show, ranks);
    bar.finish();
    const auto beyond = diem::prior::outside<B>(b, x.cview(), -4, 4);
    return diem::prior::diagnostics_of(state, static_cast<double>(std::count(beyond.begin(), beyond.end(), 1)));
}

/// How near restored images are to the truth.
struct restoration {
    double psnr = 0;               ///< dB, range 4
    std::optional<double> ssim{};  ///< where it was taken
};

/// A copy of x with values brought to [-2, 2].
template <diem::Backend B>
[[nodiscard]] diem::batch<B> clipped(B& b, diem::const_view_t<B> x) {
    diem::batch<B> out(b, x.features(), x.items());
    b.copy(x, out.view());
    diem::prior::clip_samples<B>(b, out.view(), -2, 2);
    return out;
}

/// Means over images, which are `clipped`.
template <diem::Backend B>
[[nodiscard]] restoration mean_restoration(B& b, diem::const_view_t<B> x, diem::const_view_t<B> truth,
                                           const image_shape& shape) {
    return {mean_of(diem::metrics::psnr(b, x, truth, 4)),
            mean_of(diem::metrics::ssim(b, x, truth, {shape.height, shape.width, shape.channels}, {.data_range = 4}))};
}

/// Samples in the order of diem::metrics: sample s of observation i is i r + s.
template <diem::Backend B>
[[nodiscard]] diem::batch<B> by_observation(B& b, diem::const_view_t<B> x, diem::index_t items) {
    const diem::index_t repeats = x.items() / items;
    diem::batch<B> out(b, x.features(), x.items());
    for (diem::index_t s = 0; s < repeats; ++s)
        for (diem::index_t i = 0; i < items; ++i)
            b.copy(x.item_range(s * items + i, 1), out.view().item_range(i * repeats + s, 1));
    return out;
}

/// {"0.5": share, ...}: how often the central intervals of a pixel's samples hold its truth.
template <diem::Backend B>
[[nodiscard]] diem::io::json coverage_of_samples(B& b, diem::const_view_t<B> x, diem::const_view_t<B> truth) {
    const auto ordered = by_observation(b, x, truth.items());
    const auto ranks = diem::metrics::rank_truth<B>(b, ordered.cview(), truth);
    diem::io::json out = diem::io::json::object();
    for (const char* level : {"0.5", "0.8", "0.95"}) out[level] = ranks.coverage(std::stod(level));
    return out;
}

/// The standard deviation of the samples of the first `count` of `mean.items()` observations, as a picture: black 0, white 1 (a
/// quarter of the range).
template <diem::Backend B>
[[nodiscard]] diem::batch<B> deviation_of_samples(B& b, diem::const_view_t<B> x, diem::const_view_t<B> mean,
                                                  diem::index_t count) {
    const diem::index_t repeats = x.items() / mean.items();
    const auto middle = diem::to_host(b, mean.item_range(0, count));
    std::vector<double> squares(middle.size(), 0.0);
    for (diem::index_t s = 0; s < repeats; ++s) {
        const auto host = diem::to_host(b, x.item_range(s * mean.items(), count));
        for (std::size_t k = 0; k < host.size(); ++k) {
            const double d = static_cast<double>(host[k]) - static_cast<double>(middle[k]);
            squares[k] += d * d;
        }
    }
    std::vector<float> out;
    for (const double sum : squares)
        out.push_back(
            static_cast<float>(4 * std::sqrt(sum / static_cast<double>(std::max<diem::index_t>(1, repeats - 1))) - 2));
    return diem::to_backend(b, out, x.features(), count);
}

/// Rows: observed, one sample, `mean` of the samples, their standard deviation (where `deviation`), truth; the first `count`.
template <diem::Backend B, class Images>
void save_posterior_picture(B& b, const std::filesystem::path& path, const Images& data, diem::const_view_t<B> x,
                            diem::const_view_t<B> mean, diem::index_t count, diem::index_t scale, bool deviation) {
    const auto row = [&](diem::const_view_t<B> v) { return picture_row(b, v.item_range(0, count), data.shape, scale); };
    std::vector<image> rows{data.picture(b, count, scale), row(x), row(mean)};
    if (deviation) rows.push_back(row(deviation_of_samples(b, x, mean, count).cview()));
    rows.push_back(row(data.truth.cview()));
    diem::io::save_png(path, stack(rows));
}

}  // namespace support
