// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <Eigen/Cholesky>
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
template <class T>
using const_matrix_map = Eigen::Map<const matrix<T>, 0, Eigen::OuterStride<>>;

/// C (m x n) = alpha op(A) op(B) + beta C by Eigen's own product; C is not read where beta is 0.
template <class T>
void multiply_by_library(T alpha, const T* pa, index_t lda, op ta, const T* pb, index_t ldb, op tb, T beta, T* pc,
                         index_t ldc, index_t m, index_t n, index_t k) {
    if (m == 0 || n == 0) return;
    matrix_map<T> c(pc, m, n, Eigen::OuterStride<>(ldc));
    if (beta == 0)
        c.setZero();
    else if (beta != 1)
        c *= beta;
    if (k == 0 || alpha == 0) return;
    const bool na = ta == op::none, nb = tb == op::none;
    const const_matrix_map<T> a(pa, na ? m : k, na ? k : m, Eigen::OuterStride<>(lda));
    const const_matrix_map<T> b(pb, nb ? k : n, nb ? n : k, Eigen::OuterStride<>(ldb));
    if (na && nb)
        c.noalias() += alpha * a * b;
    else if (nb)
        c.noalias() += alpha * a.transpose() * b;
    else if (na)
        c.noalias() += alpha * a * b.transpose();
    else
        c.noalias() += alpha * a.transpose() * b.transpose();
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

/// L of A = L L' in the lower triangle. Returns 0, or the first row (from 1) whose pivot is not positive.
template <class T>
int cholesky_in_place(T* a, index_t leading, index_t n) {
    if (n == 0) return 0;
    matrix_map<T> m(a, n, n, Eigen::OuterStride<>(leading));
    // -1 when all went well
    return static_cast<int>(Eigen::internal::llt_inplace<T, Eigen::Lower>::blocked(m)) + 1;
}

/// X = op(L)^-1 X, L the lower triangle.
template <class T>
void solve_lower(const T* l, index_t leading, op t, index_t n, T* x, index_t x_leading, index_t columns) {
    if (n == 0 || columns == 0) return;
    const const_matrix_map<T> m(l, n, n, Eigen::OuterStride<>(leading));
    matrix_map<T> v(x, n, columns, Eigen::OuterStride<>(x_leading));
    if (t == op::none)
        m.template triangularView<Eigen::Lower>().solveInPlace(v);
    else
        m.template triangularView<Eigen::Lower>().transpose().solveInPlace(v);
}

/// Symmetric A = Q diag(w) Q': w ascending, Q in the place of A.
template <class T>
void eigen_decomposition(T* a, index_t leading, index_t n, T* w) {
    matrix_map<T> m(a, n, n, Eigen::OuterStride<>(leading));
    const Eigen::SelfAdjointEigenSolver<matrix<T>> solver{matrix<T>(m)};
    m = solver.eigenvectors();
    Eigen::Map<Eigen::Matrix<T, Eigen::Dynamic, 1>>(w, n) = solver.eigenvalues();
}

}  // namespace DIEM_SIMD_NAMESPACE
}  // namespace diem::detail::eigen
