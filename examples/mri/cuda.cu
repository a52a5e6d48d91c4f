// SPDX-License-Identifier: Apache-2.0
#include "mri/run.hpp"
#include "support/cuda_place.cuh"

namespace mri {

int run_on_cuda(const settings& s, const program_options& o) {
    support::cuda_backend b(support::cuda_options(o.at));
    return run(b, s, o);
}

}  // namespace mri
