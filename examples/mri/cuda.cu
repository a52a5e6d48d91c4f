// SPDX-License-Identifier: Apache-2.0
#include "mri/run.hpp"
#include "support/cuda_place.cuh"

namespace mri {

int run_on_cuda(const support::cifar_settings& s, const program_options& o) {
    support::cuda_backend b(support::cuda_options(o.at));
    diem::cuda_backend<double> wide({.device = o.at.device});
    return run(b, wide, s, o);
}

}  // namespace mri
