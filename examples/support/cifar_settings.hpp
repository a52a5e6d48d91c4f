// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <diem/io/config.hpp>

#include "support/study_stages.hpp"

namespace support {

/// Configuration of examples/cifar; images lie in [-2, 2).
struct cifar_settings : stage_settings {
    /// The paper's way of sampling, with exact E-steps and a preconditioner of the judged samples.
    cifar_settings() {
        observations = gaussian_observations = 4096;
        sigma_y = 1e-3;
        gaussian = {.e_step = diem::prior::gaussian_e_step::draws,
                    .sampling = {.sampler = diem::diffusion::sampler_choice::ddim, .steps = 64, .batch = 128},
                    .mmps = {.max_iterations = 256, .relative_tolerance = 1e-3, .precondition = true}};
    }
    double keep = 0.25;
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
        read_stages(c, s, "observations", 50000);
        c.optional("keep", s.keep).above(0.0).at_most(1.0);
        auto& a = s.em.training.augmentation;
        a.height = a.width = 32;
        a.channels = 3;
        c.object("evaluation", [&](config_object& o) {
            o.optional("images", s.evaluation.images).at_least(1).at_most(10000);
            o.optional("samples", s.evaluation.samples).at_least(1).at_most(most_samples);
            o.optional("free_samples", s.evaluation.free_samples).at_least(0).at_most(most_samples);
            o.optional("pictures", s.evaluation.pictures).at_least(1).at_most(1000);
            std::string sampler;
            o.optional("sampler", sampler);
            for (const auto& [name, value] : sampler_names)
                if (name == sampler) s.evaluation.sampler = value;
            if (!sampler.empty() && !s.evaluation.sampler) o.fail("sampler", "is no sampler: " + sampler);
            o.optional("steps", s.evaluation.steps).at_least(0).at_most(most_steps);
        });
    });
    return s;
}

/// The same pipeline at a size that takes seconds.
inline void shrink(cifar_settings& s) {
    shrink_stages(s, 4);
    at_most(s.evaluation.images, 2);
    at_most(s.evaluation.pictures, 2);
    s.evaluation.samples = 1;
    s.evaluation.free_samples = 2;
    at_most(s.evaluation.steps, 3);
}

}  // namespace support
