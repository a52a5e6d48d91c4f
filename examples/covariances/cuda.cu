// SPDX-License-Identifier: Apache-2.0
#include <diem/cuda.cuh>

#include "covariances/run.hpp"

namespace covariances {

int run_on_cuda(const settings& s, const program_options& o) {
    diem::cuda_backend<double> b;
    return run(b, s, o);
}

}  // namespace covariances
