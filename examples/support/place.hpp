// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace support {

/// Where a program runs (support/place_options.hpp).
struct place {
    std::string backend = "auto";      ///< "eigen" or "cuda" after `choose`
    int threads = 0;                   ///< of the Eigen backend; 0: as many as the process may use
    int device = 0;                    ///< ordinal of the CUDA device
    std::string products = "float32";  ///< see diem::product_precision
};

/// "2 threads", "cuda", "cuda with products in tf32"; `threads` is the backend's number of them.
[[nodiscard]] inline std::string describe(const place& at, int threads) {
    const std::string where = at.backend == "eigen" ? std::to_string(threads) + " threads" : at.backend;
    return at.products == "float32" ? where : where + " with products in " + at.products;
}

}  // namespace support
