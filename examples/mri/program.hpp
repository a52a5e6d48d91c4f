// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "mri/settings.hpp"
#include "support/study_stages.hpp"

namespace mri {

struct program_options : support::study_command {
    program_options() { out = "out/mri"; }
};

/// The whole program on one backend; returns its exit status. The second is there in builds with CUDA only.
int run_on_eigen(const settings& s, const program_options& o);
int run_on_cuda(const settings& s, const program_options& o);

}  // namespace mri
