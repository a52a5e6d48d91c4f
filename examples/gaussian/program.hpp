// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include <diem/core/view.hpp>

#include "support/place.hpp"

namespace toy {

struct program_options {
    diem::index_t items = 8192, laps = 200;
    std::uint64_t seed = 0;
    support::place at;  ///< chosen, for `run_on_...`
};

/// The program on one backend; returns its exit status. The second is there in builds with CUDA only.
int run_on_eigen(const program_options& o);
int run_on_cuda(const program_options& o);

}  // namespace toy
