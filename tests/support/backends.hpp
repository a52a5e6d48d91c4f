// SPDX-License-Identifier: Apache-2.0
#pragma once

#if defined(DIEM_TEST_CUDNN)
#include <diem/cudnn.cuh>
#elif defined(DIEM_TEST_CUDA)
#include <diem/cuda.cuh>
#endif
#if !defined(__CUDACC__)
#include <diem/backend/eigen.hpp>
#endif
#include <diem/backend/reference.hpp>

#include "support/opaque_backend.hpp"

#if defined(DIEM_TEST_CUDNN)
namespace diem::test {
using cudnn_backend = cuda_backend<float, cudnn_conv3x3>;  // without a comma, for the list below
}
#endif

/// The backends that every algorithm is tested on; use with TEMPLATE_TEST_CASE(..., DIEM_TEST_BACKENDS).
/// The opaque backend is the reference backend behind pointers that host code cannot dereference. Builds with another
/// compiler or with sanitizers take fewer, to save compile time. With DIEM_TEST_CUDA the same tests run on the CUDA backend:
/// under nvcc on a device, under a host compiler on the stand-in of support/cuda_host; with DIEM_TEST_CUDNN its convolutions
/// are those of cuDNN.
#if defined(DIEM_TEST_CUDNN)
#define DIEM_TEST_BACKENDS diem::test::cudnn_backend
#elif defined(DIEM_TEST_CUDA) && defined(DIEM_TEST_FEW_BACKENDS)
#define DIEM_TEST_BACKENDS diem::cuda_backend<float>
#elif defined(DIEM_TEST_CUDA)
#define DIEM_TEST_BACKENDS diem::cuda_backend<float>, diem::cuda_backend<double>
#elif defined(DIEM_TEST_FEW_BACKENDS)
#define DIEM_TEST_BACKENDS diem::eigen_backend<float>, diem::test::opaque_backend<double>
#else
#define DIEM_TEST_BACKENDS diem::eigen_backend<float>, diem::eigen_backend<double>, diem::test::opaque_backend<double>
#endif

namespace diem::test {

/// The backend of a test that runs on one only.
#if defined(DIEM_TEST_CUDA)
template <class T>
using main_backend = cuda_backend<T>;
#else
template <class T>
using main_backend = eigen_backend<T>;
#endif

/// With that many threads, where the backend has threads.
template <class B>
B make_backend(int threads = 2) {
    if constexpr (requires { B(threads); })
        return B(threads);
    else
        return B();
}

}  // namespace diem::test
