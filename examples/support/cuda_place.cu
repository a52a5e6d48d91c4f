// SPDX-License-Identifier: Apache-2.0
#include "support/cuda_place.cuh"

namespace support {

int cuda_devices(std::string& why) { return diem::cuda_device_count(&why); }

}  // namespace support
