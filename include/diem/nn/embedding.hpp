// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>

#include <diem/backend/concept.hpp>
#include <diem/core/check.hpp>
#include <diem/nn/detail/loops.hpp>
#include <diem/nn/update.hpp>

/// \file
/// Sines and cosines of one number per item. Derivation: docs/derivations/kernels.md.
///
///     c: 1 x n, y: F x n, F even and >= 4, h = F / 2
///     y = (sin f_0 c .. sin f_h-1 c, cos f_0 c .. cos f_h-1 c),  f_k = 1e-4^(k / (h - 1))
///
/// \snippet tests/examples/nn.cpp nn/embedding.hpp

namespace diem::nn {

namespace detail {
struct embedding_layout {
    index_t half, c_stride, dot_stride, y_stride;
    bool add;
    [[nodiscard]] DIEM_HOST_DEVICE double frequency(index_t k) const {
        using std::exp;
        return exp(-9.2103403719761827361 * static_cast<double>(k) / static_cast<double>(half - 1));
    }
};
/// Angles, sines and cosines are formed in double: F numbers per item cost nothing.
template <class T>
struct embedding_body {
    embedding_layout l;
    DIEM_HOST_DEVICE void operator()(index_t i, const T* c, T* y) const {
        fill(i, c, y, [&](index_t k) { return l.frequency(k); });
    }
    DIEM_HOST_DEVICE void operator()(index_t i, const T* c, const T* frequencies, T* y) const {
        fill(i, c, y, [&](index_t k) { return static_cast<double>(frequencies[k]); });
    }

private:
    template <class F>
    DIEM_HOST_DEVICE void fill(index_t i, const T* c, T* y_, const F& frequency) const {
        using std::cos;
        using std::sin;
        const double value = static_cast<double>(c[i * l.c_stride]);
        T* const y = y_ + i * l.y_stride;
        for (index_t k = 0; k < l.half; ++k) {
            const double angle = frequency(k) * value;
            put(y[k], static_cast<T>(sin(angle)), l.add);
            put(y[l.half + k], static_cast<T>(cos(angle)), l.add);
        }
    }
};
template <class T>
struct embedding_jvp_body {
    embedding_layout l;
    DIEM_HOST_DEVICE void operator()(index_t i, const T* c, const T* c_dot, T* y_) const {
        using std::cos;
        using std::sin;
        const double value = static_cast<double>(c[i * l.c_stride]);
        const double dot = static_cast<double>(c_dot[i * l.dot_stride]);
        T* const y = y_ + i * l.y_stride;
        for (index_t k = 0; k < l.half; ++k) {
            const double f = l.frequency(k), angle = f * value;
            put(y[k], static_cast<T>(f * cos(angle) * dot), l.add);
            put(y[l.half + k], static_cast<T>(-f * sin(angle) * dot), l.add);
        }
    }
};
template <class T>
struct embedding_vjp_body {
    embedding_layout l;
    DIEM_HOST_DEVICE void operator()(index_t i, const T* c, const T* y_bar_, T* c_bar) const {
        using std::cos;
        using std::sin;
        const double value = static_cast<double>(c[i * l.c_stride]);
        const T* const y_bar = y_bar_ + i * l.y_stride;
        double sum = 0;
        for (index_t k = 0; k < l.half; ++k) {
            const double f = l.frequency(k), angle = f * value;
            sum +=
                f * (cos(angle) * static_cast<double>(y_bar[k]) - sin(angle) * static_cast<double>(y_bar[l.half + k]));
        }
        put(c_bar[i * l.dot_stride], static_cast<T>(sum), l.add);
    }
};
template <class P, class Q>
void check_embedding(const char* where, const batch_view<P>& c, const batch_view<Q>& y) {
    check_size(where, "c.features()", c.features(), 1);
    check_size(where, "y.items()", y.items(), c.items());
    check_value(where, y.features() % 2 == 0 && y.features() >= 4, "features is not even and >= 4");
}
}  // namespace detail

template <Backend B>
void embedding_forward(B& b, const_view_t<B> c, view_t<B> y, update mode = update::overwrite) {
    detail::check_embedding("nn::embedding", c, y);
    const detail::embedding_layout l{y.features() / 2, c.stride(), 0, y.stride(), mode == update::accumulate};
    b.launch(c.items(), 16 * y.features(), detail::embedding_body<scalar_t<B>>{l}, c.data(), y.data());
}
/// y = (sin f_k c .., cos f_k c ..) with frequencies f that are given: those of Fourier features, or of any other spacing.
template <Backend B>
void embedding_forward(B& b, const_view_t<B> c, const_vector_t<B> frequencies, view_t<B> y) {
    detail::check_embedding("nn::embedding", c, y);
    check_size("nn::embedding", "frequencies.size()", frequencies.size(), y.features() / 2);
    const detail::embedding_layout l{y.features() / 2, c.stride(), 0, y.stride(), false};
    b.launch(c.items(), 16 * y.features(), detail::embedding_body<scalar_t<B>>{l}, c.data(), frequencies.data(),
             y.data());
}
/// y_dot = (f cos(f c) c_dot, -f sin(f c) c_dot).
template <Backend B>
void embedding_jvp(B& b, const_view_t<B> c, const_view_t<B> c_dot, view_t<B> y_dot, update mode = update::overwrite) {
    detail::check_embedding("nn::embedding_jvp", c, y_dot);
    check_shape("nn::embedding_jvp", "c_dot", c_dot, 1, c.items());
    const detail::embedding_layout l{y_dot.features() / 2, c.stride(), c_dot.stride(), y_dot.stride(),
                                     mode == update::accumulate};
    b.launch(c.items(), 16 * y_dot.features(), detail::embedding_jvp_body<scalar_t<B>>{l}, c.data(), c_dot.data(),
             y_dot.data());
}
/// c_bar = sum over k of f_k (cos(f_k c) y_bar[k] - sin(f_k c) y_bar[h + k]).
template <Backend B>
void embedding_vjp(B& b, const_view_t<B> c, const_view_t<B> y_bar, view_t<B> c_bar, update mode = update::overwrite) {
    detail::check_embedding("nn::embedding_vjp", c, y_bar);
    check_shape("nn::embedding_vjp", "c_bar", c_bar, 1, c.items());
    const detail::embedding_layout l{y_bar.features() / 2, c.stride(), c_bar.stride(), y_bar.stride(),
                                     mode == update::accumulate};
    b.launch(c.items(), 16 * y_bar.features(), detail::embedding_vjp_body<scalar_t<B>>{l}, c.data(), y_bar.data(),
             c_bar.data());
}

}  // namespace diem::nn
