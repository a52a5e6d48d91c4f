// SPDX-License-Identifier: Apache-2.0
#include <diem/cuda.cuh>

#include "fft/cases.hpp"

namespace fft {

void add_cuda_cases() {
    if (cuda_device_count() > 0) add_cases<cuda_backend<float>>("cuda/");
}

}  // namespace fft
