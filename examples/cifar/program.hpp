// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>

#include "support/cifar_settings.hpp"

namespace cifar {

struct program_options : support::study_command {
    program_options() { out = "out/cifar"; }
    std::filesystem::path classifier, inception;
};

/// The whole program on one backend; returns its exit status. The second is there in builds with CUDA only.
int run_on_eigen(const support::cifar_settings& s, const program_options& o);
int run_on_cuda(const support::cifar_settings& s, const program_options& o);

}  // namespace cifar
