// SPDX-License-Identifier: Apache-2.0
#include <diem/cuda.cuh>

#include "cifar/run.hpp"

namespace cifar {

int run_on_cuda(const support::cifar_settings& s, const program_options& o) {
    diem::cuda_backend<float> b;
    diem::cuda_backend<double> wide;
    return run(b, wide, s, o);
}

}  // namespace cifar
