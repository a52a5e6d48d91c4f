// SPDX-License-Identifier: Apache-2.0
#pragma once

#if defined(DIEM_EXAMPLES_CUDNN)
#include <diem/cudnn.cuh>
#endif
#include <diem/cuda.cuh>

#include "support/place.hpp"

namespace support {

/// Of the programs with networks.
#if defined(DIEM_EXAMPLES_CUDNN)
using cuda_backend = diem::cuda_backend<float, diem::cudnn_conv3x3>;
#else
using cuda_backend = diem::cuda_backend<float>;
#endif

[[nodiscard]] inline diem::cuda_options cuda_options(const place& at) {
    using diem::cuda_precision;
    return {.device = at.device,
            .products = at.products == "tf32"   ? cuda_precision::tf32
                        : at.products == "bf16" ? cuda_precision::bf16
                                                : cuda_precision::float32};
}

}  // namespace support
