// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include <diem/parallel/communicator.hpp>

namespace support {

/// Where a program runs (support/place_options.hpp).
struct place {
    std::string backend = "auto";              ///< "eigen" or "cuda" after `choose`
    int threads = 0;                           ///< of the Eigen backend; 0: as many as the process may use
    int device = 0;                            ///< ordinal of the CUDA device
    diem::parallel::any_communicator ranks{};  ///< started by mpirun, see support/ranks.hpp; else this process alone
    int rank_here = 0, ranks_here = 1;         ///< number among the ranks on this machine, and how many they are
    double deadline = 600;                     ///< seconds that ranks wait for one another
    std::string exchange = "mpi";              ///< how ranks exchange what lies on devices: gpu-aware-mpi and nccl, too
    std::string products = "float32";          ///< see diem::product_precision
};

/// A warning where the M-step keeps fewer ranks busy than there are; empty: none.
[[nodiscard]] inline std::string idle_ranks(const place& at, diem::index_t parts) {
    if (parts >= at.ranks.size() || at.ranks.rank() != 0) return {};
    return "of " + std::to_string(at.ranks.size()) + " ranks " + std::to_string(at.ranks.size() - parts) +
           " wait while a network is trained: \"em.training.parts\" is " + std::to_string(parts);
}

/// "2 threads", "cuda", "cuda with products in tf32"; `threads` is the backend's number of them.
[[nodiscard]] inline std::string describe(const place& at, int threads) {
    if (at.ranks.size() > 1) {
        auto one = at;
        one.ranks = {};
        return std::to_string(at.ranks.size()) + " ranks, each with " + describe(one, threads);
    }
    const std::string where = at.backend == "eigen" ? std::to_string(threads) + " threads" : at.backend;
    return at.products == "float32" ? where : where + " with products in " + at.products;
}

}  // namespace support
