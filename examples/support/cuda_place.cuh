// SPDX-License-Identifier: Apache-2.0
#pragma once

#if defined(DIEM_EXAMPLES_CUDNN)
#include <diem/cudnn.cuh>
#endif
#include <diem/backend/product_precision.hpp>
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
    return {.device = at.device, .products = diem::product_precision_of(at.products)};
}

}  // namespace support
