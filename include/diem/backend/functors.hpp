// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <diem/core/macros.hpp>
#include <diem/core/view.hpp>

/// \file
/// Functors that several layers map or launch, generic over the value (a scalar, or a block of them on the CPU). The first
/// argument is written; what only one algorithm needs stands beside that algorithm.
/// \snippet tests/examples/backend.cpp backend/functors.hpp

namespace diem::functors {

struct assign {  // y = x
    template <class V>
    DIEM_HOST_DEVICE void operator()(V& y, const V& x) const {
        y = x;
    }
};
struct add {  // y += x
    template <class V>
    DIEM_HOST_DEVICE void operator()(V& y, const V& x) const {
        y += x;
    }
};
struct subtract {  // y -= x
    template <class V>
    DIEM_HOST_DEVICE void operator()(V& y, const V& x) const {
        y -= x;
    }
};
struct subtract_from {  // y = x - y
    template <class V>
    DIEM_HOST_DEVICE void operator()(V& y, const V& x) const {
        y = x - y;
    }
};
struct multiply {  // y *= x
    template <class V>
    DIEM_HOST_DEVICE void operator()(V& y, const V& x) const {
        y *= x;
    }
};
struct sum {  // y = a + b
    template <class V>
    DIEM_HOST_DEVICE void operator()(V& y, const V& a, const V& b) const {
        y = a + b;
    }
};
struct difference {  // y = a - b
    template <class V>
    DIEM_HOST_DEVICE void operator()(V& y, const V& a, const V& b) const {
        y = a - b;
    }
};
struct product {  // y = a b
    template <class V>
    DIEM_HOST_DEVICE void operator()(V& y, const V& a, const V& b) const {
        y = a * b;
    }
};
struct quotient {  // y = a / b
    template <class V>
    DIEM_HOST_DEVICE void operator()(V& y, const V& a, const V& b) const {
        y = a / b;
    }
};

/// C_i += I, for contiguous size x size matrices. Index: matrix.
struct add_identity {
    index_t size;
    template <class T>
    DIEM_HOST_DEVICE void operator()(index_t i, T* c) const {
        for (index_t k = 0; k < size; ++k) c[i * size * size + k * (size + 1)] += T(1);
    }
};

}  // namespace diem::functors
