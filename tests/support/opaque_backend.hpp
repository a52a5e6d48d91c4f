// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <type_traits>

#include <diem/backend/reference.hpp>

namespace diem::test {

/// A pointer that host code can pass around and shift, but not dereference: no operator* or [], no conversion to T*.
/// What compiles with it cannot depend on the backend's memory being host memory.
template <class T>
class opaque_pointer {
public:
    using element_type = T;
    opaque_pointer() = default;
    DIEM_HOST_DEVICE explicit opaque_pointer(T* p) : p_(p) {}
    template <class U>
        requires(std::is_convertible_v<U*, T*> && !std::is_same_v<U, T>)
    DIEM_HOST_DEVICE opaque_pointer(const opaque_pointer<U>& o) : p_(o.unwrap()) {}
    [[nodiscard]] DIEM_HOST_DEVICE T* unwrap() const { return p_; }
    friend DIEM_HOST_DEVICE opaque_pointer operator+(opaque_pointer a, std::ptrdiff_t n) {
        return opaque_pointer(a.p_ + n);
    }
    friend bool operator==(opaque_pointer, opaque_pointer) = default;

private:
    T* p_ = nullptr;
};

/// The archetype: the reference backend behind opaque pointers.
template <class T = float>
using opaque_backend = basic_reference_backend<T, opaque_pointer>;

}  // namespace diem::test
