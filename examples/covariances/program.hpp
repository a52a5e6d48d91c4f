// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <diem/core/view.hpp>
#include <diem/metrics/sinkhorn.hpp>

#include "support/place.hpp"

namespace covariances {

/// Counts have upper bounds, so that no product of them wraps; noise levels lie where squares of squares are numbers.
inline constexpr diem::index_t most_seeds = 1000000, most_points = 1 << 20;
inline constexpr double least_sigma = 1e-6, most_sigma = 1e6;

/// Units: thickness, sigma_y and sigmas are standard deviations in data units, the curve lies in [-2, 2]^3.
struct settings {
    diem::index_t seeds = 64, components = 256, features = 3;
    double thickness = 1e-2, sigma_y = 1e-2;
    std::vector<double> sigmas{0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10};
    diem::index_t points = 512;  ///< of x_t, weighted by each posterior
    diem::metrics::sinkhorn_options sinkhorn{.regularization = 1e-3, .iterations = 64, .tolerance = 0};
    bool scaled = true;  ///< regularization in units of max(1, sigma^2)
    bool annealed = true;
};

struct program_options {
    std::filesystem::path config, out = "out/covariances";
    support::place at;  ///< chosen, for `run_on_...`
    bool resume = false;
};

/// The program on one backend; returns its exit status. The second is there in builds with CUDA only.
int run_on_eigen(const settings& s, const program_options& o);
int run_on_cuda(const settings& s, const program_options& o);

}  // namespace covariances
