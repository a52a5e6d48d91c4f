// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <diem/backend/team.hpp>
#include <diem/core/macros.hpp>
#include <diem/core/view.hpp>

/// \file
/// Pieces of kernel bodies: loops of a team over the contiguous channels of a pixel, which host compilers turn into vectors.

namespace diem::nn::detail {

/// y = v or y += v.
template <class T>
DIEM_HOST_DEVICE void put(T& y, T v, bool add) {
    y = add ? y + v : v;
}

/// As many numbers as the host compiler's vectors hold; one under nvcc. Loop bodies are generic over their value V: `T` or
/// `lanes<T>::vec`.
template <class T>
struct lanes {
#if defined(__CUDACC__) || !(defined(__GNUC__) || defined(__clang__))
    static constexpr int size = 1;
    using vec = T;
    using loose = T;
    DIEM_HOST_DEVICE static T total(const vec& v) { return v; }
#else
#if defined(__AVX__)
    static constexpr int bytes = 32;
#else
    static constexpr int bytes = 16;
#endif
    static constexpr int size = bytes / static_cast<int>(sizeof(T));
    typedef T vec __attribute__((vector_size(bytes)));
    typedef T loose __attribute__((vector_size(bytes), aligned(alignof(T)), may_alias));
    /// The sum of all lanes, by halves.
    static T total(vec v) {
        if constexpr (size == 8) {
            v += __builtin_shufflevector(v, v, 4, 5, 6, 7, 0, 1, 2, 3);
            v += __builtin_shufflevector(v, v, 2, 3, 0, 1, 6, 7, 4, 5);
        } else if constexpr (size == 4) {
            v += __builtin_shufflevector(v, v, 2, 3, 0, 1);
        }
        return v[0] + v[1];
    }
#endif
};
template <class V, class T>
DIEM_HOST_DEVICE V load(const T* p) {
    if constexpr (std::is_same_v<V, T>)
        return *p;
    else
        return *reinterpret_cast<const typename lanes<T>::loose*>(p);
}
template <class V, class T>
DIEM_HOST_DEVICE void store(T* p, const V& v) {
    if constexpr (std::is_same_v<V, T>)
        *p = v;
    else
        *reinterpret_cast<typename lanes<T>::loose*>(p) = v;
}

/// e^x, of vectors within one unit of the last place: x = n log 2 + r, and the Taylor series of e^r. Beyond e^(-87), e^87 (708 for
/// double) of them what it is there; NaN for NaN.
template <class T, class V>
DIEM_HOST_DEVICE V exponential(const V& x) {
    if constexpr (std::is_same_v<V, T>) {
        using std::exp;
        return exp(x);
    } else {
#if defined(__FAST_MATH__) || defined(__ASSOCIATIVE_MATH__)  // what rounds to whole numbers below would be folded away
        V y;
        for (int k = 0; k < lanes<T>::size; ++k) y[k] = std::exp(x[k]);
        return y;
#elif !defined(__CUDACC__) && (defined(__GNUC__) || defined(__clang__))
#if defined(__clang__)  // which says less of its flags
#pragma clang fp reassociate(off)
#endif
        constexpr bool wide = sizeof(T) == 8;
        using integer = std::conditional_t<wide, std::int64_t, std::int32_t>;
        typedef integer integers __attribute__((vector_size(sizeof(V))));
        constexpr T top = wide ? T(708) : T(87);
        constexpr T shift = wide ? T(0x1.8p52) : T(0x1.8p23);  // what is added to it is rounded to a whole number
        const V bounded = x < -top ? V{} - top : (x > top ? V{} + top : x);
        const V moved = bounded * T(1.44269504088896340736) + shift, n = moved - shift;
        // log 2 in two pieces, of which the first times n is exact.
        const V r = (bounded - n * (wide ? T(0x1.62e42fefap-1) : T(0x1.62e4p-1))) -
                    n * (wide ? T(0x1.cf79abc9e3b4p-40) : T(0x1.7f7d1cp-20));
        constexpr int terms = wide ? 13 : 7;
        constexpr auto inverse_factorials = [] {
            std::array<T, terms + 1> c{};
            double f = 1;
            for (int k = 0; k <= terms; f /= ++k) c[static_cast<std::size_t>(k)] = static_cast<T>(f);
            return c;
        }();
        V y = V{} + inverse_factorials[terms];
        for (std::size_t k = terms; k-- > 0;) y = y * r + inverse_factorials[k];
        // The last bits of `moved` are n, which goes into the exponent.
        const integers two_to_n = (std::bit_cast<integers>(moved) + (wide ? 1023 : 127)) << (wide ? 52 : 23);
        return y * std::bit_cast<V>(two_to_n);
#else
        return x;
#endif
    }
}

/// f.template operator()<V>(j) for all of 0 .. n - 1, vectors first.
template <class T, class Team, class F>
DIEM_HOST_DEVICE void for_lanes(const Team& team, index_t n, const F& f) {
    index_t j = team.first();
    if constexpr (lanes<T>::size > 1)
        for (; j + lanes<T>::size <= n; j += lanes<T>::size) f.template operator()<typename lanes<T>::vec>(j);
    for (; j < n; j += team.step()) f.template operator()<T>(j);
}

/// Sum of f.template operator()<V>(j) over 0 .. n - 1.
template <class T, class Team, class F>
DIEM_HOST_DEVICE T sum_over(const Team& team, index_t n, const F& f) {
    using V = typename lanes<T>::vec;
    constexpr int size = lanes<T>::size;
    V s = {}, t = {};
    T rest = 0;
    index_t j = team.first();
    if constexpr (size > 1) {
        for (; j + 2 * size <= n; j += 2 * size) {
            s += f.template operator()<V>(j);
            t += f.template operator()<V>(j + size);
        }
        if (j + size <= n) {
            s += f.template operator()<V>(j);
            j += size;
        }
    }
    for (; j < n; j += team.step()) rest += f.template operator()<T>(j);
    return team.sum(lanes<T>::total(s + t) + rest);
}

/// Two sums at once: f.template operator()<V>(j, u, v) sets both terms.
template <class T, class Team, class F>
DIEM_HOST_DEVICE void sums_over(const Team& team, index_t n, const F& f, T& first, T& second) {
    using V = typename lanes<T>::vec;
    constexpr int size = lanes<T>::size;
    V s = {}, t = {}, u, v;
    T rest_s = 0, rest_t = 0;
    index_t j = team.first();
    if constexpr (size > 1)
        for (; j + size <= n; j += size) {
            f.template operator()<V>(j, u, v);
            s += u;
            t += v;
        }
    for (; j < n; j += team.step()) {
        T a, b;
        f.template operator()<T>(j, a, b);
        rest_s += a;
        rest_t += b;
    }
    first = team.sum(lanes<T>::total(s) + rest_s);
    second = team.sum(lanes<T>::total(t) + rest_t);
}

}  // namespace diem::nn::detail
