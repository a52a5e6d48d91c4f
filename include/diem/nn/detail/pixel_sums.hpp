// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <diem/backend/concept.hpp>
#include <diem/core/macros.hpp>
#include <diem/core/view.hpp>
#include <diem/nn/detail/loops.hpp>

/// \file
/// Sums over the pixels of each item, for a FineGrained backend: gradients of what all the pixels of an item share.

namespace diem::nn::detail {

/// Threads side by side take channels side by side, over a segment
/// of 32 pixels each; a second kernel adds the segments.
struct pixel_segments {
    static constexpr index_t length = 32;
    index_t channels, pixels;
    [[nodiscard]] DIEM_HOST_DEVICE index_t segments() const { return (pixels + length - 1) / length; }

    /// f(pixel, channel) for the pixels of index k = (item, segment, channel).
    template <class F>
    DIEM_HOST_DEVICE void visit(index_t k, const F& f) const {
        const index_t row = k / channels, item = row / segments(), first = (row - item * segments()) * length;
        const index_t last = first + length < pixels ? first + length : pixels;
        for (index_t i = item * pixels + first; i < item * pixels + last; ++i) f(i, k - row * channels);
    }
};
/// Sums of p q and of p over a segment.
template <class T>
struct channel_sums {
    pixel_segments s;
    index_t p_stride, q_stride;
    DIEM_HOST_DEVICE void operator()(index_t k, const T* p, const T* q, T* product, T* total) const {
        T along = 0, sum = 0;
        s.visit(k, [&](index_t i, index_t j) {
            const T v = p[i * p_stride + j];
            along += v * q[i * q_stride + j];
            sum += v;
        });
        product[k] = along;
        total[k] = sum;
    }
};
/// k = (item, channel): out (+)= the sum of its segments.
template <class T>
struct finish_channel_sums {
    pixel_segments s;
    index_t step;
    bool add;
    DIEM_HOST_DEVICE void operator()(index_t k, const T* part, T* out) const {
        const index_t item = k / s.channels, j = k - item * s.channels;
        T sum = 0;
        for (index_t n = 0; n < s.segments(); ++n) sum += part[(item * s.segments() + n) * s.channels + j];
        put(out[item * step + j], sum, add);
    }
};
/// product (+)= sum of p q, total (+)= sum of p, over the pixels of each item.
template <Backend B>
void sum_channels(B& b, index_t pixels, const_view_t<B> p, const_view_t<B> q, view_t<B> product, view_t<B> total,
                  bool add) {
    using T = scalar_t<B>;
    const pixel_segments s{product.features(), pixels};
    const index_t size = product.size() * s.segments();
    const auto along = b.template allocate<T>(size), sum = b.template allocate<T>(size);
    b.launch(size, 2 * s.length, channel_sums<T>{s, p.stride(), q.stride()}, p.data(), q.data(), along.data(),
             sum.data());
    b.launch(product.size(), s.segments(), finish_channel_sums<T>{s, product.stride(), add},
             typename B::template pointer<const T>(along.data()), product.data());
    b.launch(total.size(), s.segments(), finish_channel_sums<T>{s, total.stride(), add},
             typename B::template pointer<const T>(sum.data()), total.data());
}

}  // namespace diem::nn::detail
