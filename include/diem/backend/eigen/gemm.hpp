// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>

#include <diem/backend/concept.hpp>
#include <diem/backend/eigen/gemm_packed.hpp>
#include <diem/backend/eigen/simd_level.hpp>

/// \file
/// Small matrix products of the Eigen backend: C = alpha A op(B) + beta C, column-major, by the register-blocked kernels of
/// gemm_packed.hpp. Seen from there an item of C (a column) is a row of sums, B is read in place, and A is packed a panel
/// at a time into a buffer on the stack.
///
/// An element is summed in the same order wherever a product is cut by rows or columns.

namespace diem::detail::eigen {
inline namespace DIEM_SIMD_NAMESPACE {

enum class gemm_kernel { library, panels, outer };

/// What suits a product m x k by k x n as a whole, not a part of it. Measured: Eigen's product is as fast where all sizes are
/// large and where the transposed has to be packed.
inline gemm_kernel choose_gemm(op ta, op tb, index_t m, index_t n, index_t k) {
    if (ta == op::transpose || m == 1 || n == 1 || m > 1024) return gemm_kernel::library;
    if (tb == op::none) return k <= 512 ? gemm_kernel::panels : gemm_kernel::library;
    return m * n <= 256 * 256 && k <= 1024 ? gemm_kernel::outer : gemm_kernel::library;
}

/// C = beta C, not read where beta is 0.
template <class T>
void scale_result(T beta, T* c, index_t ldc, index_t m, index_t n) {
    for (index_t i = 0; i < n; ++i)
        for (index_t j = 0; j < m; ++j) c[i * ldc + j] = beta == 0 ? T(0) : beta * c[i * ldc + j];
}

template <class T>
struct gemm_part {
    T alpha;
    const T* a;
    index_t lda;
    const T* b;
    index_t ldb;
    T beta;
    T* c;
    index_t ldc, m, n, k;

    /// B as it is (`panels`) or transposed (`outer`).
    template <bool Outer>
    void by_panels() const {
        // C is written where beta is 0 and added to where it is not.
        if (k == 0 || (beta != 0 && beta != 1)) scale_result(beta, c, ldc, m, n);
        constexpr index_t panel = simd<T>::panel;
        alignas(64) T packed[depth_block * panel];
        for (index_t k0 = 0; k0 < k; k0 += depth_block) {
            const index_t depth = std::min(depth_block, k - k0);
            const bool add = k0 > 0 || beta != 0;
            // The block of B stays in the second cache while the panels pass.
            const index_t block = std::max<index_t>(96, cache_elements / depth / 6 * 6);
            for (index_t n0 = 0; n0 < n; n0 += block) {
                const index_t count = std::min(block, n - n0);
                for (index_t m0 = 0; m0 < m; m0 += panel) {
                    const index_t columns = std::min(panel, m - m0);
                    pack(k0, depth, m0, columns, packed);
                    T* const to = c + m0 + n0 * ldc;
                    if constexpr (Outer) {
                        outer_product<T>(b + k0 * ldb + n0, ldb, count, depth, packed, panel, columns, to, ldc, add);
                    } else {
                        gemm_packed<T>(b + k0 + n0 * ldb, ldb, count, depth, packed, columns, nullptr, to, ldc,
                                       add ? sums_to::add : sums_to::replace);
                    }
                }
            }
        }
    }

private:
    static constexpr index_t depth_block = 256;
    static constexpr index_t cache_elements = index_t{1} << 16;

    void pack(index_t k0, index_t depth, index_t m0, index_t columns, T* packed) const {
        constexpr index_t panel = simd<T>::panel;
        const T* from = a + k0 * lda + m0;
        if (columns == panel) {
            for (index_t i = 0; i < depth; ++i, from += lda, packed += panel)
                for (index_t j = 0; j < panel; ++j) packed[j] = alpha * from[j];
        } else {
            for (index_t i = 0; i < depth; ++i, from += lda, packed += panel)
                for (index_t j = 0; j < panel; ++j) packed[j] = j < columns ? alpha * from[j] : T(0);
        }
    }
};

}  // namespace DIEM_SIMD_NAMESPACE
}  // namespace diem::detail::eigen
