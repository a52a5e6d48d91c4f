// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>

#include <diem/core/view.hpp>
#include <diem/nn/detail/loops.hpp>

/// \file
/// Internal: kernel bodies of group norm; symbols are those of nn/group_norm.hpp.

namespace diem::nn {

struct group_norm_shape {
    index_t pixels = 0, channels = 0, groups = 1;
    double epsilon = 1e-5;
    [[nodiscard]] DIEM_HOST_DEVICE constexpr index_t each() const { return channels / groups; }
    [[nodiscard]] constexpr index_t features() const { return pixels * channels; }
};

/// What comes after the norm: itself, or silu(u) = u g, silu'(u) = g (1 + u (1 - g)), g = 1 / (1 + exp(-u)).
struct norm_alone {
    static constexpr bool linear = true;
    template <class T, class V>
    [[nodiscard]] DIEM_HOST_DEVICE static V value(const V& u) {
        return u;
    }
};
struct then_silu {
    static constexpr bool linear = false;
    template <class T, class V>
    [[nodiscard]] DIEM_HOST_DEVICE static V value(const V& u) {
        return u / (T(1) + detail::exponential<T>(V(-u)));
    }
    template <class T, class V>
    [[nodiscard]] DIEM_HOST_DEVICE static V slope(const V& u) {
        const V gate = T(1) / (T(1) + detail::exponential<T>(V(-u)));
        return gate * (T(1) + u * (T(1) - gate));
    }
};

namespace detail {
/// Sums over a group come in two steps: of each channel over blocks of so many pixels in T, along the channels, which lie side by
/// side; then of blocks and the group's channels in double.
inline constexpr index_t pixels_of_block = 32;
[[nodiscard]] DIEM_HOST_DEVICE constexpr index_t blocks_of(const group_norm_shape& s) {
    return (s.pixels + pixels_of_block - 1) / pixels_of_block;
}

/// One block: for each channel the sums of the `Terms::count` numbers that terms(item, pixel, team, sums) adds, in rows of C.
template <class T, class Terms>
struct group_sums_body {
    group_norm_shape s;
    Terms terms;
    template <class Team, class... Pointers>
    DIEM_HOST_DEVICE void operator()(index_t i, const Team& team, T* sums_, Pointers... pointers) const {
        const index_t blocks = blocks_of(s), item = i / blocks, begin = (i - item * blocks) * pixels_of_block;
        const index_t end = begin + pixels_of_block < s.pixels ? begin + pixels_of_block : s.pixels;
        T* const sums = sums_ + i * Terms::count * s.channels;
        for (int term = 0; term < Terms::count; ++term)
            for (index_t j = team.first(); j < s.channels; j += team.step()) sums[term * s.channels + j] = 0;
        for (index_t k = begin; k < end; ++k) terms(s, item, k, team, sums, pointers...);
    }
};
template <class T>
struct group_sum_terms {  // x
    static constexpr int count = 1;
    template <class Team>
    DIEM_HOST_DEVICE void operator()(const group_norm_shape& s, index_t item, index_t k, const Team& team, T* sums,
                                     const T* x_) const {
        const T* const x = x_ + (item * s.pixels + k) * s.channels;
        DIEM_IVDEP
        for (index_t j = team.first(); j < s.channels; j += team.step()) sums[j] += x[j];
    }
};
template <class T>
struct group_square_terms {  // (x - M)^2
    static constexpr int count = 1;
    template <class Team>
    DIEM_HOST_DEVICE void operator()(const group_norm_shape& s, index_t item, index_t k, const Team& team, T* sums,
                                     const T* x_, const T* table) const {
        const T* const x = x_ + (item * s.pixels + k) * s.channels;
        const T* const m = table + (item * 4 + 1) * s.channels;
        DIEM_IVDEP
        for (index_t j = team.first(); j < s.channels; j += team.step()) sums[j] += (x[j] - m[j]) * (x[j] - m[j]);
    }
};
/// Numbers j of a pixel: d = x - M, and g times A and the slope of what comes after the norm.
template <class T>
struct group_pixel {
    const T *x, *a, *m, *o;
    DIEM_HOST_DEVICE group_pixel(const group_norm_shape& s, index_t item, index_t i, const T* x_, const T* table)
        : x(x_ + i * s.channels), a(table + item * 4 * s.channels), m(a + s.channels), o(m + s.channels) {}
    template <class V>
    [[nodiscard]] DIEM_HOST_DEVICE V centred(index_t j) const {
        return load<V>(x + j) - load<V>(m + j);
    }
    template <class V>
    [[nodiscard]] DIEM_HOST_DEVICE V normed(index_t j) const {
        return load<V>(a + j) * centred<V>(j) + load<V>(o + j);
    }
    template <class After, class V>
    [[nodiscard]] DIEM_HOST_DEVICE V scaled(index_t j, const V& g) const {
        if constexpr (After::linear)
            return load<V>(a + j) * g;
        else
            return load<V>(a + j) * g * After::template slope<T, V>(normed<V>(j));
    }
};
template <class T>
struct group_product_terms {  // v and (x - M) v, v = g
    static constexpr int count = 2;
    template <class Team>
    DIEM_HOST_DEVICE void operator()(const group_norm_shape& s, index_t item, index_t k, const Team& team, T* sums,
                                     const T* x, const T* table, const T* g_) const {
        const index_t c = s.channels, i = item * s.pixels + k;
        const group_pixel<T> at(s, item, i, x, table);
        const T* const g = g_ + i * c;
        for_lanes<T>(team, c, [&]<class V>(index_t j) {
            const V v = load<V>(g + j);
            store<V>(sums + j, load<V>(sums + j) + v);
            store<V>(sums + c + j, load<V>(sums + c + j) + v * at.template centred<V>(j));
        });
    }
};
template <class T, class After>
struct group_scaled_terms {  // the same of v = A g, times the slope of what comes after the norm
    static constexpr int count = 2;
    template <class Team>
    DIEM_HOST_DEVICE void operator()(const group_norm_shape& s, index_t item, index_t k, const Team& team, T* sums,
                                     const T* x, const T* table, const T* g_, T* v_) const {
        const index_t i = item * s.pixels + k;
        const group_pixel<T> at(s, item, i, x, table);
        const T* const g = g_ + i * s.channels;
        T* const v = v_ + i * s.channels;
        for_lanes<T>(team, s.channels,
                     [&]<class V>(index_t j) { store<V>(v + j, at.template scaled<After>(j, load<V>(g + j))); });
        group_product_terms<T>{}(s, item, k, team, sums, x, table, v_);
    }
};
/// Of one (item, group) the sum of term `term` of `count`.
template <class T, class Team>
[[nodiscard]] DIEM_HOST_DEVICE double group_total(const group_norm_shape& s, index_t i, const Team& team, const T* sums,
                                                  int term, int count) {
    const index_t item = i / s.groups, first = (i - item * s.groups) * s.each(), blocks = blocks_of(s);
    double total = 0;
    for (index_t k = team.first(); k < blocks; k += team.step()) {
        const T* const row = sums + ((item * blocks + k) * count + term) * s.channels + first;
        for (index_t j = 0; j < s.each(); ++j) total += static_cast<double>(row[j]);
    }
    return team.sum(total);
}

/// One (item, group): the row M of the table, where y = A (x - M) + O.
template <class T>
struct group_mean_body {
    group_norm_shape s;
    index_t before_step;  // between items
    bool has_before;
    template <class Team>
    DIEM_HOST_DEVICE void operator()(index_t i, const Team& team, const T* sums, const T* before_, T* table) const {
        const index_t item = i / s.groups, first = (i - item * s.groups) * s.each(), n = s.each(), c = s.channels;
        const T* const before = before_ + item * before_step + first;
        double mean = group_total(s, i, team, sums, 0, 1) / static_cast<double>(s.pixels);
        if (has_before)
            for (index_t j = 0; j < n; ++j) mean += static_cast<double>(before[j]);
        mean /= static_cast<double>(n);
        T* const to = table + (item * 4 + 1) * c + first;
        for (index_t j = team.first(); j < n; j += team.step())
            to[j] = has_before ? static_cast<T>(mean) - before[j] : static_cast<T>(mean);
    }
};
/// One (item, group): the rows A, O and 1 / (var + epsilon).
template <class T>
struct group_table_body {
    group_norm_shape s;
    index_t scale_step, shift_step;  // between items
    bool has_scale, has_shift;
    template <class Team>
    DIEM_HOST_DEVICE void operator()(index_t i, const Team& team, const T* squares, const T* gamma, const T* beta,
                                     const T* scale_, const T* shift_, T* table) const {
        using std::sqrt;
        const index_t item = i / s.groups, first = (i - item * s.groups) * s.each(), n = s.each(), c = s.channels;
        const T *const scale = scale_ + item * scale_step, *const shift = shift_ + item * shift_step;
        const double variance = group_total(s, i, team, squares, 0, 1) / static_cast<double>(s.pixels * n);
        const double square = 1 / (variance + s.epsilon);
        const T root = static_cast<T>(sqrt(square));
        T* const to = table + item * 4 * c + first;
        for (index_t j = team.first(); j < n; j += team.step()) {
            const T more = has_scale ? T(1) + scale[first + j] : T(1);
            to[j] = more * gamma[first + j] * root;
            to[2 * c + j] = more * beta[first + j] + (has_shift ? shift[first + j] : T(0));
            to[3 * c + j] = static_cast<T>(square);
        }
    }
};
template <class T, class After>
struct group_apply_body {  // one pixel
    group_norm_shape s;
    template <class Team>
    DIEM_HOST_DEVICE void operator()(index_t i, const Team& team, const T* x, const T* table, T* y_) const {
        const group_pixel<T> at(s, i / s.pixels, i, x, table);
        T* const y = y_ + i * s.channels;
        for_lanes<T>(team, s.channels, [&]<class V>(index_t j) {
            store<V>(y + j, After::template value<T, V>(at.template normed<V>(j)));
        });
    }
};
/// One (item, group): rows of avg(v) and avg((x - M) v) / (var + epsilon), the same for all channels of the group.
template <class T>
struct group_averages_body {
    group_norm_shape s;
    template <class Team>
    DIEM_HOST_DEVICE void operator()(index_t i, const Team& team, const T* sums, const T* table, T* averages) const {
        const index_t item = i / s.groups, first = (i - item * s.groups) * s.each(), c = s.channels;
        const double sum = group_total(s, i, team, sums, 0, 2), along = group_total(s, i, team, sums, 1, 2);
        const double count = static_cast<double>(s.pixels * s.each());
        const T mean = static_cast<T>(sum / count);
        const T slope = static_cast<T>(along / count) * table[(item * 4 + 3) * c + first];
        T* const to = averages + item * 2 * c + first;
        for (index_t j = team.first(); j < s.each(); j += team.step()) {
            to[j] = mean;
            to[c + j] = slope;
        }
    }
};
template <class T, bool Adjoint, class After>
struct group_jacobian_body {  // one pixel
    group_norm_shape s;
    bool add;
    template <class Team>
    DIEM_HOST_DEVICE void operator()(index_t i, const Team& team, const T* x, const T* table, const T* averages,
                                     const T* g_, T* y_) const {
        const index_t c = s.channels, item = i / s.pixels;
        const group_pixel<T> at(s, item, i, x, table);
        const T *const mean = averages + item * 2 * c, *const along = mean + c, *const g = g_ + i * c;
        T* const y = y_ + i * c;
        for_lanes<T>(team, c, [&]<class V>(index_t j) {
            V v = load<V>(g + j) - (load<V>(mean + j) + load<V>(along + j) * at.template centred<V>(j));
            if constexpr (!Adjoint) v = at.template scaled<After>(j, v);
            store<V>(y + j, add ? load<V>(y + j) + v : v);
        });
    }
};
}  // namespace detail

}  // namespace diem::nn
