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
/// One (item, group): the rows A, M, O, 1 / (var + epsilon) of its channels, where y = A (x - M) + O.
template <class T>
struct group_table_body {
    group_norm_shape s;
    index_t before_step, scale_step, shift_step;  // between items
    bool has_before, has_scale, has_shift;
    template <class Team>
    DIEM_HOST_DEVICE void operator()(index_t i, const Team& team, const T* x_, const T* gamma, const T* beta,
                                     const T* before_, const T* scale_, const T* shift_, T* table) const {
        using std::sqrt;
        const index_t item = i / s.groups, first = (i - item * s.groups) * s.each(), n = s.each(), c = s.channels;
        const T* const x = x_ + item * s.pixels * c + first;
        const T* const before = before_ + item * before_step + first;
        const T *const scale = scale_ + item * scale_step, *const shift = shift_ + item * shift_step;
        const double count = static_cast<double>(s.pixels * n);
        double total = 0;
        for (index_t k = team.first(); k < s.pixels; k += team.step()) {
            T part = 0;
            for (index_t j = 0; j < n; ++j) part += x[k * c + j];
            total += static_cast<double>(part);
        }
        total = team.sum(total);
        if (has_before)
            for (index_t j = 0; j < n; ++j) total += static_cast<double>(s.pixels) * static_cast<double>(before[j]);
        const T mean = static_cast<T>(total / count);
        double squares = 0;
        for (index_t k = team.first(); k < s.pixels; k += team.step()) {
            T part = 0;
            for (index_t j = 0; j < n; ++j) {
                const T d = x[k * c + j] - (has_before ? mean - before[j] : mean);
                part += d * d;
            }
            squares += static_cast<double>(part);
        }
        const double square = 1 / (team.sum(squares) / count + s.epsilon);
        const T root = static_cast<T>(sqrt(square));
        T* const to = table + item * 4 * c + first;
        for (index_t j = team.first(); j < n; j += team.step()) {
            const T more = has_scale ? T(1) + scale[first + j] : T(1);
            to[j] = more * gamma[first + j] * root;
            to[c + j] = has_before ? mean - before[j] : mean;
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
/// One (item, group): avg(v) and avg((x - M) v) / (var + epsilon), v = A g (adjoint) or g.
template <class T, bool Adjoint>
struct group_averages_body {
    group_norm_shape s;
    template <class Team>
    DIEM_HOST_DEVICE void operator()(index_t i, const Team& team, const T* x_, const T* table, const T* g_,
                                     T* averages) const {
        const index_t item = i / s.groups, first = (i - item * s.groups) * s.each(), n = s.each(), c = s.channels;
        const T *const x = x_ + item * s.pixels * c + first, *const g = g_ + item * s.pixels * c + first;
        const T *const a = table + item * 4 * c + first, *const m = a + c;
        double sum = 0, along = 0;
        for (index_t k = team.first(); k < s.pixels; k += team.step()) {
            T part = 0, other = 0;
            for (index_t j = 0; j < n; ++j) {
                const T v = Adjoint ? a[j] * g[k * c + j] : g[k * c + j];
                part += v;
                other += v * (x[k * c + j] - m[j]);
            }
            sum += static_cast<double>(part);
            along += static_cast<double>(other);
        }
        sum = team.sum(sum);
        along = team.sum(along);
        if (team.first() != 0) return;
        const double count = static_cast<double>(s.pixels * n);
        averages[2 * i] = static_cast<T>(sum / count);
        averages[2 * i + 1] = static_cast<T>(along / count) * a[3 * c];
    }
};
template <class T, bool Adjoint>
struct group_jacobian_body {  // one pixel
    group_norm_shape s;
    bool add;
    template <class Team>
    DIEM_HOST_DEVICE void operator()(index_t i, const Team& team, const T* x_, const T* table, const T* averages,
                                     const T* g_, T* y_) const {
        const index_t c = s.channels, item = i / s.pixels, n = s.each();
        const T *const a = table + item * 4 * c, *const m = a + c, *const avg = averages + item * 2 * s.groups;
        const T *const x = x_ + i * c, *const g = g_ + i * c;
        T* const y = y_ + i * c;
        for (index_t k = team.first(); k < s.groups; k += team.step()) {
            const T mean = avg[2 * k], along = avg[2 * k + 1];
            DIEM_IVDEP
            for (index_t j = k * n; j < (k + 1) * n; ++j) {
                const T d = mean + along * (x[j] - m[j]);
                put(y[j], Adjoint ? a[j] * g[j] - d : a[j] * (g[j] - d), add);
            }
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
    batch<B> averages(b, 2 * s.groups, x.items());
    launch_rows(b, s.groups * x.items(), s.pixels, 2 * s.pixels * s.each(), group_averages_body<T, Adjoint>{s},
                x.data(), table.data(), g.data(), averages.view().data());
    launch_rows(b, s.pixels * x.items(), s.groups, 2 * s.channels,
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
    launch_rows(b, s.groups * x.items(), s.pixels, 2 * s.pixels * s.each(),
                detail::group_table_body<T>{s, step(to.before), step(to.scale), step(to.shift),
                                            to.before.features() > 0, to.scale.features() > 0, to.shift.features() > 0},
                x.data(), to.gamma.data(), to.beta.data(), place(to.before), place(to.scale), place(to.shift),
                table.view().data());
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
