// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace support {

/// Where a program runs (support/place_options.hpp).
struct place {
    std::string backend = "auto";      ///< "eigen" or "cuda" after `choose`
    int threads = 0;                   ///< of the Eigen backend; 0: as many as the process may use
    int device = 0;                    ///< ordinal of the CUDA device
    std::string products = "float32";  ///< to what products round on a CUDA device, see diem::cuda_precision
};

/// "2 threads", "cuda", "cuda with products in tf32"; `threads` is the backend's number of them.
[[nodiscard]] inline std::string describe(const place& at, int threads) {
    if (at.backend == "eigen") return std::to_string(threads) + " threads";
    return at.products == "float32" ? at.backend : at.backend + " with products in " + at.products;
}

}  // namespace support
