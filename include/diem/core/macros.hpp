// SPDX-License-Identifier: Apache-2.0
#pragma once

/// Marks a function that device code may call. Plain under a host compiler.
#if defined(__CUDACC__)
#define DIEM_HOST_DEVICE __host__ __device__
#else
#define DIEM_HOST_DEVICE
#endif
