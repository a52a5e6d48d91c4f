// SPDX-License-Identifier: Apache-2.0
#include "gaussian/run.hpp"
#include "support/cuda_place.cuh"

namespace toy {

int run_on_cuda(const program_options& o) {
    diem::cuda_backend<double> b({.device = o.at.device});
    return run(b, o);
}

}  // namespace toy
