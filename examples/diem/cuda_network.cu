// SPDX-License-Identifier: Apache-2.0
#include <diem/cuda.cuh>

#include "diem/network_stage.hpp"

template struct program::network_stage<diem::cuda_backend<float>>;
