// SPDX-License-Identifier: Apache-2.0
#pragma once

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
/// Scaling and shift by channel. Derivation: docs/derivations/kernels.md.
///
///     x, y: C x n (one column per pixel); a, b: C x m, for n / m pixels each (m = 1: the same for all items)
///
/// \snippet tests/examples/nn.cpp nn/modulation.hpp

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
    template <class Team>
    DIEM_HOST_DEVICE void operator()(index_t i, const Team& team, const T* x_, const T* a_, const T* b_, const T* u_,
                                     const T* c_, T* y_) const {
        const index_t m = i / l.pixels;
        const T *const x = x_ + i * l.x_stride, *const a = a_ + m * l.a_step, *const b = b_ + m * l.b_step;
        const T *const u = u_ + i * l.u_stride, *const c = c_ + m * l.c_step;
        T* const y = y_ + i * l.y_stride;
        DIEM_IVDEP
        for (index_t j = team.first(); j < l.channels; j += team.step()) {
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
    launch_rows(b, x.items(), x.features(), x.features(), detail::modulate_body<scalar_t<B>, true, false>{l}, x.data(),
                a.data(), shift.data(), x.data(), a.data(), y.data());
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
    launch_rows(b, x.items(), x.features(), x.features(), detail::modulate_body<scalar_t<B>, true, true>{l},
                x_dot.data(), a.data(), shift_dot.data(), x.data(), a_dot.data(), y_dot.data());
}
/// x_bar = (1 + a) y_bar.
template <Backend B>
void modulate_vjp(B& b, const_view_t<B> a, const_view_t<B> y_bar, view_t<B> x_bar, update mode = update::overwrite) {
    check_shape("nn::modulate_vjp", "x_bar", x_bar, y_bar.features(), y_bar.items());
    const index_t pixels = detail::pixels_of("nn::modulate_vjp", y_bar, a);
    const detail::modulate_layout l{
        y_bar.features(), pixels, y_bar.stride(), 0, x_bar.stride(), a.stride(), 0, 0, mode == update::accumulate};
    launch_rows(b, y_bar.items(), y_bar.features(), y_bar.features(),
                detail::modulate_body<scalar_t<B>, false, false>{l}, y_bar.data(), a.data(), a.data(), y_bar.data(),
                a.data(), x_bar.data());
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
        detail::sum_channels<B>(b, each, y_bar, x, a_bar, shift_bar, add);
        return;
    }
    b.launch(a_bar.items(), x.features() * each,
             detail::pixel_sums<T>{x.features(), each, y_bar.stride(), x.stride(), a_bar.stride(), add}, y_bar.data(),
             x.data(), a_bar.data());
    b.launch(a_bar.items(), x.features() * each,
             detail::pixel_totals<T>{x.features(), each, y_bar.stride(), shift_bar.stride(), add}, y_bar.data(),
             shift_bar.data());
}

}  // namespace diem::nn
