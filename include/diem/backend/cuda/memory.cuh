// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <string>

#include <diem/backend/cuda/error.cuh>
#include <diem/backend/memory.hpp>

namespace diem {

/// Memory of the current device, for `caching_pool`. A block that was given back is served again at once: its next user
/// comes later on the same stream.
struct device_memory {
    static void* allocate(std::size_t bytes) {
        void* p = nullptr;
        const cudaError_t status = cudaMalloc(&p, bytes);
        if (status == cudaErrorMemoryAllocation) {
            static_cast<void>(cudaGetLastError());
            return nullptr;
        }
        detail::cuda::checked(status, "cudaMalloc");
        return p;
    }
    static void deallocate(void* p) { static_cast<void>(cudaFree(p)); }
    static std::string name() {
        std::size_t free = 0, total = 0;
        static_cast<void>(cudaMemGetInfo(&free, &total));
        return "the device's memory, " + detail::gibibytes(static_cast<double>(free)) + " of " +
               detail::gibibytes(static_cast<double>(total)) + " free";
    }
};

}  // namespace diem
