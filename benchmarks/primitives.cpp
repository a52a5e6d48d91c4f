// SPDX-License-Identifier: Apache-2.0

// Primitives of a backend, float32. Arrays of features x items, 256 items of 3072 (vectors of cg; a cache may hold them) and
// of so many that none does:
//   copy, axpby, product, silu, silu_vjp, adam   element-wise: y = x, y = a x + b y, a mask, an activation and its
//                                                derivative, a whole update of weights (four arrays read and written)
//   fill_normal, dot                             random numbers; one sum in float64 for each item
//   gemm/m/n/k, gemm_transposed                  m x k times k x n: squares; the 3x3 (by patches) and 1x1 convolutions of the
//                                                CIFAR U-Net, a layer of an MLP, a factor of rank 64 from both sides
// Counters: `gbytes` read and written a second in units of 1e9, `of_copy` as a share of what a copy of one array of this
// shape reaches; `gflops`, `of_best` as a share of the fastest square product. Every case is compared with a plain loop first.
// In builds with CUDA, and where there is a device, `cuda/...` are the same cases on the CUDA backend, with larger arrays.
// DIEM_THREADS sets the number of threads (default: all cores).
#include <diem/backend/eigen.hpp>

#include "primitives/cases.hpp"

int main(int argc, char** argv) {
    using B = diem::eigen_backend<float>;
    primitives::add_cases<B>("");
#if defined(DIEM_BENCHMARKS_CUDA)
    primitives::add_cuda_cases();
#endif
    return run_benchmarks(argc, argv, B(threads()).threads());
}
