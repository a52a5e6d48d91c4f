// SPDX-License-Identifier: Apache-2.0

// One posterior system (Sigma_y + A V A') v = y - A x_hat of MMPS per item, solved two ways:
//   cg/n/items            matrix-free conjugate gradient to ||r|| <= 1e-5 ||b||
//   cg_precond/n/items    the same, with the preconditioner made of the Gaussian estimate (its set-up is timed too)
//   dense/n/items         Sigma_y + A V A' written out per item (V is one dense matrix), Cholesky, two triangular solves
//   dense_by_products/..  `solver::dense_cholesky`, which knows M only by its products (up to n = 768)
// Gaussian prior, diagonal + rank min(64, n / 2); sigma_t 1; A hides 75 % of the entries, one mask per item;
// sigma_y 1e-3; float. Every case is checked once before it is timed: its true ||b - M v|| / ||b|| must be below 1e-3.
// Counters, per item: `residual` that norm, the worst; `iterations` the most; `bytes` of memory at the peak beyond the
// problem; `time` per item is items_per_second inverted.
// In builds with CUDA, and where there is a device, `cuda/...` are the same cases on the CUDA backend, with more items.
// DIEM_THREADS sets the number of threads (default: all cores). DIEM_SMOKE: the smallest size only.
#include <diem/backend/eigen.hpp>

#include "cg_vs_dense/cases.hpp"

int main(int argc, char** argv) {
    using B = diem::eigen_backend<float>;
    cg_vs_dense::add_cases<B>("");
#if defined(DIEM_BENCHMARKS_CUDA)
    cg_vs_dense::add_cuda_cases();
#endif
    return run_benchmarks(argc, argv, B(threads()).threads());
}
