// SPDX-License-Identifier: Apache-2.0
#pragma once

/// \file
/// The CUDA backend with convolutions by cuDNN, `cuda_backend<float, cudnn_conv3x3>`: for nvcc, with target diem::cudnn.
/// \snippet tests/cuda/cudnn.test.cpp cudnn.cuh

#include <diem/backend/cuda/cudnn_conv3x3.cuh>
#include <diem/cuda.cuh>
