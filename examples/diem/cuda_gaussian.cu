// SPDX-License-Identifier: Apache-2.0
#include "diem/gaussian_stage.hpp"
#include "support/cuda_place.cuh"

template struct program::gaussian_stage<support::cuda_backend>;
