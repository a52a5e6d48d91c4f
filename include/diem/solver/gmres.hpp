// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <limits>
#include <utility>

#include <diem/backend/batch.hpp>
#include <diem/backend/capabilities.hpp>
#include <diem/linop/concept.hpp>
#include <diem/solver/detail/curvature.hpp>
#include <diem/solver/detail/gmres_items.hpp>
#include <diem/solver/detail/true_residual.hpp>
#include <diem/solver/status.hpp>

/// \file
/// Batched GMRES and FOM without restart, for every item on its own. M need be neither symmetric nor definite. After k
/// iterations x is an element of x_0 + span(r, M r, ..., M^(k-1) r):
/// - `gmres`: the one of least ||b - M x||;
/// - `fom` (full orthogonalization method): the one whose residual is orthogonal to the space, cg's where M is symmetric
///   positive definite. That residual can be of any length, so it counts only where it is not longer than the one of
///   k - 1 columns; else the last coefficient is twice gmres's, which leaves ||r|| as it was, or, where M is not positive
///   along the last vector, gmres's own. So ||r|| never grows, whatever M is; the price is a step far shorter than cg's
///   where M is ill-conditioned and right.
///
/// Arnoldi by modified Gram-Schmidt done twice, Givens rotations (Saad 1981; Saad and Schultz 1986). With a preconditioner P,
/// which approximates M^-1, from the right: M P u = b, x = P u, so that residuals stay those of M x = b.
/// Statuses as in `cg`, except
/// - breakdown: the Krylov space stopped growing (the new vector is below eps ||M v||, or zero) and the residual has not
///   reached the tolerance: M is singular on it; or, of fom, where M is a `FlooredOperator`, M = N + A V A', the solution v
///   over the columns so far has v'Mv < v'Nv beyond rounding (V is not positive along it). gmres takes M for what it is.
/// The x returned is always the solution over the columns so far; a column with zero pivot, or of such a v, is dropped.
/// Memory: max_iterations + 1 vectors (with P twice as many) and max_iterations^2 / 2 float64 per item.
/// \snippet tests/examples/solver.cpp solver/gmres.hpp

namespace diem::solver {

using gmres_options = solver_options;
using fom_options = solver_options;

namespace detail {

/// One solve. `Byproduct`: aux = W x is made along with x.
template <Backend B, class A, class P, bool Byproduct>
class gmres_run {
    using T = scalar_t<B>;
    static constexpr bool floored = linop::FlooredOperator<A, B>;

public:
    gmres_run(B& b, const A& a, const P& preconditioner, const_view_t<B> rhs, view_t<B> x, view_t<B> aux,
              const solver_options& o, bool galerkin)
        : b_(b), a_(a), preconditioner_(preconditioner), options_(o), factor_{galerkin}, rhs_(rhs), x_(x), aux_(aux),
          n_(rhs.features()), count_(rhs.items()), recorded_(o.record_history ? o.max_iterations + 1 : 0),
          at_{o.max_iterations}, result_(b, count_, recorded_), items_(b.template allocate<gmres_item>(count_)),
          scalars_(b, count_, 4), dense_(b, at_.size(), count_), y_(b, count_, o.max_iterations),
          s_(b, count_, floored ? o.max_iterations + 1 : 0), flag_(b, 1, 1),
          basis_(b, n_, (o.max_iterations + 1) * count_),
          directions_(b, preconditions<P> ? n_ : 0, o.max_iterations * count_),
          images_(b, Byproduct ? aux.features() : 0, o.max_iterations * count_) {}

    solver_result<B> operator()() {
        start();
        index_t k = 0;  // iterations made
        for (; k < options_.max_iterations && go_on(k); ++k) {
            if constexpr (preconditions<P>) preconditioner_.apply(b_, const_view_t<B>(basis(k)), direction(k));
            product(direction(k), basis(k + 1), image(k));
            orthogonalize(k, basis(k + 1));
            if constexpr (floored)
                if (factor_.galerkin) judge(k);
        }
        finish(k);
        return std::move(result_);
    }

private:
    [[nodiscard]] static double epsilon() { return static_cast<double>(std::numeric_limits<T>::epsilon()); }
    [[nodiscard]] vector_t<B, double> scalar(index_t which) { return scalars_.flat().range(which * count_, count_); }
    [[nodiscard]] view_t<B> basis(index_t k) { return basis_.view().item_range(k * count_, count_); }
    [[nodiscard]] bool go_on(index_t k) {
        if (options_.check_every == 0 || k % options_.check_every != 0) return true;
        return any_running<B, gmres_item>(b_, items_.data(), count_, flag_.flat());
    }
    /// W of direction k.
    [[nodiscard]] view_t<B> image(index_t k) { return images_.view().item_range(k * count_, count_); }
    /// v_k, or P v_k.
    [[nodiscard]] view_t<B> direction(index_t k) {
        if constexpr (preconditions<P>) return directions_.view().item_range(k * count_, count_);
        return basis(k);
    }
    [[nodiscard]] vector_t<B, double> row(batch<B, double>& table, index_t j) {
        return table.flat().range(j * count_, count_);
    }
    void coefficients(index_t steps) {
        b_.launch(count_, steps * steps + 1, gmres_coefficients{at_, count_, steps, factor_}, items_.data(),
                  dense_.cview().data(), y_.view().data());
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
    void orthogonalize(index_t k, view_t<B> w) {
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
        b_.launch(count_, k + 1, gmres_turn{at_, k, recorded_, epsilon(), factor_}, items_.data(), dense_.view().data(),
                  before.data(), after.data(), c.data(), result_.history().data());
        b_.axpby(0.0, cw, c, w);
    }
    /// The curvature of the solution over k + 1 columns.
    void judge(index_t k) {
        const auto curvature = scalar(0), floor = scalar(1);
        batch<B> v(b_, n_, count_);
        coefficients(k + 1);
        b_.launch(count_, k + 1, gmres_image{at_, count_, k + 1, factor_}, items_.data(), dense_.cview().data(),
                  s_.view().data());
        b_.fill(v.view(), T(0));
        for (index_t j = 0; j <= k; ++j) b_.axpby(row(y_, j), const_view_t<B>(direction(j)), 1.0, v.view());
        floor_of(b_, a_, v.cview(), floor);
        if constexpr (preconditions<P>) {
            batch<B> image(b_, n_, count_);
            b_.fill(image.view(), T(0));
            for (index_t j = 0; j <= k + 1; ++j) b_.axpby(row(s_, j), const_view_t<B>(basis(j)), 1.0, image.view());
            b_.dot(v.cview(), image.cview(), curvature);
        } else {
            b_.launch(count_, k + 1, gmres_curvature{count_, k + 1}, y_.cview().data(), s_.cview().data(),
                      curvature.data());
        }
        b_.launch(count_, 1, gmres_judge{curvature_rule_of<B>(a_), k, recorded_}, items_.data(), curvature.data(),
                  floor.data(), result_.history().data());
    }
    /// x += sum_j y_j d_j
    void finish(index_t steps) {
        coefficients(steps);
        b_.launch(count_, 1, gmres_finish{steps, recorded_}, items_.data(), result_.status().data(),
                  result_.updates().data(), result_.residual_norms().data(), result_.history().data());
        for (index_t j = 0; j < steps; ++j) {
            b_.axpby(row(y_, j), const_view_t<B>(direction(j)), 1.0, x_);
            if constexpr (Byproduct) b_.axpby(row(y_, j), const_view_t<B>(image(j)), 1.0, aux_);
        }
        products_ += verify(b_, a_, rhs_, const_view_t<B>(x_), options_, steps, result_);
        result_.set_products(products_);
    }

    B& b_;
    const A& a_;
    const P& preconditioner_;
    const solver_options options_;
    const gmres_factor factor_;
    const_view_t<B> rhs_;
    view_t<B> x_, aux_;
    index_t n_, count_, recorded_, products_ = 0;
    gmres_layout at_;
    solver_result<B> result_;
    buffer_t<B, gmres_item> items_;
    batch<B, double> scalars_, dense_, y_, s_;
    batch<B, int> flag_;
    batch<B> basis_, directions_, images_;
};

template <bool Byproduct, Backend B, class A, class P>
solver_result<B> run_gmres(bool galerkin, B& b, const A& a, const P& preconditioner, const_view_t<B> rhs, view_t<B> x,
                           view_t<B> aux, const solver_options& options) {
    const char* const where = galerkin ? "fom" : "gmres";
    check_options(where, options);
    check_system(where, a, rhs, x);
    check_preconditioner(where, preconditioner, rhs.features(), rhs.items());
    if constexpr (Byproduct) check_size(where, "aux.items()", aux.items(), rhs.items());
    return gmres_run<B, A, P, Byproduct>(b, a, preconditioner, rhs, x, aux, options, galerkin)();
}

}  // namespace detail

/// Solves M x = rhs. `x` is overwritten (with `use_start_vector` it holds the start) and may not overlap `rhs`; both are
/// n x items. Throws shape_error, value_error.
template <Backend B, linop::LinearOperator<B> A>
solver_result<B> gmres(B& b, const A& m, const_view_t<B> rhs, view_t<B> x, const gmres_options& options = {}) {
    return detail::run_gmres<false>(false, b, m, detail::no_preconditioner{}, rhs, x, view_t<B>{}, options);
}
template <Backend B, linop::LinearOperator<B> A>
solver_result<B> fom(B& b, const A& m, const_view_t<B> rhs, view_t<B> x, const fom_options& options = {}) {
    return detail::run_gmres<false>(true, b, m, detail::no_preconditioner{}, rhs, x, view_t<B>{}, options);
}

/// The same with a preconditioner.
template <Backend B, linop::LinearOperator<B> A, linop::LinearOperator<B> P>
solver_result<B> gmres(B& b, const A& m, const P& preconditioner, const_view_t<B> rhs, view_t<B> x,
                       const gmres_options& options = {}) {
    return detail::run_gmres<false>(false, b, m, preconditioner, rhs, x, view_t<B>{}, options);
}
template <Backend B, linop::LinearOperator<B> A, linop::LinearOperator<B> P>
solver_result<B> fom(B& b, const A& m, const P& preconditioner, const_view_t<B> rhs, view_t<B> x,
                     const fom_options& options = {}) {
    return detail::run_gmres<false>(true, b, m, preconditioner, rhs, x, view_t<B>{}, options);
}

/// Solves M x = rhs and sets aux = W x, where the products give W p for free, see `cg_with_byproduct`. Memory: max_iterations
/// vectors of aux more.
template <Backend B, linop::ByproductOperator<B> A>
solver_result<B> gmres_with_byproduct(B& b, const A& m, const_view_t<B> rhs, view_t<B> x, view_t<B> aux,
                                      const gmres_options& options = {}) {
    return detail::run_gmres<true>(false, b, m, detail::no_preconditioner{}, rhs, x, aux, options);
}
template <Backend B, linop::ByproductOperator<B> A>
solver_result<B> fom_with_byproduct(B& b, const A& m, const_view_t<B> rhs, view_t<B> x, view_t<B> aux,
                                    const fom_options& options = {}) {
    return detail::run_gmres<true>(true, b, m, detail::no_preconditioner{}, rhs, x, aux, options);
}
template <Backend B, linop::ByproductOperator<B> A, linop::LinearOperator<B> P>
solver_result<B> gmres_with_byproduct(B& b, const A& m, const P& preconditioner, const_view_t<B> rhs, view_t<B> x,
                                      view_t<B> aux, const gmres_options& options = {}) {
    return detail::run_gmres<true>(false, b, m, preconditioner, rhs, x, aux, options);
}
template <Backend B, linop::ByproductOperator<B> A, linop::LinearOperator<B> P>
solver_result<B> fom_with_byproduct(B& b, const A& m, const P& preconditioner, const_view_t<B> rhs, view_t<B> x,
                                    view_t<B> aux, const fom_options& options = {}) {
    return detail::run_gmres<true>(true, b, m, preconditioner, rhs, x, aux, options);
}

}  // namespace diem::solver
