// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>

#include <diem/backend/batch.hpp>
#include <diem/backend/concept.hpp>
#include <diem/backend/team.hpp>
#include <diem/core/check.hpp>
#include <diem/core/random.hpp>
#include <diem/nn/detail/loops.hpp>
#include <diem/nn/update.hpp>

/// \file
/// SiLU, softmax and dropout. All views of one call have the same shape. Derivation: docs/derivations/kernels.md.
/// \snippet tests/examples/nn.cpp nn/activation.hpp

namespace diem::nn {

namespace detail {
template <class T, bool Add>
struct silu_value {
    template <class V>
    DIEM_HOST_DEVICE void operator()(V& y, const V& x) const {
        using std::exp;
        const V value = x / (T(1) + exp(-x));
        if constexpr (Add)
            y += value;
        else
            y = value;
    }
};
/// y and its derivative from one exponential.
template <class T>
struct silu_both {
    template <class V>
    DIEM_HOST_DEVICE void operator()(V& y, V& slope, const V& x) const {
        using std::exp;
        const V gate = T(1) / (T(1) + exp(-x));
        slope = gate * (T(1) + x * (T(1) - gate));
        y = x * gate;
    }
};
template <class T, bool Add>
struct silu_slope_times {
    template <class V>
    DIEM_HOST_DEVICE void operator()(V& y, const V& x, const V& u) const {
        using std::exp;
        const V gate = T(1) / (T(1) + exp(-x));
        const V value = gate * (T(1) + x * (T(1) - gate)) * u;
        if constexpr (Add)
            y += value;
        else
            y = value;
    }
};
}  // namespace detail

/// y = x / (1 + exp(-x)). In place where y is x.
template <Backend B>
void silu_forward(B& b, const_view_t<B> x, view_t<B> y, update mode = update::overwrite) {
    using T = scalar_t<B>;
    if (mode == update::overwrite)
        b.map(detail::silu_value<T, false>{}, y, x);
    else
        b.map(detail::silu_value<T, true>{}, y, x);
}
/// y = silu(x) and slope = silu'(x): the derivatives are then products with `slope`. y may be x.
template <Backend B>
void silu_forward_slope(B& b, const_view_t<B> x, view_t<B> y, view_t<B> slope) {
    b.map(detail::silu_both<scalar_t<B>>{}, y, slope, x);
}
/// y_dot = silu'(x) x_dot, silu'(x) = g (1 + x (1 - g)), g = 1 / (1 + exp(-x)).
template <Backend B>
void silu_jvp(B& b, const_view_t<B> x, const_view_t<B> x_dot, view_t<B> y_dot, update mode = update::overwrite) {
    using T = scalar_t<B>;
    if (mode == update::overwrite)
        b.map(detail::silu_slope_times<T, false>{}, y_dot, x, x_dot);
    else
        b.map(detail::silu_slope_times<T, true>{}, y_dot, x, x_dot);
}
/// x_bar = silu'(x) y_bar.
template <Backend B>
void silu_vjp(B& b, const_view_t<B> x, const_view_t<B> y_bar, view_t<B> x_bar, update mode = update::overwrite) {
    silu_jvp<B>(b, x, y_bar, x_bar, mode);
}

namespace detail {
template <class T>
struct column_maximum {
    index_t features, stride;
    template <class Team>
    DIEM_HOST_DEVICE void operator()(index_t i, const Team& team, const T* x, T* top) const {
        constexpr int lanes = 16;
        const T* const from = x + i * stride;
        const index_t step = team.step();
        T part[lanes];
        for (int k = 0; k < lanes; ++k) part[k] = from[0];
        index_t j = team.first();
        for (; j + (lanes - 1) * step < features; j += lanes * step)
            for (int k = 0; k < lanes; ++k) part[k] = part[k] < from[j + k * step] ? from[j + k * step] : part[k];
        for (; j < features; j += step) part[0] = part[0] < from[j] ? from[j] : part[0];
        T best = part[0];
        for (int k = 1; k < lanes; ++k) best = best < part[k] ? part[k] : best;
        best = team.maximum(best);
        if (team.first() == 0) top[i] = best;
    }
};
template <class T>
struct shifted_exponential {
    template <class V>
    DIEM_HOST_DEVICE void operator()(V& y, const V& x, const V& top) const {
        using std::exp;
        y = exp(x - top);
    }
};
template <class T>
struct divide_by_sum {
    index_t features, stride;
    template <class Team>
    DIEM_HOST_DEVICE void operator()(index_t i, const Team& team, T* y) const {
        T* const to = y + i * stride;
        const T scale = T(1) / sum_over<T>(team, features, [to]<class V>(index_t j) -> V { return load<V>(to + j); });
        DIEM_IVDEP
        for (index_t j = team.first(); j < features; j += team.step()) to[j] *= scale;
    }
};
/// out = s (u - sum(s u)): the Jacobian of softmax, which is symmetric.
template <class T>
struct softmax_jacobian {
    index_t features, s_stride, u_stride, y_stride;
    bool add;
    template <class Team>
    DIEM_HOST_DEVICE void operator()(index_t i, const Team& team, const T* softmax, const T* in, T* out) const {
        const T* const s = softmax + i * s_stride;
        const T* const u = in + i * u_stride;
        T* const y = out + i * y_stride;
        const T mean =
            sum_over<T>(team, features, [s, u]<class V>(index_t j) -> V { return load<V>(s + j) * load<V>(u + j); });
        DIEM_IVDEP
        for (index_t j = team.first(); j < features; j += team.step()) put(y[j], s[j] * (u[j] - mean), add);
    }
};
}  // namespace detail

/// y = exp(x - max) / sum, over the features of each item. y may be x; with accumulate it may not.
template <Backend B>
void softmax_forward(B& b, const_view_t<B> x, view_t<B> y, update mode = update::overwrite) {
    using T = scalar_t<B>;
    check_shape("nn::softmax", "y", y, x.features(), x.items());
    if (x.empty()) return;
    if (mode == update::accumulate) {
        batch<B> tmp(b, x.features(), x.items());
        softmax_forward<B>(b, x, tmp);
        b.axpby(1.0, tmp.cview(), 1.0, y);
        return;
    }
    batch<B> top(b, x.items(), 1);
    launch_rows(b, x.items(), x.features(), x.features(), detail::column_maximum<T>{x.features(), x.stride()}, x.data(),
                top.view().data());
    b.map(detail::shifted_exponential<T>{}, y, x, per_item{const_vector_t<B>(top.flat())});
    launch_rows(b, x.items(), x.features(), 2 * x.features(), detail::divide_by_sum<T>{x.features(), y.stride()},
                y.data());
}
/// y_dot = y (x_dot - <y, x_dot>) with the result y of the forward. y_dot may be x_dot.
template <Backend B>
void softmax_jvp(B& b, const_view_t<B> y, const_view_t<B> x_dot, view_t<B> y_dot, update mode = update::overwrite) {
    check_shape("nn::softmax_jvp", "x_dot", x_dot, y.features(), y.items());
    check_shape("nn::softmax_jvp", "y_dot", y_dot, y.features(), y.items());
    launch_rows(b, y.items(), y.features(), 2 * y.features(),
                detail::softmax_jacobian<scalar_t<B>>{y.features(), y.stride(), x_dot.stride(), y_dot.stride(),
                                                      mode == update::accumulate},
                y.data(), x_dot.data(), y_dot.data());
}
/// x_bar = y (y_bar - <y, y_bar>).
template <Backend B>
void softmax_vjp(B& b, const_view_t<B> y, const_view_t<B> y_bar, view_t<B> x_bar, update mode = update::overwrite) {
    softmax_jvp<B>(b, y, y_bar, x_bar, mode);
}

namespace detail {
template <class T>
struct dropout_body {
    random_key key;
    double keep;
    index_t features, blocks, x_stride, y_stride, first_block;
    bool add;
    DIEM_HOST_DEVICE void operator()(index_t i, const T* x, T* y) const {
        const index_t item = i / blocks, block = i - item * blocks;
        const T scale = T(1 / keep);
        const philox_words words =
            random_words(key, static_cast<std::uint32_t>(item), static_cast<std::uint32_t>(first_block + block));
        for (index_t k = 0; k < 4 && 4 * block + k < features; ++k) {
            const bool kept = (words.word[k] + 0.5) * 0x1p-32 < keep;  // `bernoulli` of core/random
            put(y[item * y_stride + 4 * block + k], kept ? scale * x[item * x_stride + 4 * block + k] : T(0), add);
        }
    }
};
}  // namespace detail

/// y = mask x / (1 - rate), mask[j, item] = bernoulli(key, item, first + j, 1 - rate): a function of the key alone, so that
/// forward, JVP and VJP use the same mask without storing it. `first` is a multiple of 4, 0 <= rate < 1. y may be x.
template <Backend B>
void dropout_forward(B& b, double rate, random_key key, index_t first, const_view_t<B> x, view_t<B> y,
                     update mode = update::overwrite) {
    check_value("nn::dropout", rate >= 0 && rate < 1, "rate is not in [0, 1)");
    check_value("nn::dropout", first % 4 == 0, "first is not a multiple of 4");
    check_shape("nn::dropout", "y", y, x.features(), x.items());
    const index_t blocks = (x.features() + 3) / 4;
    b.launch(blocks * x.items(), 32,
             detail::dropout_body<scalar_t<B>>{key, 1 - rate, x.features(), blocks, x.stride(), y.stride(), first / 4,
                                               mode == update::accumulate},
             x.data(), y.data());
}
/// y_dot = mask x_dot / (1 - rate).
template <Backend B>
void dropout_jvp(B& b, double rate, random_key key, index_t first, const_view_t<B> x_dot, view_t<B> y_dot,
                 update mode = update::overwrite) {
    dropout_forward<B>(b, rate, key, first, x_dot, y_dot, mode);
}
/// x_bar = mask y_bar / (1 - rate).
template <Backend B>
void dropout_vjp(B& b, double rate, random_key key, index_t first, const_view_t<B> y_bar, view_t<B> x_bar,
                 update mode = update::overwrite) {
    dropout_forward<B>(b, rate, key, first, y_bar, x_bar, mode);
}

}  // namespace diem::nn
