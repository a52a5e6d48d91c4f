// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>

#include <diem/backend/batch.hpp>
#include <diem/backend/concept.hpp>
#include <diem/core/check.hpp>
#include <diem/nn/norm.hpp>

/// Scaling by channel: modulation and gated residual. Derivation: docs/derivations/kernels.md.
///
///     x, h, y: C x n (one column per pixel); a, b, c: C x m, for n / m pixels each (m = 1: the same for all items)
namespace diem::nn {

namespace detail {
struct modulate_layout {
    index_t channels, pixels, x_stride, u_stride, y_stride, a_step, b_step, c_step;
    bool add;
};
/// y = (1 + a) x + b, or (1 + a) x where there is no b, plus c u where there is c.
template <class T, bool Shift, bool Second>
struct modulate_body {
    modulate_layout l;
    DIEM_HOST_DEVICE void operator()(index_t i, const T* x_, const T* a_, const T* b_, const T* u_, const T* c_,
                                     T* y_) const {
        const index_t m = i / l.pixels;
        const T *const x = x_ + i * l.x_stride, *const a = a_ + m * l.a_step, *const b = b_ + m * l.b_step;
        const T *const u = u_ + i * l.u_stride, *const c = c_ + m * l.c_step;
        T* const y = y_ + i * l.y_stride;
        DIEM_IVDEP
        for (index_t j = 0; j < l.channels; ++j) {
            T v = (T(1) + a[j]) * x[j];
            if constexpr (Shift) v += b[j];
            if constexpr (Second) v += c[j] * u[j];
            put(y[j], v, l.add);
        }
    }
};
/// For one item: out = sum over pixels of p q.
template <class T>
struct pixel_sums {
    index_t channels, pixels, p_stride, q_stride, out_step;
    bool add;
    DIEM_HOST_DEVICE void operator()(index_t item, const T* p_, const T* q_, T* out_) const {
        T* const out = out_ + item * out_step;
        if (!add)
            for (index_t j = 0; j < channels; ++j) out[j] = 0;
        for (index_t i = item * pixels; i < (item + 1) * pixels; ++i) {
            const T *const p = p_ + i * p_stride, *const q = q_ + i * q_stride;
            DIEM_IVDEP
            for (index_t j = 0; j < channels; ++j) out[j] += p[j] * q[j];
        }
    }
};
template <class T>
struct pixel_totals {
    index_t channels, pixels, p_stride, out_step;
    bool add;
    DIEM_HOST_DEVICE void operator()(index_t item, const T* p_, T* out_) const {
        T* const out = out_ + item * out_step;
        if (!add)
            for (index_t j = 0; j < channels; ++j) out[j] = 0;
        for (index_t i = item * pixels; i < (item + 1) * pixels; ++i) {
            const T* const p = p_ + i * p_stride;
            DIEM_IVDEP
            for (index_t j = 0; j < channels; ++j) out[j] += p[j];
        }
    }
};
}  // namespace detail

/// y = (1 + a) x + shift.
template <Backend B>
void modulate_forward(B& b, const_view_t<B> x, const_view_t<B> a, const_view_t<B> shift, view_t<B> y,
                      update mode = update::overwrite) {
    check_shape("nn::modulate", "y", y, x.features(), x.items());
    const index_t pixels = detail::pixels_of("nn::modulate", x, a);
    check_shape("nn::modulate", "shift", shift, a.features(), a.items());
    const detail::modulate_layout l{
        x.features(), pixels, x.stride(), 0, y.stride(), a.stride(), shift.stride(), 0, mode == update::accumulate};
    b.launch(x.items(), x.features(), detail::modulate_body<scalar_t<B>, true, false>{l}, x.data(), a.data(),
             shift.data(), x.data(), a.data(), y.data());
}
/// y_dot = (1 + a) x_dot + a_dot x + shift_dot.
template <Backend B>
void modulate_jvp(B& b, const_view_t<B> x, const_view_t<B> a, const_view_t<B> x_dot, const_view_t<B> a_dot,
                  const_view_t<B> shift_dot, view_t<B> y_dot, update mode = update::overwrite) {
    check_shape("nn::modulate_jvp", "x_dot", x_dot, x.features(), x.items());
    check_shape("nn::modulate_jvp", "y_dot", y_dot, x.features(), x.items());
    check_shape("nn::modulate_jvp", "a_dot", a_dot, a.features(), a.items());
    check_shape("nn::modulate_jvp", "shift_dot", shift_dot, a.features(), a.items());
    const index_t pixels = detail::pixels_of("nn::modulate_jvp", x, a);
    const detail::modulate_layout l{x.features(),       pixels,         x_dot.stride(),
                                    x.stride(),         y_dot.stride(), a.stride(),
                                    shift_dot.stride(), a_dot.stride(), mode == update::accumulate};
    b.launch(x.items(), x.features(), detail::modulate_body<scalar_t<B>, true, true>{l}, x_dot.data(), a.data(),
             shift_dot.data(), x.data(), a_dot.data(), y_dot.data());
}
/// x_bar = (1 + a) y_bar.
template <Backend B>
void modulate_vjp(B& b, const_view_t<B> a, const_view_t<B> y_bar, view_t<B> x_bar, update mode = update::overwrite) {
    check_shape("nn::modulate_vjp", "x_bar", x_bar, y_bar.features(), y_bar.items());
    const index_t pixels = detail::pixels_of("nn::modulate_vjp", y_bar, a);
    const detail::modulate_layout l{
        y_bar.features(), pixels, y_bar.stride(), 0, x_bar.stride(), a.stride(), 0, 0, mode == update::accumulate};
    b.launch(y_bar.items(), y_bar.features(), detail::modulate_body<scalar_t<B>, false, false>{l}, y_bar.data(),
             a.data(), a.data(), y_bar.data(), a.data(), x_bar.data());
}
/// a_bar = sum of x y_bar, shift_bar = sum of y_bar over the pixels of each item of a_bar.
template <Backend B>
void modulate_vjp_params(B& b, const_view_t<B> x, const_view_t<B> y_bar, view_t<B> a_bar, view_t<B> shift_bar,
                         update mode = update::overwrite) {
    using T = scalar_t<B>;
    check_shape("nn::modulate_vjp_params", "y_bar", y_bar, x.features(), x.items());
    check_shape("nn::modulate_vjp_params", "shift_bar", shift_bar, a_bar.features(), a_bar.items());
    const index_t pixels = detail::pixels_of("nn::modulate_vjp_params", x, const_view_t<B>(a_bar));
    const bool add = mode == update::accumulate;
    const index_t each = x.items() == 0 ? 0 : pixels;
    if constexpr (FineGrained<B>) {
        const detail::channel_sums<T> sums{x.features(),       each, y_bar.stride(), x.stride(), a_bar.stride(),
                                           shift_bar.stride(), add};
        b.launch(a_bar.size(), each, sums, y_bar.data(), x.data(), a_bar.data(), shift_bar.data());
        return;
    }
    b.launch(a_bar.items(), x.features() * each,
             detail::pixel_sums<T>{x.features(), each, y_bar.stride(), x.stride(), a_bar.stride(), add}, y_bar.data(),
             x.data(), a_bar.data());
    b.launch(a_bar.items(), x.features() * each,
             detail::pixel_totals<T>{x.features(), each, y_bar.stride(), shift_bar.stride(), add}, y_bar.data(),
             shift_bar.data());
}

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
    DIEM_HOST_DEVICE void operator()(index_t i, const T* x_, const T* h_, const T* table, T* y_) const {
        const T *const x = x_ + i * l.x_stride, *const h = h_ + i * l.h_stride;
        const T* const keep = table + i / l.pixels * 3 * l.channels;
        const T* const gate = keep + l.channels;
        T* const y = y_ + i * l.y_stride;
        if (l.add) {
            DIEM_IVDEP
            for (index_t j = 0; j < l.channels; ++j) y[j] += keep[j] * x[j] + gate[j] * h[j];
        } else {
            DIEM_IVDEP
            for (index_t j = 0; j < l.channels; ++j) y[j] = keep[j] * x[j] + gate[j] * h[j];
        }
    }
};
template <class T>
struct gated_vjp_body {
    gate_layout l;  // y_stride of y_bar
    DIEM_HOST_DEVICE void operator()(index_t i, const T* y_bar_, const T* table, T* x_bar_, T* h_bar_) const {
        const T* const y_bar = y_bar_ + i * l.y_stride;
        const T* const keep = table + i / l.pixels * 3 * l.channels;
        const T* const gate = keep + l.channels;
        T *const x_bar = x_bar_ + i * l.x_stride, *const h_bar = h_bar_ + i * l.h_stride;
        if (l.add) {
            DIEM_IVDEP
            for (index_t j = 0; j < l.channels; ++j) {
                const T g = y_bar[j];
                h_bar[j] += gate[j] * g;
                x_bar[j] += keep[j] * g;
            }
        } else {
            DIEM_IVDEP
            for (index_t j = 0; j < l.channels; ++j) {
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
/// One channel of one item: for a FineGrained backend.
template <class T>
struct gated_channel_body {
    gate_layout l;
    index_t c_step, table_step, out_step;
    DIEM_HOST_DEVICE void operator()(index_t k, const T* x, const T* h, const T* c_, const T* table, const T* y_bar,
                                     T* c_bar) const {
        const index_t item = k / l.channels, j = k - item * l.channels;
        const T c = c_[item * c_step + j];
        T sum = 0;
        for (index_t i = item * l.pixels; i < (item + 1) * l.pixels; ++i)
            sum += y_bar[i * l.y_stride + j] * (h[i * l.h_stride + j] - c * x[i * l.x_stride + j]);
        put(c_bar[item * out_step + j], table[item * table_step + 2 * l.channels + j] * sum, l.add);
    }
};
/// y += c_dot r^3 (h - c x).
template <class T>
struct gated_tangent_body {
    gate_layout l;
    index_t c_step, dot_step;
    DIEM_HOST_DEVICE void operator()(index_t i, const T* x_, const T* h_, const T* c_, const T* table, const T* c_dot_,
                                     T* y_) const {
        const index_t m = i / l.pixels;
        const T *const x = x_ + i * l.x_stride, *const h = h_ + i * l.h_stride, *const c = c_ + m * c_step;
        const T *const cube = table + (3 * m + 2) * l.channels, *const c_dot = c_dot_ + m * dot_step;
        T* const y = y_ + i * l.y_stride;
        DIEM_IVDEP
        for (index_t j = 0; j < l.channels; ++j) y[j] += c_dot[j] * cube[j] * (h[j] - c[j] * x[j]);
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
    b.launch(x.items(), x.features(), detail::gated_forward_body<scalar_t<B>>{l}, x.data(), h.data(),
             table.cview().data(), y.data());
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
    b.launch(x.items(), x.features(), detail::gated_tangent_body<scalar_t<B>>{l, c.stride(), c_dot.stride()}, x.data(),
             h.data(), c.data(), table.cview().data(), c_dot.data(), y_dot.data());
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
    b.launch(y_bar.items(), y_bar.features(), detail::gated_vjp_body<scalar_t<B>>{l}, y_bar.data(),
             table.cview().data(), x_bar.data(), h_bar.data());
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
        b.launch(c_bar.size(), 3 * each,
                 detail::gated_channel_body<scalar_t<B>>{l, shared ? 0 : c.stride(), shared ? 0 : 3 * c.features(),
                                                         c_bar.stride()},
                 x.data(), h.data(), c.data(), table.cview().data(), y_bar.data(), c_bar.data());
        return;
    }
    b.launch(c_bar.items(), 2 * x.features() * each,
             detail::gated_params_body<scalar_t<B>>{l, shared ? 0 : c.stride(), shared ? 0 : 3 * c.features(),
                                                    c_bar.stride()},
             x.data(), h.data(), c.data(), table.cview().data(), y_bar.data(), c_bar.data());
}

}  // namespace diem::nn
