// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <diem/backend/eigen.hpp>
#include <diem/backend/reference.hpp>

#include "support/opaque_backend.hpp"

/// The backends that every algorithm is tested on; use with TEMPLATE_TEST_CASE(..., DIEM_TEST_BACKENDS).
#define DIEM_TEST_BACKENDS                                                                       \
    diem::reference_backend<float>, diem::reference_backend<double>, diem::eigen_backend<float>, \
        diem::eigen_backend<double>, diem::test::opaque_backend<float>, diem::test::opaque_backend<double>

namespace diem::test {

template <class B>
B make_backend() {
    if constexpr (requires { B(2); })
        return B(2);  // two threads
    else
        return B();
}

}  // namespace diem::test
