// SPDX-License-Identifier: Apache-2.0
#include <diem/cuda.cuh>

#include "gaussian/run.hpp"

namespace toy {

int run_on_cuda(const program_options& o) {
    diem::cuda_backend<double> b;
    return run(b, o);
}

}  // namespace toy
