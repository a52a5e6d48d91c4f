// SPDX-License-Identifier: Apache-2.0
#pragma once

/// \file
/// All algorithms and the CUDA backend, for nvcc.

#include <diem/algorithms.hpp>
#include <diem/backend/cuda/cuda_backend.cuh>
