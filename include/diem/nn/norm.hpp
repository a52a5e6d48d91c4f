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
#include <diem/nn/update.hpp>

/// \file
/// Layer norm over channels, alone or after a modulation in one pass. Derivation: docs/derivations/kernels.md.
///
///     x: C x n (one column per pixel); modulation a, b: C x m items of n / m pixels each
///     u = (1 + a) x + b (or u = x),  y = (u - mean) / sqrt(var + 1e-5), biased variance
///     J_norm v = (v - mean(v) - y mean(y v)) / sqrt(var + 1e-5), symmetric
///
/// \snippet tests/examples/nn.cpp nn/norm.hpp

namespace diem::nn {

inline constexpr double norm_epsilon = 1e-5;

namespace detail {

/// u_j of one pixel.
template <class T, bool Modulated>
struct norm_input {
    const T *x, *a, *b;
    template <class V>
    DIEM_HOST_DEVICE V at(index_t j) const {
        if constexpr (Modulated)
            return (T(1) + load<V>(a + j)) * load<V>(x + j) + load<V>(b + j);
        else
            return load<V>(x + j);
    }
};
/// Where the pixels and their modulations are.
struct norm_layout {
    index_t channels, pixels;              // pixels of one modulation
    index_t x_stride, y_stride, g_stride;  // between pixels
    index_t a_step, b_step;                // between modulations
    bool add;
};

template <class T, bool Modulated>
struct norm_forward_body {
    norm_layout l;
    template <class Team>
    DIEM_HOST_DEVICE void operator()(index_t i, const Team& team, const T* x_, const T* a_, const T* b_, T* y_) const {
        const index_t m = Modulated ? i / l.pixels : 0, n = l.channels;
        const norm_input<T, Modulated> u{x_ + i * l.x_stride, a_ + m * l.a_step, b_ + m * l.b_step};
        T* const y = y_ + i * l.y_stride;
        const T inverse = T(1) / static_cast<T>(n);
        const T mean = inverse * sum_over<T>(team, n, [&]<class V>(index_t j) -> V { return u.template at<V>(j); });
        const T var = inverse * sum_over<T>(team, n, [&]<class V>(index_t j) -> V {
                          const V d = u.template at<V>(j) - mean;
                          return d * d;
                      });
        using std::sqrt;
        const T scale = T(1) / sqrt(var + T(norm_epsilon));
        if (l.add)
            for_lanes<T>(team, n, [&]<class V>(index_t j) {
                store<V>(y + j, load<V>(y + j) + (u.template at<V>(j) - mean) * scale);
            });
        else
            for_lanes<T>(team, n, [&]<class V>(index_t j) { store<V>(y + j, (u.template at<V>(j) - mean) * scale); });
    }
};

/// Mean and 1 / (var + epsilon) of u, mean of g, and mean of g (u - mean) / (var + epsilon).
template <class T>
struct norm_moments {
    T mean, square, g_mean, along;
    template <class Team, class U, class G>
    DIEM_HOST_DEVICE norm_moments(const Team& team, index_t n, const U& u, const G& g) {
        const T inverse = T(1) / static_cast<T>(n);
        T var;
        sums_over<T>(
            team, n,
            [&]<class V>(index_t j, V& s, V& t) {
                s = u.template at<V>(j);
                t = g.template at<V>(j);
            },
            mean, g_mean);
        mean *= inverse;
        g_mean *= inverse;
        sums_over<T>(
            team, n,
            [&]<class V>(index_t j, V& s, V& t) {
                const V d = u.template at<V>(j) - mean;
                s = d * d;
                t = d * g.template at<V>(j);
            },
            var, along);
        square = T(1) / (var * inverse + T(norm_epsilon));
        along *= inverse * square;
    }
};
/// g = in, or (1 + a) in.
template <class T, bool Scaled>
struct norm_cotangent {
    const T *in, *a;
    template <class V>
    DIEM_HOST_DEVICE V at(index_t j) const {
        if constexpr (Scaled)
            return (T(1) + load<V>(a + j)) * load<V>(in + j);
        else
            return load<V>(in + j);
    }
};

/// With Adjoint: out (+)= (1 + a) J_norm in; otherwise out (+)= J_norm (1 + a) in.
template <class T, bool Modulated, bool Adjoint>
struct norm_jacobian_body {
    norm_layout l;
    template <class Team>
    DIEM_HOST_DEVICE void operator()(index_t i, const Team& team, const T* x_, const T* a_, const T* b_, const T* g_,
                                     T* y_) const {
        const index_t m = Modulated ? i / l.pixels : 0, n = l.channels;
        const T* const a = a_ + m * l.a_step;
        const norm_input<T, Modulated> u{x_ + i * l.x_stride, a, b_ + m * l.b_step};
        const norm_cotangent<T, Modulated && !Adjoint> g{g_ + i * l.g_stride, a};
        T* const y = y_ + i * l.y_stride;
        const norm_moments<T> k(team, n, u, g);
        using std::sqrt;
        const T scale = sqrt(k.square);
        const auto value = [&]<class V>(index_t j) -> V {
            const V v = scale * (g.template at<V>(j) - k.g_mean - (u.template at<V>(j) - k.mean) * k.along);
            if constexpr (Modulated && Adjoint)
                return (T(1) + load<V>(a + j)) * v;
            else
                return v;
        };
        if (l.add)
            for_lanes<T>(team, n, [&]<class V>(index_t j) {
                store<V>(y + j, load<V>(y + j) + value.template operator()<V>(j));
            });
        else
            for_lanes<T>(team, n, [&]<class V>(index_t j) { store<V>(y + j, value.template operator()<V>(j)); });
    }
};

/// One item: x_bar as above, and a_bar = sum over pixels of x J_norm y_bar, b_bar = sum of J_norm y_bar.
template <class T>
struct norm_params_body {
    norm_layout l;
    index_t bar_step;
    DIEM_HOST_DEVICE void operator()(index_t item, const T* x_, const T* a_, const T* b_, const T* g_, T* y_, T* a_bar_,
                                     T* b_bar_) const {
        const index_t n = l.channels;
        const alone team;
        const T* const a = a_ + item * l.a_step;
        T* const a_bar = a_bar_ + item * bar_step;
        T* const b_bar = b_bar_ + item * bar_step;
        for (index_t j = 0; j < n; ++j) a_bar[j] = b_bar[j] = 0;
        for (index_t i = item * l.pixels; i < (item + 1) * l.pixels; ++i) {
            const T* const x = x_ + i * l.x_stride;
            T* const y = y_ + i * l.y_stride;
            const norm_input<T, true> u{x, a, b_ + item * l.b_step};
            const norm_cotangent<T, false> g{g_ + i * l.g_stride, a};
            const norm_moments<T> k(team, n, u, g);
            using std::sqrt;
            const T scale = sqrt(k.square);
            for_lanes<T>(team, n, [&]<class V>(index_t j) {
                const V v = scale * (g.template at<V>(j) - k.g_mean - (u.template at<V>(j) - k.mean) * k.along);
                store<V>(a_bar + j, load<V>(a_bar + j) + load<V>(x + j) * v);
                store<V>(b_bar + j, load<V>(b_bar + j) + v);
                const V out = (T(1) + load<V>(a + j)) * v;
                store<V>(y + j, l.add ? load<V>(y + j) + out : out);
            });
        }
    }
};

/// The same for a FineGrained backend. One pixel: v = J_norm y_bar and x_bar; sum_channels does the rest.
template <class T>
struct norm_pixel_body {
    norm_layout l;
    template <class Team>
    DIEM_HOST_DEVICE void operator()(index_t i, const Team& team, const T* x_, const T* a_, const T* b_, const T* g_,
                                     T* y_, T* v_) const {
        const index_t m = i / l.pixels, n = l.channels;
        const T* const a = a_ + m * l.a_step;
        const norm_input<T, true> u{x_ + i * l.x_stride, a, b_ + m * l.b_step};
        const norm_cotangent<T, false> g{g_ + i * l.g_stride, a};
        T *const y = y_ + i * l.y_stride, *const v = v_ + i * n;
        const norm_moments<T> k(team, n, u, g);
        using std::sqrt;
        const T scale = sqrt(k.square);
        for (index_t j = team.first(); j < n; j += team.step()) {
            const T w = scale * (g.template at<T>(j) - k.g_mean - (u.template at<T>(j) - k.mean) * k.along);
            v[j] = w;
            put(y[j], (T(1) + a[j]) * w, l.add);
        }
    }
};
/// Pixels per modulation; throws unless the modulations cover the pixels.
template <class P, class Q>
index_t pixels_of(const char* where, const batch_view<P>& x, const batch_view<Q>& a) {
    check_size(where, "modulation features", a.features(), x.features());
    if (a.items() == 0 || x.items() == 0) {
        check_size(where, "pixels", x.items(), 0);
        return 1;
    }
    check_size(where, "pixels left over by the modulations", x.items() % a.items(), 0);
    return x.items() / a.items();
}

}  // namespace detail

/// y = norm(x), per column.
template <Backend B>
void layer_norm_forward(B& b, const_view_t<B> x, view_t<B> y, update mode = update::overwrite) {
    using T = scalar_t<B>;
    check_shape("nn::layer_norm", "y", y, x.features(), x.items());
    if (x.empty()) return;
    const detail::norm_layout l{x.features(), 1, x.stride(), y.stride(), 0, 0, 0, mode == update::accumulate};
    launch_rows(b, x.items(), x.features(), 2 * x.features(), detail::norm_forward_body<T, false>{l}, x.data(),
                x.data(), x.data(), y.data());
}
/// y_dot = J_norm(x) x_dot.
template <Backend B>
void layer_norm_jvp(B& b, const_view_t<B> x, const_view_t<B> x_dot, view_t<B> y_dot, update mode = update::overwrite) {
    using T = scalar_t<B>;
    check_shape("nn::layer_norm_jvp", "x_dot", x_dot, x.features(), x.items());
    check_shape("nn::layer_norm_jvp", "y_dot", y_dot, x.features(), x.items());
    if (x.empty()) return;
    const detail::norm_layout l{x.features(),   1, x.stride(), y_dot.stride(),
                                x_dot.stride(), 0, 0,          mode == update::accumulate};
    launch_rows(b, x.items(), x.features(), 3 * x.features(), detail::norm_jacobian_body<T, false, true>{l}, x.data(),
                x.data(), x.data(), x_dot.data(), y_dot.data());
}
/// x_bar = J_norm(x) y_bar; the Jacobian is symmetric.
template <Backend B>
void layer_norm_vjp(B& b, const_view_t<B> x, const_view_t<B> y_bar, view_t<B> x_bar, update mode = update::overwrite) {
    layer_norm_jvp<B>(b, x, y_bar, x_bar, mode);
}

/// y = norm((1 + a) x + b) in one pass.
template <Backend B>
void modulated_norm_forward(B& b, const_view_t<B> x, const_view_t<B> a, const_view_t<B> shift, view_t<B> y,
                            update mode = update::overwrite) {
    using T = scalar_t<B>;
    check_shape("nn::modulated_norm", "y", y, x.features(), x.items());
    const index_t pixels = detail::pixels_of("nn::modulated_norm", x, a);
    if (x.empty()) return;
    const detail::norm_layout l{
        x.features(), pixels, x.stride(), y.stride(), 0, a.stride(), shift.stride(), mode == update::accumulate};
    launch_rows(b, x.items(), x.features(), 2 * x.features(), detail::norm_forward_body<T, true>{l}, x.data(), a.data(),
                shift.data(), y.data());
}
/// y_dot = J_norm (1 + a) x_dot, at fixed a and b.
template <Backend B>
void modulated_norm_jvp(B& b, const_view_t<B> x, const_view_t<B> a, const_view_t<B> shift, const_view_t<B> x_dot,
                        view_t<B> y_dot, update mode = update::overwrite) {
    using T = scalar_t<B>;
    check_shape("nn::modulated_norm_jvp", "x_dot", x_dot, x.features(), x.items());
    check_shape("nn::modulated_norm_jvp", "y_dot", y_dot, x.features(), x.items());
    const index_t pixels = detail::pixels_of("nn::modulated_norm_jvp", x, a);
    if (x.empty()) return;
    const detail::norm_layout l{x.features(),   pixels,     x.stride(),     y_dot.stride(),
                                x_dot.stride(), a.stride(), shift.stride(), mode == update::accumulate};
    launch_rows(b, x.items(), x.features(), 3 * x.features(), detail::norm_jacobian_body<T, true, false>{l}, x.data(),
                a.data(), shift.data(), x_dot.data(), y_dot.data());
}
/// x_bar = (1 + a) J_norm y_bar.
template <Backend B>
void modulated_norm_vjp(B& b, const_view_t<B> x, const_view_t<B> a, const_view_t<B> shift, const_view_t<B> y_bar,
                        view_t<B> x_bar, update mode = update::overwrite) {
    using T = scalar_t<B>;
    check_shape("nn::modulated_norm_vjp", "y_bar", y_bar, x.features(), x.items());
    check_shape("nn::modulated_norm_vjp", "x_bar", x_bar, x.features(), x.items());
    const index_t pixels = detail::pixels_of("nn::modulated_norm_vjp", x, a);
    if (x.empty()) return;
    const detail::norm_layout l{x.features(),   pixels,     x.stride(),     x_bar.stride(),
                                y_bar.stride(), a.stride(), shift.stride(), mode == update::accumulate};
    launch_rows(b, x.items(), x.features(), 3 * x.features(), detail::norm_jacobian_body<T, true, true>{l}, x.data(),
                a.data(), shift.data(), y_bar.data(), x_bar.data());
}
/// As modulated_norm_vjp; and a_bar = sum of x J_norm y_bar, shift_bar = sum of J_norm y_bar over the pixels of each of
/// `a_bar.items()` items (overwritten; the modulation may be the same for all of them).
template <Backend B>
void modulated_norm_vjp_params(B& b, const_view_t<B> x, const_view_t<B> a, const_view_t<B> shift, const_view_t<B> y_bar,
                               view_t<B> x_bar, view_t<B> a_bar, view_t<B> shift_bar, update mode = update::overwrite) {
    using T = scalar_t<B>;
    check_shape("nn::modulated_norm_vjp_params", "y_bar", y_bar, x.features(), x.items());
    check_shape("nn::modulated_norm_vjp_params", "x_bar", x_bar, x.features(), x.items());
    check_shape("nn::modulated_norm_vjp_params", "shift_bar", shift_bar, a_bar.features(), a_bar.items());
    check_size("nn::modulated_norm_vjp_params", "shift_bar.stride()", shift_bar.stride(), a_bar.stride());
    detail::pixels_of("nn::modulated_norm_vjp_params", x, a);
    const index_t pixels = detail::pixels_of("nn::modulated_norm_vjp_params", x, const_view_t<B>(a_bar));
    if (x.empty()) {
        b.fill(a_bar, T(0));
        b.fill(shift_bar, T(0));
        return;
    }
    const bool shared = a.items() == 1;
    if (!shared) check_size("nn::modulated_norm_vjp_params", "a_bar.items()", a_bar.items(), a.items());
    const detail::norm_layout l{x.features(),
                                pixels,
                                x.stride(),
                                x_bar.stride(),
                                y_bar.stride(),
                                shared ? 0 : a.stride(),
                                shared ? 0 : shift.stride(),
                                mode == update::accumulate};
    if constexpr (FineGrained<B>) {
        batch<B> v(b, x.features(), x.items());
        launch_rows(b, x.items(), x.features(), 4 * x.features(), detail::norm_pixel_body<T>{l}, x.data(), a.data(),
                    shift.data(), y_bar.data(), x_bar.data(), v.view().data());
        detail::sum_channels<B>(b, pixels, v.cview(), x, a_bar, shift_bar, false);
        return;
    }
    b.launch(a_bar.items(), 4 * x.features() * pixels, detail::norm_params_body<T>{l, a_bar.stride()}, x.data(),
             a.data(), shift.data(), y_bar.data(), x_bar.data(), a_bar.data(), shift_bar.data());
}

}  // namespace diem::nn
