// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <diem/core/view.hpp>

#include "support/place.hpp"

namespace guidance {

using diem::index_t;

/// What was seen of an image of 32 x 32 x 3.
struct problem_settings {
    std::string type;      ///< box, random, motion or super_resolution
    double sigma_y = 0.1;  ///< standard deviation of the noise
    index_t size = 16;     ///< of the hidden box, of the motion in pixels, of a block of pixels that becomes one
    double keep = 0.02;    ///< share of the pixels that are seen, of `random`
};

/// Units: images lie in [-1, 1] here, as in the paper's comparison; noise levels are standard deviations.
struct settings {
    index_t images = 16, pictures = 4;  ///< the first so many test images
    std::vector<index_t> steps{10, 100}, mmps_iterations{1, 3, 5};
    double sigma_min = 5e-3, sigma_max = 25;
    double zeta = 0.5, lambda = 8;  ///< of DPS, of DiffPIR
    index_t iterations = 5;         ///< of the solver of PiGDM, TMPD and DiffPIR
    std::vector<problem_settings> problems{
        {"box", 1.0, 16}, {"random", 0.01}, {"motion", 0.1, 8}, {"super_resolution", 0.1, 4}};
    struct {  ///< priors whose posterior is known
        index_t seeds = 4, samples = 512;
        std::vector<index_t> steps{10, 100};
    } exact;
    std::uint64_t seed = 0;
};

struct program_options {
    std::filesystem::path data, prior, classifier, config, out = "out/guidance";
    support::place at;  ///< chosen, for `run_on_...`
    bool resume = false;
};

/// The program on one backend; returns its exit status. The second is there in builds with CUDA only.
int run_on_eigen(const settings& s, const program_options& o);
int run_on_cuda(const settings& s, const program_options& o);

}  // namespace guidance
