// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <span>
#include <string>
#include <vector>

#include <diem/backend/host_threads.hpp>
#include <diem/core/error.hpp>
#include <diem/parallel/communicator.hpp>
#ifdef DIEM_HAS_MPI
#include <diem/parallel/mpi.hpp>
#endif

#include "support/place.hpp"
#include "support/report.hpp"
#include "support/terminal.hpp"

/// Programs under mpirun. For the unit of `main`; others see `place::ranks` alone.
namespace support {

/// Whether mpirun, or srun, started this process beside others.
[[nodiscard]] inline bool is_rank() {
    for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_RANK"})
        if (std::getenv(name) != nullptr) return true;
    return false;
}

/// Of the ranks on this machine: how many come before this one, how many they are, and how many may use the same cores.
struct neighbours {
    int before = 0, all = 0, sharing = 0;
};
[[nodiscard]] inline neighbours neighbours_of(const diem::parallel::any_communicator& ranks) {
    struct {
        std::array<char, 256> host{};
        cpu_set_t cores{};
    } own;
    static_cast<void>(::gethostname(own.host.data(), own.host.size() - 1));
    static_cast<void>(::sched_getaffinity(0, sizeof own.cores, &own.cores));
    using record = decltype(own);
    const std::vector<diem::index_t> one(static_cast<std::size_t>(ranks.size()), 1);
    const auto all = diem::parallel::all_gather<record>(ranks, {&own, 1}, one, "who is on which machine");
    neighbours n;
    for (int r = 0; r < ranks.size(); ++r) {
        const auto& other = all[static_cast<std::size_t>(r)];
        if (other.host != own.host) continue;
        n.before += r < ranks.rank() ? 1 : 0;
        ++n.all;
        n.sharing += CPU_EQUAL(&other.cores, &own.cores) ? 1 : 0;
    }
    return n;
}

/// Makes this process one of `at.ranks` where mpirun started it. Ranks that may use the same cores share them; all but the first
/// are silent. Throws config_error, or ends all ranks, where these
/// are of other versions or machines of another kind.
inline void join_ranks(place& at) {
    if (!is_rank()) return;
#ifdef DIEM_HAS_MPI
    at.ranks = diem::parallel::any_communicator(
        diem::parallel::mpi({.deadline = at.deadline, .device_memory = at.exchange == "gpu-aware-mpi"}));
    if (at.ranks.size() == 1) return;
    if (at.ranks.rank() != 0) talk(true, false);
    const auto own = environment().dump();
    if (diem::parallel::broadcast(at.ranks, own, 0, "versions of the program") != own)
        at.ranks.abort("another version of the program, or for another kind of machine, than rank 0's: " + own);
    const auto n = neighbours_of(at.ranks);
    at.rank_here = n.before;
    at.ranks_here = n.all;
    if (at.threads == 0) at.threads = std::max(1, diem::host_threads() / n.sharing);
#else
    throw diem::config_error("started by mpirun, but built without MPI (DIEM_MPI)");
#endif
}

/// f(), in this process alone or as one of `at.ranks`: there an exception ends all of them with its message.
template <class F>
int on_ranks(place& at, const F& f) {
    join_ranks(at);
    return diem::parallel::guarded(at.ranks, f);
}

}  // namespace support
