// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>

#include <diem/backend/batch.hpp>
#include <diem/backend/capabilities.hpp>
#include <diem/backend/concept.hpp>
#include <diem/backend/team.hpp>
#include <diem/core/check.hpp>
#include <diem/nn/detail/loops.hpp>
#include <diem/nn/detail/pixel_sums.hpp>
#include <diem/nn/norm.hpp>
#include <diem/nn/update.hpp>

/// \file
/// Residual behind a gate, y = r (x + c h) with r = 1 / sqrt(1 + c^2). Derivation: docs/derivations/kernels.md.
///
///     x, h, y: C x n (one column per pixel); c: C x m, for n / m pixels each (m = 1: the same for all items)
///
/// \snippet tests/examples/nn.cpp nn/gated_residual.hpp

namespace diem::nn {

namespace detail {
/// keep = r, gate = c r, cube = r^3 with r = 1 / sqrt(1 + c^2): three rows of C for each c.
template <class T>
struct gate_body {
    index_t channels, c_stride;
    DIEM_HOST_DEVICE void operator()(index_t i, const T* c_, T* out_) const {
        using std::sqrt;
        const index_t m = i / channels, j = i - m * channels;
        const T c = c_[m * c_stride + j], r = T(1) / sqrt(T(1) + c * c);
        T* const out = out_ + m * 3 * channels + j;
        out[0] = r;
        out[channels] = c * r;
        out[2 * channels] = r * r * r;
    }
};
template <Backend B>
batch<B> gate_table(B& b, const_view_t<B> c) {
    batch<B> table(b, 3 * c.features(), c.items());
    b.launch(c.size(), 4, gate_body<scalar_t<B>>{c.features(), c.stride()}, c.data(), table.view().data());
    return table;
}
struct gate_layout {
    index_t channels, pixels, x_stride, h_stride, y_stride;
    bool add;
};
template <class T>
struct gated_forward_body {
    gate_layout l;
    template <class Team>
    DIEM_HOST_DEVICE void operator()(index_t i, const Team& team, const T* x_, const T* h_, const T* table,
                                     T* y_) const {
        const T *const x = x_ + i * l.x_stride, *const h = h_ + i * l.h_stride;
        const T* const keep = table + i / l.pixels * 3 * l.channels;
        const T* const gate = keep + l.channels;
        T* const y = y_ + i * l.y_stride;
        if (l.add) {
            DIEM_IVDEP
            for (index_t j = team.first(); j < l.channels; j += team.step()) y[j] += keep[j] * x[j] + gate[j] * h[j];
        } else {
            DIEM_IVDEP
            for (index_t j = team.first(); j < l.channels; j += team.step()) y[j] = keep[j] * x[j] + gate[j] * h[j];
        }
    }
};
template <class T>
struct gated_vjp_body {
    gate_layout l;  // y_stride of y_bar
    template <class Team>
    DIEM_HOST_DEVICE void operator()(index_t i, const Team& team, const T* y_bar_, const T* table, T* x_bar_,
                                     T* h_bar_) const {
        const T* const y_bar = y_bar_ + i * l.y_stride;
        const T* const keep = table + i / l.pixels * 3 * l.channels;
        const T* const gate = keep + l.channels;
        T *const x_bar = x_bar_ + i * l.x_stride, *const h_bar = h_bar_ + i * l.h_stride;
        if (l.add) {
            DIEM_IVDEP
            for (index_t j = team.first(); j < l.channels; j += team.step()) {
                const T g = y_bar[j];
                h_bar[j] += gate[j] * g;
                x_bar[j] += keep[j] * g;
            }
        } else {
            DIEM_IVDEP
            for (index_t j = team.first(); j < l.channels; j += team.step()) {
                const T g = y_bar[j];
                h_bar[j] = gate[j] * g;
                x_bar[j] = keep[j] * g;
            }
        }
    }
};
/// c_bar = sum over pixels of y_bar r^3 (h - c x).
template <class T>
struct gated_params_body {
    gate_layout l;
    index_t c_step, table_step, out_step;
    DIEM_HOST_DEVICE void operator()(index_t item, const T* x_, const T* h_, const T* c_, const T* table,
                                     const T* y_bar_, T* c_bar_) const {
        T* const out = c_bar_ + item * out_step;
        const T *const c = c_ + item * c_step, *const cube = table + item * table_step + 2 * l.channels;
        if (!l.add)
            for (index_t j = 0; j < l.channels; ++j) out[j] = 0;
        for (index_t i = item * l.pixels; i < (item + 1) * l.pixels; ++i) {
            const T *const x = x_ + i * l.x_stride, *const h = h_ + i * l.h_stride, *const g = y_bar_ + i * l.y_stride;
            DIEM_IVDEP
            for (index_t j = 0; j < l.channels; ++j) out[j] += g[j] * cube[j] * (h[j] - c[j] * x[j]);
        }
    }
};
/// One channel of one segment of pixels: for a FineGrained backend.
template <class T>
struct gated_channel_body {
    pixel_segments s;
    gate_layout l;
    index_t c_step, table_step;
    DIEM_HOST_DEVICE void operator()(index_t k, const T* x, const T* h, const T* c, const T* table, const T* y_bar,
                                     T* part) const {
        T sum = 0;
        s.visit(k, [&](index_t i, index_t j) {
            const index_t item = i / s.pixels;
            const T cube = table[item * table_step + 2 * l.channels + j];
            sum += y_bar[i * l.y_stride + j] * cube *
                   (h[i * l.h_stride + j] - c[item * c_step + j] * x[i * l.x_stride + j]);
        });
        part[k] = sum;
    }
};
/// y += c_dot r^3 (h - c x).
template <class T>
struct gated_tangent_body {
    gate_layout l;
    index_t c_step, dot_step;
    template <class Team>
    DIEM_HOST_DEVICE void operator()(index_t i, const Team& team, const T* x_, const T* h_, const T* c_, const T* table,
                                     const T* c_dot_, T* y_) const {
        const index_t m = i / l.pixels;
        const T *const x = x_ + i * l.x_stride, *const h = h_ + i * l.h_stride, *const c = c_ + m * c_step;
        const T *const cube = table + (3 * m + 2) * l.channels, *const c_dot = c_dot_ + m * dot_step;
        T* const y = y_ + i * l.y_stride;
        DIEM_IVDEP
        for (index_t j = team.first(); j < l.channels; j += team.step())
            y[j] += c_dot[j] * cube[j] * (h[j] - c[j] * x[j]);
    }
};
}  // namespace detail

/// y = r (x + c h), r = 1 / sqrt(1 + c^2). y may be x or h.
template <Backend B>
void gated_residual_forward(B& b, const_view_t<B> x, const_view_t<B> h, const_view_t<B> c, view_t<B> y,
                            update mode = update::overwrite) {
    check_shape("nn::gated_residual", "h", h, x.features(), x.items());
    check_shape("nn::gated_residual", "y", y, x.features(), x.items());
    const index_t pixels = detail::pixels_of("nn::gated_residual", x, c);
    const batch<B> table = detail::gate_table<B>(b, c);
    const detail::gate_layout l{x.features(), pixels, x.stride(), h.stride(), y.stride(), mode == update::accumulate};
    launch_rows(b, x.items(), x.features(), x.features(), detail::gated_forward_body<scalar_t<B>>{l}, x.data(),
                h.data(), table.cview().data(), y.data());
}
/// y_dot = r (x_dot + c h_dot), at fixed c.
template <Backend B>
void gated_residual_jvp(B& b, const_view_t<B> c, const_view_t<B> x_dot, const_view_t<B> h_dot, view_t<B> y_dot,
                        update mode = update::overwrite) {
    gated_residual_forward<B>(b, x_dot, h_dot, c, y_dot, mode);
}
/// y_dot += c_dot r^3 (h - c x): what a tangent of c adds.
template <Backend B>
void gated_residual_jvp_gate(B& b, const_view_t<B> x, const_view_t<B> h, const_view_t<B> c, const_view_t<B> c_dot,
                             view_t<B> y_dot) {
    check_shape("nn::gated_residual_jvp_gate", "h", h, x.features(), x.items());
    check_shape("nn::gated_residual_jvp_gate", "y_dot", y_dot, x.features(), x.items());
    check_shape("nn::gated_residual_jvp_gate", "c_dot", c_dot, c.features(), c.items());
    const index_t pixels = detail::pixels_of("nn::gated_residual_jvp_gate", x, c);
    const batch<B> table = detail::gate_table<B>(b, c);
    const detail::gate_layout l{x.features(), pixels, x.stride(), h.stride(), y_dot.stride(), true};
    launch_rows(b, x.items(), x.features(), x.features(),
                detail::gated_tangent_body<scalar_t<B>>{l, c.stride(), c_dot.stride()}, x.data(), h.data(), c.data(),
                table.cview().data(), c_dot.data(), y_dot.data());
}
/// x_bar = r y_bar, h_bar = c r y_bar. x_bar may be y_bar.
template <Backend B>
void gated_residual_vjp(B& b, const_view_t<B> c, const_view_t<B> y_bar, view_t<B> x_bar, view_t<B> h_bar,
                        update mode = update::overwrite) {
    check_shape("nn::gated_residual_vjp", "x_bar", x_bar, y_bar.features(), y_bar.items());
    check_shape("nn::gated_residual_vjp", "h_bar", h_bar, y_bar.features(), y_bar.items());
    const index_t pixels = detail::pixels_of("nn::gated_residual_vjp", y_bar, c);
    const batch<B> table = detail::gate_table<B>(b, c);
    const detail::gate_layout l{y_bar.features(), pixels,         x_bar.stride(),
                                h_bar.stride(),   y_bar.stride(), mode == update::accumulate};
    launch_rows(b, y_bar.items(), y_bar.features(), y_bar.features(), detail::gated_vjp_body<scalar_t<B>>{l},
                y_bar.data(), table.cview().data(), x_bar.data(), h_bar.data());
}
/// c_bar = sum of y_bar r^3 (h - c x) over the pixels of each of c_bar.items() items; c may be the same for all of them.
template <Backend B>
void gated_residual_vjp_params(B& b, const_view_t<B> x, const_view_t<B> h, const_view_t<B> c, const_view_t<B> y_bar,
                               view_t<B> c_bar, update mode = update::overwrite) {
    check_shape("nn::gated_residual_vjp_params", "h", h, x.features(), x.items());
    check_shape("nn::gated_residual_vjp_params", "y_bar", y_bar, x.features(), x.items());
    detail::pixels_of("nn::gated_residual_vjp_params", x, c);
    const index_t pixels = detail::pixels_of("nn::gated_residual_vjp_params", x, const_view_t<B>(c_bar));
    const bool shared = c.items() == 1;
    if (!shared) check_size("nn::gated_residual_vjp_params", "c_bar.items()", c_bar.items(), c.items());
    const index_t each = x.items() == 0 ? 0 : pixels;
    const batch<B> table = detail::gate_table<B>(b, c);
    const detail::gate_layout l{x.features(), each, x.stride(), h.stride(), y_bar.stride(), mode == update::accumulate};
    if constexpr (FineGrained<B>) {
        using T = scalar_t<B>;
        const detail::pixel_segments segments{c_bar.features(), each};
        const auto part = b.template allocate<T>(c_bar.size() * segments.segments());
        b.launch(part.size(), 3 * segments.length,
                 detail::gated_channel_body<T>{segments, l, shared ? 0 : c.stride(), shared ? 0 : 3 * c.features()},
                 x.data(), h.data(), c.data(), table.cview().data(), y_bar.data(), part.data());
        b.launch(c_bar.size(), segments.segments(), detail::finish_channel_sums<T>{segments, c_bar.stride(), l.add},
                 typename B::template pointer<const T>(part.data()), c_bar.data());
        return;
    }
    b.launch(c_bar.items(), 2 * x.features() * each,
             detail::gated_params_body<scalar_t<B>>{l, shared ? 0 : c.stride(), shared ? 0 : 3 * c.features(),
                                                    c_bar.stride()},
             x.data(), h.data(), c.data(), table.cview().data(), y_bar.data(), c_bar.data());
}

}  // namespace diem::nn
