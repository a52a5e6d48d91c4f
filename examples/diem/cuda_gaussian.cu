// SPDX-License-Identifier: Apache-2.0
#include <diem/cuda.cuh>

#include "diem/gaussian_stage.hpp"

template struct program::gaussian_stage<diem::cuda_backend<float>>;
