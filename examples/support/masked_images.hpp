// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/io/png.hpp>
#include <diem/linop/covariance.hpp>
#include <diem/linop/mask.hpp>
#include <diem/posterior/observation.hpp>
#include <diem/posterior/sample.hpp>
#include <diem/prior/diagnostics.hpp>
#include <diem/prior/moments.hpp>

#include "support/image_batches.hpp"
#include "support/image_grid.hpp"
#include "support/progress.hpp"

/// What the image examples share: images of which some pixels are deleted, baselines, figures, pictures.
namespace support {

/// y = mask x + noise, the truth kept beside it for figures only.
template <diem::Backend B>
struct masked_images {
    image_shape shape;
    diem::batch<B> truth, y, values;  ///< D x n; values: the masks, 0 or 1
    diem::linop::mask<B> mask;
    diem::linop::isotropic_covariance noise;

    [[nodiscard]] diem::index_t items() const { return truth.items(); }
    [[nodiscard]] auto observed(B& b) const { return diem::posterior::observe(b, y.cview(), mask, noise); }
};

/// Deletes each pixel (all its channels) with probability 1 - keep and adds noise of standard deviation sigma_y, in data
/// units. `purpose` keeps the random numbers of two sets apart.
template <diem::Backend B>
[[nodiscard]] masked_images<B> mask_images(B& b, diem::batch<B> truth, const image_shape& shape, double keep,
                                           double sigma_y, std::uint64_t seed, std::uint32_t purpose) {
    const diem::index_t n = truth.features(), items = truth.items();
    diem::batch<B> values(b, n, items), y(b, n, items);
    const diem::random_key key{.seed = seed, .lane = diem::random_lane::user + 2 * purpose};
    diem::linop::draw_mask(b, key, keep, shape.channels, values.view());
    auto mask = diem::linop::mask<B>::per_item(values.cview());
    const diem::linop::isotropic_covariance noise(n, sigma_y * sigma_y);
    diem::posterior::simulate(b, mask, noise, truth.cview(), key.with_lane(key.lane + 1), y.view());
    return {shape, std::move(truth), std::move(y), std::move(values), std::move(mask), noise};
}

/// Mean of the observed values of each feature, known from observations alone; 0 where it was never observed.
template <diem::Backend B>
[[nodiscard]] std::vector<float> observed_means(B& b, const masked_images<B>& data) {
    const auto y = diem::to_host(b, data.y), m = diem::to_host(b, data.values);
    const auto n = static_cast<std::size_t>(data.truth.features());
    std::vector<double> sum(n), count(n);
    for (std::size_t k = 0; k < y.size(); ++k) {
        sum[k % n] += static_cast<double>(m[k]) * static_cast<double>(y[k]);
        count[k % n] += static_cast<double>(m[k]);
    }
    std::vector<float> mean(n);
    for (std::size_t j = 0; j < n; ++j) mean[j] = count[j] > 0 ? static_cast<float>(sum[j] / count[j]) : 0.0F;
    return mean;
}

/// The observation with deleted pixels replaced by `value` (one per feature).
template <diem::Backend B>
[[nodiscard]] diem::batch<B> filled(B& b, const masked_images<B>& data, const std::vector<float>& value) {
    auto y = diem::to_host(b, data.y);
    const auto m = diem::to_host(b, data.values);
    for (std::size_t k = 0; k < y.size(); ++k)
        if (m[k] == 0.0F) y[k] = value[k % value.size()];
    return diem::to_backend(b, y, data.truth.features(), data.items());
}

/// Figures of posterior samples of held-out observations.
struct posterior_figures {
    double sample = 0, mean = 0;  ///< PSNR of one sample, and of the mean of all samples, dB
    diem::prior::lap_diagnostics diagnostics{};
};

/// Draws posterior samples of every observation with any prior and compares with the truth; a bar on the terminal names the
/// prior. `x` receives the samples: sample s n + i belongs to observation i.
template <diem::Backend B, class Model>
posterior_figures sample_held_out(B& b, Model& prior, const masked_images<B>& data,
                                  const diem::posterior::sample_options<B>& how, std::uint64_t seed, diem::batch<B>& x,
                                  const std::string& name) {
    x = diem::batch<B>(b, data.truth.features(), data.items() * how.sampling.samples_per_observation);
    progress bar("posterior samples, " + name, static_cast<long>(x.items()));
    diem::posterior::sample_state state;
    diem::posterior::sample<B>(b, prior, data.observed(b), how, {.seed = seed}, x.view(), state,
                               [&](const auto& s, const auto&) {
                                   bar.update(static_cast<long>(s.done));
                                   return true;
                               });
    bar.finish();
    posterior_figures f;
    f.sample = psnr(b, x.cview().item_range(0, data.items()), data.truth.cview());
    f.mean = psnr(b, mean_of_samples(b, x.cview(), data.items()), data.truth.cview());
    const auto beyond = diem::prior::outside<B>(b, x.cview(), -4, 4);
    f.diagnostics =
        diem::prior::diagnostics_of(state, static_cast<double>(std::count(beyond.begin(), beyond.end(), 1)));
    return f;
}

/// Rows: observed, one sample, mean of the samples, truth; the first `count` held-out images.
template <diem::Backend B>
void save_posterior_picture(B& b, const std::filesystem::path& path, const masked_images<B>& data,
                            diem::const_view_t<B> x, diem::index_t count, diem::index_t scale) {
    const auto mean = mean_of_samples(b, x, data.items());
    diem::io::save_png(path, stack({picture_row(b, data.y.cview().item_range(0, count), data.shape, scale,
                                                data.values.cview().item_range(0, count)),
                                    picture_row(b, x.item_range(0, count), data.shape, scale),
                                    picture_row(b, mean.cview().item_range(0, count), data.shape, scale),
                                    picture_row(b, data.truth.cview().item_range(0, count), data.shape, scale)}));
}

}  // namespace support
