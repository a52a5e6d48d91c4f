// SPDX-License-Identifier: Apache-2.0

// Accelerated MRI, float32.
//   sense/MASK      apply and adjoint of one complex 320x320 image behind 8 coils, R = 4; MASK: `columns`, or `full` size
//   normal/MASK     A'A of the same
//   espirit         coil maps of k-space of 8 coils, 230x180, calibration 24, kernel 6
//   cg_sense        30 iterations of (A'A + 0.01) x = A'y with them, as `bart pics` makes them
//   mmps1/NET, mmps3/NET  one MMPS posterior mean of 1 and 3 cg iterations: 8 images of 128x128, R = 6 (columns, a mask each),
//                   sigma_y 0.01, sigma_t 1; the U-Net sees 32x32x16 (space to depth 4x4): `small` (64/128/256, 2 blocks a level),
//                   `paper` (128/256/384/512, 3 blocks a level, 4 heads at the last)
// Every case is checked before it is timed: adjoints by <A x, u> = <x, A'u>, A'A by the two products, maps by their norm and by
// what of the coils' images they leave. benchmarks/mri_peer.py times SigPy and BART on the same.
// In builds with CUDA, and where there is a device, `cuda/...` are the same cases on the CUDA backend.
// DIEM_THREADS sets the number of threads (default: all cores).
#include <diem/backend/eigen.hpp>

#include "mri/cases.hpp"

int main(int argc, char** argv) {
    using B = diem::eigen_backend<float>;
    mri_cases::add_cases<B>("");
#if defined(DIEM_BENCHMARKS_CUDA)
    mri_cases::add_cuda_cases();
#endif
    return run_benchmarks(argc, argv, B(threads()).threads());
}
