// SPDX-License-Identifier: Apache-2.0

// The centred orthonormal Fourier transform of 16 complex height x width images, out of place, and the MRI operators on them:
//   fft2/height/width       every size is first compared with the definition on one image
//   sense/height/width      apply and adjoint, 8 coils, 2 items: 16 images each way; <A x, y> = <x, A'y> is tested first
// Counter `GFLOPs`: 5 n log2 n operations an image of n numbers, as is usual.
// In builds with CUDA, and where there is a device, `cuda/...` are the same cases on the CUDA backend: 256 images, 32 items.
// DIEM_THREADS sets the number of threads (default: all cores).
#include <diem/backend/eigen.hpp>

#include "fft/cases.hpp"

int main(int argc, char** argv) {
    using B = diem::eigen_backend<float>;
    fft::add_cases<B>("");
#if defined(DIEM_BENCHMARKS_CUDA)
    fft::add_cuda_cases();
#endif
    return run_benchmarks(argc, argv, B(threads()).threads());
}
