// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <cstring>

#include <diem/core/macros.hpp>

/// \file
/// Numbers stored in 16 bits.
/// \snippet tests/examples/core.cpp core/bfloat16.hpp

namespace diem {

/// The upper half of a float32: its exponents, and 8 bits of significand. Arithmetic is float32's.
struct bfloat16 {
    std::uint16_t bits = 0;
    [[nodiscard]] friend DIEM_HOST_DEVICE constexpr bool operator==(bfloat16 a, bfloat16 b) { return a.bits == b.bits; }
};

namespace detail {
DIEM_HOST_DEVICE inline std::uint32_t float_bits(float x) {
    std::uint32_t u = 0;
    std::memcpy(&u, &x, sizeof u);
    return u;
}
/// The upper half of u + add, which rounds the lower one away; a NaN stays one.
DIEM_HOST_DEVICE inline bfloat16 rounded_by(std::uint32_t u, std::uint32_t add) {
    const bool nan = (u & 0x7fffffffU) > 0x7f800000U;
    return {static_cast<std::uint16_t>((nan ? u | 0x400000U : u + add) >> 16U)};
}
}  // namespace detail

/// The number itself, which float32 holds exactly.
[[nodiscard]] DIEM_HOST_DEVICE inline float widened(bfloat16 x) {
    const std::uint32_t u = std::uint32_t{x.bits} << 16U;
    float y = 0;
    std::memcpy(&y, &u, sizeof y);
    return y;
}
/// To nearest, ties to even; numbers below 2^-126 too.
[[nodiscard]] DIEM_HOST_DEVICE inline bfloat16 nearest_bfloat16(float x) {
    const std::uint32_t u = detail::float_bits(x);
    return detail::rounded_by(u, 0x7fffU + (u >> 16U & 1U));
}
/// One of the two neighbours of x, so that the mean over `random`, 0 .. 2^16 - 1, is x: a sum of many small steps, each
/// rounded so, does not stand still. Numbers of 16 bits stay as they are.
[[nodiscard]] DIEM_HOST_DEVICE inline bfloat16 stochastic_bfloat16(float x, std::uint32_t random) {
    return detail::rounded_by(detail::float_bits(x), random & 0xffffU);
}

}  // namespace diem
