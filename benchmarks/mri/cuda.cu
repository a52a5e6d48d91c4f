// SPDX-License-Identifier: Apache-2.0
#include <diem/cuda.cuh>

#include "mri/cases.hpp"

namespace mri_cases {

void add_cuda_cases() {
    if (cuda_device_count() > 0) add_cases<cuda_backend<float>>("cuda/");
}

}  // namespace mri_cases
