// SPDX-License-Identifier: Apache-2.0
#include "classifier/run.hpp"
#include "support/cuda_place.cuh"

namespace classify {

int run_on_cuda(const settings& s, const program_options& o) {
    support::cuda_backend b(support::cuda_options(o.at));
    diem::cuda_backend<double> wide({.device = o.at.device});
    return run(b, wide, s, o);
}

}  // namespace classify
