// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <limits>
#include <utility>

#include <diem/backend/batch.hpp>
#include <diem/backend/capabilities.hpp>
#include <diem/linop/concept.hpp>
#include <diem/solver/detail/gmres_items.hpp>
#include <diem/solver/status.hpp>

/// Batched GMRES without restart: after k iterations x is the element of x_0 + span(r, M r, ..., M^(k-1) r) of least
/// ||b - M x||, for every item on its own. M need be neither symmetric nor definite.
///
/// With `galerkin`, the one whose residual is orthogonal to the space instead (FOM, the full orthogonalization method): cg's
/// where M is symmetric positive definite. That residual can be of any length, so it counts only where it is not longer than
/// the one of k - 1 columns; else the last coefficient is twice GMRES's, which leaves ||r|| as it was, or, where M is
/// not positive along the last vector, GMRES's own. So ||r|| never grows, whatever M is.
///
/// Arnoldi by modified Gram-Schmidt done twice, Givens rotations (Saad 1981; Saad and Schultz 1986). With a preconditioner P,
/// which approximates M^-1, from the right: M P u = b, x = P u, so that residuals stay those of M x = b.
/// Statuses as in `cg`, except
/// - breakdown: the Krylov space stopped growing (the new vector is below eps ||M v||, or zero) and the residual has not
///   reached the tolerance: M is singular on it.
/// The x returned is always the solution over the columns so far; a column with zero pivot is dropped.
/// Memory: max_iterations + 1 vectors and max_iterations^2 / 2 float64 per item.
namespace diem::solver {

using gmres_options = solver_options;

namespace detail {

/// One solve. `Byproduct`: aux = W x is made along with x.
template <Backend B, class A, class P, bool Byproduct>
class gmres_run {
    using T = scalar_t<B>;

public:
    gmres_run(B& b, const A& a, const P& preconditioner, const_view_t<B> rhs, view_t<B> x, view_t<B> aux,
              const solver_options& o)
        : b_(b), a_(a), preconditioner_(preconditioner), options_(o), rhs_(rhs), x_(x), aux_(aux), n_(rhs.features()),
          count_(rhs.items()), recorded_(o.record_history ? o.max_iterations + 1 : 0), at_{o.max_iterations},
          result_(b, count_, recorded_), items_(b.template allocate<gmres_item>(count_)), scalars_(b, count_, 4),
          dense_(b, at_.size(), count_), flag_(b, 1, 1), basis_(b, n_, (o.max_iterations + 1) * count_),
          z_(b, preconditions<P> ? n_ : 0, count_),
          images_(b, Byproduct ? aux.features() : 0, o.max_iterations * count_) {}

    solver_result<B> operator()() {
        start();
        index_t k = 0;  // iterations made
        for (; k < options_.max_iterations && go_on(k); ++k) {
            const auto w = basis(k + 1);
            product(directed(k), w, image(k));
            if constexpr (HostThreaded<B>)
                b_.launch(count_, 8 * (k + 1) * n_,
                          gmres_fused_step{{at_, k, recorded_, epsilon(), factor()}, n_, count_}, items_.data(),
                          dense_.view().data(), basis_.cview().data(), w.data(), result_.history().data());
            else
                primitives(k, w);
        }
        finish(k);
        return std::move(result_);
    }

private:
    [[nodiscard]] static double epsilon() { return static_cast<double>(std::numeric_limits<T>::epsilon()); }
    [[nodiscard]] gmres_factor factor() const { return {options_.galerkin}; }
    [[nodiscard]] vector_t<B, double> scalar(index_t which) { return scalars_.flat().range(which * count_, count_); }
    [[nodiscard]] view_t<B> basis(index_t k) { return basis_.view().item_range(k * count_, count_); }
    [[nodiscard]] bool go_on(index_t k) {
        if (options_.check_every == 0 || k % options_.check_every != 0) return true;
        return any_running<B, gmres_item>(b_, items_.data(), count_, flag_.flat());
    }
    /// W of direction k.
    [[nodiscard]] view_t<B> image(index_t k) { return images_.view().item_range(k * count_, count_); }
    /// v_k, or P v_k.
    [[nodiscard]] const_view_t<B> directed(index_t k) {
        if constexpr (preconditions<P>) {
            preconditioner_.apply(b_, basis(k), z_.view());
            return z_.cview();
        }
        return basis(k);
    }
    void product(const_view_t<B> v, view_t<B> w, [[maybe_unused]] view_t<B> aux) {
        if constexpr (Byproduct)
            a_.apply_with_byproduct(b_, v, w, aux);
        else
            a_.apply(b_, v, w);
        ++products_;
    }

    void start() {
        const auto bb = scalar(0), rr = scalar(1), scale = scalar(2), keep = scalar(3);
        const auto v = basis(0);
        b_.dot(rhs_, rhs_, bb);
        b_.copy(rhs_, v);
        if (options_.use_start_vector) {
            batch<B> q(b_, n_, count_);
            product(x_, q.view(), aux_);
            b_.axpby(-1.0, q.cview(), 1.0, v);
        }
        b_.dot(const_view_t<B>(v), const_view_t<B>(v), rr);
        b_.launch(count_, 1, gmres_start{at_, options_.relative_tolerance, options_.absolute_tolerance, recorded_},
                  items_.data(), dense_.view().data(), bb.data(), rr.data(), scale.data(), keep.data(),
                  result_.history().data());
        b_.axpby(0.0, const_view_t<B>(v), scale, v);
        const auto keep_start = [&](view_t<B> values) {
            if (options_.use_start_vector)
                b_.axpby(0.0, const_view_t<B>(values), keep, values);
            else
                b_.fill(values, T(0));
        };
        keep_start(x_);
        if constexpr (Byproduct) keep_start(aux_);
    }
    void primitives(index_t k, view_t<B> w) {
        const auto before = scalar(0), after = scalar(1), c = scalar(2), minus = scalar(3);
        const const_view_t<B> cw(w);
        b_.dot(cw, cw, before);
        for (int pass = 0; pass < 2; ++pass)
            for (index_t j = 0; j <= k; ++j) {
                const const_view_t<B> v(basis(j));
                b_.dot(v, cw, c);
                b_.launch(count_, 1, gmres_project{at_, k, j, pass == 0}, items_.data(), dense_.view().data(), c.data(),
                          minus.data());
                b_.axpby(minus, v, 1.0, w);
            }
        b_.dot(cw, cw, after);
        b_.launch(count_, k + 1, gmres_turn{at_, k, recorded_, epsilon(), factor()}, items_.data(),
                  dense_.view().data(), before.data(), after.data(), c.data(), result_.history().data());
        b_.axpby(0.0, cw, c, w);
    }
    /// x += P sum_j y_j v_j
    void finish(index_t steps) {
        batch<B, double> y(b_, count_, steps);
        b_.launch(count_, steps * steps + 1, gmres_finish{at_, count_, steps, recorded_, factor()}, items_.data(),
                  dense_.view().data(), y.view().data(), result_.status().data(), result_.updates().data(),
                  result_.residual_norms().data(), result_.history().data());
        batch<B> sum(b_, preconditions<P> ? n_ : 0, count_);
        const auto target = preconditions<P> ? sum.view() : x_;
        if constexpr (preconditions<P>) b_.fill(target, T(0));
        for (index_t j = 0; j < steps; ++j) {
            const auto weights = y.flat().range(j * count_, count_);
            b_.axpby(weights, const_view_t<B>(basis(j)), 1.0, target);
            if constexpr (Byproduct) b_.axpby(weights, const_view_t<B>(image(j)), 1.0, aux_);
        }
        if constexpr (preconditions<P>) {
            preconditioner_.apply(b_, sum.cview(), z_.view());
            // P is not asked for items without a column: they keep their start, whatever P makes of zero.
            b_.launch(count_, 1, has_columns{}, items_.data(), scalar(0).data());
            b_.axpby(scalar(0), z_.cview(), 1.0, x_);
        }
        result_.set_products(products_);
    }

    B& b_;
    const A& a_;
    const P& preconditioner_;
    const solver_options options_;
    const_view_t<B> rhs_;
    view_t<B> x_, aux_;
    index_t n_, count_, recorded_, products_ = 0;
    gmres_layout at_;
    solver_result<B> result_;
    buffer_t<B, gmres_item> items_;
    batch<B, double> scalars_, dense_;
    batch<B, int> flag_;
    batch<B> basis_, z_, images_;
};

template <bool Byproduct, Backend B, class A, class P>
solver_result<B> run_gmres(B& b, const A& a, const P& preconditioner, const_view_t<B> rhs, view_t<B> x, view_t<B> aux,
                           const solver_options& options) {
    check_options("gmres", options);
    check_system("gmres", a, rhs, x);
    check_preconditioner("gmres", preconditioner, rhs.features(), rhs.items());
    if constexpr (Byproduct) check_size("gmres", "aux.items()", aux.items(), rhs.items());
    return gmres_run<B, A, P, Byproduct>(b, a, preconditioner, rhs, x, aux, options)();
}

}  // namespace detail

/// Solves M x = rhs. `x` is overwritten (with `use_start_vector` it holds the start) and may not overlap `rhs`; both are
/// n x items. Throws shape_error, value_error.
template <Backend B, linop::LinearOperator<B> A>
solver_result<B> gmres(B& b, const A& m, const_view_t<B> rhs, view_t<B> x, const gmres_options& options = {}) {
    return detail::run_gmres<false>(b, m, detail::no_preconditioner{}, rhs, x, view_t<B>{}, options);
}

/// The same with a preconditioner, one more product with it.
template <Backend B, linop::LinearOperator<B> A, linop::LinearOperator<B> P>
solver_result<B> gmres(B& b, const A& m, const P& preconditioner, const_view_t<B> rhs, view_t<B> x,
                       const gmres_options& options = {}) {
    return detail::run_gmres<false>(b, m, preconditioner, rhs, x, view_t<B>{}, options);
}

/// Solves M x = rhs and sets aux = W x, where the products give W p for free, see `cg_with_byproduct`. Memory: max_iterations
/// vectors of aux more.
template <Backend B, linop::ByproductOperator<B> A>
solver_result<B> gmres_with_byproduct(B& b, const A& m, const_view_t<B> rhs, view_t<B> x, view_t<B> aux,
                                      const gmres_options& options = {}) {
    return detail::run_gmres<true>(b, m, detail::no_preconditioner{}, rhs, x, aux, options);
}
template <Backend B, linop::ByproductOperator<B> A, linop::LinearOperator<B> P>
solver_result<B> gmres_with_byproduct(B& b, const A& m, const P& preconditioner, const_view_t<B> rhs, view_t<B> x,
                                      view_t<B> aux, const gmres_options& options = {}) {
    return detail::run_gmres<true>(b, m, preconditioner, rhs, x, aux, options);
}

}  // namespace diem::solver
