// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <type_traits>

#include <diem/core/macros.hpp>

namespace diem {

/// Where something lies in a device's memory. Host code can pass it around and shift it, but not dereference it: there is
/// no operator* or [], and no conversion to T*. `unwrap` is for backends and for calls of CUDA libraries.
template <class T>
class device_pointer {
public:
    using element_type = T;

    device_pointer() = default;
    DIEM_HOST_DEVICE explicit constexpr device_pointer(T* p) : p_(p) {}
    template <class U>
        requires(std::is_convertible_v<U*, T*> && !std::is_same_v<U, T>)
    DIEM_HOST_DEVICE constexpr device_pointer(const device_pointer<U>& o)  // NOLINT(google-explicit-constructor)
        : p_(o.unwrap()) {}

    [[nodiscard]] DIEM_HOST_DEVICE constexpr T* unwrap() const { return p_; }
    friend DIEM_HOST_DEVICE constexpr device_pointer operator+(device_pointer a, std::ptrdiff_t n) {
        return device_pointer(a.p_ + n);
    }
    friend DIEM_HOST_DEVICE constexpr bool operator==(device_pointer a, device_pointer b) { return a.p_ == b.p_; }

private:
    T* p_ = nullptr;
};

}  // namespace diem
