// SPDX-License-Identifier: Apache-2.0
#include "guidance/run.hpp"
#include "support/cuda_place.cuh"

namespace guidance {

int run_on_cuda(const settings& s, const program_options& o) {
    support::cuda_backend b(support::cuda_options(o.at));
    diem::cuda_backend<double> wide({.device = o.at.device});
    return comparison(b, wide, s, o).run();
}

}  // namespace guidance
