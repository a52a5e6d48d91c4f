// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include <diem/core/view.hpp>
#include <diem/diffusion/sampling.hpp>

#include "support/place.hpp"

namespace demo {

struct program_options {
    std::filesystem::path data = "examples/data", out = "out/demo";
    diem::index_t gaussian_laps = 40, rank = 32;
    std::string rest = "diagonal";
    diem::index_t components = 30;  ///< of the mixture that the first lap draws from
    diem::index_t laps = 4, width = 256, training_steps = 4000,
                  samples_per_observation = 8;  ///< of the diffusion prior
    diem::index_t held_out = 261, samples = 8, free_samples = 2048, free_steps = 256;
    double keep = 0.25, sigma_y = 1e-2;
    /// Of second order: DDPM would lose 12 % of the variance in 64 steps, and samples to learn from lose it lap by lap.
    diem::diffusion::sampling_options sampling{.sampler = diem::diffusion::sampler_choice::dpm_2m_sde,
                                               .steps = 64,
                                               .batch = 261,
                                               .sigma_min = 5e-3,
                                               .sigma_max = 20};
    std::optional<diem::diffusion::sampler_choice>
        judged_sampler;  ///< of the posterior samples that are judged; else that above
    std::uint64_t seed = 0;
    support::place at;  ///< chosen, for `run_on_...`
    bool resume = false, plan_only = false, smoke = false;
};

/// The program on one backend; returns its exit status. The second is there in builds with CUDA only.
int run_on_eigen(const program_options& o);
int run_on_cuda(const program_options& o);

}  // namespace demo
