// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <utility>

#include <diem/backend/batch.hpp>
#include <diem/linop/concept.hpp>
#include <diem/solver/detail/curvature.hpp>
#include <diem/solver/detail/tracked_residual.hpp>
#include <diem/solver/detail/true_residual.hpp>
#include <diem/solver/status.hpp>

/// \file
/// Batched BiCGStab: M need be neither symmetric nor definite; short recurrences, two products per iteration.
///
/// Per item (van der Vorst 1992), with a preconditioner P, which approximates M^-1, from the right; r0 the first residual:
///     v = M P p,  alpha = r0'r / r0'v,  s = r - alpha v,  t = M P s,  omega = t's / t't,
///     x += alpha P p + omega P s,  r = s - omega t,  beta = (r0'r)_new / r0'r * alpha / omega,  p = r + beta (p - omega v)
/// Statuses as in `cg`, except
/// - breakdown: r0'v, r0'r or omega is zero; or, where M is a `FlooredOperator`, M >= N, q'Mq < q'Nq for q = P p or P s, which
///   is then not gone along;
/// and as the residual norm goes up and down, the iterate of least ||r|| is returned unless converged. Where s already
/// reaches the tolerance, or t is of no use, x += alpha P p is the iteration's update.
/// \snippet tests/examples/solver.cpp solver/bicgstab.hpp

namespace diem::solver {

using bicgstab_options = solver_options;

namespace detail {

struct bicgstab_item : tracked_residual {
    double rho = 0;  ///< r0'r
    double alpha = 0, omega = 0;
    int then = running;  ///< status after this update, running: as the residual says

    /// `curvature`, `floor`: q'Mq and q'Nq of the direction, read where the rule has a floor.
    DIEM_HOST_DEVICE void first_half(const curvature_rule& rule, double r0v, const double* curvature,
                                     const double* floor) {
        alpha = omega = 0;
        if (status != running) return;
        if (!finite(r0v))
            status = non_finite;
        else if (r0v == 0 || (rule.floored && !rule.allows(*curvature, floor)))
            status = breakdown;
        else
            alpha = rho / r0v;
    }
    DIEM_HOST_DEVICE void second_half(const curvature_rule& rule, double ss, double ts, double tt,
                                      const double* curvature, const double* floor) {
        then = running;
        if (status != running || !finite(ss) || ss <= limit) return;
        if (!finite(ts) || !finite(tt))
            then = non_finite;
        else if (tt <= 0 || ts == 0 || (rule.floored && !rule.allows(*curvature, floor)))
            then = breakdown;
        else
            omega = ts / tt;
    }
    DIEM_HOST_DEVICE double turn(double rr_new, double rho_new, bool& save) {
        save = false;
        if (status != running) return 0;
        if (!finite(rr_new)) {
            status = non_finite;
            alpha = omega = 0;
            return 0;
        }
        save = accept(rr_new);
        if (status != running) return 0;
        status = then;
        if (status == running && !finite(rho_new)) status = non_finite;
        if (status == running && rho_new == 0) status = breakdown;
        const double beta = status == running ? rho_new / rho * (alpha / omega) : 0;
        rho = rho_new;
        return beta;
    }
};

struct bicgstab_start {
    double rtol, atol;
    index_t recorded;
    DIEM_HOST_DEVICE void operator()(index_t i, bicgstab_item* items, const double* bb, const double* rr, double* keep,
                                     double* history) const {
        bicgstab_item item;
        keep[i] = item.begin(bb[i], rr[i], rtol, atol) ? 1 : 0;
        item.rho = item.rr;
        items[i] = item;
        if (recorded > 0) history[i * recorded] = std::sqrt(item.rr);
    }
};
struct bicgstab_first {
    curvature_rule rule;
    DIEM_HOST_DEVICE void operator()(index_t i, bicgstab_item* items, const double* r0v, const double* curvature,
                                     const double* floor, double* minus_alpha) const {
        items[i].first_half(rule, r0v[i], curvature + i, floor + i);
        minus_alpha[i] = -items[i].alpha;
    }
};
struct bicgstab_second {
    curvature_rule rule;
    DIEM_HOST_DEVICE void operator()(index_t i, bicgstab_item* items, const double* ss, const double* ts,
                                     const double* tt, const double* curvature, const double* floor,
                                     double* minus_omega) const {
        items[i].second_half(rule, ss[i], ts[i], tt[i], curvature + i, floor + i);
        minus_omega[i] = -items[i].omega;
    }
};
struct bicgstab_turn {
    index_t recorded, k;
    DIEM_HOST_DEVICE void operator()(index_t i, bicgstab_item* items, const double* rr, const double* rho, double* save,
                                     double* unsave, double* alpha, double* omega, double* minus_omega, double* fresh,
                                     double* beta, double* history) const {
        bicgstab_item& item = items[i];
        bool saved = false;
        const double next = item.turn(rr[i], rho[i], saved);
        const bool goes_on = item.status == running;
        save[i] = saved ? 1 : 0;
        unsave[i] = saved ? 0 : 1;
        alpha[i] = item.alpha;
        omega[i] = item.omega;
        minus_omega[i] = goes_on ? -item.omega : 0;
        fresh[i] = goes_on ? 1 : 0;
        beta[i] = goes_on ? next : 1;
        if (!goes_on) item.alpha = item.omega = 0;
        if (recorded > 0) history[i * recorded + k] = std::sqrt(item.rr);
    }
};

template <Backend B, class A, class P>
class bicgstab_run {
    using T = scalar_t<B>;

public:
    bicgstab_run(B& b, const A& a, const P& preconditioner, const_view_t<B> rhs, view_t<B> x, const solver_options& o)
        : b_(b), a_(a), preconditioner_(preconditioner), options_(o), rhs_(rhs), x_(x), n_(rhs.features()),
          count_(rhs.items()), recorded_(o.record_history ? o.max_iterations + 1 : 0), result_(b, count_, recorded_),
          items_(b.template allocate<bicgstab_item>(count_)), scalars_(b, count_, 13), flag_(b, 1, 1),
          r_(b, n_, count_), r0_(b, n_, count_), p_(b, n_, count_), v_(b, n_, count_), t_(b, n_, count_),
          best_x_(b, n_, count_), zp_(b, preconditions<P> ? n_ : 0, count_), zs_(b, preconditions<P> ? n_ : 0, count_) {
    }

    solver_result<B> operator()() {
        start();
        index_t k = 0;  // iterations made
        for (; k < options_.max_iterations && go_on(k); ++k) iterate(k + 1);
        finish(k);
        return std::move(result_);
    }

private:
    [[nodiscard]] vector_t<B, double> scalar(index_t which) { return scalars_.flat().range(which * count_, count_); }
    [[nodiscard]] bool go_on(index_t k) {
        if (options_.check_every == 0 || k % options_.check_every != 0) return true;
        return any_running<B, bicgstab_item>(b_, items_.data(), count_, flag_.flat());
    }
    /// P in, in `z` or, without P, where it is.
    [[nodiscard]] const_view_t<B> preconditioned(const batch<B>& in, batch<B>& z) {
        if constexpr (preconditions<P>) {
            preconditioner_.apply(b_, in.view(), z.view());
            return z.cview();
        } else {
            return in.view();
        }
    }
    void start() {
        const auto bb = scalar(0), rr = scalar(1), keep = scalar(2);
        b_.dot(rhs_, rhs_, bb);
        b_.copy(rhs_, r_.view());
        if (options_.use_start_vector) {
            a_.apply(b_, const_view_t<B>(x_), v_.view());
            ++products_;
            b_.axpby(-1.0, v_.cview(), 1.0, r_.view());
        }
        b_.dot(r_.cview(), r_.cview(), rr);
        b_.launch(count_, 1, bicgstab_start{options_.relative_tolerance, options_.absolute_tolerance, recorded_},
                  items_.data(), bb.data(), rr.data(), keep.data(), result_.history().data());
        if (options_.use_start_vector)
            b_.axpby(0.0, const_view_t<B>(x_), keep, x_);
        else
            b_.fill(x_, T(0));
        b_.copy(r_.cview(), r0_.view());
        b_.copy(r_.cview(), p_.view());
    }
    void iterate(index_t k) {
        const auto r0v = scalar(0), ss = scalar(1), ts = scalar(2), tt = scalar(3), minus = scalar(4), rr = scalar(1),
                   rho = scalar(2), save = scalar(5), unsave = scalar(6), alpha = scalar(7), omega = scalar(8),
                   fresh = scalar(9), beta = scalar(10), curvature = scalar(11), floor = scalar(12);
        const curvature_rule rule = curvature_rule_of<B>(a_);
        const auto curve = [&](const_view_t<B> q, const_view_t<B> image) {
            if constexpr (linop::FlooredOperator<A, B>) {
                b_.dot(q, image, curvature);
                floor_of(b_, a_, q, floor);
            }
        };
        const const_view_t<B> zp = preconditioned(p_, zp_);
        a_.apply(b_, zp, v_.view());
        b_.dot(r0_.cview(), v_.cview(), r0v);
        curve(zp, v_.cview());
        b_.launch(count_, 1, bicgstab_first{rule}, items_.data(), r0v.data(), curvature.data(), floor.data(),
                  minus.data());
        b_.axpby(minus, v_.cview(), 1.0, r_.view());  // s
        b_.dot(r_.cview(), r_.cview(), ss);
        // P s must outlive the change of r: without P, s = r + omega t is put together again.
        const const_view_t<B> zs = preconditioned(r_, zs_);
        a_.apply(b_, zs, t_.view());
        products_ += 2;
        b_.dot(t_.cview(), r_.cview(), ts);
        b_.dot(t_.cview(), t_.cview(), tt);
        curve(zs, t_.cview());
        b_.launch(count_, 1, bicgstab_second{rule}, items_.data(), ss.data(), ts.data(), tt.data(), curvature.data(),
                  floor.data(), minus.data());
        batch<B> s(b_, preconditions<P> ? 0 : n_, count_);
        if constexpr (!preconditions<P>) b_.copy(r_.cview(), s.view());
        b_.axpby(minus, t_.cview(), 1.0, r_.view());
        b_.dot(r_.cview(), r_.cview(), rr);
        b_.dot(r0_.cview(), r_.cview(), rho);
        b_.launch(count_, 1, bicgstab_turn{recorded_, k}, items_.data(), rr.data(), rho.data(), save.data(),
                  unsave.data(), alpha.data(), omega.data(), minus.data(), fresh.data(), beta.data(),
                  result_.history().data());
        b_.axpby(save, const_view_t<B>(x_), unsave, best_x_.view());
        b_.axpby(alpha, zp, 1.0, x_);
        b_.axpby(omega, preconditions<P> ? zs : s.cview(), 1.0, x_);
        b_.axpby(minus, v_.cview(), 1.0, p_.view());
        b_.axpby(fresh, r_.cview(), beta, p_.view());
    }
    void finish(index_t iterations) {
        b_.launch(count_, 1, finish_items{recorded_, iterations + 1, true}, items_.data(), result_.status().data(),
                  result_.updates().data(), result_.residual_norms().data(), scalar(4).data(), scalar(5).data(),
                  result_.history().data());
        b_.axpby(scalar(4), best_x_.cview(), scalar(5), x_);
        products_ += verify(b_, a_, rhs_, const_view_t<B>(x_), options_, iterations, result_);
        result_.set_products(products_);
    }

    B& b_;
    const A& a_;
    const P& preconditioner_;
    const solver_options options_;
    const_view_t<B> rhs_;
    view_t<B> x_;
    index_t n_, count_, recorded_, products_ = 0;
    solver_result<B> result_;
    buffer_t<B, bicgstab_item> items_;
    batch<B, double> scalars_;
    batch<B, int> flag_;
    batch<B> r_, r0_, p_, v_, t_, best_x_, zp_, zs_;
};

template <Backend B, class A, class P>
solver_result<B> run_bicgstab(B& b, const A& a, const P& preconditioner, const_view_t<B> rhs, view_t<B> x,
                              const solver_options& options) {
    check_options("bicgstab", options);
    check_system("bicgstab", a, rhs, x);
    check_preconditioner("bicgstab", preconditioner, rhs.features(), rhs.items());
    return bicgstab_run<B, A, P>(b, a, preconditioner, rhs, x, options)();
}

}  // namespace detail

/// Solves M x = rhs. `x` is overwritten (with `use_start_vector` it holds the start) and may not overlap `rhs`; both are
/// n x items. Throws shape_error, value_error.
template <Backend B, linop::LinearOperator<B> A>
solver_result<B> bicgstab(B& b, const A& m, const_view_t<B> rhs, view_t<B> x, const bicgstab_options& options = {}) {
    return detail::run_bicgstab(b, m, detail::no_preconditioner{}, rhs, x, options);
}

/// The same with a preconditioner, two products with it per iteration.
template <Backend B, linop::LinearOperator<B> A, linop::LinearOperator<B> P>
solver_result<B> bicgstab(B& b, const A& m, const P& preconditioner, const_view_t<B> rhs, view_t<B> x,
                          const bicgstab_options& options = {}) {
    return detail::run_bicgstab(b, m, preconditioner, rhs, x, options);
}

}  // namespace diem::solver
