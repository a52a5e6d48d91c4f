// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <diem/core/random.hpp>
#include <diem/io/config.hpp>
#include <diem/io/npy.hpp>

#include "mri/kspace_images.hpp"
#include "support/bounds.hpp"
#include "support/study_stages.hpp"

namespace mri {

using support::most_extent;

/// Configuration of examples/mri; slices lie in [-2, 2].
struct settings : support::stage_settings {
    settings() {
        observations = 512;
        gaussian_observations = 256;
        sigma_y = 1e-2;
        gaussian = {.e_step = prior::gaussian_e_step::diffusion,
                    .sampling = {.sampler = diffusion::sampler_choice::ddim, .steps = 64, .batch = 64},
                    .mmps = {.max_iterations = 64, .relative_tolerance = 1e-3}};
    }
    columns mask{};
    struct {
        index_t first = 2547, slices = 64, samples = 8;  ///< `slices` from number `first` on, so many samples of each
        std::vector<index_t> accelerations{4, 8}, centres{10, 6};  ///< sets to restore: the columns of each
        index_t pictures = 4;                                      ///< slices in a picture
    } evaluation;
};

[[nodiscard]] inline settings read_settings(const std::filesystem::path& path,
                                            const std::vector<std::string>& changes) {
    settings s;
    io::read_config(support::config_with(path, changes), [&](io::config_object& c) {
        support::read_stages(c, s, "slices", support::most_count);
        c.object("mask", [&](io::config_object& o) {
            o.optional("acceleration", s.mask.acceleration).at_least(1).at_most(most_extent);
            o.optional("centre", s.mask.centre).at_least(0).at_most(most_extent);
        });
        c.object("evaluation", [&](io::config_object& o) {
            o.optional("first", s.evaluation.first).at_least(0).at_most(support::most_count);
            o.optional("slices", s.evaluation.slices).at_least(1).at_most(support::most_count);
            o.optional("samples", s.evaluation.samples).at_least(1).at_most(support::most_samples);
            o.optional("pictures", s.evaluation.pictures).at_least(1).at_most(1000);
            auto& r = s.evaluation.accelerations;
            o.optional("accelerations", r)
                .satisfies(!r.empty() && r.size() <= 100 && *std::min_element(r.begin(), r.end()) >= 1 &&
                               *std::max_element(r.begin(), r.end()) <= most_extent,
                           "1 to 100 numbers from 1 to " + std::to_string(most_extent));
            o.optional("centres", s.evaluation.centres)
                .satisfies(
                    s.evaluation.centres.size() == r.size() &&
                        *std::min_element(s.evaluation.centres.begin(), s.evaluation.centres.end()) >= 0 &&
                        *std::max_element(s.evaluation.centres.begin(), s.evaluation.centres.end()) <= most_extent,
                    "one number from 0 to " + std::to_string(most_extent) + " for each of \"accelerations\"");
        });
    });
    return s;
}

/// Writes discs of random sizes and greys, as large as the network expects, for smoke runs; returns the path.
inline std::filesystem::path write_stand_in(const std::filesystem::path& path, const settings& s) {
    const index_t h = s.network ? s.network->height : 32, w = s.network ? s.network->width : 32;
    const index_t count = s.observations + s.evaluation.slices;
    io::array<std::uint8_t> slices(io::shape_type{count, h, w});
    for (index_t i = 0; i < count; ++i) {
        const random_key key{.seed = 5};
        const auto item = static_cast<std::uint32_t>(i);
        const double radius = 0.2 + 0.25 * uniform<double>(key, item, 0),
                     grey = 80 + 150 * uniform<double>(key, item, 1);
        for (index_t y = 0; y < h; ++y)
            for (index_t x = 0; x < w; ++x) {
                const double r = std::hypot(static_cast<double>(y) / static_cast<double>(h) - 0.5,
                                            static_cast<double>(x) / static_cast<double>(w) - 0.5);
                slices[(i * h + y) * w + x] = static_cast<std::uint8_t>(r < radius ? grey : 0);
            }
    }
    std::filesystem::create_directories(path.parent_path());
    io::save_npy(path, slices);
    return path;
}

/// The same pipeline at a size that takes seconds.
inline void shrink(settings& s) {
    support::shrink_stages(s, 2);
    support::at_most(s.gaussian.mmps.max_iterations, 8);
    s.em.initial_mmps = s.gaussian.mmps;
    support::at_most(s.evaluation.slices, 2);
    support::at_most(s.evaluation.pictures, 2);
    support::at_most(s.evaluation.samples, 2);
}

}  // namespace mri
