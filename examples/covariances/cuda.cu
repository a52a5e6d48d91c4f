// SPDX-License-Identifier: Apache-2.0
#include "covariances/run.hpp"
#include "support/cuda_place.cuh"

namespace covariances {

int run_on_cuda(const settings& s, const program_options& o) {
    diem::cuda_backend<double> b({.device = o.at.device});
    return run(b, s, o);
}

}  // namespace covariances
