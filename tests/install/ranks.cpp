// SPDX-License-Identifier: Apache-2.0
// A user's program on several processes.
#include <cstdio>

#include <diem/parallel/mpi.hpp>

int main() {
    // [parallel/mpi.hpp]
    const diem::parallel::mpi ranks;             // all processes of mpirun
    return diem::parallel::guarded(ranks, [&] {  // an exception on one ends all of them
        const bool all = !diem::parallel::any_of(ranks, ranks.size() != 2, "whether there are two");
        if (ranks.rank() == 0) std::printf("%d ranks\n", ranks.size());
        return all ? 0 : 1;
    });
    // [parallel/mpi.hpp]
}
