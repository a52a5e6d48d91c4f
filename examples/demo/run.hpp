// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/io/npy.hpp>
#include <diem/metrics/frechet.hpp>
#include <diem/nn/mlp.hpp>

#include "demo/program.hpp"
#include "support/image_study.hpp"

namespace demo {

using namespace diem;

template <Backend B>
struct digits {
    support::masked_images<B> train, held_out;
};

/// Pixels 0 .. 16 as data in [-2, 2].
template <Backend B>
digits<B> load_digits(B& b, const program_options& o) {
    const auto folder = std::filesystem::is_directory(o.data / "digits") ? o.data / "digits" : o.data;
    const auto pixels = io::load_npy<std::uint8_t>(folder / "digits_8x8.npy");
    const index_t least = o.held_out + (o.smoke ? 256 : 1);
    if (pixels.shape.size() != 3 || pixels.size() == 0 || pixels.shape[0] < least)
        throw io_error((folder / "digits_8x8.npy").string() + ": shape " + io::to_string(pixels.shape) +
                       ", expected (at least " + std::to_string(least) + ", height, width)");
    const support::image_shape shape{pixels.shape[1], pixels.shape[2], 1};
    const index_t n = shape.height * shape.width, train = o.smoke ? 256 : pixels.shape[0] - o.held_out;
    if (o.rank > n)
        throw value_error("--rank: is " + std::to_string(o.rank) + ", expected at most " + std::to_string(n) +
                          ", the number of pixels");
    std::vector<float> values(pixels.data.size());
    for (std::size_t k = 0; k < values.size(); ++k) values[k] = static_cast<float>(pixels.data[k]) / 4 - 2;
    const auto part = [&](index_t first, index_t count) {
        return to_backend(b, std::vector<float>(values.begin() + first * n, values.begin() + (first + count) * n), n,
                          count);
    };
    return {
        support::mask_images(b, part(0, train), shape, o.keep, o.sigma_y, o.seed, 0),
        support::mask_images(b, part(pixels.shape[0] - o.held_out, o.held_out), shape, o.keep, o.sigma_y, o.seed, 1)};
}

inline support::study_settings settings_of(const program_options& o) {
    support::study_settings s;
    s.program = "demo";
    s.out = o.out;
    s.at = o.at;
    s.resume = o.resume;
    s.plan_only = o.plan_only;
    s.observed = support::deleted_pixels(o.keep);
    s.facts = {{"keep", o.keep}};
    s.sigma_y = o.sigma_y;
    s.seed = o.seed;
    s.gaussian_observations = 1536;
    s.gaussian.fit.max_laps = o.gaussian_laps;
    s.gaussian.ppca = {.rank = o.rank, .rest = o.rest == "diagonal" ? train::rest::diagonal : train::rest::isotropic};
    s.gaussian.seed = o.seed;

    auto& em = s.em;
    em.laps = o.laps;
    em.sampling = o.sampling;
    em.sampling.samples_per_observation = o.samples_per_observation;
    // Samples of the Gaussian prior: its Jacobian is exact and symmetric, so that conjugate gradients run to a tolerance.
    s.gaussian_mmps = {.max_iterations = 64, .relative_tolerance = 1e-3};
    // With a Gaussian to precondition by, two iterations are nearly exact, see docs/stability.md.
    em.mmps.precondition = true;
    em.mmps.max_iterations = 2;
    em.gaussian_skip = true;
    em.mixture.components = o.components;
    em.refresh = {.mean = true, .estimate = true, .rank = o.rank};
    em.training.steps = o.training_steps;
    // So few observations and steps teach a network little: half of its samples may leave the range.
    if (o.smoke) em.guard.max_outside_share = 1;
    em.seed = o.seed;

    s.judged = o.sampling;
    s.judged.sampler = o.judged_sampler.value_or(o.sampling.sampler);
    s.judged.samples_per_observation = o.samples;
    s.free = o.sampling;
    s.free.steps = o.free_steps;
    s.free.batch = o.free_samples;
    s.free_samples = o.free_samples;
    s.free_seed = o.seed + 17;
    s.scale = 4;
    s.figure_names = {{"frechet_pixels", "squared Frechet distance of pixels"}};
    return s;
}

template <Backend B, Backend Wide>
int run(B& b, Wide& wide, const program_options& o) {
    auto data = load_digits(b, o);
    const index_t features = data.train.truth.features();
    batch<B> truth(b, features, data.held_out.items());
    b.copy(data.held_out.truth.cview(), truth.view());
    // Squared Frechet distance in pixel space, pixels scaled to [0, 1].
    const auto distance = [&](const_view_t<B> x) {
        return io::json{{"frechet_pixels", metrics::frechet_distance(wide, b, x, truth.cview()) / 16}};
    };
    const nn::mlp<B> network({features, {o.width, o.width, o.width}, 64, true});
    support::image_study<B, nn::mlp<B>> study(b, settings_of(o), std::move(data.train),
                                              support::one_set(std::move(data.held_out)), distance);
    return study.run(o.laps > 0 ? &network : nullptr);
}

}  // namespace demo
