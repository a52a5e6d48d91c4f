// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <optional>

#include <diem/backend/batch.hpp>
#include <diem/core/check.hpp>
#include <diem/diffusion/gaussian.hpp>
#include <diem/posterior/options.hpp>
#include <diem/posterior/policies.hpp>
#include <diem/posterior/tight_frame.hpp>

/// \file
/// Covariance and solver of MMPS chosen when the program runs.
/// \snippet tests/examples/posterior.cpp posterior/any_policies.hpp

namespace diem::posterior {

namespace detail {

/// A product V v whose type is not known: refers to one that is. So M, and each solver, is compiled once for all V.
template <Backend B>
class product_ref {
public:
    template <class Product>
        requires(!std::same_as<Product, product_ref>)
    explicit product_ref(const Product& p)
        : object_(&p), call_([](const void* object, B& b, const_view_t<B> v, view_t<B> w) {
              (*static_cast<const Product*>(object))(b, v, w);
          }) {}
    void operator()(B& b, const_view_t<B> v, view_t<B> w) const { call_(object_, b, v, w); }

private:
    const void* object_;
    void (*call_)(const void*, B&, const_view_t<B>, view_t<B>);
};

}  // namespace detail

/// Iterations of a solve behind A: 1 where it shows all that it shows equally well (`tight_frame`), 4 elsewhere, where one leaves
/// the weak directions to the prior. From the first items of an observation.
template <Backend B, class Observation>
[[nodiscard]] index_t iterations_for(B& b, const Observation& observed) {
    constexpr index_t few = 4;
    return tight_frame(b, observed.items(0, std::min(few, observed.items()))) ? 1 : 4;
}

/// With a number of iterations in the place of by_operator.
template <Backend B, class Observation>
[[nodiscard]] mmps_options settled(B& b, mmps_options options, const Observation& observed) {
    if (options.max_iterations == by_operator) options.max_iterations = iterations_for(b, observed);
    return options;
}

/// Policies chosen when the program runs, by `mmps_options`; `estimate` may be null where they need none.
template <Backend B>
class any_policies {
    using level = diffusion::noise_level<B>;

public:
    bool byproduct;
    index_t block_items;

    any_policies(const mmps_options& options, const diffusion::gaussian<B>* estimate)
        : byproduct(options.solver != solver_choice::bicgstab), block_items(options.block_items), options_(options),
          estimate_(estimate) {}

    [[nodiscard]] const mmps_options& options() const { return options_; }
    void prepare(B& b, double sigma) const {
        if (estimate_ != nullptr) estimate_->prepare(b, sigma);
    }
    template <class Observation>
    void settle(B& b, const Observation& observed) {
        options_ = settled(b, options_, observed);
    }
    template <class Model>
    void check(const Model& model, bool preconditionable) const {
        const mmps_options& o = options_;
        check_value("mmps", o.max_iterations >= 0, "max_iterations is negative");
        check_value("mmps", o.check_every >= 0, "check_every is negative");
        const bool needed = o.cov_x == covariance::gaussian || o.cov_x == covariance::gaussian_heuristic ||
                            o.cov_x == covariance::blended;
        check_value("mmps", estimate_ != nullptr || !(needed || o.precondition),
                    "this covariance, or a preconditioner, needs a Gaussian estimate of the prior");
        check_value("mmps", !o.precondition || (preconditionable && byproduct),
                    "the preconditioner needs an element-wise A and Sigma_y, and cg, gmres or fom");
        if (o.precondition) estimate_->require_no_basis("mmps: a preconditioner");
        if (estimate_ != nullptr) check_size("mmps", "estimate.features()", estimate_->features(), model.features());
    }

    /// f(mean, V in M, a reference to V in the correction or none where that is the same).
    template <class Model, class F>
    auto with(B& b, Model& model, const_view_t<B> x_t, const level& sigma, const F& f) const {
        const auto erased = [&](const_view_t<B> mean, const auto& v, const auto& correction) {
            using ref = detail::product_ref<B>;
            if constexpr (std::same_as<std::remove_cvref_t<decltype(correction)>, v_itself>)
                return f(mean, ref(v), std::optional<ref>());
            else
                return f(mean, ref(v), std::optional<ref>(ref(correction)));
        };
        const auto by = [&](const auto& policy) { return policy.with(b, model, x_t, sigma, erased); };
        switch (options_.cov_x) {
            case covariance::isotropic:
                return by(isotropic{});
            case covariance::unit_prior:
                return by(unit_prior{});
            case covariance::none:
                return by(none{});
            case covariance::gaussian:
                return by(gaussian_covariance<B>{*estimate_});
            case covariance::gaussian_heuristic:
                return by(gaussian_heuristic<B>{*estimate_});
            case covariance::blended:
                return by(blend());
            default:
                return by(tweedie{});
        }
    }
    template <class Part, class M>
    auto solve(B& b, const Part& part, const level& sigma, const M& m, const_view_t<B> r, view_t<B> v,
               view_t<B> w) const {
        mmps_options o = options_;
        if (o.converge_gaussian && v_is_gaussian(sigma)) {
            // M is symmetric and positive here; where there is a preconditioner, it is M^-1.
            o.solver = solver_choice::cg;
            o.precondition = detail::preconditionable<Part> && sigma.shared() && !estimate_->basis();
            o.max_iterations = std::max<index_t>(o.max_iterations, o.precondition ? 1 : 64);
            if (!o.precondition && (o.relative_tolerance == 0 || o.relative_tolerance > 1e-4))
                o.relative_tolerance = 1e-4;
        }
        const auto run = [&](const auto& preconditioner) {
            using P = std::remove_cvref_t<decltype(preconditioner)>;
            const auto by = [&](const auto& policy) { return policy.solve(b, part, sigma, m, r, v, w); };
            switch (o.solver) {
                case solver_choice::gmres:
                    return by(
                        gmres<P>{o.max_iterations, preconditioner, o.relative_tolerance, o.check_every, o.verify});
                case solver_choice::fom:
                    return by(fom<P>{o.max_iterations, preconditioner, o.relative_tolerance, o.check_every, o.verify});
                case solver_choice::bicgstab:
                    return by(bicgstab{o.max_iterations, o.relative_tolerance, o.check_every, o.verify});
                default:
                    return by(cg<P>{o.max_iterations, preconditioner, o.relative_tolerance, o.check_every, o.verify});
            }
        };
        if constexpr (detail::preconditionable<Part>)
            if (o.precondition) return run(preconditioned<B>{*estimate_});
        return run(plain{});
    }

private:
    [[nodiscard]] blended<B> blend() const { return {*estimate_, options_.switch_sigma}; }
    /// Whether V in M, and in the correction, is the Gaussian estimate's.
    [[nodiscard]] bool v_is_gaussian(const level& sigma) const {
        return options_.cov_x == covariance::gaussian ||
               (options_.cov_x == covariance::blended && blend().takes_estimate(sigma));
    }

    mmps_options options_;
    const diffusion::gaussian<B>* estimate_;
};

}  // namespace diem::posterior
