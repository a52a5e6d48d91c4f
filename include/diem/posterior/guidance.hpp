// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>
#include <type_traits>
#include <utility>

#include <diem/backend/batch.hpp>
#include <diem/backend/functors.hpp>
#include <diem/core/check.hpp>
#include <diem/diffusion/concept.hpp>
#include <diem/posterior/innovation.hpp>
#include <diem/posterior/observation.hpp>
#include <diem/solver/gmres.hpp>

/// \file
/// What the guidance methods beside MMPS share.
/// \snippet tests/examples/posterior.cpp posterior/guidance.hpp

namespace diem::posterior {

/// What the guidance methods beside `mmps` share: `dps`, `pigdm`, `tmpd` and `diffpir`. Each is a `Denoiser` for E[x |
/// x_t, y], or what it takes for it, in this library's x_t = x + sigma z, so that every sampler takes it in the place
/// of the prior. Of an A that is not linear its derivative at x_hat is taken, as in `mmps`. Items of x_t and of the
/// observation correspond; model and observed data must outlive it.
///
/// | method    | V in Sigma_y + A V A'           | correction      | network passes                   |
/// |-----------|---------------------------------|-----------------|----------------------------------|
/// | `dps`     | none: a step along the gradient | J'A'r / norm(r) | one forward, one VJP             |
/// | `pigdm`   | sigma^2 / (1 + sigma^2) I       | sigma^2 J'A'v   | one forward, one VJP             |
/// | `tmpd`    | diag(sigma^2 J'1)               | sigma^2 J'A'v   | one forward, two VJPs            |
/// | `diffpir` | sigma^2 / lambda I              | V A'v           | one forward                      |
/// | `mmps`    | sigma^2 J'                      | V A'v           | one forward, a VJP per iteration |
template <Backend B, diffusion::Denoiser<B> Model, class Observation>
class guidance {
public:
    using score_model_tag = diffusion::score_model_tag;

    [[nodiscard]] index_t features() const { return observation_.forward_operator().cols(); }
    [[nodiscard]] const Observation& observed() const { return observation_; }
    /// The last solve of the methods that make one: status, iterations and residual of each item.
    [[nodiscard]] const solver::solver_result<B>& last_solve() const { return last_; }

protected:
    using level = diffusion::noise_level<B>;

    guidance(const char* name, Model& model, Observation observation, index_t iterations)
        : model_(model), name_(name), observation_(std::move(observation)), iterations_(iterations) {
        check_size(name_, "model.features()", model.features(), features());
        check_value(name_, iterations >= 0, "iterations is negative");
    }
    void check(const_view_t<B> x_t, view_t<B> x_hat) const {
        check_shape(name_, "x_t", x_t, features(), observation_.items());
        check_shape(name_, "x_hat", x_hat, features(), observation_.items());
    }
    /// See `innovation_at`.
    [[nodiscard]] auto innovation_of(B& b, const_view_t<B> mean) const { return innovation_at(b, observation_, mean); }
    /// A'v.
    template <class A>
    [[nodiscard]] batch<B> adjoint(B& b, const A& a, const batch<B>& v) const {
        batch<B> u(b, features(), v.items());
        a.apply_adjoint(b, v.view(), u.view());
        return u;
    }
    /// A'v with (Sigma_y + A V A') v = y - A mean, by that many iterations of gmres. `V`: (b, v, w), w = V v.
    template <class V>
    [[nodiscard]] batch<B> weighted_residual(B& b, const V& covariance, const_view_t<B> mean) {
        const auto at = innovation_of(b, mean);
        const batch<B>& r = at.value;
        batch<B> v(b, r.features(), r.items());
        const innovation<B, std::remove_cvref_t<decltype(at.derivative)>, typename Observation::noise_type, V> m(
            at.derivative, observation_.noise(), covariance, r.items());
        solver::solver_options o;
        o.max_iterations = iterations_;
        o.relative_tolerance = 0;
        o.check_every = 0;
        last_ = solver::gmres(b, m, r.view(), v.view(), o);
        return adjoint(b, at.derivative, v);
    }

    Model& model_;
    const char* name_;

private:
    Observation observation_;
    index_t iterations_;
    solver::solver_result<B> last_;
};

}  // namespace diem::posterior
