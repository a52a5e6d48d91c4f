// SPDX-License-Identifier: Apache-2.0

// Gaussian prior, diagonal + rank 64, 3072 features, 75 % of the pixels hidden, sigma_y 1e-3:
//   mmps/256    one DDIM step of the posterior, 256 items, five cg iterations (mmps_precond: one preconditioned)
//   lap/1024    one lap of the Gaussian fit: 1024 items, 64 DDIM steps and the final denoiser call, then PPCA
// Counters: `residual` is the largest ||r|| / ||b|| of the last solve; `residual_over_noise` as in the peers.
// In builds with CUDA, and where there is a device, `cuda/...` are the same cases on the CUDA backend.
// DIEM_THREADS sets the number of threads (default: all cores).
#include <diem/backend/eigen.hpp>

#include "gaussian/cases.hpp"

int main(int argc, char** argv) {
    using B = diem::eigen_backend<float>;
    gaussian::add_cases<B>("");
#if defined(DIEM_BENCHMARKS_CUDA)
    gaussian::add_cuda_cases();
#endif
    return run_benchmarks(argc, argv, B(threads()).threads());
}
