// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <diem/backend/batch.hpp>
#include <diem/backend/concept.hpp>
#include <diem/backend/team.hpp>
#include <diem/core/check.hpp>
#include <diem/nn/detail/group_norm_bodies.hpp>
#include <diem/nn/update.hpp>

/// \file
/// Group norm (Wu and He, arXiv 1803.08494) with an affine map that may depend on the item, and SiLU of it.
///
///     x: items x (pixels, C), contiguous; groups of C / groups neighbouring channels
///     u = x + before, over all pixels of a group: u_hat = (u - mean) / sqrt(var + epsilon), biased variance
///     y = (1 + scale) (gamma u_hat + beta) + shift
///     gamma, beta: C; before, scale, shift: C x (1 or items), or empty for zero
/// With A = (1 + scale) gamma / sqrt(var + epsilon) and averages over a group:
///     x_bar = A y_bar - avg(A y_bar) - u_hat avg(u_hat A y_bar),  y_dot = A (x_dot - avg(x_dot) - u_hat avg(u_hat x_dot))
/// Functions take `then_silu` as a second argument of their template where the result is silu(y), whose slope is computed from x
/// again: nothing is kept of it.
///
/// \snippet tests/examples/nn.cpp nn/group_norm.hpp

namespace diem::nn {

/// The affine map after (and the shift before) a group norm.
template <Backend B>
struct group_norm_map {
    const_vector_t<B> gamma, beta;
    const_view_t<B> before{}, scale{}, shift{};
};

namespace detail {
template <class Terms, Backend B, class... Pointers>
[[nodiscard]] batch<B> group_sums(B& b, const group_norm_shape& s, index_t items, Pointers... pointers) {
    batch<B> sums(b, blocks_of(s) * Terms::count * s.channels, items);
    launch_rows(b, blocks_of(s) * items, s.channels, pixels_of_block * Terms::count * s.channels,
                group_sums_body<scalar_t<B>, Terms>{s, {}}, sums.view().data(), pointers...);
    return sums;
}
inline void check_group_norm(const char* where, const group_norm_shape& s) {
    check_value(where, s.groups >= 1 && s.channels % s.groups == 0, "channels are not a multiple of groups");
}
template <bool Adjoint, class After, Backend B>
void group_norm_jacobian(B& b, const char* where, const group_norm_shape& s, const_view_t<B> x, const_view_t<B> table,
                         const_view_t<B> g, view_t<B> y, update mode) {
    using T = scalar_t<B>;
    check_group_norm(where, s);
    check_shape(where, "x", x, s.features(), g.items());
    check_shape(where, "tangent or cotangent", g, s.features(), x.items());
    check_shape(where, "result", y, s.features(), x.items());
    check_shape(where, "table", table, 4 * s.channels, x.items());
    if (x.empty()) return;
    batch<B> averages(b, 2 * s.channels, x.items()), sums, apart;
    if constexpr (Adjoint) {
        view_t<B> v = y;  // in the place of the result, unless that is added to
        if (mode == update::accumulate) {
            apart = batch<B>(b, s.features(), x.items());
            v = apart.view();
        }
        sums = group_sums<group_scaled_terms<T, After>>(b, s, x.items(), x.data(), table.data(), g.data(), v.data());
        g = v;
    } else {
        sums = group_sums<group_product_terms<T>>(b, s, x.items(), x.data(), table.data(), g.data());
    }
    launch_rows(b, s.groups * x.items(), blocks_of(s), 2 * blocks_of(s) * s.each(), group_averages_body<T>{s},
                sums.cview().data(), table.data(), averages.view().data());
    launch_rows(b, s.pixels * x.items(), s.channels, 2 * s.channels,
                group_jacobian_body<T, Adjoint, After>{s, mode == update::accumulate}, x.data(), table.data(),
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
template <Backend B, class After = norm_alone>
void group_norm_forward(B& b, const group_norm_shape& s, const_view_t<B> x, const_view_t<B> table, view_t<B> y) {
    check_shape("nn::group_norm", "y", y, s.features(), x.items());
    check_shape("nn::group_norm", "table", table, 4 * s.channels, x.items());
    launch_rows(b, s.pixels * x.items(), s.channels, s.channels, detail::group_apply_body<scalar_t<B>, After>{s},
                x.data(), table.data(), y.data());
}
/// At fixed maps; y_dot may be x_dot.
template <Backend B, class After = norm_alone>
void group_norm_jvp(B& b, const group_norm_shape& s, const_view_t<B> x, const_view_t<B> table, const_view_t<B> x_dot,
                    view_t<B> y_dot, update mode = update::overwrite) {
    detail::group_norm_jacobian<false, After>(b, "nn::group_norm_jvp", s, x, table, x_dot, y_dot, mode);
}
/// x_bar may be y_bar.
template <Backend B, class After = norm_alone>
void group_norm_vjp(B& b, const group_norm_shape& s, const_view_t<B> x, const_view_t<B> table, const_view_t<B> y_bar,
                    view_t<B> x_bar, update mode = update::overwrite) {
    detail::group_norm_jacobian<true, After>(b, "nn::group_norm_vjp", s, x, table, y_bar, x_bar, mode);
}

}  // namespace diem::nn
