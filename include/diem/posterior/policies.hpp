// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <type_traits>

#include <diem/backend/batch.hpp>
#include <diem/core/check.hpp>
#include <diem/diffusion/concept.hpp>
#include <diem/diffusion/gaussian.hpp>
#include <diem/linop/concept.hpp>
#include <diem/posterior/innovation.hpp>
#include <diem/posterior/preconditioner.hpp>
#include <diem/solver/bicgstab.hpp>
#include <diem/solver/cg.hpp>
#include <diem/solver/gmres.hpp>

/// \file
/// What `mmps` takes beside a model and an observation: a covariance policy, what stands for V = Cov[x | x_t] in
/// M = Sigma_y + A V A' and in the correction V A'v, and a solver policy, how M v = y - A x_hat is solved. A combination that
/// cannot work does not compile. `estimate` is a Gaussian estimate of the prior, and must outlive what is made with it.
/// Chosen when the program runs: `mmps_options`.
/// \snippet tests/examples/posterior.cpp posterior/policies.hpp

namespace diem::posterior {

struct covariance_policy_tag {};
struct solver_policy_tag {};
/// Opt-in by `using policy_tag = covariance_policy_tag`. `with(b, model, x_t, sigma, f)` returns f(mean, V in M, V in the correction).
template <class C>
concept CovariancePolicy = std::same_as<typename C::policy_tag, covariance_policy_tag>;
/// Opt-in by `using policy_tag = solver_policy_tag`. `solve(b, part, sigma, m, r, v, w)`: M v = r and, where `byproduct`, w = V A'v,
/// which its products give away. One VJP per iteration, and one more where a tolerance is asked for and `verify`.
template <class S>
concept SolverPolicy = std::same_as<typename S::policy_tag, solver_policy_tag>;

/// In the place of a correction: it is V itself.
struct v_itself {};

namespace detail {

template <class L>
using jacobian_of = std::remove_cvref_t<decltype(std::declval<const L&>().jacobian())>;

/// f(mean, the model's sigma^2 J' as a product, sigma^2).
template <Backend B, class Model, class F>
auto with_vjp(B& b, Model& model, const_view_t<B> x_t, const diffusion::noise_level<B>& sigma, const F& f) {
    const variances<B> variance(b, sigma, x_t.items());
    const auto linear = model.linearize(b, x_t, sigma);
    const auto& jacobian = linear.jacobian();
    return f(linear.mean(), tweedie_product<B, jacobian_of<decltype(linear)>>{jacobian, variance});
}
/// f(V of a Gaussian estimate as a product).
template <Backend B, class F>
auto with_estimate(B& b, const diffusion::gaussian<B>& estimate, const_view_t<B> x_t,
                   const diffusion::noise_level<B>& sigma, const F& f) {
    if (sigma.shared()) {
        const auto v = estimate.harmonic(b, sigma.common());
        return f(covariance_product<B, std::remove_cvref_t<decltype(v)>>{v});
    } else {
        const variances<B> variance(b, sigma, x_t.items());
        const auto linear = estimate.linearize(b, x_t, sigma);
        const auto jacobian = linear.jacobian();
        return f(tweedie_product<B, jacobian_of<decltype(linear)>>{jacobian, variance});
    }
}

}  // namespace detail

/// sigma^2 J' of the model, both: the paper's choice.
struct tweedie {
    using policy_tag = covariance_policy_tag;
    template <Backend B, class Model, class F>
    auto with(B& b, Model& model, const_view_t<B> x_t, const diffusion::noise_level<B>& sigma, const F& f) const {
        return detail::with_vjp(b, model, x_t, sigma,
                                [&](const_view_t<B> mean, const auto& v) { return f(mean, v, v_itself{}); });
    }
};
/// sigma^2 I in M; the correction by the model's VJP.
struct isotropic {
    using policy_tag = covariance_policy_tag;
    template <Backend B, class Model, class F>
    auto with(B& b, Model& model, const_view_t<B> x_t, const diffusion::noise_level<B>& sigma, const F& f) const {
        return detail::with_vjp(b, model, x_t, sigma, [&](const_view_t<B> mean, const auto& vjp) {
            return f(mean, isotropic_product<B>{vjp.variance}, vjp);
        });
    }
};
/// (I + sigma^-2 I)^-1 in M, the covariance for x ~ N(0, I) (PiGDM); the correction by the VJP.
struct unit_prior {
    using policy_tag = covariance_policy_tag;
    template <Backend B, class Model, class F>
    auto with(B& b, Model& model, const_view_t<B> x_t, const diffusion::noise_level<B>& sigma, const F& f) const {
        detail::variances<B> variance(b, sigma, x_t.items());
        variance.to_unit_prior(b);
        return detail::with_vjp(b, model, x_t, sigma, [&](const_view_t<B> mean, const auto& vjp) {
            return f(mean, isotropic_product<B>{variance}, vjp);
        });
    }
};
/// 0 in M (M = Sigma_y, as in DPS); the correction by the VJP.
struct none {
    using policy_tag = covariance_policy_tag;
    template <Backend B, class Model, class F>
    auto with(B& b, Model& model, const_view_t<B> x_t, const diffusion::noise_level<B>& sigma, const F& f) const {
        return detail::with_vjp(b, model, x_t, sigma,
                                [&](const_view_t<B> mean, const auto& vjp) { return f(mean, zero_product<B>{}, vjp); });
    }
};
/// That of the Gaussian estimate, both: no VJP.
template <Backend B>
struct gaussian_covariance {
    using policy_tag = covariance_policy_tag;
    using backend_type = B;
    const diffusion::gaussian<B>& estimate;

    void prepare(B& b, double sigma) const { estimate.prepare(b, sigma); }
    template <class Model, class F>
    auto with(B& b, Model& model, const_view_t<B> x_t, const diffusion::noise_level<B>& sigma, const F& f) const {
        batch<B> mean(b, x_t.features(), x_t.items());
        model.denoise(b, x_t, sigma, mean.view());
        return detail::with_estimate(b, estimate, x_t, sigma,
                                     [&](const auto& v) { return f(mean.cview(), v, v_itself{}); });
    }
};
template <Backend B>
gaussian_covariance(const diffusion::gaussian<B>&) -> gaussian_covariance<B>;
/// That of the Gaussian estimate in M; the correction by the VJP ("cov_x" in the official code).
template <Backend B>
struct gaussian_heuristic {
    using policy_tag = covariance_policy_tag;
    using backend_type = B;
    const diffusion::gaussian<B>& estimate;

    void prepare(B& b, double sigma) const { estimate.prepare(b, sigma); }
    template <class Model, class F>
    auto with(B& b, Model& model, const_view_t<B> x_t, const diffusion::noise_level<B>& sigma, const F& f) const {
        return detail::with_vjp(b, model, x_t, sigma, [&](const_view_t<B> mean, const auto& vjp) {
            return detail::with_estimate(b, estimate, x_t, sigma, [&](const auto& v) { return f(mean, v, vjp); });
        });
    }
};
template <Backend B>
gaussian_heuristic(const diffusion::gaussian<B>&) -> gaussian_heuristic<B>;
/// `gaussian_covariance` where sigma > switch_sigma (data units), else `tweedie`. One sigma for all items (value_error else).
template <Backend B>
struct blended {
    using policy_tag = covariance_policy_tag;
    using backend_type = B;
    const diffusion::gaussian<B>& estimate;
    double switch_sigma = 3;

    void prepare(B& b, double sigma) const { estimate.prepare(b, sigma); }
    /// Whether V is the estimate's.
    [[nodiscard]] bool takes_estimate(const diffusion::noise_level<B>& sigma) const {
        return sigma.common() > switch_sigma;
    }
    template <class Model, class F>
    auto with(B& b, Model& model, const_view_t<B> x_t, const diffusion::noise_level<B>& sigma, const F& f) const {
        check_value("mmps", sigma.shared(), "the blended covariance needs one sigma for all items");
        if (takes_estimate(sigma)) return gaussian_covariance<B>{estimate}.with(b, model, x_t, sigma, f);
        return tweedie{}.with(b, model, x_t, sigma, f);
    }
};
template <Backend B>
blended(const diffusion::gaussian<B>&, double) -> blended<B>;
template <Backend B>
blended(const diffusion::gaussian<B>&) -> blended<B>;

/// No preconditioner.
struct plain {};
/// By M of the Gaussian estimate inverted (see `gaussian_preconditioner`); A and Sigma_y must be element-wise, and sigma one for
/// all items (value_error else).
template <Backend B>
struct preconditioned {
    using backend_type = B;
    const diffusion::gaussian<B>& estimate;
};
template <Backend B>
preconditioned(const diffusion::gaussian<B>&) -> preconditioned<B>;

namespace detail {

/// Whether A and Sigma_y of an observation have an exact preconditioner.
template <class Observation>
inline constexpr bool preconditionable = linop::ElementwiseOperator<typename Observation::operator_type> &&
                                         linop::ElementwiseOperator<typename Observation::noise_type>;

/// f(preconditioner) or f().
template <Backend B, class Part, class F>
auto with_preconditioner(B& /*b*/, const plain& /*none*/, const Part& /*part*/,
                         const diffusion::noise_level<B>& /*sigma*/, const F& f) {
    return f();
}
template <Backend B, class Part, class F>
auto with_preconditioner(B& b, const preconditioned<B>& p, const Part& part, const diffusion::noise_level<B>& sigma,
                         const F& f) {
    check_value("mmps", sigma.shared(), "the preconditioner needs one sigma for all items");
    return f(gaussian_preconditioner<B>(b, part.forward_operator(), part.noise(),
                                        p.estimate.harmonic(b, sigma.common()), part.items()));
}
template <class S>
solver::solver_options options_of(const S& s) {
    check_value("mmps", s.iterations >= 0, "iterations is negative");
    check_value("mmps", s.check_every >= 0, "check_every is negative");
    solver::solver_options o;
    o.max_iterations = s.iterations;
    o.relative_tolerance = s.tolerance;
    o.check_every = s.tolerance > 0 ? s.check_every : 0;
    o.verify = s.verify;
    return o;
}

}  // namespace detail

/// Conjugate gradient. A learned Jacobian is not symmetric: cg treats M as if it were.
template <class P = plain>
struct cg {
    using policy_tag = solver_policy_tag;
    static constexpr bool byproduct = true;
    index_t iterations = 1;
    P preconditioner = {};
    double tolerance = 0;     ///< of ||y - A x_hat||; 0: all iterations are made
    index_t check_every = 1;  ///< with a tolerance: see `solver::solver_options`
    bool verify = true;

    template <Backend B, class Part, class M>
    auto solve(B& b, const Part& part, const diffusion::noise_level<B>& sigma, const M& m, const_view_t<B> r,
               view_t<B> v, view_t<B> w) const {
        return detail::with_preconditioner<B>(b, preconditioner, part, sigma, [&](const auto&... p) {
            return solver::cg_with_byproduct(b, m, p..., r, v, w, detail::options_of(*this));
        });
    }
};
/// Least residual, for any M.
template <class P = plain>
struct gmres {
    using policy_tag = solver_policy_tag;
    static constexpr bool byproduct = true;
    index_t iterations = 1;
    P preconditioner = {};
    double tolerance = 0;
    index_t check_every = 1;
    bool verify = true;

    template <Backend B, class Part, class M>
    auto solve(B& b, const Part& part, const diffusion::noise_level<B>& sigma, const M& m, const_view_t<B> r,
               view_t<B> v, view_t<B> w) const {
        return detail::with_preconditioner<B>(b, preconditioner, part, sigma, [&](const auto&... p) {
            return solver::gmres_with_byproduct(b, m, p..., r, v, w, detail::options_of(*this));
        });
    }
};
/// gmres with the Galerkin condition: the residual never grows, whatever M is.
template <class P = plain>
struct fom {
    using policy_tag = solver_policy_tag;
    static constexpr bool byproduct = true;
    index_t iterations = 1;
    P preconditioner = {};
    double tolerance = 0;
    index_t check_every = 1;
    bool verify = true;

    template <Backend B, class Part, class M>
    auto solve(B& b, const Part& part, const diffusion::noise_level<B>& sigma, const M& m, const_view_t<B> r,
               view_t<B> v, view_t<B> w) const {
        return detail::with_preconditioner<B>(b, preconditioner, part, sigma, [&](const auto&... p) {
            return solver::fom_with_byproduct(b, m, p..., r, v, w, detail::options_of(*this));
        });
    }
};
/// Two VJPs per iteration, and one for the correction; no preconditioner.
struct bicgstab {
    using policy_tag = solver_policy_tag;
    static constexpr bool byproduct = false;
    index_t iterations = 1;
    double tolerance = 0;
    index_t check_every = 1;
    bool verify = true;

    template <Backend B, class Part, class M>
    auto solve(B& b, const Part& /*part*/, const diffusion::noise_level<B>& /*sigma*/, const M& m, const_view_t<B> r,
               view_t<B> v, view_t<B> /*w*/) const {
        return solver::bicgstab(b, m, r, v, detail::options_of(*this));
    }
};

cg() -> cg<plain>;
cg(index_t) -> cg<plain>;
template <class P>
cg(index_t, P) -> cg<P>;
template <class P>
cg(index_t, P, double) -> cg<P>;
gmres() -> gmres<plain>;
gmres(index_t) -> gmres<plain>;
template <class P>
gmres(index_t, P) -> gmres<P>;
template <class P>
gmres(index_t, P, double) -> gmres<P>;
fom() -> fom<plain>;
fom(index_t) -> fom<plain>;
template <class P>
fom(index_t, P) -> fom<P>;
template <class P>
fom(index_t, P, double) -> fom<P>;

namespace detail {

template <class C, class B>
inline constexpr bool of_backend = true;  // a policy without an estimate
template <class C, class B>
    requires requires { typename C::backend_type; }
inline constexpr bool of_backend<C, B> = std::same_as<typename C::backend_type, B>;

template <class S, class B, class Observation>
inline constexpr bool can_solve = true;
template <class S, class B, class Observation>
    requires requires(const S& s) { typename decltype(s.preconditioner)::backend_type; }
inline constexpr bool can_solve<S, B, Observation> =
    of_backend<decltype(S::preconditioner), B> && preconditionable<Observation>;

}  // namespace detail

/// A covariance and a solver that can work together on this backend and observation.
template <class C, class S, class B, class Observation>
concept PoliciesFor =
    CovariancePolicy<C> && SolverPolicy<S> && detail::of_backend<C, B> && detail::can_solve<S, B, Observation>;

/// Policies that are known when the program is compiled.
template <CovariancePolicy C, SolverPolicy S>
struct fixed_policies {
    C covariance;
    S solver;
    index_t block_items = 0;

    static constexpr bool byproduct = S::byproduct;
    template <Backend B>
    void prepare(B& b, double sigma) const {
        if constexpr (requires { covariance.prepare(b, sigma); }) covariance.prepare(b, sigma);
        if constexpr (requires { solver.preconditioner.estimate; }) solver.preconditioner.estimate.prepare(b, sigma);
    }
    template <class Model>
    void check(const Model& model, bool /*preconditionable*/) const {
        (void)detail::options_of(solver);
        if constexpr (requires { covariance.estimate; })
            check_size("mmps", "estimate.features()", covariance.estimate.features(), model.features());
        if constexpr (requires { solver.preconditioner.estimate; })
            check_size("mmps", "estimate.features()", solver.preconditioner.estimate.features(), model.features());
    }
    template <Backend B, class Model, class F>
    auto with(B& b, Model& model, const_view_t<B> x_t, const diffusion::noise_level<B>& sigma, const F& f) const {
        return covariance.with(b, model, x_t, sigma, f);
    }
    template <Backend B, class Part, class M>
    auto solve(B& b, const Part& part, const diffusion::noise_level<B>& sigma, const M& m, const_view_t<B> r,
               view_t<B> v, view_t<B> w) const {
        return solver.solve(b, part, sigma, m, r, v, w);
    }
};

}  // namespace diem::posterior
