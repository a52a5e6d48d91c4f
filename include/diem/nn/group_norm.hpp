// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>

#include <diem/backend/batch.hpp>
#include <diem/backend/concept.hpp>
#include <diem/backend/team.hpp>
#include <diem/core/check.hpp>
#include <diem/nn/detail/loops.hpp>
#include <diem/nn/update.hpp>

/// \file
/// Group norm (Wu and He, arXiv 1803.08494) with an affine map that may depend on the item.
///
///     x: items x (pixels, C), contiguous; groups of C / groups neighbouring channels
///     u = x + before, over all pixels of a group: u_hat = (u - mean) / sqrt(var + epsilon), biased variance
///     y = (1 + scale) (gamma u_hat + beta) + shift
///     gamma, beta: C; before, scale, shift: C x (1 or items), or empty for zero
/// With A = (1 + scale) gamma / sqrt(var + epsilon) and averages over a group:
///     x_bar = A y_bar - avg(A y_bar) - u_hat avg(u_hat A y_bar),  y_dot = A (x_dot - avg(x_dot) - u_hat avg(u_hat x_dot))
///
/// \snippet tests/examples/nn.cpp nn/group_norm.hpp

namespace diem::nn {

struct group_norm_shape {
    index_t pixels = 0, channels = 0, groups = 1;
    double epsilon = 1e-5;
    [[nodiscard]] DIEM_HOST_DEVICE constexpr index_t each() const { return channels / groups; }
    [[nodiscard]] constexpr index_t features() const { return pixels * channels; }
};

/// The affine map after (and the shift before) a group norm.
template <Backend B>
struct group_norm_map {
    const_vector_t<B> gamma, beta;
    const_view_t<B> before{}, scale{}, shift{};
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
template <class T, bool Adjoint>
struct group_product_terms {  // v and (x - M) v, v = A g (adjoint) or g
    static constexpr int count = 2;
    template <class Team>
    DIEM_HOST_DEVICE void operator()(const group_norm_shape& s, index_t item, index_t k, const Team& team, T* sums,
                                     const T* x_, const T* table, const T* g_) const {
        const index_t c = s.channels, at = (item * s.pixels + k) * c;
        const T *const x = x_ + at, *const g = g_ + at, *const a = table + item * 4 * c, *const m = a + c;
        T* const other = sums + c;
        DIEM_IVDEP
        for (index_t j = team.first(); j < c; j += team.step()) {
            const T v = Adjoint ? a[j] * g[j] : g[j];
            sums[j] += v;
            other[j] += v * (x[j] - m[j]);
        }
    }
};
template <class Terms, Backend B, class... Pointers>
[[nodiscard]] batch<B> group_sums(B& b, const group_norm_shape& s, index_t items, Pointers... pointers) {
    batch<B> sums(b, blocks_of(s) * Terms::count * s.channels, items);
    launch_rows(b, blocks_of(s) * items, s.channels, pixels_of_block * Terms::count * s.channels,
                group_sums_body<scalar_t<B>, Terms>{s, {}}, sums.view().data(), pointers...);
    return sums;
}
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
template <class T>
struct group_apply_body {  // one pixel
    index_t pixels, channels;
    template <class Team>
    DIEM_HOST_DEVICE void operator()(index_t i, const Team& team, const T* x_, const T* table, T* y_) const {
        const T *const a = table + i / pixels * 4 * channels, *const m = a + channels, *const o = m + channels;
        const T* const x = x_ + i * channels;
        T* const y = y_ + i * channels;
        DIEM_IVDEP
        for (index_t j = team.first(); j < channels; j += team.step()) y[j] = a[j] * (x[j] - m[j]) + o[j];
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
template <class T, bool Adjoint>
struct group_jacobian_body {  // one pixel
    group_norm_shape s;
    bool add;
    template <class Team>
    DIEM_HOST_DEVICE void operator()(index_t i, const Team& team, const T* x_, const T* table, const T* averages,
                                     const T* g_, T* y_) const {
        const index_t c = s.channels, item = i / s.pixels;
        const T *const a = table + item * 4 * c, *const m = a + c;
        const T *const mean = averages + item * 2 * c, *const slope = mean + c;
        const T *const x = x_ + i * c, *const g = g_ + i * c;
        T* const y = y_ + i * c;
        DIEM_IVDEP
        for (index_t j = team.first(); j < c; j += team.step()) {
            const T d = mean[j] + slope[j] * (x[j] - m[j]);
            put(y[j], Adjoint ? a[j] * g[j] - d : a[j] * (g[j] - d), add);
        }
    }
};
inline void check_group_norm(const char* where, const group_norm_shape& s) {
    check_value(where, s.groups >= 1 && s.channels % s.groups == 0, "channels are not a multiple of groups");
}
template <bool Adjoint, Backend B>
void group_norm_jacobian(B& b, const char* where, const group_norm_shape& s, const_view_t<B> x, const_view_t<B> table,
                         const_view_t<B> g, view_t<B> y, update mode) {
    using T = scalar_t<B>;
    check_group_norm(where, s);
    check_shape(where, "x", x, s.features(), g.items());
    check_shape(where, "tangent or cotangent", g, s.features(), x.items());
    check_shape(where, "result", y, s.features(), x.items());
    check_shape(where, "table", table, 4 * s.channels, x.items());
    if (x.empty()) return;
    batch<B> averages(b, 2 * s.channels, x.items());
    const auto sums = group_sums<group_product_terms<T, Adjoint>>(b, s, x.items(), x.data(), table.data(), g.data());
    launch_rows(b, s.groups * x.items(), blocks_of(s), 2 * blocks_of(s) * s.each(), group_averages_body<T>{s},
                sums.cview().data(), table.data(), averages.view().data());
    launch_rows(b, s.pixels * x.items(), s.channels, 2 * s.channels,
                group_jacobian_body<T, Adjoint>{s, mode == update::accumulate}, x.data(), table.data(),
                averages.cview().data(), g.data(), y.data());
}
}  // namespace detail

/// What the norm of x needs and its derivatives keep beside x, 4 C x items.
template <Backend B>
[[nodiscard]] batch<B> group_norm_table(B& b, const group_norm_shape& s, const_view_t<B> x,
                                        const group_norm_map<B>& to) {
    using T = scalar_t<B>;
    detail::check_group_norm("nn::group_norm", s);
    check_size("nn::group_norm", "x.features()", x.features(), s.features());
    check_size("nn::group_norm", "gamma.size()", to.gamma.size(), s.channels);
    check_size("nn::group_norm", "beta.size()", to.beta.size(), s.channels);
    check_value("nn::group_norm", x.contiguous(), "x is not contiguous");
    const const_view_t<B> given[] = {to.before, to.scale, to.shift};
    for (const const_view_t<B>& each : given) {
        if (each.features() == 0) continue;
        check_size("nn::group_norm", "modulation features", each.features(), s.channels);
        if (each.items() != 1) check_size("nn::group_norm", "modulation items", each.items(), x.items());
    }
    batch<B> table(b, 4 * s.channels, x.items());
    if (x.empty()) return table;
    const auto step = [](const const_view_t<B>& v) { return v.items() > 1 ? v.stride() : 0; };
    const auto place = [&](const const_view_t<B>& v) { return v.features() > 0 ? v.data() : x.data(); };
    const index_t rows = s.groups * x.items(), length = detail::blocks_of(s), cost = length * s.each();
    const auto to_table = table.view().data();
    {
        const auto sums = detail::group_sums<detail::group_sum_terms<T>>(b, s, x.items(), x.data());
        launch_rows(b, rows, length, cost, detail::group_mean_body<T>{s, step(to.before), to.before.features() > 0},
                    sums.cview().data(), place(to.before), to_table);
    }
    const auto squares =
        detail::group_sums<detail::group_square_terms<T>>(b, s, x.items(), x.data(), table.cview().data());
    launch_rows(b, rows, length, cost,
                detail::group_table_body<T>{s, step(to.scale), step(to.shift), to.scale.features() > 0,
                                            to.shift.features() > 0},
                squares.cview().data(), to.gamma.data(), to.beta.data(), place(to.scale), place(to.shift), to_table);
    return table;
}
/// y may be x.
template <Backend B>
void group_norm_forward(B& b, const group_norm_shape& s, const_view_t<B> x, const_view_t<B> table, view_t<B> y) {
    check_shape("nn::group_norm", "y", y, s.features(), x.items());
    check_shape("nn::group_norm", "table", table, 4 * s.channels, x.items());
    launch_rows(b, s.pixels * x.items(), s.channels, s.channels,
                detail::group_apply_body<scalar_t<B>>{s.pixels, s.channels}, x.data(), table.data(), y.data());
}
/// At fixed maps; y_dot may be x_dot.
template <Backend B>
void group_norm_jvp(B& b, const group_norm_shape& s, const_view_t<B> x, const_view_t<B> table, const_view_t<B> x_dot,
                    view_t<B> y_dot, update mode = update::overwrite) {
    detail::group_norm_jacobian<false>(b, "nn::group_norm_jvp", s, x, table, x_dot, y_dot, mode);
}
/// x_bar may be y_bar.
template <Backend B>
void group_norm_vjp(B& b, const group_norm_shape& s, const_view_t<B> x, const_view_t<B> table, const_view_t<B> y_bar,
                    view_t<B> x_bar, update mode = update::overwrite) {
    detail::group_norm_jacobian<true>(b, "nn::group_norm_vjp", s, x, table, y_bar, x_bar, mode);
}

}  // namespace diem::nn
