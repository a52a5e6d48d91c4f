// SPDX-License-Identifier: Apache-2.0
#include "support/cuda_place.cuh"

#if defined(DIEM_EXAMPLES_NCCL)
#include <diem/parallel/nccl.cuh>
#else
#include <diem/core/error.hpp>
#endif
#include "support/place_options.hpp"

namespace support {

int cuda_devices(std::string& why) { return diem::cuda_device_count(&why); }

void connect_devices([[maybe_unused]] place& at) {
#if defined(DIEM_EXAMPLES_NCCL)
    if (at.ranks.size() > 1)
        at.ranks = diem::parallel::any_communicator(diem::parallel::nccl(at.ranks, at.device, at.deadline));
#else
    throw diem::config_error("--exchange nccl: this program was built without NCCL (DIEM_NCCL)");
#endif
}

}  // namespace support
