// SPDX-License-Identifier: Apache-2.0
#pragma once

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
