// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>

#include <diem/backend/eigen/gemm_packed.hpp>
#include <diem/backend/eigen/simd_level.hpp>
#include <diem/backend/memory.hpp>
#include <diem/core/view.hpp>

namespace diem::detail::eigen {
inline namespace DIEM_SIMD_NAMESPACE {

/// Products with one D x r matrix u and with its transpose on the Eigen backend, of which it keeps two packed copies. The
/// second product starts from the diagonal part of diag(d) + u u', so that the result is written once.
/// An item's result depends on nothing else of its batch.
template <class T>
class low_rank_plan {
    using S = simd<T>;
    static constexpr index_t panel = S::panel;

public:
    /// Copies u (D x r).
    template <class B>
    void prepare(B& b, const batch_view<const T*>& u) {
        features_ = u.features();
        rank_ = u.items();
        const index_t size = packed_size<T>(features_, rank_), transposed = packed_size<T>(rank_, features_);
        if (columns_.size() != size) columns_ = b.template allocate<T>(size);
        if (rows_.size() != transposed) rows_ = b.template allocate<T>(transposed);
        const index_t panels = (features_ + panel - 1) / panel;
        b.parallel(panels, 2 * panel * rank_, [&](index_t first, index_t last) {
            T* to = rows_.data() + first * rank_ * panel;
            for (index_t n = first * panel; n < last * panel; n += panel)
                for (index_t k = 0; k < rank_; ++k, to += panel)
                    for (index_t j = 0; j < panel; ++j)
                        to[j] = n + j < features_ ? u.data()[k * u.stride() + n + j] : T(0);
            const index_t begin = first * panel, end = std::min(features_, last * panel);
            for (index_t k = 0; k < round_up(rank_, panel); ++k) {
                T* const column = columns_.data() + k / panel * features_ * panel + k % panel;
                for (index_t j = begin; j < end; ++j)
                    column[j * panel] = k < rank_ ? u.data()[k * u.stride() + j] : T(0);
            }
        });
    }

    /// t = u' x.
    template <class B>
    void project(B& b, const batch_view<const T*>& x, const batch_view<T*>& t) const {
        b.parallel(x.items(), 2 * features_ * rank_, [&](index_t first, index_t last) {
            for (index_t k = 0; k < features_; k += depth) {
                const index_t length = std::min(depth, features_ - k);
                for (index_t n = 0; n < rank_; n += panel) {
                    const T* const packed = columns_.data() + n * features_ + k * panel;
                    gemm_packed<T>(x.data() + first * x.stride() + k, x.stride(), last - first, length, packed,
                                   std::min(panel, rank_ - n), nullptr, t.data() + first * t.stride() + n, t.stride(),
                                   k > 0 ? sums_to::add : sums_to::replace);
                }
            }
        });
    }
    /// y = scale diag(d) x + u t; an empty d stands for ones. x may be y.
    template <class B>
    void expand(B& b, T scale, const vector_view<const T*>& d, const batch_view<const T*>& x,
                const batch_view<const T*>& t, const batch_view<T*>& y) const {
        b.parallel(x.items(), 2 * features_ * rank_, [&](index_t first, index_t last) {
            for (index_t i = first; i < last; i += group) {
                const index_t count = std::min(group, last - i);
                for (index_t n = 0; n < features_; n += panel) {
                    const index_t columns = std::min(panel, features_ - n);
                    T diagonal[panel];
                    for (index_t j = 0; j < panel; ++j)
                        diagonal[j] = j >= columns ? T(0) : d.size() > 0 ? scale * d.data()[n + j] : scale;
                    expand_panel(diagonal, count, columns, rows_.data() + n * rank_, t.data() + i * t.stride(),
                                 t.stride(), x.data() + i * x.stride() + n, x.stride(), y.data() + i * y.stride() + n,
                                 y.stride());
                }
            }
        });
    }

private:
    static constexpr index_t depth = 256;  ///< of x in one go: a panel of that length fits the first cache
    static constexpr index_t group = (12 + S::rows - 1) / S::rows * S::rows;  ///< items that one reading of u serves

    // Defined outside: what is defined here, units compile that leave the class to another one.
    void expand_panel(const T* diagonal, index_t count, index_t columns, const T* packed, const T* t, index_t ldt,
                      const T* x, index_t ldx, T* y, index_t ldy) const;

    index_t features_ = 0, rank_ = 0;
    pool_buffer<T*, caching_pool<host_memory>> columns_, rows_;  // of u and of u', as panels
};

template <class T>
void low_rank_plan<T>::expand_panel(const T* diagonal, index_t count, index_t columns, const T* packed, const T* t,
                                    index_t ldt, const T* x, index_t ldx, T* y, index_t ldy) const {
    const index_t length = rank_;
    tile_blocks<T>(count, columns, [=]<int R, int V>(index_t r) {
        const T *from[R], *in[R];
        DIEM_UNROLL for (int k = 0; k < R; ++k) {
            from[k] = t + (r + k) * ldt;
            in[k] = x + (r + k) * ldx;
        }
        T* const out = y + r * ldy;
        tile_sums<T, R, V> sums(nullptr, columns);
        DIEM_UNROLL for (int v = 0; v < V; ++v) {
            const auto factor = S::load(diagonal + v * S::width);
            if (columns >= V * S::width) {
                DIEM_UNROLL for (int k = 0; k < R; ++k) sums.at[k][v] = factor * S::load(in[k] + v * S::width);
            } else {
                const index_t lanes = std::clamp<index_t>(columns - v * S::width, 0, S::width);
                DIEM_UNROLL for (int k = 0; k < R; ++k) sums.at[k][v] = factor * S::load(in[k] + v * S::width, lanes);
            }
        }
        // Items lie far apart: what the next panel touches is asked for while this one is computed.
        DIEM_UNROLL for (int k = 0; k < R; ++k) {
            __builtin_prefetch(in[k] + panel);
            __builtin_prefetch(out + k * ldy + panel, 1);
        }
        sums.add(from, length, packed);
        sums.write([=](int k) { return out + k * ldy; }, columns, false);
    });
}

}  // namespace DIEM_SIMD_NAMESPACE
}  // namespace diem::detail::eigen
