// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <limits>

#include <diem/backend/cuda/error.cuh>
#include <diem/core/macros.hpp>
#include <diem/core/view.hpp>

/// The two kernels of the backend: one thread per index, and one block per sum. Both wrap plain functions of their indices,
/// which a host build runs over the whole grid: there `cuda_host_grid` comes from the header that stands in for
/// cuda_runtime.h (tests/support/cuda_host).
///
/// Not Thrust algorithms: forty functors take nvcc 3 s in these kernels and 14 s in thrust::for_each_n.
namespace diem::detail::cuda {

/// f(i, arguments...) for the indices of one thread: every one in `threads * blocks`, starting at its own number.
template <class F, class... Args>
DIEM_HOST_DEVICE void visit_indices(index_t thread, index_t threads, index_t count, const F& f, Args... args) {
    for (index_t i = thread; i < count; i += threads) f(i, args...);
}

/// Threads of the blocks that sum.
inline constexpr int sum_threads = 256;

/// The sum of `sum_threads` parts in `scratch`, by halves: what thread `t` does in the step of `width`.
DIEM_HOST_DEVICE inline void fold(int t, int width, double* scratch) {
    if (t < width) scratch[t] += scratch[t + width];
}

#if defined(__CUDACC__)
template <class F, class... Args>
__global__ void __launch_bounds__(256) index_kernel(index_t count, F f, Args... args) {
    visit_indices(static_cast<index_t>(blockIdx.x) * blockDim.x + threadIdx.x,
                  static_cast<index_t>(gridDim.x) * blockDim.x, count, f, args...);
}
template <class F>
__global__ void __launch_bounds__(sum_threads) sum_kernel(F f) {
    __shared__ double scratch[sum_threads];
    const int t = static_cast<int>(threadIdx.x);
    scratch[t] = f.part(static_cast<index_t>(blockIdx.x), t);
    for (int width = sum_threads / 2; width > 0; width /= 2) {
        __syncthreads();
        fold(t, width, scratch);
    }
    if (t == 0) f.finish(static_cast<index_t>(blockIdx.x), scratch[0]);
}
#endif

/// f(i, args...) for i = 0 .. count - 1. Few indices go to many small blocks, so that they reach all processors.
template <class F, class... Args>
void for_indices(cudaStream_t stream, index_t count, const F& f, Args... args) {
    if (count <= 0) return;
    const index_t threads = count >= (index_t{1} << 16) ? 256 : count >= (index_t{1} << 13) ? 64 : 32;
    const index_t blocks = std::min<index_t>((count + threads - 1) / threads, std::numeric_limits<int>::max());
#if defined(__CUDACC__)
    index_kernel<<<static_cast<unsigned>(blocks), static_cast<unsigned>(threads), 0, stream>>>(count, f, args...);
    checked(cudaGetLastError(), "kernel launch");
#else
    checked(cuda_host_grid(stream, blocks, threads,
                           [&](index_t block, index_t t) {
                               visit_indices(block * threads + t, blocks * threads, count, f, args...);
                           }),
            "kernel launch");
#endif
}

/// For each block: f.finish(block, sum over t of f.part(block, t)), always added in the same order.
template <class F>
void for_sums(cudaStream_t stream, index_t blocks, const F& f) {
    if (blocks <= 0) return;
    if (blocks > std::numeric_limits<int>::max()) throw device_error("cuda_backend: too many sums for one grid");
#if defined(__CUDACC__)
    sum_kernel<<<static_cast<unsigned>(blocks), sum_threads, 0, stream>>>(f);
    checked(cudaGetLastError(), "kernel launch");
#else
    checked(cuda_host_grid(stream, blocks, 1,
                           [&](index_t block, index_t) {
                               double scratch[sum_threads];
                               for (int t = 0; t < sum_threads; ++t) scratch[t] = f.part(block, t);
                               for (int width = sum_threads / 2; width > 0; width /= 2)
                                   for (int t = 0; t < sum_threads; ++t) fold(t, width, scratch);
                               f.finish(block, scratch[0]);
                           }),
            "kernel launch");
#endif
}

}  // namespace diem::detail::cuda
