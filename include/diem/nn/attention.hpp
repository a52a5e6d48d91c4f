// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>

#include <diem/backend/batch.hpp>
#include <diem/backend/capabilities.hpp>
#include <diem/backend/concept.hpp>
#include <diem/core/check.hpp>
#include <diem/nn/activation.hpp>
#include <diem/nn/detail/gemm.hpp>
#include <diem/nn/update.hpp>

/// \file
/// Scaled dot-product attention among the L positions of each item. Derivation: docs/derivations/kernels.md.
///
///     q, k, v, y: items x (L, C), C = heads c; head h owns channels h c .. (h + 1) c - 1
///     S = softmax over the keys of k_h' q_h / sqrt(c) (L keys x L queries),  y_h = v_h S
/// Scores live one block of (item, head) pairs at a time, are not kept, and are computed again by the derivatives.
/// \snippet tests/examples/nn.cpp nn/attention.hpp

namespace diem::nn {

struct attention_shape {
    index_t length = 0, channels = 0, heads = 1;
    [[nodiscard]] constexpr index_t head_channels() const { return channels / heads; }
};

namespace detail {
/// A block of (item, head) pairs, seen as matrices (c x L) of `q`, `k`, ...
struct attention_block_range {
    index_t first_item, items, first_head, heads;
    [[nodiscard]] constexpr index_t count() const { return items * heads; }
};
/// Blocks of one head of several items, or of all heads of one item, of at most about 2^20 scores (one pair at least): what
/// caches hold. A FineGrained backend has 2^26, fewer and larger products.
template <Backend B, class F>
void for_attention_blocks(const attention_shape& s, index_t items, const F& f) {
    constexpr index_t scores = FineGrained<B> ? index_t{1} << 26 : index_t{1} << 20;
    const index_t pairs = std::max<index_t>(1, scores / std::max<index_t>(1, s.length * s.length));
    if (items >= s.heads) {
        const index_t block = std::min(items, pairs);
        for (index_t h = 0; h < s.heads; ++h)
            for (index_t i = 0; i < items; i += block) f(attention_block_range{i, std::min(block, items - i), h, 1});
    } else {
        const index_t block = std::min(s.heads, pairs);
        for (index_t i = 0; i < items; ++i)
            for (index_t h = 0; h < s.heads; h += block)
                f(attention_block_range{i, 1, h, std::min(block, s.heads - h)});
    }
}
template <class P>
matrix_batch<P> head_matrices(const attention_shape& s, const attention_block_range& r, const batch_view<P>& v) {
    const index_t c = s.head_channels();
    const index_t stride = r.heads > 1 ? c : v.stride();
    return {v.data() + (r.first_item * v.stride() + r.first_head * c), c, s.length, s.channels, stride, r.count()};
}
template <class P>
matrix_batch<P> score_matrices(const attention_shape& s, const batch_view<P>& v, index_t count) {
    return {v.data(), s.length, s.length, s.length, s.length * s.length, count};
}
template <class P>
void check_attention(const char* where, const char* what, const attention_shape& s, const batch_view<P>& v,
                     index_t items) {
    check_value(where, s.heads >= 1 && s.channels % s.heads == 0, "channels are not a multiple of heads");
    check_shape(where, what, v, s.length * s.channels, items);
}
/// Scores of the block: S = softmax(k' q / sqrt(c)), L x (L count).
template <Backend B>
void attention_scores(B& b, const attention_shape& s, const attention_block_range& r, const_view_t<B> q,
                      const_view_t<B> k, view_t<B> scores) {
    using T = scalar_t<B>;
    const T scale = T(1) / std::sqrt(static_cast<T>(s.head_channels()));
    detail::gemm_batched<B>(b, scale, const_matrices_t<B>(head_matrices(s, r, k)), op::transpose,
                            const_matrices_t<B>(head_matrices(s, r, q)), op::none, T(0),
                            matrices_t<B>(score_matrices(s, scores, r.count())));
    softmax_forward<B>(b, scores, scores);
}
}  // namespace detail

template <Backend B>
void attention_forward(B& b, const attention_shape& s, const_view_t<B> q, const_view_t<B> k, const_view_t<B> v,
                       view_t<B> y, update mode = update::overwrite) {
    using T = scalar_t<B>;
    detail::check_attention("nn::attention", "q", s, q, q.items());
    detail::check_attention("nn::attention", "k", s, k, q.items());
    detail::check_attention("nn::attention", "v", s, v, q.items());
    detail::check_attention("nn::attention", "y", s, y, q.items());
    detail::for_attention_blocks<B>(s, q.items(), [&](const detail::attention_block_range& r) {
        batch<B> scores(b, s.length, s.length * r.count());
        detail::attention_scores<B>(b, s, r, q, k, scores);
        detail::gemm_batched<B>(b, T(1), const_matrices_t<B>(detail::head_matrices(s, r, v)), op::none,
                                const_matrices_t<B>(detail::score_matrices(s, scores.cview(), r.count())), op::none,
                                old_weight<T>(mode), detail::head_matrices(s, r, y));
    });
}

/// With P = (k_dot' q + k' q_dot) / sqrt(c): S_dot = J_softmax P, y_dot = v_dot S + v S_dot.
template <Backend B>
void attention_jvp(B& b, const attention_shape& s, const_view_t<B> q, const_view_t<B> k, const_view_t<B> v,
                   const_view_t<B> q_dot, const_view_t<B> k_dot, const_view_t<B> v_dot, view_t<B> y_dot,
                   update mode = update::overwrite) {
    using T = scalar_t<B>;
    for (const auto& each : {q, k, v, q_dot, k_dot, v_dot})
        detail::check_attention("nn::attention_jvp", "operand", s, each, q.items());
    detail::check_attention("nn::attention_jvp", "y_dot", s, y_dot, q.items());
    const T scale = T(1) / std::sqrt(static_cast<T>(s.head_channels()));
    detail::for_attention_blocks<B>(s, q.items(), [&](const detail::attention_block_range& r) {
        const auto head = [&](const_view_t<B> x) { return const_matrices_t<B>(detail::head_matrices(s, r, x)); };
        batch<B> scores(b, s.length, s.length * r.count()), tangent(b, s.length, s.length * r.count());
        const matrices_t<B> dot = detail::score_matrices(s, tangent.view(), r.count());
        detail::attention_scores<B>(b, s, r, q, k, scores);
        detail::gemm_batched<B>(b, scale, head(k_dot), op::transpose, head(q), op::none, T(0), dot);
        detail::gemm_batched<B>(b, scale, head(k), op::transpose, head(q_dot), op::none, T(1), dot);
        softmax_jvp<B>(b, scores, tangent.cview(), tangent.view());
        const matrices_t<B> y = detail::head_matrices(s, r, y_dot);
        detail::gemm_batched<B>(b, T(1), head(v_dot), op::none,
                                const_matrices_t<B>(detail::score_matrices(s, scores.cview(), r.count())), op::none,
                                old_weight<T>(mode), y);
        detail::gemm_batched<B>(b, T(1), head(v), op::none, const_matrices_t<B>(dot), op::none, T(1), y);
    });
}

/// v_bar = y_bar S',  S_bar = v' y_bar,  P_bar = J_softmax S_bar,  q_bar = k P_bar / sqrt(c),  k_bar = q P_bar' / sqrt(c).
template <Backend B>
void attention_vjp(B& b, const attention_shape& s, const_view_t<B> q, const_view_t<B> k, const_view_t<B> v,
                   const_view_t<B> y_bar, view_t<B> q_bar, view_t<B> k_bar, view_t<B> v_bar,
                   update mode = update::overwrite) {
    using T = scalar_t<B>;
    for (const auto& each : {q, k, v, y_bar})
        detail::check_attention("nn::attention_vjp", "operand", s, each, q.items());
    for (const auto& each : {q_bar, k_bar, v_bar})
        detail::check_attention("nn::attention_vjp", "result", s, each, q.items());
    const T scale = T(1) / std::sqrt(static_cast<T>(s.head_channels())), old = old_weight<T>(mode);
    detail::for_attention_blocks<B>(s, q.items(), [&](const detail::attention_block_range& r) {
        const auto head = [&](const_view_t<B> x) { return const_matrices_t<B>(detail::head_matrices(s, r, x)); };
        batch<B> scores(b, s.length, s.length * r.count()), bar(b, s.length, s.length * r.count());
        detail::attention_scores<B>(b, s, r, q, k, scores);
        detail::gemm_batched<B>(b, T(1), head(y_bar), op::none,
                                const_matrices_t<B>(detail::score_matrices(s, scores.cview(), r.count())),
                                op::transpose, old, detail::head_matrices(s, r, v_bar));
        const matrices_t<B> p_bar = detail::score_matrices(s, bar.view(), r.count());
        detail::gemm_batched<B>(b, T(1), head(v), op::transpose, head(y_bar), op::none, T(0), p_bar);
        softmax_vjp<B>(b, scores, bar.cview(), bar.view());
        detail::gemm_batched<B>(b, scale, head(k), op::none, const_matrices_t<B>(p_bar), op::none, old,
                                detail::head_matrices(s, r, q_bar));
        detail::gemm_batched<B>(b, scale, head(q), op::none, const_matrices_t<B>(p_bar), op::transpose, old,
                                detail::head_matrices(s, r, k_bar));
    });
}

}  // namespace diem::nn
