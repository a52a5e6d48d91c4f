// SPDX-License-Identifier: Apache-2.0
#include <diem/cuda.cuh>

#include "sinkhorn/cases.hpp"

namespace sinkhorn {

void add_cuda_cases() {
    if (cuda_device_count() > 0) add_cases<cuda_backend<float>>("cuda/");
}

}  // namespace sinkhorn
