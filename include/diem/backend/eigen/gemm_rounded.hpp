// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <type_traits>

#include <diem/backend/concept.hpp>
#include <diem/backend/eigen/bfloat16.hpp>
#include <diem/backend/eigen/gemm.hpp>
#include <diem/backend/eigen/gemm_packed.hpp>
#include <diem/backend/eigen/simd_level.hpp>

/// \file
/// C = alpha op(A) op(B) + beta C, column-major, with A and B rounded to bfloat16 and sums in float32; float64 is not rounded.
/// Both factors are rounded and packed a block at a time: A as panels, B as rows of words, or, transposed, as columns of them
/// (see gemm.hpp for which is which). An element is summed in the same order wherever a product is cut by rows or columns.

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
        T* const columns = workspace;
        T* const panels = workspace + count_block * ld;
        for (index_t k0 = 0; k0 < k; k0 += depth_block) {
            const index_t depth = std::min(depth_block, k - k0);
            for (index_t m0 = 0; m0 < m; m0 += S::panel) pack_panel(k0, depth, m0, panels + m0 * most);
            for (index_t n0 = 0; n0 < n; n0 += count_block) {
                const index_t count = std::min(count_block, n - n0);
                pack_columns(k0, depth, n0, count, columns);
                for (index_t m0 = 0; m0 < m; m0 += S::panel)
                    add(columns, count, P::words(depth), panels + m0 * most, m0, n0, k0 > 0 || beta != 0);
            }
        }
    }

private:
    static S::vec load(const T* p, index_t count) { return count >= S::width ? S::load(p) : S::load(p, count); }

    /// The block of op(A) from row m0 as words [k][panel].
    void pack_panel(index_t k0, index_t depth, index_t m0, T* to) const {
        const index_t rows = std::min<index_t>(S::panel, m - m0);
        P::with_arithmetic([&](auto q) {
            if (ta == op::none)
                pack_pairs(q, a + k0 * lda + m0, lda, depth, rows, S::panel, to, S::panel);
            else
                pack_transposed(q, a + m0 * lda + k0, lda, depth, rows, to);
        });
    }
    /// The block of op(B) as words [column][k], or, where B is transposed, [k][column].
    void pack_columns(index_t k0, index_t depth, index_t n0, index_t count, T* to) const {
        P::with_arithmetic([&](auto q) {
            if (tb == op::transpose)
                pack_pairs(q, b + k0 * ldb + n0, ldb, depth, count, round_up(count, S::width), to, count_block);
            else
                pack_rows(q, b + n0 * ldb + k0, ldb, depth, count, to);
        });
    }
    // Of numbers `step` apart: `depth` rows of `count` of them side by side, whose pairs become rows of `columns` words, `leading`
    // apart; or `count` rows of `depth`, which become panels of words or stay rows.
    template <class Q>
    static void pack_pairs(Q /*arithmetic*/, const T* from, index_t step, index_t depth, index_t count, index_t columns,
                           T* to, index_t leading) {
        for (index_t i = 0; i < depth; i += 2)
            for (index_t j = 0; j < columns; j += S::width) {
                const T* const even = from + i * step + j;
                Q::store_pair(to + P::word(i) * leading + j, load(even, count - j),
                              i + 1 < depth ? load(even + step, count - j) : S::vec{});
            }
    }
    template <class Q>
    static void pack_transposed(Q /*arithmetic*/, const T* from, index_t step, index_t depth, index_t count, T* to) {
        constexpr index_t length = P::words(S::width);
        for (index_t j = 0; j < S::panel; ++j, from += step)
            for (index_t i = 0; i < depth; i += S::width) {
                T words[length];
                Q::store_row(words, 0, j < count ? load(from + i, depth - i) : S::vec{});
                T* const column = to + P::word(i) * S::panel + j;
                for (index_t w = 0; w < length; ++w) column[w * S::panel] = words[w];
            }
    }
    template <class Q>
    static void pack_rows(Q /*arithmetic*/, const T* from, index_t step, index_t depth, index_t count, T* to) {
        for (index_t j = 0; j < count; ++j, from += step, to += ld)
            for (index_t i = 0; i < depth; i += S::width) Q::store_row(to, i, load(from + i, depth - i));
    }
    void add(const T* columns, index_t count, index_t words, const T* panel, index_t m0, index_t n0,
             bool accumulate) const {
        T* const to = c + m0 + n0 * ldc;
        const index_t rows = std::min<index_t>(S::panel, m - m0);
        if (tb == op::none)
            gemm_packed<T, P>(columns, ld, count, words, panel, rows, nullptr, to, ldc,
                              accumulate ? sums_to::add : sums_to::replace, alpha);
        else
            outer_product<T, P>(columns, count_block, count, words, panel, S::panel, rows, to, ldc, accumulate, alpha);
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
