// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <diem/backend/eigen.hpp>
#include <diem/backend/reference.hpp>

#include "support/opaque_backend.hpp"

/// The backends that every algorithm is tested on; use with TEMPLATE_TEST_CASE(..., DIEM_TEST_BACKENDS).
/// The opaque backend is the reference backend behind pointers that host code cannot dereference. Builds with another
/// compiler or with sanitizers take fewer, to save compile time.
#if defined(DIEM_TEST_FEW_BACKENDS)
#define DIEM_TEST_BACKENDS diem::eigen_backend<float>, diem::test::opaque_backend<double>
#else
#define DIEM_TEST_BACKENDS diem::eigen_backend<float>, diem::eigen_backend<double>, diem::test::opaque_backend<double>
#endif

namespace diem::test {

template <class B>
B make_backend() {
    if constexpr (requires { B(2); })
        return B(2);  // two threads
    else
        return B();
}

}  // namespace diem::test
