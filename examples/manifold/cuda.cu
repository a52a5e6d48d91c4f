// SPDX-License-Identifier: Apache-2.0
#include <diem/cuda.cuh>

#include "manifold/run.hpp"

namespace manifold {

int run_on_cuda(const settings& s, const program_options& o) {
    diem::cuda_backend<float> b;
    return run(b, s, o);
}

}  // namespace manifold
