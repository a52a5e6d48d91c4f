// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <diem/backend/eigen.hpp>
#include <diem/backend/product_precision.hpp>

#include "support/place.hpp"

namespace support {

[[nodiscard]] inline diem::eigen_options eigen_options(const place& at) {
    return {.threads = at.threads, .products = diem::product_precision_of(at.products)};
}

}  // namespace support
