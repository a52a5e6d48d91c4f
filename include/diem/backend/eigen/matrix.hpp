// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include <Eigen/Core>
#include <Eigen/Eigenvalues>

#include <diem/backend/concept.hpp>
#include <diem/backend/eigen/gemm.hpp>
#include <diem/backend/eigen/simd_level.hpp>

/// \file
/// Dense algebra on column-major matrices in memory, on one thread. Plain functions of pointers: most of what the Eigen
/// backend costs to compile is in here, and instantiate.hpp lets a project compile it once.

namespace diem::detail::eigen {
inline namespace DIEM_SIMD_NAMESPACE {

template <class T>
using matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic>;
template <class T>
using matrix_map = Eigen::Map<matrix<T>, 0, Eigen::OuterStride<>>;

/// y += alpha A x by Eigen's kernels: A is m x n, stored by columns or (Order) by rows, `leading` apart.
template <int Order, class T>
void multiply_vector(T alpha, const T* a, index_t leading, index_t m, index_t n, const T* x, index_t x_step, T* y,
                     index_t y_step) {
    using Eigen::internal::const_blas_data_mapper;
    using kernel = Eigen::internal::general_matrix_vector_product<
        index_t, T, const_blas_data_mapper<T, index_t, Order>, Order, false, T,
        const_blas_data_mapper<T, index_t, Order == Eigen::ColMajor ? Eigen::RowMajor : Eigen::ColMajor>, false>;
    // The two orders read x, or write y, side by side.
    std::vector<T> copy;
    if (Order == Eigen::RowMajor && x_step != 1) {
        for (index_t i = 0; i < n; ++i) copy.push_back(x[i * x_step]);
        x = copy.data();
        x_step = 1;
    } else if (Order == Eigen::ColMajor && y_step != 1) {
        copy.resize(static_cast<std::size_t>(m));
        kernel::run(m, n, {a, leading}, {x, x_step}, copy.data(), 1, alpha);
        for (index_t i = 0; i < m; ++i) y[i * y_step] += copy[static_cast<std::size_t>(i)];
        return;
    }
    kernel::run(m, n, {a, leading}, {x, x_step}, y, y_step, alpha);
}

/// What Eigen's kernels take beside the matrices; those that solve with triangles cut k by Factor 4.
template <class T, int Factor = 1>
using kernel_blocking =
    Eigen::internal::gemm_blocking_space<Eigen::ColMajor, T, T, Eigen::Dynamic, Eigen::Dynamic, Eigen::Dynamic, Factor>;

/// C (m x n) += alpha A B by Eigen's kernels, A and B stored in these orders.
template <int OrderA, int OrderB, class T>
void multiply_matrices(T alpha, const T* a, index_t lda, const T* b, index_t ldb, T* c, index_t ldc, index_t m,
                       index_t n, index_t k) {
    kernel_blocking<T> blocking(m, n, k, 1, true);
    Eigen::internal::general_matrix_matrix_product<index_t, T, OrderA, false, T, OrderB, false, Eigen::ColMajor,
                                                   1>::run(m, n, k, a, lda, b, ldb, c, 1, ldc, alpha, blocking,
                                                           nullptr);
}

/// C (m x n) = alpha op(A) op(B) + beta C by Eigen's own product; C is not read where beta is 0. Its kernels are called by
/// name: an expression would compile what it might need for every shape, four times.
template <class T>
void multiply_by_library(T alpha, const T* a, index_t lda, op ta, const T* b, index_t ldb, op tb, T beta, T* c,
                         index_t ldc, index_t m, index_t n, index_t k) {
    constexpr int columns = Eigen::ColMajor, rows = Eigen::RowMajor;
    if (m == 0 || n == 0) return;
    if (beta != 1) scale_result(beta, c, ldc, m, n);
    if (k == 0 || alpha == 0) return;
    const bool na = ta == op::none, nb = tb == op::none;
    if (m == 1) {  // C' = op(B)' op(A)'
        const index_t step = na ? lda : 1;
        return nb ? multiply_vector<rows>(alpha, b, ldb, n, k, a, step, c, ldc)
                  : multiply_vector<columns>(alpha, b, ldb, n, k, a, step, c, ldc);
    }
    if (n == 1) {
        const index_t step = nb ? 1 : ldb;
        return na ? multiply_vector<columns>(alpha, a, lda, m, k, b, step, c, index_t{1})
                  : multiply_vector<rows>(alpha, a, lda, m, k, b, step, c, index_t{1});
    }
    if (m + n + k < 20) {  // too small to be packed
        const index_t a_row = na ? 1 : lda, a_column = na ? lda : 1, b_row = nb ? 1 : ldb, b_column = nb ? ldb : 1;
        for (index_t j = 0; j < n; ++j)
            for (index_t i = 0; i < m; ++i) {
                T sum = 0;
                for (index_t l = 0; l < k; ++l) sum += a[i * a_row + l * a_column] * b[l * b_row + j * b_column];
                c[j * ldc + i] += alpha * sum;
            }
        return;
    }
    if (na)
        nb ? multiply_matrices<columns, columns>(alpha, a, lda, b, ldb, c, ldc, m, n, k)
           : multiply_matrices<columns, rows>(alpha, a, lda, b, ldb, c, ldc, m, n, k);
    else
        nb ? multiply_matrices<rows, columns>(alpha, a, lda, b, ldb, c, ldc, m, n, k)
           : multiply_matrices<rows, rows>(alpha, a, lda, b, ldb, c, ldc, m, n, k);
}

/// The same with the kernel that suits the product of which this is a part.
template <class T>
void multiply(gemm_kernel kernel, T alpha, const T* pa, index_t lda, op ta, const T* pb, index_t ldb, op tb, T beta,
              T* pc, index_t ldc, index_t m, index_t n, index_t k) {
    if (m == 0 || n == 0) return;
    if (kernel != gemm_kernel::library && k > 0 && alpha != 0) {
        const gemm_part<T> p{alpha, pa, lda, pb, ldb, beta, pc, ldc, m, n, k};
        return kernel == gemm_kernel::outer ? p.template by_panels<true>() : p.template by_panels<false>();
    }
    multiply_by_library<T>(alpha, pa, lda, ta, pb, ldb, tb, beta, pc, ldc, m, n, k);
}

/// L of A = L L' in the lower triangle, column by column. Returns 0, or the first row (from 1) whose pivot is not positive.
template <class T>
int cholesky_of_columns(T* a, index_t leading, index_t n) {
    for (index_t k = 0; k < n; ++k) {
        T* const column = a + k * leading;
        T x = column[k];
        for (index_t j = 0; j < k; ++j) x -= a[j * leading + k] * a[j * leading + k];
        if (!(x > 0)) return static_cast<int>(k) + 1;
        column[k] = x = std::sqrt(x);
        const index_t below = n - k - 1;
        if (k > 0 && below > 0)
            multiply_vector<Eigen::ColMajor>(T(-1), a + k + 1, leading, below, k, a + k, leading, column + k + 1,
                                             index_t{1});
        for (index_t i = k + 1; i < n; ++i) column[i] /= x;
    }
    return 0;
}

/// The same by blocks of columns, for most of the work in products.
template <class T>
int cholesky_in_place(T* a, index_t leading, index_t n) {
    using divide = Eigen::internal::triangular_solve_matrix<T, index_t, Eigen::OnTheRight, Eigen::Upper, false,
                                                            Eigen::RowMajor, Eigen::ColMajor, 1>;
    using square = Eigen::internal::general_matrix_matrix_triangular_product<
        index_t, T, Eigen::ColMajor, false, T, Eigen::RowMajor, false, Eigen::ColMajor, 1, Eigen::Lower>;
    if (n < 32) return cholesky_of_columns(a, leading, n);
    const index_t block = std::clamp(n / 128 * 16, index_t{8}, index_t{128});
    for (index_t k = 0; k < n; k += block) {
        const index_t size = std::min(block, n - k), below = n - k - size;
        T* const corner = a + k * (leading + 1);
        T* const panel = corner + size;
        if (const int row = cholesky_of_columns(corner, leading, size); row > 0) return static_cast<int>(k) + row;
        if (below == 0) continue;
        kernel_blocking<T, 4> blocking(below, size, size, 1, false);
        divide::run(size, below, corner, leading, panel, 1, leading, blocking);
        kernel_blocking<T> products(below, below, size, 1, false);
        square::run(below, size, panel, leading, panel, leading, panel + size * leading, 1, leading, T(-1), products);
    }
    return 0;
}

/// X = op(L)^-1 X, L the lower triangle.
template <class T>
void solve_lower(const T* l, index_t leading, op t, index_t n, T* x, index_t x_leading, index_t columns) {
    using forward = Eigen::internal::triangular_solve_matrix<T, index_t, Eigen::OnTheLeft, Eigen::Lower, false,
                                                             Eigen::ColMajor, Eigen::ColMajor, 1>;
    using backward = Eigen::internal::triangular_solve_matrix<T, index_t, Eigen::OnTheLeft, Eigen::Upper, false,
                                                              Eigen::RowMajor, Eigen::ColMajor, 1>;
    if (n == 0 || columns == 0) return;
    kernel_blocking<T, 4> blocking(n, columns, n, 1, false);
    (t == op::none ? forward::run : backward::run)(n, columns, l, leading, x, 1, x_leading, blocking);
}

/// Q = H_0 .. H_(n - 2), H_k = I - factors[k] v v', where v has k + 1 zeros, a one, and what lies below the subdiagonal in
/// column k of `reflectors`. Blocks of them are I - V S V' with a triangular S (Schreiber & Van Loan, 1989).
template <class T>
matrix<T> multiply_reflectors(const matrix<T>& reflectors, const std::vector<T>& factors) {
    const index_t n = reflectors.rows(), block = n < 96 ? 16 : 48;
    matrix<T> q = matrix<T>::Identity(n, n), v(n, block), s(block, block), vq(block, n), svq(block, n);
    for (index_t last = n - 1; last > 0;) {
        const index_t first = (last - 1) / block * block, count = last - first, rows = n - 1 - first;
        for (index_t k = 0; k < count; ++k)
            for (index_t i = 0; i < rows; ++i)
                v(i, k) = i < k ? T(0) : i == k ? T(1) : reflectors(first + 1 + i, first + k);
        const auto multiply = [](T alpha, const T* a, index_t lda, op ta, const T* b, index_t ldb, T beta, T* c,
                                 index_t ldc, index_t m, index_t columns, index_t k) {
            multiply_by_library<T>(alpha, a, lda, ta, b, ldb, op::none, beta, c, ldc, m, columns, k);
        };
        // S from V'V, column by column: S[.., k] = -h S V'v above the diagonal, h on it.
        multiply(1, v.data(), n, op::transpose, v.data(), n, 0, s.data(), block, count, count, rows);
        for (index_t k = 0; k < count; ++k) {
            const T h = factors[static_cast<std::size_t>(first + k)];
            for (index_t i = 0; i < k; ++i) {  // row i of S is needed from i on, where V'v still stands
                T sum = 0;
                for (index_t j = i; j < k; ++j) sum += s(i, j) * s(j, k);
                s(i, k) = -h * sum;
            }
            s(k, k) = h;
            for (index_t i = k + 1; i < count; ++i) s(i, k) = 0;
        }
        T* const part = q.data() + (first + 1) * (n + 1);
        multiply(1, v.data(), n, op::transpose, part, n, 0, vq.data(), block, count, rows, rows);
        multiply(1, s.data(), block, op::none, vq.data(), block, 0, svq.data(), block, count, rows, count);
        multiply(-1, v.data(), n, op::none, svq.data(), block, 1, part, n, rows, rows, count);
        last = first;
    }
    return q;
}

/// Symmetric A = Q diag(w) Q': w ascending, Q in the place of A. Eigen's SelfAdjointEigenSolver, but for the product of its
/// reflectors, which is most of what that costs to compile.
template <class T>
void eigen_decomposition(T* a, index_t leading, index_t n, T* w) {
    using vector = Eigen::Matrix<T, Eigen::Dynamic, 1>;
    if (n == 0) return;
    matrix_map<T> m(a, n, n, Eigen::OuterStride<>(leading));
    matrix<T> q = m;
    T scale = 0;
    for (index_t j = 0; j < n; ++j)
        for (index_t i = j; i < n; ++i) scale = std::max(scale, std::abs(q(i, j)));
    if (scale == 0) scale = 1;
    q /= scale;
    vector values(n), below(n - 1), reflections(n - 1);
    if (n > 1) Eigen::internal::tridiagonalization_inplace(q, reflections);
    for (index_t i = 0; i < n; ++i) values[i] = q(i, i);
    for (index_t i = 0; i + 1 < n; ++i) below[i] = q(i + 1, i);
    q = multiply_reflectors<T>(q, std::vector<T>(reflections.begin(), reflections.end()));
    constexpr index_t most_steps = 30;  // a row
    Eigen::internal::computeFromTridiagonal_impl(values, below, most_steps, true, q);
    m = q;
    for (index_t i = 0; i < n; ++i) w[i] = scale * values[i];
}

}  // namespace DIEM_SIMD_NAMESPACE
}  // namespace diem::detail::eigen
