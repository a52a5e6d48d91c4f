// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include <diem/core/view.hpp>
#include <diem/train/trainer.hpp>

#include "support/classifier.hpp"
#include "support/place.hpp"

namespace classify {

struct settings {
    support::classifier_config network;
    diem::train::training_options training;
    std::uint64_t seed = 0;
    diem::index_t train_images = 50000, test_images = 10000;
};

struct program_options {
    std::filesystem::path data, out = "out/classifier", config;
    support::place at;  ///< chosen, for `run_on_...`
    bool plan_only = false, smoke = false;
};

/// The program on one backend; returns its exit status. The second is there in builds with CUDA only.
int run_on_eigen(const settings& s, const program_options& o);
int run_on_cuda(const settings& s, const program_options& o);

}  // namespace classify
