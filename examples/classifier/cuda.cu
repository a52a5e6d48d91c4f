// SPDX-License-Identifier: Apache-2.0
#include <diem/cuda.cuh>

#include "classifier/run.hpp"

namespace classify {

int run_on_cuda(const settings& s, const program_options& o) {
    diem::cuda_backend<float> b;
    diem::cuda_backend<double> wide;
    return run(b, wide, s, o);
}

}  // namespace classify
