// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>

#include <diem/core/view.hpp>
#include <diem/metrics/sinkhorn.hpp>
#include <diem/model/config.hpp>
#include <diem/prior/em_options.hpp>
#include <diem/prior/gaussian_options.hpp>

#include "support/place.hpp"

namespace manifold {

/// Units: sigma_y and the noise levels are standard deviations in data units, points lie in [-2, 2]^features.
struct settings {
    diem::index_t observations = 4096, rows = 2;
    double sigma_y = 1e-2, alpha = 3, epsilon = 1e-3;
    diem::nn::mlp_config net = diem::model::presets::manifold_mlp();
    diem::prior::gaussian_fit_options gaussian{
        .sampling = {.sampler = diem::diffusion::sampler_choice::ddim, .steps = 256, .batch = 1024, .sigma_max = 10}};
    diem::prior::em_options em{};
    diem::index_t samples = 4096;  ///< compared with as many points of the truth
    diem::metrics::sinkhorn_options sinkhorn{};
};

struct program_options {
    std::filesystem::path config, out = "out/manifold";
    support::place at;  ///< chosen, for `run_on_...`
    bool resume = false, plan_only = false;
};

/// The program on one backend; returns its exit status. The second is there in builds with CUDA only.
int run_on_eigen(const settings& s, const program_options& o);
int run_on_cuda(const settings& s, const program_options& o);

}  // namespace manifold
