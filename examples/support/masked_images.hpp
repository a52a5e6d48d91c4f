// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/linop/covariance.hpp>
#include <diem/linop/mask.hpp>
#include <diem/posterior/observation.hpp>

#include "support/image_batches.hpp"
#include "support/image_grid.hpp"
#include "support/posterior_figures.hpp"
#include "support/report.hpp"

/// Images of which some pixels are deleted.
namespace support {

/// y = mask x + noise, the truth kept beside it for figures only.
template <diem::Backend B>
struct masked_images {
    image_shape shape;
    diem::batch<B> truth, y, values;  ///< D x n; values: the masks, 0 or 1
    diem::linop::mask<B> mask;
    diem::linop::isotropic_covariance noise;
    static constexpr bool closed_form = true;  ///< of p(x | y) under a Gaussian
    static constexpr const char* pictured = "observed (grey: hidden)";

    [[nodiscard]] diem::index_t items() const { return truth.items(); }
    [[nodiscard]] auto observed(B& b) const { return diem::posterior::observe(b, y.cview(), mask, noise); }
    /// As a user sees the first `count` observations.
    [[nodiscard]] image picture(B& b, diem::index_t count, diem::index_t scale) const {
        return picture_row(b, y.cview().item_range(0, count), shape, scale, values.cview().item_range(0, count));
    }
    /// Restored without a prior, with what is known from the observations `train`.
    [[nodiscard]] std::vector<baseline<B>> baselines(B& b, const masked_images& train) const {
        const auto means = observed_means(b, train);
        std::vector<baseline<B>> out;
        out.push_back(
            {"deleted pixels zero", "psnr_zero_fill_db", filled(b, *this, std::vector<float>(means.size(), 0.0F))});
        out.push_back({"deleted pixels at their mean", "psnr_mean_fill_db", filled(b, *this, means)});
        return out;
    }
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

/// "images with 75 % of their pixels deleted"
[[nodiscard]] inline std::string deleted_pixels(double keep) {
    return "images with " + number(100 * (1 - keep), 0) + " % of their pixels deleted";
}

}  // namespace support
