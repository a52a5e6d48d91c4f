// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "mri/settings.hpp"
#include "support/place.hpp"

namespace mri {

struct program_options {
    std::filesystem::path data, out = "out/mri", config;
    std::vector<std::string> changes;  ///< of the configuration, KEY=VALUE
    support::place at;                 ///< chosen, for `run_on_...`
    bool resume = false, plan_only = false, smoke = false;
};

/// The whole program on one backend; returns its exit status. The second is there in builds with CUDA only.
int run_on_eigen(const settings& s, const program_options& o);
int run_on_cuda(const settings& s, const program_options& o);

}  // namespace mri
