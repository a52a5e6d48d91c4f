// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include <diem/core/view.hpp>

#include "support/cifar_settings.hpp"

namespace cifar {

struct program_options {
    std::filesystem::path data, out = "out/cifar", config, classifier;
    // Instead of the configuration's, the middle three of the E-step with the network:
    std::optional<double> keep;
    std::optional<std::string> covariance, solver;
    std::optional<diem::index_t> iterations;
    std::optional<bool> gaussian_skip;
    std::optional<std::uint64_t> seed;
    std::string backend = "auto";  ///< for `run_on_...`: "eigen" or "cuda"
    int threads = 0;
    bool resume = false, plan_only = false, smoke = false;
};

/// The whole program on one backend; returns its exit status. The second is there in builds with CUDA only.
int run_on_eigen(const support::cifar_settings& s, const program_options& o);
int run_on_cuda(const support::cifar_settings& s, const program_options& o);

}  // namespace cifar
