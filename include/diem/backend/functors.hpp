// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <diem/core/bfloat16.hpp>
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

/// y = x for a block of elements of one or the other type. Index: the block.
template <class T, int Block>
struct change_precision {
    index_t count;
    DIEM_HOST_DEVICE void operator()(index_t i, const T* x, bfloat16* y) const {
        const index_t end = last(i);
        DIEM_IVDEP
        for (index_t j = i * Block; j < end; ++j) y[j] = nearest_bfloat16(static_cast<float>(x[j]));
    }
    DIEM_HOST_DEVICE void operator()(index_t i, const bfloat16* x, T* y) const {
        const index_t end = last(i);
        DIEM_IVDEP
        for (index_t j = i * Block; j < end; ++j) y[j] = static_cast<T>(widened(x[j]));
    }

private:
    [[nodiscard]] DIEM_HOST_DEVICE index_t last(index_t i) const {
        return count < (i + 1) * Block ? count : (i + 1) * Block;
    }
};

}  // namespace diem::functors
