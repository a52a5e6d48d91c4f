// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/core/check.hpp>
#include <diem/linop/covariance.hpp>
#include <diem/linop/mri.hpp>
#include <diem/posterior/observation.hpp>

#include "support/image_batches.hpp"
#include "support/image_grid.hpp"
#include "support/numpy_random.hpp"
#include "support/posterior_figures.hpp"

/// Slices of which some columns of k-space were measured.
namespace mri {

using namespace diem;

/// Which columns: width / acceleration in all, `centre` of them in the middle, the others at random.
struct columns {
    index_t acceleration = 4, centre = 10;
};

/// Of slice `seed`: the choice of numpy.random.RandomState(seed), so that scripts in Python can measure the same columns.
[[nodiscard]] inline std::vector<float> column_mask(index_t width, const columns& c, std::uint32_t seed) {
    const index_t n = width / c.acceleration, first = width / 2 - c.centre / 2;
    check_value("mask", c.centre >= 0 && c.centre <= n,
                "\"centre\" is " + std::to_string(c.centre) + ", and \"acceleration\" " +
                    std::to_string(c.acceleration) + " leaves " + std::to_string(n) + " of " + std::to_string(width) +
                    " columns in all");
    std::vector<float> mask(static_cast<std::size_t>(width), 0.0F);
    std::vector<index_t> rest;
    for (index_t x = 0; x < width; ++x)
        if (x >= first && x < first + c.centre)
            mask[static_cast<std::size_t>(x)] = 1;
        else
            rest.push_back(x);
    const auto order = support::numpy_permutation(seed, static_cast<index_t>(rest.size()));
    for (index_t k = 0; k < n - c.centre; ++k)
        mask[static_cast<std::size_t>(rest[static_cast<std::size_t>(order[static_cast<std::size_t>(k)])])] = 1;
    return mask;
}

/// y = mask F x + noise, one coil, real images; the truth kept beside it for figures only.
template <Backend B>
struct kspace_images {
    support::image_shape shape;
    batch<B> truth, y;
    linop::mri<B> forward;
    linop::isotropic_covariance noise;
    static constexpr bool closed_form = false;
    static constexpr const char* pictured = "zero filled";

    [[nodiscard]] index_t items() const { return truth.items(); }
    [[nodiscard]] auto observed(B& b) const { return posterior::observe(b, y.cview(), forward, noise); }
    /// Of the first `count`, A' y of an image whose background is zero, which is -2 in data: unseen frequencies taken as zero.
    [[nodiscard]] batch<B> zero_filled(B& b, index_t count) const {
        batch<B> x(b, truth.features(), count), one(b, truth.features(), count), seen(b, y.features(), count);
        const auto a = forward.items(0, count);
        b.fill(one.view(), 2.0F);
        a.apply(b, one.cview(), seen.view());
        b.axpby(1.0, y.cview().item_range(0, count), 1.0, seen.view());
        a.apply_adjoint(b, seen.cview(), x.view());
        b.axpby(-1.0, one.cview(), 1.0, x.view());
        return x;
    }
    [[nodiscard]] support::image picture(B& b, index_t count, index_t scale) const {
        return support::picture_row(b, zero_filled(b, count).cview(), shape, scale);
    }
    [[nodiscard]] std::vector<support::baseline<B>> baselines(B& b, const kspace_images&) const {
        std::vector<support::baseline<B>> out;
        out.push_back({"zero filled", "psnr_zero_filled_db", zero_filled(b, items())});
        return out;
    }
};

/// Measures `truth`, whose items are slices `first`, `first` + 1, ... of the data set: mask and noise of a slice are
/// functions of its number. `sigma_y`: standard deviation of the real and of the imaginary part.
template <Backend B>
[[nodiscard]] kspace_images<B> measure(B& b, batch<B> truth, const support::image_shape& shape, const columns& c,
                                       double sigma_y, std::uint64_t seed, index_t first) {
    const index_t n = truth.items(), rows = 2 * truth.features();
    std::vector<float> masks;
    for (index_t i = 0; i < n; ++i) {
        const auto mask = column_mask(shape.width, c, static_cast<std::uint32_t>(1000 + first + i));
        masks.insert(masks.end(), mask.begin(), mask.end());
    }
    linop::mri<B> forward(b, shape.height, shape.width,
                          linop::common_or_each<B>::per_item(to_backend(b, masks, shape.width, n)));
    const linop::isotropic_covariance noise(rows, sigma_y * sigma_y);
    batch<B> y(b, rows, n);
    const random_key key{.seed = seed, .lane = random_lane::observation};
    posterior::simulate(b, forward, noise, truth.cview(), key.skip_items(static_cast<std::uint32_t>(first)), y.view());
    return {shape, std::move(truth), std::move(y), std::move(forward), noise};
}

}  // namespace mri
