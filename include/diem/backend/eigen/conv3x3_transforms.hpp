// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <diem/backend/eigen/simd_level.hpp>

/// \file
/// The one-dimensional transforms of Winograd's F(M, 3), M = 2 or 4, and their transposes:
/// y = A' [(G g) . (B' d)] is the correlation of M + 2 values d with 3 values g.
///
/// From interpolation at 0, +-a, +-b (M = 4) or 0, +-1 (M = 2), and infinity: row k of B' holds the coefficients of
/// prod_{l != k} (z - p_l), row k of G is (1, p_k, p_k^2) / prod_{l != k} (p_k - p_l), column k of A' is
/// (1, p_k, .., p_k^(M - 1)). a = 5/8 and b = 3/2 are exact in binary, and their error in float32 is a third to a quarter
/// of that of the usual 1 and 2 (measured; Barabasz et al., arXiv 1803.10986, discuss the choice of points).
///
/// V is a vector of T; `step` is the distance between the elements of both arguments.

namespace diem::detail::eigen {
inline namespace DIEM_SIMD_NAMESPACE {

/// One-dimensional transforms of F(M, 3) by interpolation at 0, +-a, +-b (M = 4) or 0, +-1 (M = 2), and infinity.
template <int M>
struct winograd_transform;

template <>
struct winograd_transform<2> {
    static constexpr int size = 4;

    template <class T, class V>
    static void input(const V* d, V* v) {  // B'
        v[0] = d[0] - d[2];
        v[1] = d[1] + d[2];
        v[2] = d[2] - d[1];
        v[3] = d[3] - d[1];
    }
    template <class T, class V>
    static void output(const V* m, V* y) {  // A'
        const V sum = m[1] + m[2], difference = m[1] - m[2];
        y[0] = m[0] + sum;
        y[1] = difference + m[3];
    }
    template <class T, class V>
    static void output_adjoint(const V* y, V* m) {  // A
        m[0] = y[0];
        const V u = y[0], w = y[1];
        m[1] = u + w;
        m[2] = u - w;
        m[3] = w;
    }
    template <class T, class V>
    static void kernel(const V* g, V* u, int step) {  // G
        const V even = T(0.5) * (g[0] + g[2 * step]), odd = T(0.5) * g[step];
        u[0] = g[0];
        u[step] = even + odd;
        u[2 * step] = even - odd;
        u[3 * step] = g[2 * step];
    }
    template <class T, class V>
    static void kernel_adjoint(const V* u, V* g, int step) {  // G'
        const V sum = T(0.5) * (u[step] + u[2 * step]), difference = T(0.5) * (u[step] - u[2 * step]);
        g[0] = u[0] + sum;
        g[step] = difference;
        g[2 * step] = sum + u[3 * step];
    }
};

template <>
struct winograd_transform<4> {
    static constexpr int size = 6;
    static constexpr double a = 0.625, b = 1.5;
    static constexpr double a2 = a * a, b2 = b * b;

    template <class T, class V>
    static void input(const V* d, V* v) {
        const V d0 = d[0], d1 = d[1], d2 = d[2], d3 = d[3], d4 = d[4], d5 = d[5];
        const V even_a = d4 - T(b2) * d2, odd_a = d3 - T(b2) * d1;
        const V even_b = d4 - T(a2) * d2, odd_b = d3 - T(a2) * d1;
        v[0] = T(a2 * b2) * d0 - T(a2 + b2) * d2 + d4;
        v[1] = even_a + T(a) * odd_a;
        v[2] = even_a - T(a) * odd_a;
        v[3] = even_b + T(b) * odd_b;
        v[4] = even_b - T(b) * odd_b;
        v[5] = T(a2 * b2) * d1 - T(a2 + b2) * d3 + d5;
    }
    template <class T, class V>
    static void output(const V* m, V* y) {
        const V sum_a = m[1] + m[2], difference_a = m[1] - m[2];
        const V sum_b = m[3] + m[4], difference_b = m[3] - m[4];
        const V m0 = m[0], m5 = m[5];
        y[0] = m0 + sum_a + sum_b;
        y[1] = T(a) * difference_a + T(b) * difference_b;
        y[2] = T(a2) * sum_a + T(b2) * sum_b;
        y[3] = T(a2 * a) * difference_a + T(b2 * b) * difference_b + m5;
    }
    template <class T, class V>
    static void output_adjoint(const V* y, V* m) {
        const V y0 = y[0], y1 = y[1], y2 = y[2], y3 = y[3];
        const V even_a = y0 + T(a2) * y2, odd_a = T(a) * y1 + T(a2 * a) * y3;
        const V even_b = y0 + T(b2) * y2, odd_b = T(b) * y1 + T(b2 * b) * y3;
        m[0] = y0;
        m[1] = even_a + odd_a;
        m[2] = even_a - odd_a;
        m[3] = even_b + odd_b;
        m[4] = even_b - odd_b;
        m[5] = y3;
    }
    static constexpr double n0 = 1 / (a2 * b2), na = 1 / (2 * a2 * (a2 - b2)), nb = 1 / (2 * b2 * (b2 - a2));

    template <class T, class V>
    static void kernel(const V* g, V* u, int step) {
        const V even_a = T(na) * g[0] + T(na * a2) * g[2 * step], odd_a = T(na * a) * g[step];
        const V even_b = T(nb) * g[0] + T(nb * b2) * g[2 * step], odd_b = T(nb * b) * g[step];
        u[0] = T(n0) * g[0];
        u[step] = even_a + odd_a;
        u[2 * step] = even_a - odd_a;
        u[3 * step] = even_b + odd_b;
        u[4 * step] = even_b - odd_b;
        u[5 * step] = g[2 * step];
    }
    template <class T, class V>
    static void kernel_adjoint(const V* u, V* g, int step) {
        const V sum_a = T(na) * (u[step] + u[2 * step]), difference_a = T(na * a) * (u[step] - u[2 * step]);
        const V sum_b = T(nb) * (u[3 * step] + u[4 * step]), difference_b = T(nb * b) * (u[3 * step] - u[4 * step]);
        g[0] = T(n0) * u[0] + sum_a + sum_b;
        g[step] = difference_a + difference_b;
        g[2 * step] = T(a2) * sum_a + T(b2) * sum_b + u[5 * step];
    }
};

}  // namespace DIEM_SIMD_NAMESPACE
}  // namespace diem::detail::eigen
