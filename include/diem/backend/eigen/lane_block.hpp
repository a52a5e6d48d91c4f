// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>

#include <Eigen/Core>

#include <diem/backend/eigen/simd_level.hpp>

/// \file
/// Numbers that functors take at once on the Eigen backend: Eigen's packets and their functions without its expressions, each of
/// which is a type of its own to compile, with hundreds of members.

namespace diem::detail::eigen {
inline namespace DIEM_SIMD_NAMESPACE {

/// `Size` numbers, a value as T is: + - * /, abs, sqrt, exp, log, sin and cos, number by number. T converts to it. More than a
/// packet at once takes registers that long functors need.
template <class T, int Size = Eigen::internal::packet_traits<T>::size>
struct lane_block {
    using Scalar = T;
    using packet = typename Eigen::internal::packet_traits<T>::type;
    using traits = Eigen::internal::packet_traits<T>;
    static constexpr int size = Size;
    static constexpr int width = Eigen::internal::unpacket_traits<packet>::size;
    static constexpr int packets = Size / width;
    static_assert(Size % width == 0);

    packet part[packets];

    lane_block() = default;
    [[gnu::always_inline]] lane_block(T value) {  // NOLINT(google-explicit-constructor)
        for (packet& p : part) p = Eigen::internal::pset1<packet>(value);
    }

    [[gnu::always_inline]] static lane_block load(const T* from) {
        lane_block r;
        for (int k = 0; k < packets; ++k) r.part[k] = Eigen::internal::ploadu<packet>(from + k * width);
        return r;
    }
    [[gnu::always_inline]] void store(T* to) const {
        for (int k = 0; k < packets; ++k) Eigen::internal::pstoreu(to + k * width, part[k]);
    }

    [[gnu::always_inline]] friend lane_block operator+(const lane_block& a, const lane_block& b) {
        return each(a, b, [](const packet& p, const packet& q) { return Eigen::internal::padd(p, q); });
    }
    [[gnu::always_inline]] friend lane_block operator-(const lane_block& a, const lane_block& b) {
        return each(a, b, [](const packet& p, const packet& q) { return Eigen::internal::psub(p, q); });
    }
    [[gnu::always_inline]] friend lane_block operator*(const lane_block& a, const lane_block& b) {
        return each(a, b, [](const packet& p, const packet& q) { return Eigen::internal::pmul(p, q); });
    }
    [[gnu::always_inline]] friend lane_block operator/(const lane_block& a, const lane_block& b) {
        return each(a, b, [](const packet& p, const packet& q) { return Eigen::internal::pdiv(p, q); });
    }
    [[gnu::always_inline]] lane_block& operator+=(const lane_block& b) { return *this = *this + b; }
    [[gnu::always_inline]] lane_block& operator-=(const lane_block& b) { return *this = *this - b; }
    [[gnu::always_inline]] lane_block& operator*=(const lane_block& b) { return *this = *this * b; }
    [[gnu::always_inline]] lane_block& operator/=(const lane_block& b) { return *this = *this / b; }
    [[gnu::always_inline]] friend lane_block operator-(const lane_block& a) {
        return each(a, [](const auto& p) { return Eigen::internal::pnegate(p); });
    }
    [[gnu::always_inline]] friend lane_block abs(const lane_block& a) {
        return each(a, [](const auto& p) { return Eigen::internal::pabs(p); });
    }
    [[gnu::always_inline]] friend lane_block sqrt(const lane_block& a) {
        return function<traits::HasSqrt>(
            a, [](const auto& p) { return Eigen::internal::psqrt(p); }, [](T x) { return std::sqrt(x); });
    }
    [[gnu::always_inline]] friend lane_block exp(const lane_block& a) {
        return function<traits::HasExp>(
            a, [](const auto& p) { return Eigen::internal::pexp(p); }, [](T x) { return std::exp(x); });
    }
    [[gnu::always_inline]] friend lane_block log(const lane_block& a) {
        return function<traits::HasLog>(
            a, [](const auto& p) { return Eigen::internal::plog(p); }, [](T x) { return std::log(x); });
    }
    [[gnu::always_inline]] friend lane_block sin(const lane_block& a) {
        return function<traits::HasSin>(
            a, [](const auto& p) { return Eigen::internal::psin(p); }, [](T x) { return std::sin(x); });
    }
    [[gnu::always_inline]] friend lane_block cos(const lane_block& a) {
        return function<traits::HasCos>(
            a, [](const auto& p) { return Eigen::internal::pcos(p); }, [](T x) { return std::cos(x); });
    }

private:
    template <class F>
    [[gnu::always_inline]] static lane_block each(const lane_block& a, const F& f) {
        lane_block r;
        for (int k = 0; k < packets; ++k) r.part[k] = f(a.part[k]);
        return r;
    }
    template <class F>
    [[gnu::always_inline]] static lane_block each(const lane_block& a, const lane_block& b, const F& f) {
        lane_block r;
        for (int k = 0; k < packets; ++k) r.part[k] = f(a.part[k], b.part[k]);
        return r;
    }
    /// A function of packets where Eigen has it, else of each number.
    template <bool Packets, class F, class G>
    [[gnu::always_inline]] static lane_block function(const lane_block& a, const F& f, const G& g) {
        if constexpr (Packets) {
            return each(a, f);
        } else {
            T x[Size];
            a.store(x);
            for (T& value : x) value = g(value);
            return load(x);
        }
    }
};

}  // namespace DIEM_SIMD_NAMESPACE
}  // namespace diem::detail::eigen
