// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <diem/core/view.hpp>

/// \file
/// Rows of host memory, for loops in which one core takes a whole item.

namespace diem::solver::detail {

[[nodiscard]] inline double eight_sums(const double (&s)[8]) {
    return ((s[0] + s[4]) + (s[1] + s[5])) + ((s[2] + s[6]) + (s[3] + s[7]));
}
/// Inner product accumulated in float64, eight running sums.
template <class T>
[[nodiscard]] double row_dot(const T* x, const T* y, index_t n) {
    double sums[8] = {};
    index_t j = 0;
    for (; j + 8 <= n; j += 8)
        for (int k = 0; k < 8; ++k) sums[k] += static_cast<double>(x[j + k]) * static_cast<double>(y[j + k]);
    for (; j < n; ++j) sums[j % 8] += static_cast<double>(x[j]) * static_cast<double>(y[j]);
    return eight_sums(sums);
}
/// y += a x
template <class T>
void row_add(T a, const T* x, T* y, index_t n) {
    for (index_t j = 0; j < n; ++j) y[j] += a * x[j];
}
/// y += a x, and then y'y.
template <class T>
[[nodiscard]] double row_add_dot(T a, const T* x, T* y, index_t n) {
    double sums[8] = {};
    index_t j = 0;
    for (; j + 8 <= n; j += 8) {
        T out[8];
        for (int k = 0; k < 8; ++k) out[k] = y[j + k] + a * x[j + k];
        for (int k = 0; k < 8; ++k) y[j + k] = out[k];
        for (int k = 0; k < 8; ++k) sums[k] += static_cast<double>(out[k]) * static_cast<double>(out[k]);
    }
    for (; j < n; ++j) {
        y[j] += a * x[j];
        sums[j % 8] += static_cast<double>(y[j]) * static_cast<double>(y[j]);
    }
    return eight_sums(sums);
}
/// x += a p, then p = z + b p, and then p'p.
template <class T>
[[nodiscard]] double row_advance(T a, T b, const T* z, T* p, T* x, index_t n) {
    double sums[8] = {};
    index_t j = 0;
    for (; j + 8 <= n; j += 8) {
        T old[8], moved[8], next[8];
        for (int k = 0; k < 8; ++k) old[k] = p[j + k];
        for (int k = 0; k < 8; ++k) moved[k] = x[j + k] + a * old[k];
        for (int k = 0; k < 8; ++k) next[k] = z[j + k] + b * old[k];
        for (int k = 0; k < 8; ++k) x[j + k] = moved[k];
        for (int k = 0; k < 8; ++k) p[j + k] = next[k];
        for (int k = 0; k < 8; ++k) sums[k] += static_cast<double>(next[k]) * static_cast<double>(next[k]);
    }
    for (; j < n; ++j) {
        const T old = p[j];
        x[j] += a * old;
        p[j] = z[j] + b * old;
        sums[j % 8] += static_cast<double>(p[j]) * static_cast<double>(p[j]);
    }
    return eight_sums(sums);
}

}  // namespace diem::solver::detail
