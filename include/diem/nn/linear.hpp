// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <diem/backend/batch.hpp>
#include <diem/backend/capabilities.hpp>
#include <diem/backend/concept.hpp>
#include <diem/backend/functors.hpp>
#include <diem/core/check.hpp>
#include <diem/nn/detail/gemm.hpp>
#include <diem/nn/detail/loops.hpp>
#include <diem/nn/update.hpp>

/// \file
/// Affine map of every item. Derivation: docs/derivations/kernels.md.
///
///     x: in x n, weight: (in, out) row-major, that is out x in column-major, bias: out or empty, y: out x n
///     y = W' x + b,  y_dot = W' x_dot,  x_bar = W y_bar,  W_bar = x y_bar',  b_bar = sum of the columns of y_bar
///
/// \snippet tests/examples/nn.cpp nn/linear.hpp

namespace diem::nn {

namespace detail {

/// part[c, block] = sum of x[c, k] over the block's columns.
template <class T>
struct partial_row_sums {
    index_t channels, columns, stride, block;
    DIEM_HOST_DEVICE void operator()(index_t i, const T* x, T* part) const {
        T* const out = part + i * channels;
        const index_t first = i * block, last = first + block < columns ? first + block : columns;
        for (index_t c = 0; c < channels; ++c) out[c] = 0;
        for (index_t k = first; k < last; ++k) {
            const T* const from = x + k * stride;
            DIEM_IVDEP
            for (index_t c = 0; c < channels; ++c) out[c] += from[c];
        }
    }
};
/// One channel of one block: for a FineGrained backend.
template <class T>
struct channel_row_sums {
    index_t channels, columns, stride, block;
    DIEM_HOST_DEVICE void operator()(index_t i, const T* x, T* part) const {
        const index_t k = i / channels, c = i - k * channels, first = k * block;
        const index_t last = first + block < columns ? first + block : columns;
        T sum = 0;
        for (index_t n = first; n < last; ++n) sum += x[n * stride + c];
        part[i] = sum;
    }
};
template <class T>
struct finish_row_sums {
    index_t channels, blocks;
    bool add;
    DIEM_HOST_DEVICE void operator()(index_t c, const T* part, T* out) const {
        T sum = 0;
        for (index_t k = 0; k < blocks; ++k) sum += part[c + k * channels];
        put(out[c], sum, add);
    }
};

/// out (C) (+)= sum of the columns of x (C x n), in blocks of fixed length.
template <Backend B>
void row_sums(B& b, const_view_t<B> x, vector_t<B> out, update mode) {
    using T = scalar_t<B>;
    constexpr index_t block = 256;
    check_size("nn::row_sums", "out.size()", out.size(), x.features());
    const index_t channels = x.features(), blocks = (x.items() + block - 1) / block;
    batch<B> part(b, channels, blocks);
    if constexpr (FineGrained<B>)
        b.launch(blocks * channels, block, channel_row_sums<T>{channels, x.items(), x.stride(), block}, x.data(),
                 part.view().data());
    else
        b.launch(blocks, channels * block, partial_row_sums<T>{channels, x.items(), x.stride(), block}, x.data(),
                 part.view().data());
    b.launch(channels, blocks, finish_row_sums<T>{channels, blocks, mode == update::accumulate}, part.cview().data(),
             out.data());
}
}  // namespace detail

template <Backend B>
void linear_forward(B& b, const_view_t<B> x, const_vector_t<B> weight, const_vector_t<B> bias, view_t<B> y,
                    update mode = update::overwrite) {
    using T = scalar_t<B>;
    check_size("nn::linear", "weight.size()", weight.size(), x.features() * y.features());
    check_size("nn::linear", "y.items()", y.items(), x.items());
    const const_view_t<B> w(weight.data(), y.features(), x.features());
    if (bias.size() > 0) {
        check_size("nn::linear", "bias.size()", bias.size(), y.features());
        if (mode == update::overwrite)
            b.map(functors::assign{}, y, per_feature{bias});
        else
            b.map(functors::add{}, y, per_feature{bias});
        mode = update::accumulate;
    }
    detail::gemm<B>(b, T(1), w, op::none, x, op::none, old_weight<T>(mode), y);
}
template <Backend B>
void linear_jvp(B& b, const_view_t<B> x_dot, const_vector_t<B> weight, view_t<B> y_dot,
                update mode = update::overwrite) {
    linear_forward<B>(b, x_dot, weight, const_vector_t<B>(), y_dot, mode);
}
template <Backend B>
void linear_vjp(B& b, const_view_t<B> y_bar, const_vector_t<B> weight, view_t<B> x_bar,
                update mode = update::overwrite) {
    using T = scalar_t<B>;
    check_size("nn::linear_vjp", "weight.size()", weight.size(), x_bar.features() * y_bar.features());
    const const_view_t<B> w(weight.data(), y_bar.features(), x_bar.features());
    detail::gemm<B>(b, T(1), w, op::transpose, y_bar, op::none, old_weight<T>(mode), x_bar);
}
template <Backend B>
void linear_vjp_params(B& b, const_view_t<B> x, const_view_t<B> y_bar, vector_t<B> weight_bar, vector_t<B> bias_bar,
                       update mode = update::overwrite) {
    using T = scalar_t<B>;
    check_size("nn::linear_vjp_params", "weight_bar.size()", weight_bar.size(), x.features() * y_bar.features());
    const view_t<B> w(weight_bar.data(), y_bar.features(), x.features());
    detail::gemm<B>(b, T(1), y_bar, op::none, x, op::transpose, old_weight<T>(mode), w);
    if (bias_bar.size() > 0) detail::row_sums<B>(b, y_bar, bias_bar, mode);
}

}  // namespace diem::nn
