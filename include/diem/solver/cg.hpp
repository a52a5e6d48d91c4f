// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <type_traits>

#include <diem/backend/batch.hpp>
#include <diem/backend/capabilities.hpp>
#include <diem/linop/concept.hpp>
#include <diem/solver/detail/cg_items.hpp>
#include <diem/solver/detail/curvature.hpp>
#include <diem/solver/detail/true_residual.hpp>
#include <diem/solver/detail/vector_steps.hpp>
#include <diem/solver/status.hpp>

/// \file
/// Batched conjugate gradient: M_i x_i = b_i for symmetric positive definite M_i, matrix-free, every item on its own.
///
/// Per item (Hestenes and Stiefel 1952; preconditioned with z = P r, P an approximate inverse, symmetric positive
/// definite):
///     alpha = r'z / p'Mp,  x += alpha p,  r -= alpha M p,  beta = (r'z)_new / r'z,  p = z + beta p
/// with statuses
/// - converged: ||r|| <= max(rtol ||b||, atol), tested before the first product (b = 0 takes none: x = 0) and after every
///   update;
/// - max_iterations: all iterations used; the last iterate is returned;
/// - breakdown: p'Mp <= 0 (M is not positive definite), or, where M is a `FlooredOperator`, M = N + A V A', p'Mp < p'Np
///   beyond rounding (V is not): the update is not made; or r'Pr <= 0 (P is not);
/// - non_finite: p'Mp, the new ||r||, ||b|| or r'Pr is not finite; that update is not made;
/// - stagnated: converged by the recursion, not in truth; see `solver_options::verify`.
/// Breakdown and non_finite return the iterate of least ||r|| so far, the start included (the earliest on a tie). A start
/// whose residual is not finite is replaced by zero. Inner products are float64.
/// \snippet tests/examples/solver.cpp solver/cg.hpp

namespace diem::solver {

using cg_options = solver_options;

namespace detail {

/// One solve. `Byproduct`: aux = W x is kept along with x.
template <Backend B, class A, class P, bool Byproduct>
class cg_run {
    using T = scalar_t<B>;
    static constexpr bool preconditioned = preconditions<P>;
    static constexpr bool floor_comes_along = isotropic_floor<A, B> && HostThreaded<B>;  // with `advance`

public:
    cg_run(B& b, const A& a, const P& preconditioner, const_view_t<B> rhs, view_t<B> x, view_t<B> aux,
           const solver_options& o)
        : b_(b), a_(a), preconditioner_(preconditioner), options_(o), rhs_(rhs), x_(x), aux_(aux), n_(rhs.features()),
          count_(rhs.items()), recorded_(o.record_history ? o.max_iterations + 1 : 0), result_(b, count_, recorded_),
          items_(b.template allocate<cg_item>(count_)), scalars_(b, count_, 9), flag_(b, 1, 1), r_(b, n_, count_),
          p_(b, n_, count_), q_(b, n_, count_), z_(b, preconditioned ? n_ : 0, count_), best_x_(b, n_, count_),
          w_(b, Byproduct ? aux.features() : 0, count_), best_aux_(b, w_.features(), count_) {}

    solver_result<B> operator()() {
        start();
        index_t k = 0;  // iterations made
        for (; k < options_.max_iterations && go_on(k); ++k) {
            product(p_, q_.view(), w_.view());
            iterate(k + 1);
        }
        finish(k);
        return std::move(result_);
    }

private:
    // One number per item.
    [[nodiscard]] vector_t<B, double> scalar(index_t which) { return scalars_.flat().range(which * count_, count_); }
    [[nodiscard]] vector_t<B, double> rr() { return scalar(0); }
    [[nodiscard]] vector_t<B, double> rz() { return scalar(preconditioned ? 1 : 0); }
    [[nodiscard]] vector_t<B, double> bb() { return scalar(2); }  // and p'Mp

    [[nodiscard]] bool go_on(index_t k) {
        if (options_.check_every == 0 || k % options_.check_every != 0) return true;
        return any_running<B, cg_item>(b_, items_.data(), count_, flag_.flat());
    }
    void product(const_view_t<B> p, view_t<B> q, [[maybe_unused]] view_t<B> w) {
        if constexpr (Byproduct)
            a_.apply_with_byproduct(b_, p, q, w);
        else
            a_.apply(b_, p, q);
        ++products_;
    }
    void precondition() {
        if constexpr (preconditioned) preconditioner_.apply(b_, r_.cview(), z_.view());
    }
    [[nodiscard]] const_view_t<B> z() const { return preconditioned ? z_.cview() : r_.cview(); }

    void start() {
        b_.dot(rhs_, rhs_, bb());
        b_.copy(rhs_, r_.view());
        if (options_.use_start_vector) {
            product(x_, q_.view(), aux_);
            b_.axpby(-1.0, q_.cview(), 1.0, r_.view());
            b_.dot(r_.cview(), r_.cview(), rr());
        } else {
            b_.fill(x_, T(0));
            if constexpr (Byproduct) b_.fill(aux_, T(0));
        }
        precondition();
        if constexpr (preconditioned) b_.dot(r_.cview(), z_.cview(), rz());
        const auto residual = options_.use_start_vector ? rr() : bb();
        b_.launch(count_, 1, cg_start{options_.relative_tolerance, options_.absolute_tolerance, recorded_},
                  items_.data(), bb().data(), residual.data(), preconditioned ? rz().data() : residual.data(),
                  scalar(3).data(), result_.history().data());
        if (options_.use_start_vector) {
            b_.axpby(0.0, const_view_t<B>(x_), scalar(3), x_);
            if constexpr (Byproduct) b_.axpby(0.0, const_view_t<B>(aux_), scalar(3), aux_);
        }
        b_.copy(z(), p_.view());
        if constexpr (!floor_comes_along) return;
        if constexpr (preconditioned)
            floor_of(b_, a_, p_.cview(), scalar(8));
        else  // p = r
            b_.copy(as_batch(const_vector_t<B, double>(residual)), as_batch(scalar(8)));
    }

    void iterate(index_t k) {
        const auto curvature = scalar(2), alpha = scalar(3), save = scalar(4), unsave = scalar(5), fresh = scalar(6),
                   beta = scalar(7), floor = scalar(8);
        b_.dot(p_.cview(), q_.cview(), curvature);
        if constexpr (!floor_comes_along) floor_of(b_, a_, p_.cview(), floor);
        b_.launch(count_, 1, cg_step{curvature_rule_of<B>(a_)}, items_.data(), curvature.data(), floor.data(),
                  alpha.data());
        add_dot<B>(b_, alpha, q_.cview(), r_.view(), rr());
        precondition();
        if constexpr (preconditioned) b_.dot(r_.cview(), z_.cview(), rz());
        b_.launch(count_, 1, cg_turn{recorded_, k}, items_.data(), rr().data(), rz().data(), save.data(), unsave.data(),
                  alpha.data(), fresh.data(), beta.data(), result_.history().data());
        b_.axpby(save, const_view_t<B>(x_), unsave, best_x_.view());
        if constexpr (Byproduct) {
            b_.axpby(save, const_view_t<B>(aux_), unsave, best_aux_.view());
            b_.axpby(alpha, w_.cview(), 1.0, aux_);
        }
        advance<B>(b_, alpha, fresh, beta, z(), p_.view(), x_, floor);
    }

    void finish(index_t iterations) {
        b_.launch(count_, 1, finish_items{recorded_, iterations + 1, false}, items_.data(), result_.status().data(),
                  result_.updates().data(), result_.residual_norms().data(), scalar(4).data(), scalar(5).data(),
                  result_.history().data());
        b_.axpby(scalar(4), best_x_.cview(), scalar(5), x_);
        if constexpr (Byproduct) b_.axpby(scalar(4), best_aux_.cview(), scalar(5), aux_);
        products_ += verify(b_, a_, rhs_, const_view_t<B>(x_), options_, iterations, result_);
        result_.set_products(products_);
    }

    B& b_;
    const A& a_;
    const P& preconditioner_;
    const solver_options options_;
    const_view_t<B> rhs_;
    view_t<B> x_, aux_;
    index_t n_, count_, recorded_, products_ = 0;
    solver_result<B> result_;
    buffer_t<B, cg_item> items_;
    batch<B, double> scalars_;
    batch<B, int> flag_;
    batch<B> r_, p_, q_, z_, best_x_, w_, best_aux_;
};

template <bool Byproduct, Backend B, class A, class P>
solver_result<B> run_cg(B& b, const A& a, const P& preconditioner, const_view_t<B> rhs, view_t<B> x, view_t<B> aux,
                        const solver_options& options) {
    check_options("cg", options);
    check_system("cg", a, rhs, x);
    check_preconditioner("cg", preconditioner, rhs.features(), rhs.items());
    if constexpr (Byproduct) check_size("cg", "aux.items()", aux.items(), rhs.items());
    return cg_run<B, A, P, Byproduct>(b, a, preconditioner, rhs, x, aux, options)();
}

}  // namespace detail

/// Solves M x = rhs. `x` is overwritten (with `use_start_vector` it holds the start) and may not overlap `rhs`; both are
/// n x items. Throws shape_error, value_error.
template <Backend B, linop::SymmetricOperator<B> A>
solver_result<B> cg(B& b, const A& m, const_view_t<B> rhs, view_t<B> x, const cg_options& options = {}) {
    return detail::run_cg<false>(b, m, detail::no_preconditioner{}, rhs, x, view_t<B>{}, options);
}

/// The same with a preconditioner P, which approximates M^-1.
template <Backend B, linop::SymmetricOperator<B> A, linop::SymmetricOperator<B> P>
solver_result<B> cg(B& b, const A& m, const P& preconditioner, const_view_t<B> rhs, view_t<B> x,
                    const cg_options& options = {}) {
    return detail::run_cg<false>(b, m, preconditioner, rhs, x, view_t<B>{}, options);
}

/// Solves M x = rhs and sets aux = W x, the sum of alpha_j W p_j, where the products give W p_j for free. `aux` has as many
/// features as W has rows; it belongs to the x returned, whatever the status.
template <Backend B, linop::SymmetricOperator<B> A>
    requires linop::ByproductOperator<A, B>
solver_result<B> cg_with_byproduct(B& b, const A& m, const_view_t<B> rhs, view_t<B> x, view_t<B> aux,
                                   const cg_options& options = {}) {
    return detail::run_cg<true>(b, m, detail::no_preconditioner{}, rhs, x, aux, options);
}
template <Backend B, linop::SymmetricOperator<B> A, linop::SymmetricOperator<B> P>
    requires linop::ByproductOperator<A, B>
solver_result<B> cg_with_byproduct(B& b, const A& m, const P& preconditioner, const_view_t<B> rhs, view_t<B> x,
                                   view_t<B> aux, const cg_options& options = {}) {
    return detail::run_cg<true>(b, m, preconditioner, rhs, x, aux, options);
}

}  // namespace diem::solver
