// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <limits>

#include <diem/backend/cuda/error.cuh>
#include <diem/backend/team.hpp>
#include <diem/core/macros.hpp>
#include <diem/core/view.hpp>

/// \file
/// The three kernels of the backend: one thread per index, one team of threads per row, and one block per sum. All wrap plain
/// functions of their indices, which a host build runs over the whole grid: there `cuda_host_grid` comes from the header that
/// stands in for cuda_runtime.h (tests/support/cuda_host), and a team is one thread.
///
/// Not Thrust algorithms: forty functors take nvcc 3 s in these kernels and 14 s in thrust::for_each_n.

namespace diem::detail::cuda {

/// f(i, arguments...) for the indices of one thread: every one in `threads * blocks`, starting at its own number.
template <class F, class... Args>
DIEM_HOST_DEVICE void visit_indices(index_t thread, index_t threads, index_t count, const F& f, Args... args) {
    for (index_t i = thread; i < count; i += threads) f(i, args...);
}

/// Members of a team for rows of `length` numbers: a part of a warp, 8 at least, as that many floats are read at once.
inline int team_size(index_t length) {
    int size = 32;
    while (size > 8 && 2 * size > length) size /= 2;
    return size;
}

/// Threads of the blocks that sum.
inline constexpr int sum_threads = 256;

/// The sum of `sum_threads` parts in `scratch`, by halves: what thread `t` does in the step of `width`.
DIEM_HOST_DEVICE inline void fold(int t, int width, double* scratch) {
    if (t < width) scratch[t] += scratch[t + width];
}

#if defined(__CUDACC__)
/// `size` threads of a warp, a power of two.
class warp_team {
public:
    __device__ explicit warp_team(int size)
        : size_(size), member_(static_cast<int>(threadIdx.x) % size),
          mask_((size == 32 ? 0xFFFFFFFFU : (1U << size) - 1U) << (threadIdx.x % 32 - static_cast<unsigned>(member_))) {
    }
    [[nodiscard]] __device__ index_t first() const { return member_; }
    [[nodiscard]] __device__ index_t step() const { return size_; }
    template <class T>
    [[nodiscard]] __device__ T sum(T v) const {
        for (int width = size_ / 2; width > 0; width /= 2) v += __shfl_xor_sync(mask_, v, width);
        return v;
    }
    template <class T>
    [[nodiscard]] __device__ T maximum(T v) const {
        for (int width = size_ / 2; width > 0; width /= 2) {
            const T w = __shfl_xor_sync(mask_, v, width);
            v = v < w ? w : v;
        }
        return v;
    }

private:
    int size_, member_;
    unsigned mask_;
};

template <class F, class... Args>
__global__ void __launch_bounds__(256) team_kernel(index_t count, int size, F f, Args... args) {
    const index_t each = blockDim.x / static_cast<unsigned>(size);
    const warp_team team(size);
    for (index_t i = blockIdx.x * each + threadIdx.x / static_cast<unsigned>(size); i < count; i += gridDim.x * each)
        f(i, team, args...);
}
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

/// f(i, team, args...) for the rows i = 0 .. count - 1 of `length` numbers.
template <class F, class... Args>
void for_teams(cudaStream_t stream, index_t count, index_t length, const F& f, Args... args) {
    if (count <= 0) return;
#if defined(__CUDACC__)
    constexpr int threads = 256;
    const int size = team_size(length);
    const index_t each = threads / size;
    const index_t blocks = std::min<index_t>((count + each - 1) / each, std::numeric_limits<int>::max());
    team_kernel<<<static_cast<unsigned>(blocks), threads, 0, stream>>>(count, size, f, args...);
    checked(cudaGetLastError(), "kernel launch");
#else
    static_cast<void>(length);
    for_indices(stream, count, diem::detail::by_one<F>{f}, args...);
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
