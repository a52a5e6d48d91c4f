// SPDX-License-Identifier: Apache-2.0
#include "diem/network_stage.hpp"
#include "support/cuda_place.cuh"

template struct program::network_stage<support::cuda_backend>;
