// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/backend/concept.hpp>
#include <diem/core/check.hpp>

/// \file
/// The largest eigenvalues of a symmetric positive semi-definite matrix, with their eigenvectors.

namespace diem::train::detail {

/// Orthonormal columns, eigenvalues ascending.
template <Backend B>
struct eigenpairs {
    batch<B> vectors;
    std::vector<double> values;
    index_t iterations = 0;  ///< products with the matrix, 0 where it was decomposed
    bool converged = true;
};

struct add_to_diagonal {
    index_t leading;
    double value;
    template <class T>
    DIEM_HOST_DEVICE void operator()(index_t i, T* a) const {
        a[i + i * leading] += static_cast<T>(value);
    }
};
struct set_identity {
    index_t rows;
    template <class T>
    DIEM_HOST_DEVICE void operator()(index_t j, T* a) const {
        for (index_t i = 0; i < rows; ++i) a[i + j * rows] = i == j ? T(1) : T(0);
    }
};

/// A view as one matrix, features x items.
template <class Pointer>
matrix_batch<Pointer> as_matrix(const batch_view<Pointer>& v) {
    return {v.data(), v.features(), v.items(), v.stride(), 0, 1};
}

template <Backend B>
std::vector<double> item_dots(B& b, const_view_t<B> x, const_view_t<B> y) {
    auto out = b.template allocate<double>(x.items());
    b.dot(x, y, out.view());
    return to_host(b, const_vector_t<B, double>(out.view()));
}
/// Column k of y = scale[k] times column k of x.
template <Backend B>
void scale_items(B& b, const std::vector<double>& scale, const_view_t<B> x, view_t<B> y) {
    auto s = to_backend(b, scale, static_cast<index_t>(scale.size()), 1);
    b.axpby(const_vector_t<B, double>(s.flat()), x, 0.0, y);
}

/// One pass of Cholesky QR: z becomes z L'^-1 with L L' = z'z (+ a shift that makes it definite; then false).
template <Backend B>
bool cholesky_qr(B& b, batch<B>& z, batch<B>& scratch) {
    using T = scalar_t<B>;
    const index_t k = z.items();
    batch<B> gram(b, k, k), inverse(b, k, k);
    auto info = b.template allocate<int>(1);
    const std::vector<double> norms = item_dots<B>(b, z, z);
    double total = 0, shift = 0;
    for (const double v : norms) total += v;
    bool plain = true;
    for (;;) {
        b.gemm(T(1), z.cview(), op::transpose, z.cview(), op::none, T(0), gram.view());
        if (shift > 0) b.launch(k, 1, add_to_diagonal{k, shift}, gram.view().data());
        b.cholesky(as_matrix(gram.view()), info.view());
        if (to_host(b, vector_t<B, int>(info.view()))[0] == 0) break;
        plain = false;
        const double unit = 11.0 * (static_cast<double>(z.features() + k)) * static_cast<double>(k) *
                            static_cast<double>(std::numeric_limits<T>::epsilon());
        shift =
            shift > 0 ? 10 * shift : std::max(unit * total, static_cast<double>(std::numeric_limits<T>::min()) * 1e6);
        check_value("train::ppca", std::isfinite(shift) && total > 0,
                    "the subspace iteration met values that are not finite, or all zero");
    }
    b.launch(k, k, set_identity{k}, inverse.view().data());
    b.trsm(const_matrices_t<B>(as_matrix(gram.cview())), op::transpose, as_matrix(inverse.view()));
    b.gemm(T(1), z.cview(), op::none, inverse.cview(), op::none, T(0), scratch.view());
    std::swap(z, scratch);
    return plain;
}

/// Orthonormal columns that span those of z: columns scaled to norm 1, then Cholesky QR twice (shifted, and once more,
/// where z is too ill-conditioned; Fukaya et al., "Shifted Cholesky QR", SIAM J. Sci. Comput. 2020).
template <Backend B>
void orthonormalize(B& b, batch<B>& z, batch<B>& scratch) {
    std::vector<double> scale = item_dots<B>(b, z, z);
    for (double& v : scale) v = v > 0 ? 1 / std::sqrt(v) : 1;
    scale_items<B>(b, scale, z, scratch);
    std::swap(z, scratch);
    for (int passes = 2, most = 6; passes > 0 && most > 0; --passes, --most)
        if (!cholesky_qr(b, z, scratch)) passes = 3;
}

/// All eigenpairs of the dense `a` (m x m, lower triangle read; overwritten), the last `count` kept.
template <Backend B>
eigenpairs<B> decompose(B& b, view_t<B> a, index_t count) {
    const index_t m = a.features();
    batch<B> w(b, m, 1);
    b.eigh(a, w.flat());
    eigenpairs<B> result{batch<B>(b, m, count), {}, 0, true};
    b.copy(const_view_t<B>(a.item_range(m - count, count)), result.vectors.view());
    const auto values = to_host(b, w);
    result.values.assign(values.end() - count, values.end());
    return result;
}

/// Subspace iteration with `oversampling` extra columns and a Rayleigh-Ritz step per product (Halko, Martinsson, Tropp,
/// SIAM Review 2011; Saad, "Numerical Methods for Large Eigenvalue Problems", ch. 5). `multiply(b, x, y)`: y = A x.
/// Ends when ||A q - l q|| <= tolerance l_max for each of the `count` leading pairs, or after max_iterations.
template <Backend B, class Multiply>
eigenpairs<B> subspace_iteration(B& b, const Multiply& multiply, index_t m, index_t count, index_t oversampling,
                                 index_t max_iterations, double tolerance, std::uint64_t seed) {
    using T = scalar_t<B>;
    const index_t k = std::min(m, count + oversampling);
    batch<B> q(b, m, k), y(b, m, k), v(b, m, k), t(b, k, k), w(b, k, 1);
    eigenpairs<B> result{batch<B>(b, m, count), {}, 0, false};
    b.fill_normal({.seed = seed, .lane = random_lane::factorization}, q.view());
    multiply(b, q.cview(), y.view());
    std::swap(q, y);
    for (result.iterations = 1; result.iterations <= max_iterations && !result.converged; ++result.iterations) {
        orthonormalize(b, q, y);
        multiply(b, q.cview(), y.view());
        b.gemm(T(1), q.cview(), op::transpose, y.cview(), op::none, T(0), t.view());
        b.eigh(t.view(), w.flat());
        b.gemm(T(1), q.cview(), op::none, t.cview(), op::none, T(0), v.view());  // Ritz vectors
        b.gemm(T(1), y.cview(), op::none, t.cview(), op::none, T(0), q.view());  // A times them: the next basis
        const auto values = to_host(b, w);
        result.values.assign(values.end() - count, values.end());
        const double top = std::max(result.values.empty() ? 0.0 : result.values.back(), 0.0);
        if (top == 0) {
            result.converged = true;
            break;
        }
        // Residuals of the leading ones, left in y.
        std::vector<double> shift(result.values);
        const view_t<B> r = y.view().item_range(k - count, count);
        b.copy(const_view_t<B>(q.cview().item_range(k - count, count)), r);
        for (double& l : shift) l = -l;
        auto s = to_backend(b, shift, count, 1);
        b.axpby(const_vector_t<B, double>(s.flat()), const_view_t<B>(v.cview().item_range(k - count, count)), 1.0, r);
        result.converged = true;
        for (const double e : item_dots<B>(b, r, r)) result.converged &= std::sqrt(e) <= tolerance * top;
    }
    b.copy(const_view_t<B>(v.cview().item_range(k - count, count)), result.vectors.view());
    return result;
}

}  // namespace diem::train::detail
