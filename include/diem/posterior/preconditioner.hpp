// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>

#include <diem/backend/batch.hpp>
#include <diem/backend/functors.hpp>
#include <diem/diffusion/gaussian.hpp>
#include <diem/linop/concept.hpp>
#include <diem/linop/covariance.hpp>
#include <diem/linop/data.hpp>

namespace diem::posterior {

namespace detail {
struct preconditioner_weights {  // e = n + a^2 v, g = a / e, w = a g
    template <class V>
    DIEM_HOST_DEVICE void operator()(V& e, V& g, V& w, const V& n, const V& a, const V& v) const {
        e = n + a * a * v;
        g = a / e;
        w = a * g;
    }
};
struct products_of_columns {  // t = u_k u_l in column k r + l, from column `first` on
    index_t features, rank, first;
    template <class T>
    DIEM_HOST_DEVICE void operator()(index_t column, const T* u, T* t) const {
        const index_t k = (first + column) / rank, l = first + column - k * rank;
        for (index_t j = 0; j < features; ++j) t[column * features + j] = u[k * features + j] * u[l * features + j];
    }
};
struct subtract_product {
    template <class V>
    DIEM_HOST_DEVICE void operator()(V& y, const V& x, const V& a) const {
        y -= x * a;
    }
};
}  // namespace detail

/// M_0^-1 for M_0 = Sigma_y + A V A' with the V = diag(v) + u u' of a Gaussian estimate of the prior, A and Sigma_y
/// element-wise: exact by Woodbury,
///
///     E = Sigma_y + A^2 v,  C = I + u' A^2 E^-1 u = L L',  M_0^-1 p = E^-1 (p - A u C^-1 u' A E^-1 p).
///
/// With a Gaussian prior it is M^-1, and cg needs one iteration. With learned Jacobians, which are not symmetric, it
/// wants gmres: cg was seen to become worse. Costs r^2 D per item to make, memory 3 D + r^2 per item.
template <Backend B>
class gaussian_preconditioner {
    using T = scalar_t<B>;
    static constexpr index_t block_numbers = index_t{1} << 22;  // of the products of two columns

public:
    using operator_tag = linop::symmetric_tag;

    /// Throws shape_error when A is not D x D.
    template <linop::ElementwiseOperator A, linop::ElementwiseOperator N>
    gaussian_preconditioner(B& b, const A& a, const N& cov_y, diffusion::harmonic_covariance<B> v, index_t items)
        : v_(std::move(v)), e_(b, v_.rows(), items), g_(b, v_.rows(), items), c_(b, v_.rank() * v_.rank(), items) {
        check_size("gaussian_preconditioner", "A.rows()", a.rows(), v_.rows());
        const index_t n = v_.rows(), r = v_.rank();
        batch<B> ones(b, n, items), diagonal(b, n, items), noise(b, n, items), w(b, n, items);
        b.fill(ones.view(), T(1));
        a.apply(b, ones.cview(), diagonal.view());
        cov_y.apply(b, ones.cview(), noise.view());
        b.map(detail::preconditioner_weights{}, e_.view(), g_.view(), w.view(), noise.cview(), diagonal.cview(),
              per_feature{v_.d()});
        if (r == 0) return;
        // Entry (k, l) of C of every item is one product with u_k u_l: one matrix for all of them, a block of it at a time.
        const index_t block = std::min(r * r, std::max(index_t{1}, block_numbers / n));
        batch<B> products(b, n, block);
        for (index_t first = 0; first < r * r; first += block) {
            const index_t count = std::min(block, r * r - first);
            const auto part = products.view().item_range(0, count);
            b.launch(count, n, detail::products_of_columns{n, r, first}, v_.u().data(), part.data());
            b.gemm(T(1), const_view_t<B>(part), op::transpose, w.cview(), op::none, T(0),
                   c_.view().feature_range(first, count));
        }
        b.launch(items, r, functors::add_identity{r}, c_.view().data());
        auto info = b.template allocate<int>(items);
        b.cholesky(as_matrices(c_.view(), r, r), vector_t<B, int>(info.view()));
    }

    [[nodiscard]] index_t rows() const { return e_.features(); }
    [[nodiscard]] index_t cols() const { return e_.features(); }
    [[nodiscard]] index_t items() const { return e_.items(); }
    void apply(B& b, const_view_t<B> p, view_t<B> q) const {
        const index_t r = v_.rank();
        b.map(functors::quotient{}, q, p, e_.cview());
        if (r == 0) return;
        batch<B> t(b, rows(), items()), s(b, r, items());
        b.map(functors::product{}, t.view(), p, g_.cview());
        b.gemm(T(1), v_.u(), op::transpose, t.cview(), op::none, T(0), s.view());
        const auto l = as_matrices(c_.cview(), r, r);
        b.trsm(l, op::none, as_columns(s.view()));
        b.trsm(l, op::transpose, as_columns(s.view()));
        b.gemm(T(1), v_.u(), op::none, s.cview(), op::none, T(0), t.view());
        b.map(detail::subtract_product{}, q, t.cview(), g_.cview());
    }
    void apply_adjoint(B& b, const_view_t<B> p, view_t<B> q) const { apply(b, p, q); }
    /// Only the whole.
    [[nodiscard]] const gaussian_preconditioner& items(index_t, index_t) const { return *this; }

private:
    diffusion::harmonic_covariance<B> v_;
    batch<B> e_, g_;  // E and A E^-1, D x items
    batch<B> c_;      // L in the lower triangle, r^2 x items
};

}  // namespace diem::posterior
