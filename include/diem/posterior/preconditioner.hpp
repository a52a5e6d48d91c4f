// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <diem/backend/batch.hpp>
#include <diem/diffusion/gaussian.hpp>
#include <diem/linop/concept.hpp>
#include <diem/linop/low_rank.hpp>

/// \file
/// A preconditioner of MMPS made of a Gaussian estimate.
/// \snippet tests/examples/posterior.cpp posterior/preconditioner.hpp

namespace diem::posterior {

/// M_0^-1 for M_0 = Sigma_y + A V A' with the V = diag(v) + u u' of a Gaussian estimate of the prior, A and Sigma_y
/// element-wise: exact by `linop::low_rank_innovation`. With a Gaussian prior it is M^-1, and cg needs one iteration. With
/// learned Jacobians, which are not symmetric, it wants gmres: cg was seen to become worse. An item whose M_0 cannot be
/// factored gets NaN, and so the status non_finite. Costs r^2 D per item to make, memory (2 D + r^2) float64 per item.
template <Backend B>
class gaussian_preconditioner {
    using T = scalar_t<B>;

public:
    using operator_tag = linop::symmetric_tag;

    /// Throws shape_error when A is not D x D.
    template <linop::ElementwiseOperator A, linop::ElementwiseOperator N>
    gaussian_preconditioner(B& b, const A& a, const N& cov_y, const diffusion::harmonic_covariance<B>& v, index_t items)
        : m_(b, v.rows(), v.rank(), items, true) {
        check_value("gaussian_preconditioner", !v.basis(), "needs an estimate whose d and u are of x itself");
        check_size("gaussian_preconditioner", "A.rows()", a.rows(), v.rows());
        batch<B> ones(b, v.rows(), items), diagonal(b, v.rows(), items), noise(b, v.rows(), items);
        b.fill(ones.view(), T(1));
        a.apply(b, ones.cview(), diagonal.view());
        cov_y.apply(b, ones.cview(), noise.view());
        m_.factor(b, noise.cview(), 0, diagonal.cview(), v.d(), v.u());
    }

    [[nodiscard]] index_t rows() const { return m_.features(); }
    [[nodiscard]] index_t cols() const { return m_.features(); }
    [[nodiscard]] index_t items() const { return m_.items(); }
    void apply(B& b, const_view_t<B> p, view_t<B> q) const { m_.solve(b, p, q); }
    void apply_adjoint(B& b, const_view_t<B> p, view_t<B> q) const { apply(b, p, q); }
    /// Only the whole.
    [[nodiscard]] const gaussian_preconditioner& items(index_t, index_t) const { return *this; }

private:
    linop::low_rank_innovation<B> m_;
};

}  // namespace diem::posterior
