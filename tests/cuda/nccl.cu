// SPDX-License-Identifier: Apache-2.0

// Sums and gathered items of the CUDA backend by NCCL: a unit that compiles it all. With NCCL and devices at hand it is run by mpirun,
// see docs/scaling.md.
#include <diem/backend/cuda/cuda_backend.cuh>
#include <diem/parallel/nccl.cuh>
#include <diem/parallel/tree_sum.hpp>

#include <numeric>
#include <vector>

#ifdef DIEM_HAS_MPI
#include <diem/parallel/mpi.hpp>
using host_ranks = diem::parallel::mpi;
#else
using host_ranks = diem::parallel::self;
#endif
using backend = diem::cuda_backend<float>;
static_assert(diem::parallel::Communicator<diem::parallel::nccl<host_ranks>>);

int main() {
    // [parallel/nccl.cuh]
    const host_ranks host;  // parallel::mpi: for control, and for what lies in the memory of the host
    const int devices = diem::cuda_device_count();
    if (devices == 0) return 77;
    const int device = host.rank() % devices;
    const diem::parallel::nccl<host_ranks> ranks(host, device);
    backend b({.device = device});
    // [parallel/nccl.cuh]
    constexpr diem::index_t parts = 5, n = 1000;
    const auto first = diem::parallel::first_of(parts, ranks.rank(), ranks.size()),
               last = diem::parallel::first_of(parts, ranks.rank() + 1, ranks.size());
    diem::parallel::tree_sum<diem::batch<backend>> own;
    for (auto k = first; k < last; ++k) {
        diem::batch<backend> part(b, n, 1);
        b.fill(part.view(), static_cast<float>(k));
        own.push({k, 0, std::move(part)}, [&](auto& l, auto& r) { b.axpby(1.0, r.cview(), 1.0, l.view()); });
    }
    diem::batch<backend> total(b, n, 1), items(b, 3, ranks.size());
    diem::parallel::all_reduce(ranks, b, own, parts, total.flat(), "sum");
    b.fill(items.view().item_range(ranks.rank(), 1), static_cast<float>(ranks.rank()));
    const std::vector<diem::index_t> one(static_cast<std::size_t>(ranks.size()), 1);
    diem::parallel::all_gather_items(ranks, b, items.view(), one, "items");
    for (const float v : to_host(b, total))
        if (v != 10) return 1;
    const auto all = to_host(b, items);
    for (std::size_t i = 0; i < all.size(); ++i)
        if (all[i] != static_cast<float>(i / 3)) return 1;
    return 0;
}
