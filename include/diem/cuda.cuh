// SPDX-License-Identifier: Apache-2.0
#pragma once

/// \file
/// All algorithms and the CUDA backend, for nvcc.
/// \snippet tests/cuda/device.test.cpp cuda.cuh

#include <diem/algorithms.hpp>
#include <diem/backend/cuda/cuda_backend.cuh>
