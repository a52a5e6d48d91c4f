// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdlib>
#include <string>

#include <diem/core/error.hpp>
#include <diem/parallel/communicator.hpp>
#ifdef DIEM_HAS_MPI
#include <diem/parallel/mpi.hpp>
#endif

/// Programs under mpirun.
namespace support {

/// The processes that mpirun started; this one alone without it.
[[nodiscard]] inline diem::parallel::any_communicator ranks() {
    bool launched = false;
    for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_RANK"})
        launched = launched || std::getenv(name) != nullptr;
    if (!launched) return {};
#ifdef DIEM_HAS_MPI
    return diem::parallel::any_communicator(diem::parallel::mpi());
#else
    throw diem::config_error("started by mpirun, but built without MPI (DIEM_MPI)");
#endif
}

/// Ends all ranks where `identity`, what must be equal on all, is not rank 0's. `what` says which.
inline void check_alike(const diem::parallel::any_communicator& ranks, const std::string& identity, const char* what) {
    if (ranks.size() == 1) return;
    if (diem::parallel::broadcast(ranks, identity, 0, what) != identity)
        ranks.abort(std::string("another ") + what + " than rank 0's");
    ranks.barrier(what);
}

}  // namespace support
