// SPDX-License-Identifier: Apache-2.0
#pragma once

/// \file
/// All algorithms, the CUDA backend, and its doors to Thrust: for nvcc.

#include <diem/backend/cuda/thrust.cuh>
#include <diem/cuda.cuh>
