// SPDX-License-Identifier: Apache-2.0
#pragma once

/// \file
/// All algorithms, the CUDA backend, and its doors to Thrust: for nvcc.
/// \snippet examples/thrust.cu thrust.cuh

#include <diem/backend/cuda/thrust.cuh>
#include <diem/cuda.cuh>
