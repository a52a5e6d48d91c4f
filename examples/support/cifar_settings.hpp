// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <diem/io/config.hpp>
#include <diem/model/config.hpp>
#include <diem/prior/em_options.hpp>

#include "support/em_settings.hpp"

namespace support {

/// Configuration of examples/cifar. Units: sigma_y and the noise levels are standard deviations in data units, images lie
/// in [-2, 2).
struct cifar_settings {
    diem::index_t observations = 4096;
    double keep = 0.25, sigma_y = 1e-3;
    std::uint64_t seed = 0;

    diem::index_t gaussian_observations = 4096;  ///< the first so many
    /// The paper's way of sampling, with exact E-steps and a preconditioner of the judged samples.
    diem::prior::gaussian_fit_options gaussian{
        .e_step = diem::prior::gaussian_e_step::draws,
        .sampling = {.sampler = diem::diffusion::sampler_choice::ddim, .steps = 64, .batch = 128},
        .mmps = {.max_iterations = 256, .relative_tolerance = 1e-3, .precondition = true}};

    std::optional<diem::nn::unet_config> network;  ///< none: the Gaussian prior alone
    diem::prior::em_options em{};

    struct {
        diem::index_t images = 64, samples = 4;  ///< posterior samples of so many test images
        diem::index_t free_samples = 0;          ///< unconditional samples for the distance to the test images
        diem::index_t pictures = 16;             ///< images in a row of a picture
        std::optional<diem::diffusion::sampler_choice>
            sampler{};            ///< of unconditional samples; else that of the E-step
        diem::index_t steps = 0;  ///< of them; 0: as the E-step
    } evaluation;
};

/// The file's settings with the `changes`, each KEY=VALUE (see io::set_entry). Throws config_error, naming the file and the
/// key.
[[nodiscard]] inline cifar_settings read_cifar_settings(const std::filesystem::path& path,
                                                        const std::vector<std::string>& changes) {
    cifar_settings s;
    diem::io::read_config(config_with(path, changes), [&](config_object& c) {
        c.ignore("comment");
        c.optional("observations", s.observations).at_least(1).at_most(50000);
        c.optional("keep", s.keep).above(0.0).at_most(1.0);
        c.optional("sigma_y", s.sigma_y).above(0.0);
        c.optional("seed", s.seed);
        s.gaussian_observations = std::min(s.gaussian_observations, s.observations);
        c.object("gaussian", [&](config_object& o) {
            o.optional("observations", s.gaussian_observations).at_least(1).at_most(s.observations);
            diem::prior::read_settings(o, s.gaussian);
        });
        if (c.contains("network")) {
            read_network(c, "network", "a unet", s.network.emplace());
        }
        s.em.seed = s.seed;
        s.em.initial_mmps = s.gaussian.mmps;
        read_object(c, "em", s.em, s.observations);
        auto& a = s.em.training.augmentation;
        a.height = a.width = 32;
        a.channels = 3;
        c.object("evaluation", [&](config_object& o) {
            o.optional("images", s.evaluation.images).at_least(1).at_most(10000);
            o.optional("samples", s.evaluation.samples).at_least(1);
            o.optional("free_samples", s.evaluation.free_samples).at_least(0);
            o.optional("pictures", s.evaluation.pictures).at_least(1);
            std::string sampler;
            o.optional("sampler", sampler);
            for (const auto& [name, value] : sampler_names)
                if (name == sampler) s.evaluation.sampler = value;
            if (!sampler.empty() && !s.evaluation.sampler) o.fail("sampler", "is no sampler: " + sampler);
            o.optional("steps", s.evaluation.steps).at_least(0);
        });
    });
    return s;
}

/// The same pipeline at a size that takes seconds.
inline void shrink(cifar_settings& s) {
    const auto at_most = [](diem::index_t& value, diem::index_t bound) { value = std::min(value, bound); };
    at_most(s.observations, 4);
    at_most(s.gaussian_observations, 4);
    at_most(s.gaussian.ppca.rank, 4);
    at_most(s.gaussian.fit.max_laps, 2);
    at_most(s.gaussian.sampling.steps, 4);
    at_most(s.evaluation.images, 2);
    at_most(s.evaluation.pictures, 2);
    s.evaluation.samples = 1;
    s.evaluation.free_samples = 2;
    at_most(s.em.laps, 1);
    at_most(s.em.refresh.rank, 4);
    at_most(s.em.sampling.steps, 3);
    s.em.sampling.samples_per_observation = 1;
    at_most(s.em.training.steps, 3);
    s.em.training.adam.ema_warmup = true;
    at_most(s.em.training.batch, 4);
    at_most(s.em.training.loss.micro_batch, 2);
}

}  // namespace support
