// SPDX-License-Identifier: Apache-2.0
#pragma once

/// \file
/// The CUDA backend, for nvcc. Algorithms come from the headers of their folders.

#include <diem/backend/cuda/cuda_backend.cuh>
