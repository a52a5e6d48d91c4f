// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <tuple>
#include <type_traits>

#include <diem/backend/eigen/lane_block.hpp>
#include <diem/backend/eigen/simd_level.hpp>
#include <diem/backend/operand.hpp>

/// \file
/// Vectorised element-wise work of the Eigen backend: functors are called on blocks of numbers, then on scalars for the rest
/// of a row.

namespace diem::detail::eigen {
inline namespace DIEM_SIMD_NAMESPACE {

template <class T>
inline constexpr int lanes = static_cast<int>(64 / sizeof(T));

// Inlined by force: left alone, compilers pass the registers through memory. `p` is the operand at the first feature of a block,
// and k counts from there.
template <class V, class T>
[[gnu::always_inline]] inline V load(const strided<T>& s, std::type_identity_t<T>* p, int k) {
    using S = typename V::Scalar;
    if (s.feature_step == 0) return V(static_cast<S>(*p));
    if constexpr (std::is_same_v<std::remove_const_t<T>, S>) {
        return V::load(p + k);
    } else {
        S cast[V::size];
        for (int l = 0; l < V::size; ++l) cast[l] = static_cast<S>(p[k + l]);
        return V::load(cast);
    }
}
template <class V, class T>
[[gnu::always_inline]] inline void store(T* p, int k, const V& v) {
    if constexpr (!std::is_const_v<T>) {
        static_assert(std::is_same_v<T, typename V::Scalar>, "map: a written operand must hold the backend's scalar");
        v.store(p + k);
    }
}

/// f on features [first, last) of item i.
template <class T, class F, class... S>
void map_row(const F& f, index_t i, index_t first, index_t last, const S&... s) {
    using V = lane_block<T>;
    const auto block = [&](auto*... p) {
        for (int k = 0; k < lanes<T>; k += V::size) {
            std::tuple<decltype((void)s, V())...> values{load<V>(s, p, k)...};
            std::apply(
                [&](auto&... v) {
                    f(v...);
                    (store(p, k, v), ...);
                },
                values);
        }
    };
    index_t j = first;
    for (; j + lanes<T> <= last; j += lanes<T>) block(&s.at(j, i)...);
    const auto call = [&f](auto&... element) { f(value_or_reference<T>(element)...); };
    for (; j < last; ++j) call(s.at(j, i)...);
}

/// Blocks of `lanes<T>` features that an item has, the last one perhaps shorter. Work is cut at their borders only, so
/// that an element is computed by the same instructions whatever the number of threads.
template <class T>
index_t blocks_of(index_t features) {
    return (features + lanes<T> - 1) / lanes<T>;
}

/// Blocks [first, last) of a batch as parts of rows: g(item, from, to).
template <class T, class G>
void for_rows(index_t features, index_t first, index_t last, const G& g) {
    const index_t blocks = blocks_of<T>(features);
    while (first < last) {
        const index_t i = first / blocks, block = first - i * blocks;
        const index_t count = std::min(blocks - block, last - first);
        g(i, block * lanes<T>, std::min(features, (block + count) * lanes<T>));
        first += count;
    }
}

template <class T>
struct scale_row {
    T b;
    template <class V>
    void operator()(V& y) const {
        y = b * y;
    }
};
template <class T>
struct scaled_copy_row {
    T a;
    template <class V>
    void operator()(const V& x, V& y) const {
        y = a * x;
    }
};
template <class T>
struct axpby_elements {
    T a, b;
    template <class V>
    void operator()(const V& x, V& y) const {
        y = a * x + b * y;
    }
};

/// y = a x + b y on a row; an operand with coefficient zero is not read.
template <class T>
void axpby_row(T a, const T* x, T b, T* y, index_t n) {
    const strided<const T> in{x, 0, 1};
    const strided<T> out{y, 0, 1};
    if (a == 0 && b == 0)
        std::fill_n(y, n, T(0));
    else if (a == 0 && b != 1)
        map_row<T>(scale_row<T>{b}, 0, 0, n, out);
    else if (b == 0)
        map_row<T>(scaled_copy_row<T>{a}, 0, 0, n, in, out);
    else if (a != 0)
        map_row<T>(axpby_elements<T>{a, b}, 0, 0, n, in, out);
}

/// Inner product accumulated in float64, eight running sums.
template <class T>
double dot_row(const T* x, const T* y, index_t n) {
    double sums[8] = {};
    index_t j = 0;
    for (; j + 8 <= n; j += 8)
        for (int k = 0; k < 8; ++k) sums[k] += static_cast<double>(x[j + k]) * static_cast<double>(y[j + k]);
    for (; j < n; ++j) sums[j % 8] += static_cast<double>(x[j]) * static_cast<double>(y[j]);
    return ((sums[0] + sums[4]) + (sums[1] + sums[5])) + ((sums[2] + sums[6]) + (sums[3] + sums[7]));
}

}  // namespace DIEM_SIMD_NAMESPACE
}  // namespace diem::detail::eigen
