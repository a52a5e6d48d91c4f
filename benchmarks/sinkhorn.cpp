// SPDX-License-Identifier: Apache-2.0

// One iteration of Sinkhorn in the log domain, n points on a curve and n others near it, regularisation 1e-3:
//   double/n, float/n                in R^5; the type of distances and exponentials
//   double_batch/p/n, float_batch    p such problems at once, in R^3
//   double_alone/p/n, float_alone    the same one after another
// Counters in seconds: `per_iteration`, of all problems together, and `cpu_per_iteration`, of all threads, for a machine
// that others use. benchmarks/sinkhorn_peer.py does the same with POT. Every case is run once before it is timed: its
// cost must be below twice that of pairing points by their numbers.
// In builds with CUDA, and where there is a device, `cuda/...` are the same cases on the CUDA backend.
// DIEM_THREADS sets the number of threads (default: all cores).
#include <diem/backend/eigen.hpp>

#include "sinkhorn/cases.hpp"

int main(int argc, char** argv) {
    using B = diem::eigen_backend<float>;
    sinkhorn::add_cases<B>("");
#if defined(DIEM_BENCHMARKS_CUDA)
    sinkhorn::add_cuda_cases();
#endif
    return run_benchmarks(argc, argv, B(threads()).threads());
}
