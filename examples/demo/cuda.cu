// SPDX-License-Identifier: Apache-2.0
#include <diem/cuda.cuh>

#include "demo/run.hpp"

namespace demo {

int run_on_cuda(const program_options& o) {
    diem::cuda_backend<float> b;
    diem::cuda_backend<double> wide;
    return run(b, wide, o);
}

}  // namespace demo
