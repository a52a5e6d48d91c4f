// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <optional>
#include <type_traits>

#include <diem/backend/concept.hpp>
#include <diem/backend/eigen/bfloat16.hpp>
#include <diem/backend/eigen/gemm.hpp>
#include <diem/backend/eigen/gemm_packed.hpp>
#include <diem/backend/eigen/simd_level.hpp>
#include <diem/backend/eigen/tiles.hpp>

/// \file
/// C = alpha op(A) op(B) + beta C, column-major, with A and B rounded to bfloat16 and sums in float32; float64 is not rounded.
/// Both factors are rounded and packed a block at a time: A as panels, B as rows of words, or, transposed, as columns of them
/// (see gemm.hpp for which is which); for tiles as rows of words always, and filled up with zeros to whole tiles. An element is summed in the same order wherever a product is cut by rows or columns.

namespace diem::detail::eigen {
inline namespace DIEM_SIMD_NAMESPACE {

/// Operands and sizes of C (m x n) = alpha op(A) op(B) + beta C.
template <class T>
struct product_factors {
    T alpha;
    const T* a;
    index_t lda;
    op ta;
    const T* b;
    index_t ldb;
    op tb;
    T beta;
    T* c;
    index_t ldc, m, n, k;
};

/// The product itself, see above.
class rounded_product : product_factors<float> {
    using T = float;
    using S = simd<T>;
    using P = bfloat16_factors;
    static constexpr index_t depth_block = 256, most = P::words(depth_block), ld = most + 16;
    static constexpr index_t count_block = 96;  ///< columns of B packed together

public:
    explicit rounded_product(const product_factors<T>& factors) : product_factors<T>(factors) {}

    static constexpr index_t workspace_size(index_t m) { return round_up(m, S::panel) * most + count_block * ld; }

    void run(T* workspace) const {
        if (k == 0 || alpha == 0 || (beta != 0 && beta != 1)) scale_result(beta, c, ldc, m, n);
        if (alpha == 0) return;
#if defined(DIEM_HAS_TILES)
        std::optional<tile_sums_scope> scope;
        if (tiles_) scope.emplace();
#endif
        T* const columns = workspace;
        T* const panels = workspace + count_block * ld;
        for (index_t k0 = 0; k0 < k; k0 += depth_block) {
            const index_t depth = std::min(depth_block, k - k0),
                          words = tiles_ ? round_up(P::words(depth), tile_side) : P::words(depth);
            for (index_t m0 = 0; m0 < m; m0 += S::panel) pack_panel(k0, depth, words, m0, panels + m0 * most);
            for (index_t n0 = 0; n0 < n; n0 += count_block) {
                const index_t count = std::min(count_block, n - n0);
                pack_columns(k0, depth, words, n0, count, columns);
                for (index_t m0 = 0; m0 < m; m0 += S::panel)
                    add(columns, count, words, panels + m0 * most, m0, n0, k0 > 0 || beta != 0);
            }
        }
    }

private:
    const bool tiles_ = has_tiles();

    /// Whether a block of op(B) is packed as [column][k], not [k][column].
    [[nodiscard]] bool rows_of_words() const { return tb == op::none || tiles_; }

    /// The block of op(A) from row m0 as words [k][panel].
    void pack_panel(index_t k0, index_t depth, index_t words, index_t m0, T* to) const {
        const index_t rows = std::min<index_t>(S::panel, m - m0);
        P::with_arithmetic([&](auto q) {
            if (ta == op::none)
                pack_pairs(q, a + k0 * lda + m0, lda, depth, words, rows, S::panel, to, S::panel);
            else
                pack_transposed(q, a + m0 * lda + k0, lda, depth, words, rows, to);
        });
    }
    /// The block of op(B) as words [column][k] or [k][column].
    void pack_columns(index_t k0, index_t depth, index_t words, index_t n0, index_t count, T* to) const {
        P::with_arithmetic([&](auto q) {
            if (tb == op::none)
                pack_rows(q, b + n0 * ldb + k0, ldb, depth, words, count, to);
            else if (rows_of_words())
                pack_turned(q, b + k0 * ldb + n0, ldb, depth, words, count, to);
            else
                pack_pairs(q, b + k0 * ldb + n0, ldb, depth, words, count, round_up(count, S::width), to, count_block);
        });
    }
    // Of numbers `step` apart: `depth` rows of `count` of them side by side, whose pairs become `words` rows of `columns` words,
    // `leading` apart, or columns of words; or `count` rows of `depth`, which become panels of words or stay rows. Words beyond
    // the depth are zero.
    template <class Q>
    static S::vec pair(Q /*arithmetic*/, const T* from, index_t step, index_t depth, index_t i, index_t count) {
        T words[S::width];
        Q::store_pair(words, i < depth ? load_some(from + i * step, count) : typename S::vec{},
                      i + 1 < depth ? load_some(from + (i + 1) * step, count) : typename S::vec{});
        return S::load(words);
    }
    template <class Q>
    static void pack_pairs(Q q, const T* from, index_t step, index_t depth, index_t words, index_t count,
                           index_t columns, T* to, index_t leading) {
        for (index_t w = 0; w < words; ++w)
            for (index_t j = 0; j < columns; j += S::width)
                S::store(to + w * leading + j, pair(q, from + j, step, depth, 2 * w, count - j));
    }
    template <class Q>
    static void pack_turned(Q q, const T* from, index_t step, index_t depth, index_t words, index_t count, T* to) {
        for (index_t j = 0; j < count; j += S::width)
            for (index_t w = 0; w < words; w += S::width) {
                typename S::vec block[S::width];
                for (index_t k = 0; k < S::width; ++k)
                    block[k] = pair(q, from + j, step, depth, 2 * (w + k), count - j);
                S::transpose(block);
                for (index_t i = 0; i < S::width; ++i) S::store(to + (j + i) * ld + w, block[i]);
            }
    }
    template <class Q>
    static void pack_transposed(Q /*arithmetic*/, const T* from, index_t step, index_t depth, index_t words,
                                index_t count, T* to) {
        for (index_t j = 0; j < S::panel; j += S::width)
            for (index_t w = 0; w < words; w += S::width) {
                typename S::vec block[S::width];
                for (index_t i = 0; i < S::width; ++i) {
                    const T* const row = from + (j + i) * step + 2 * w;
                    const index_t left = j + i < count ? depth - 2 * w : 0;
                    T some[S::width];
                    Q::store_row(some, 0, load_some(row, left));
                    Q::store_row(some, S::width, load_some(row + S::width, left - S::width));
                    block[i] = S::load(some);
                }
                S::transpose(block);
                for (index_t k = 0; k < S::width; ++k) S::store(to + (w + k) * S::panel + j, block[k]);
            }
    }
    template <class Q>
    static void pack_rows(Q /*arithmetic*/, const T* from, index_t step, index_t depth, index_t words, index_t count,
                          T* to) {
        for (index_t j = 0; j < count; ++j, from += step, to += ld)
            for (index_t i = 0; i < 2 * words; i += S::width) Q::store_row(to, i, load_some(from + i, depth - i));
    }
    void add(const T* columns, index_t count, index_t words, const T* panel, index_t m0, index_t n0,
             bool accumulate) const {
        T* const to = c + m0 + n0 * ldc;
        const index_t rows = std::min<index_t>(S::panel, m - m0);
        if (tiles_)
            add_tiles(columns, count, words, panel, rows, to, accumulate);
        else if (rows_of_words())
            gemm_packed<T, P>(columns, ld, count, words, panel, rows, nullptr, to, ldc,
                              accumulate ? sums_to::add : sums_to::replace, alpha);
        else
            outer_product<T, P>(columns, count_block, count, words, panel, S::panel, rows, to, ldc, accumulate, alpha);
    }
    void add_tiles([[maybe_unused]] const T* columns, [[maybe_unused]] index_t count, [[maybe_unused]] index_t words,
                   [[maybe_unused]] const T* panel, [[maybe_unused]] index_t rows, [[maybe_unused]] T* to,
                   [[maybe_unused]] bool accumulate) const {
#if defined(DIEM_HAS_TILES)
        alignas(64) T sums[2 * tile_side * S::panel];
        for (index_t first = 0; first < count; first += 2 * tile_side) {
            const index_t some = std::min(2 * tile_side, count - first);
            with_tiles(some, rows, [&]<int R, int C>() {
                tile_sums_scope::zero<R, C>();
                tile_sums_scope::add<R, C>({columns + first * ld, ld, tile_side * ld, tile_side},
                                           {panel, S::panel, tile_side, tile_side * S::panel}, words / tile_side);
                tile_sums_scope::store<R, C>(sums, S::panel);
            });
            for (index_t i = 0; i < some; ++i)
                write_sums(sums + i * S::panel, rows, alpha, nullptr, to + (first + i) * ldc, accumulate);
        }
#endif
    }
};

/// Elements of the workspace of a product of m rows.
constexpr index_t multiply_rounded_workspace(index_t m) { return rounded_product::workspace_size(m); }
/// For float alone; a template, so that a project compiles it once.
template <class T>
void multiply_rounded([[maybe_unused]] const product_factors<T>& p, [[maybe_unused]] T* workspace) {
    if constexpr (std::is_same_v<T, float>) rounded_product{p}.run(workspace);
}

}  // namespace DIEM_SIMD_NAMESPACE
}  // namespace diem::detail::eigen
