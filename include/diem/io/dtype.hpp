// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <bit>
#include <complex>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>

#include <diem/core/bfloat16.hpp>
#include <diem/core/error.hpp>
#include <diem/io/array.hpp>

/// \file
/// Element types of files.
/// \snippet tests/examples/io.cpp io/dtype.hpp

namespace diem::io {

/// Element types of files. `other`: one that a format has and nothing here reads.
enum class dtype { boolean, u8, i8, u16, i16, f16, bf16, u32, i32, f32, u64, i64, f64, c64, c128, other };

/// One row per dtype: its size in bytes, its name in safetensors and in npy ("" where the format has none; npy of the other
/// byte order has > for <).
struct dtype_info {
    dtype type;
    std::size_t size;
    std::string_view safetensors;
    std::string_view npy;
};

inline constexpr dtype_info dtype_table[] = {
    {dtype::boolean, 1, "BOOL", "|b1"}, {dtype::u8, 1, "U8", "|u1"},   {dtype::i8, 1, "I8", "|i1"},
    {dtype::u16, 2, "U16", "<u2"},      {dtype::i16, 2, "I16", "<i2"}, {dtype::f16, 2, "F16", "<f2"},
    {dtype::bf16, 2, "BF16", ""},       {dtype::u32, 4, "U32", "<u4"}, {dtype::i32, 4, "I32", "<i4"},
    {dtype::f32, 4, "F32", "<f4"},      {dtype::u64, 8, "U64", "<u8"}, {dtype::i64, 8, "I64", "<i8"},
    {dtype::f64, 8, "F64", "<f8"},      {dtype::c64, 8, "C64", "<c8"}, {dtype::c128, 16, "", "<c16"},
    {dtype::other, 1, "", ""},
};

[[nodiscard]] constexpr const dtype_info& info(dtype type) { return dtype_table[static_cast<std::size_t>(type)]; }

/// Pairs (real, imaginary)?
[[nodiscard]] constexpr bool is_complex(dtype type) { return type == dtype::c64 || type == dtype::c128; }
template <class T>
inline constexpr bool is_complex_v = false;
template <class T>
inline constexpr bool is_complex_v<std::complex<T>> = true;

/// The dtype of a C++ element type.
template <class T>
[[nodiscard]] consteval dtype dtype_of() {
    if constexpr (std::is_same_v<T, boolean>)
        return dtype::boolean;
    else if constexpr (std::is_same_v<T, float>)
        return dtype::f32;
    else if constexpr (std::is_same_v<T, double>)
        return dtype::f64;
    else if constexpr (std::is_same_v<T, bfloat16>)
        return dtype::bf16;
    else if constexpr (std::is_same_v<T, std::complex<float>>)
        return dtype::c64;
    else if constexpr (std::is_same_v<T, std::complex<double>>)
        return dtype::c128;
    else {
        static_assert(std::is_integral_v<T> && !std::is_same_v<T, bool>, "no file format has this element type");
        if constexpr (std::is_signed_v<T>)
            return sizeof(T) == 1 ? dtype::i8 : sizeof(T) == 2 ? dtype::i16 : sizeof(T) == 4 ? dtype::i32 : dtype::i64;
        else
            return sizeof(T) == 1 ? dtype::u8 : sizeof(T) == 2 ? dtype::u16 : sizeof(T) == 4 ? dtype::u32 : dtype::u64;
    }
}

namespace detail {

/// IEEE half precision, widened.
[[nodiscard]] constexpr float half_to_float(std::uint16_t bits) {
    const std::uint32_t sign = std::uint32_t{bits & 0x8000U} << 16;
    const std::uint32_t exponent = (bits >> 10) & 0x1FU;
    const std::uint32_t mantissa = bits & 0x3FFU;
    if (exponent == 0) {  // subnormal: mantissa 2^-24
        const float magnitude = static_cast<float>(mantissa) * 0x1p-24F;
        return sign != 0 ? -magnitude : magnitude;
    }
    const std::uint32_t wide = exponent == 31 ? 255 : exponent + 112;
    return std::bit_cast<float>(sign | wide << 23 | mantissa << 13);
}

template <class To, class From>
[[nodiscard]] constexpr bool representable(From value) {
    if constexpr (std::is_integral_v<To> && std::is_integral_v<From>)
        return std::in_range<To>(value);
    else
        return !std::is_integral_v<To>;
}

/// Reverses the bytes of elements of `width` bytes, in place.
inline void swap_bytes(std::span<std::byte> bytes, std::size_t width) {
    for (std::size_t at = 0; width > 1 && at + width <= bytes.size(); at += width)
        std::reverse(bytes.begin() + static_cast<std::ptrdiff_t>(at),
                     bytes.begin() + static_cast<std::ptrdiff_t>(at + width));
}

/// Converts elements of C++ type From; the position of the first value that To cannot hold, if any.
template <class From, class To>
[[nodiscard]] std::optional<std::size_t> convert_elements(const std::byte* source, std::span<To> target) {
    for (std::size_t i = 0; i < target.size(); ++i) {
        From value;
        std::memcpy(&value, source + i * sizeof(From), sizeof(From));
        if (!representable<To>(value)) return i;
        target[i] = static_cast<To>(value);
    }
    return std::nullopt;
}

/// May files of this dtype be read as arrays of To? Any real type as float or double, any integer or boolean as an integer
/// (each value is checked), booleans as `boolean`, complex as complex.
template <class To>
[[nodiscard]] constexpr bool convertible(dtype type) {
    const bool floating = type == dtype::f16 || type == dtype::bf16 || type == dtype::f32 || type == dtype::f64;
    const bool real = type != dtype::other && !is_complex(type);
    if constexpr (std::is_floating_point_v<To>)
        return real;
    else if constexpr (std::is_integral_v<To>)
        return real && !floating;
    else if constexpr (is_complex_v<To>)
        return is_complex(type);
    else
        return type == dtype_of<To>();
}

/// Elements of `type` at `source` into `target`; `convertible<To>(type)` holds.
template <class To>
[[nodiscard]] std::optional<std::size_t> convert(dtype type, const std::byte* source, std::span<To> target) {
    if constexpr (std::is_arithmetic_v<To>) {
        const auto from_bits = [&](auto widen) {
            for (std::size_t i = 0; i < target.size(); ++i) {
                std::uint16_t bits = 0;
                std::memcpy(&bits, source + 2 * i, 2);
                target[i] = static_cast<To>(widen(bits));
            }
            return std::optional<std::size_t>{};
        };
        switch (type) {
            case dtype::boolean:
            case dtype::u8:
                return convert_elements<std::uint8_t>(source, target);
            case dtype::i8:
                return convert_elements<std::int8_t>(source, target);
            case dtype::u16:
                return convert_elements<std::uint16_t>(source, target);
            case dtype::i16:
                return convert_elements<std::int16_t>(source, target);
            case dtype::u32:
                return convert_elements<std::uint32_t>(source, target);
            case dtype::i32:
                return convert_elements<std::int32_t>(source, target);
            case dtype::u64:
                return convert_elements<std::uint64_t>(source, target);
            case dtype::i64:
                return convert_elements<std::int64_t>(source, target);
            case dtype::f32:
                return convert_elements<float>(source, target);
            case dtype::f64:
                return convert_elements<double>(source, target);
            case dtype::f16:
                return from_bits(half_to_float);
            case dtype::bf16:
                return from_bits([](std::uint16_t bits) { return widened(bfloat16{bits}); });
            case dtype::c64:
            case dtype::c128:
            case dtype::other:
                break;
        }
        throw io_error("diem::io: no conversion of this element type");
    } else if constexpr (is_complex_v<To>) {
        return type == dtype::c64 ? convert_elements<std::complex<float>>(source, target)
                                  : convert_elements<std::complex<double>>(source, target);
    } else {
        std::memcpy(target.data(), source, target.size() * sizeof(To));
        return std::nullopt;
    }
}

}  // namespace detail
}  // namespace diem::io
