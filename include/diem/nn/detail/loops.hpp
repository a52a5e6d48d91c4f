// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>

#include <diem/core/macros.hpp>
#include <diem/core/view.hpp>

// Iterations of the next loop do not depend on one another: element j of a result depends on elements j alone.
#if defined(__CUDACC__)
#define DIEM_IVDEP
#elif defined(__clang__)
#define DIEM_IVDEP _Pragma("clang loop vectorize(assume_safety)")
#else
#define DIEM_IVDEP _Pragma("GCC ivdep")
#endif

/// Pieces of kernel bodies that run on one pixel: loops over contiguous channels that compilers turn into vectors.
namespace diem::nn::detail {

/// y = v or y += v.
template <class T>
DIEM_HOST_DEVICE void put(T& y, T v, bool add) {
    y = add ? y + v : v;
}

/// A sum in sixteen interleaved parts: vectors without reassociation, and an order that nothing changes.
template <class T>
struct lane_sum {
    static constexpr int lanes = 16;
    T part[lanes] = {};
    [[nodiscard]] DIEM_HOST_DEVICE T total() const {
        T s[lanes];
        for (int k = 0; k < lanes; ++k) s[k] = part[k];
        for (int width = lanes / 2; width > 0; width /= 2)
            for (int k = 0; k < width; ++k) s[k] += s[k + width];
        return s[0];
    }
};

/// Sum of f(j) for j = 0 .. n - 1.
template <class T, class F>
DIEM_HOST_DEVICE T sum_over(index_t n, const F& f) {
    lane_sum<T> s;
    index_t j = 0;
    for (; j + lane_sum<T>::lanes <= n; j += lane_sum<T>::lanes)
        for (int k = 0; k < lane_sum<T>::lanes; ++k) s.part[k] += f(j + k);
    for (int k = 0; j < n; ++j, ++k) s.part[k] += f(j);
    return s.total();
}

/// Two sums at once: f(j, u, v) sets both terms.
template <class T, class F>
DIEM_HOST_DEVICE void sums_over(index_t n, const F& f, T& first, T& second) {
    lane_sum<T> s, t;
    index_t j = 0;
    for (; j + lane_sum<T>::lanes <= n; j += lane_sum<T>::lanes)
        for (int k = 0; k < lane_sum<T>::lanes; ++k) {
            T u, v;
            f(j + k, u, v);
            s.part[k] += u;
            t.part[k] += v;
        }
    for (int k = 0; j < n; ++j, ++k) {
        T u, v;
        f(j, u, v);
        s.part[k] += u;
        t.part[k] += v;
    }
    first = s.total();
    second = t.total();
}

}  // namespace diem::nn::detail
