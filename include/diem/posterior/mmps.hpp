// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <utility>

#include <diem/backend/batch.hpp>
#include <diem/backend/functors.hpp>
#include <diem/core/check.hpp>
#include <diem/diffusion/concept.hpp>
#include <diem/diffusion/gaussian.hpp>
#include <diem/posterior/innovation.hpp>
#include <diem/posterior/observation.hpp>
#include <diem/posterior/options.hpp>
#include <diem/posterior/preconditioner.hpp>
#include <diem/posterior/tally.hpp>
#include <diem/solver/bicgstab.hpp>
#include <diem/solver/cg.hpp>
#include <diem/solver/gmres.hpp>

namespace diem::posterior {

/// Moment matching posterior sampling: the posterior denoiser of a prior's denoiser d and an observation y = A x + e,
///
///     E[x | x_t, y] ~ x_hat + V A'v,  (Sigma_y + A V A') v = y - A x_hat,  x_hat = d(x_t),  V = sigma^2 J'.
///
/// A `Denoiser`, so that every sampler samples the posterior p(x | y) unchanged. One call with m iterations of cg,
/// gmres or fom costs one forward pass and m VJPs: V A'v is summed from the V A'p that the products made. With bicgstab, and
/// where M has another V than the correction, one VJP more. Exact for a Gaussian prior and a converged solve.
/// Options say what stands for V, `estimate` is a Gaussian estimate of the prior for those that need one.
///
/// Items of x_t and of the observation correspond; items whose solve breaks down keep the best iterate and are counted in
/// `tally()`. The model, the data of the observation and the estimate must outlive this object.
/// Source: Rozet et al., arXiv 2405.13712, Alg. 3. Deviates: solves per item, not one for the whole batch.
template <Backend B, diffusion::ScoreModel<B> Model, class Observation>
class mmps {
    using T = scalar_t<B>;
    using level = diffusion::noise_level<B>;

    static constexpr bool preconditionable = linop::ElementwiseOperator<typename Observation::operator_type> &&
                                             linop::ElementwiseOperator<typename Observation::noise_type>;

public:
    using score_model_tag = diffusion::score_model_tag;
    using estimate_type = diffusion::gaussian<B>;

    mmps(B& b, Model& model, Observation observation, const mmps_options& options = {},
         const estimate_type* estimate = nullptr)
        : model_(model), observation_(std::move(observation)), options_(options), estimate_(estimate), tally_(b) {
        check_size("mmps", "model.features()", model.features(), observation_.forward_operator().cols());
        check_value("mmps", options.max_iterations >= 0, "max_iterations is negative");
        check_value("mmps", options.check_every >= 0, "check_every is negative");
        const covariance c = options.cov_x;
        const bool needed =
            c == covariance::gaussian || c == covariance::gaussian_heuristic || c == covariance::blended;
        check_value("mmps", estimate != nullptr || !(needed || options.precondition),
                    "this covariance, or a preconditioner, needs a Gaussian estimate of the prior");
        check_value("mmps", !options.precondition || (preconditionable && options.solver != solver_choice::bicgstab),
                    "the preconditioner needs an element-wise A and Sigma_y, and cg, gmres or fom");
        if (estimate != nullptr) check_size("mmps", "estimate.features()", estimate->features(), model.features());
    }

    [[nodiscard]] index_t features() const { return observation_.forward_operator().cols(); }
    [[nodiscard]] const Observation& observed() const { return observation_; }
    [[nodiscard]] const mmps_options& options() const { return options_; }
    /// The last solve: status, iterations and residual of each item.
    [[nodiscard]] const solver::solver_result<B>& last_solve() const { return last_; }
    /// Statuses and iterations of all solves so far.
    [[nodiscard]] const solver_tally<B>& tally() const { return tally_; }
    [[nodiscard]] solver_tally<B>& tally() { return tally_; }

    /// x_hat = E[x | x_t, y]. Throws shape_error; value_error for `blended` where sigma is not shared by the items.
    void denoise(B& b, const_view_t<B> x_t, level sigma, view_t<B> x_hat) {
        const index_t n = observation_.items();
        check_shape("mmps", "x_t", x_t, features(), n);
        check_shape("mmps", "x_hat", x_hat, features(), n);
        check_value("mmps", !options_.precondition || sigma.shared(),
                    "the preconditioner needs one sigma for all items");
        const index_t block = block_items(b);
        if (n <= block) {
            last_ = denoise_block(b, observation_, x_t, sigma, x_hat);
        } else {
            solver::solver_result<B> all(b, n, 0);
            const auto one = [&](B& part, index_t first, index_t count) {
                const auto result = denoise_block(part, observation_.items(first, count), x_t.item_range(first, count),
                                                  sigma.items(first, count), x_hat.item_range(first, count));
                const auto keep = [&](auto from, auto to) {
                    part.copy(as_batch(from), as_batch(to.range(first, count)));
                };
                keep(result.status(), all.status());
                keep(result.updates(), all.updates());
                keep(result.residual_norms(), all.residual_norms());
                keep(result.true_residual_norms(), all.true_residual_norms());
                if (first == 0) all.set_products(result.products());
            };
            for_blocks(b, sigma, block, one);
            last_ = std::move(all);
        }
        tally_.add(b, last_);
    }

private:
    /// A chain of element-wise passes is limited by memory: analytic models are taken a cache-sized block of items at a time.
    [[nodiscard]] index_t block_items(const B& b) const {
        if (options_.block_items > 0) return options_.block_items;
        if constexpr (
            requires { b.block_elements; } && requires { typename Model::analytic_tag; }) {
            const index_t n = std::max<index_t>(1, observation_.items());
            const index_t most = std::max<index_t>(1, b.block_elements / std::max<index_t>(features(), 1));
            if (n <= most) return n;
            const index_t blocks = ((n + most - 1) / most + 3) / 4 * 4;  // of about one size, easily shared by threads
            return (n + blocks - 1) / blocks;
        } else
            return std::max<index_t>(1, observation_.items());
    }

    /// Blocks of items on threads of their own, where the backend and the models can; not with operators of the user's, which
    /// need not bear calls from several threads.
    template <class F>
    void for_blocks(B& b, const level& sigma, index_t block, const F& one) {
        const index_t n = observation_.items();
        if constexpr (
            preconditionable && requires { b.for_blocks(n, block, one); } && requires { model_.prepare(b, 1.0); }) {
            if (sigma.shared()) {
                model_.prepare(b, sigma.common());
                if (estimate_ != nullptr) estimate_->prepare(b, sigma.common());
                return b.for_blocks(n, block, one);
            }
        }
        for (index_t first = 0; first < n; first += block) one(b, first, std::min(block, n - first));
    }

    template <class Part>
    solver::solver_result<B> denoise_block(B& b, const Part& part, const_view_t<B> x_t, const level& sigma,
                                           view_t<B> x_hat) const {
        const covariance c = choice(sigma);
        detail::variances<B> variance(b, sigma, x_t.items());
        if (c == covariance::gaussian) {
            batch<B> mean(b, features(), x_t.items());
            model_.denoise(b, x_t, sigma, mean.view());
            return with_estimate(b, x_t, sigma, variance, [&](const auto& v) {
                return correct(b, part, sigma, v, nullptr, mean.cview(), x_hat);
            });
        }
        const auto linear = model_.linearize(b, x_t, sigma);
        const auto& jacobian = linear.jacobian();
        const tweedie_product<B, std::remove_cvref_t<decltype(jacobian)>> tweedie{jacobian, variance};
        const const_view_t<B> mean = linear.mean();
        switch (c) {
            case covariance::gaussian_heuristic:
                return with_estimate(b, x_t, sigma, variance,
                                     [&](const auto& v) { return correct(b, part, sigma, v, &tweedie, mean, x_hat); });
            case covariance::unit_prior:
            case covariance::isotropic: {
                detail::variances<B> other(b, sigma, x_t.items());
                if (c == covariance::unit_prior) other.to_unit_prior(b);
                return correct(b, part, sigma, isotropic_product<B>{other}, &tweedie, mean, x_hat);
            }
            case covariance::none:
                return correct(b, part, sigma, zero_product<B>{}, &tweedie, mean, x_hat);
            default:
                return correct(b, part, sigma, tweedie, nullptr, mean, x_hat);
        }
    }

    [[nodiscard]] covariance choice(const level& sigma) const {
        if (options_.cov_x != covariance::blended) return options_.cov_x;
        check_value("mmps", sigma.shared(), "the blended covariance needs one sigma for all items");
        return sigma.common() > options_.switch_sigma ? covariance::gaussian : covariance::tweedie;
    }

    /// f(V as a product) for the V of the Gaussian estimate.
    template <class F>
    auto with_estimate(B& b, const_view_t<B> x_t, const level& sigma, const detail::variances<B>& variance,
                       const F& f) const {
        if (sigma.shared()) {
            const auto v = estimate_->harmonic(b, sigma.common());
            return f(covariance_product<B, std::remove_cvref_t<decltype(v)>>{v});
        } else {
            const auto linear = estimate_->linearize(b, x_t, sigma);
            return f(tweedie_product<B, std::remove_cvref_t<decltype(linear.jacobian())>>{linear.jacobian(), variance});
        }
    }

    /// out = mean + W A'v, M v = y - A mean, with V = `in_m` in M, and W = `correction`, or V where that is null.
    template <class Part, class V, class W>
    solver::solver_result<B> correct(B& b, const Part& part, const level& sigma, const V& in_m, const W* correction,
                                     const_view_t<B> mean, view_t<B> out) const {
        const auto& a = part.forward_operator();
        const index_t n = mean.items();
        batch<B> r(b, a.rows(), n), v(b, a.rows(), n), w(b, features(), n);
        a.apply(b, mean, r.view());
        b.map(functors::subtract_from{}, r.view(), part.y());

        using A = typename Part::operator_type;
        using N = typename Part::noise_type;
        const innovation<B, A, N, V> m(a, part.noise(), in_m, n);
        auto result = solve(b, part, m, sigma, correction == nullptr, r.cview(), v.view(), w.view());
        if (correction != nullptr || options_.solver == solver_choice::bicgstab) {
            batch<B> u(b, features(), n);
            a.apply_adjoint(b, v.cview(), u.view());
            if (correction != nullptr)
                (*correction)(b, u.cview(), w.view());
            else
                in_m(b, u.cview(), w.view());
        }
        b.map(functors::sum{}, out, mean, w.cview());
        return result;
    }
    template <class Part, class V>
    solver::solver_result<B> correct(B& b, const Part& part, const level& sigma, const V& in_m, std::nullptr_t,
                                     const_view_t<B> mean, view_t<B> out) const {
        return correct<Part, V, V>(b, part, sigma, in_m, static_cast<const V*>(nullptr), mean, out);
    }

    template <class Part, class M>
    solver::solver_result<B> solve(B& b, const Part& part, const M& m, const level& sigma, bool byproduct,
                                   const_view_t<B> r, view_t<B> v, view_t<B> w) const {
        solver::solver_options o;
        o.max_iterations = options_.max_iterations;
        o.relative_tolerance = options_.relative_tolerance;
        o.check_every = options_.relative_tolerance > 0 ? options_.check_every : 0;
        const auto run = [&](const auto&... preconditioner) {
            if (options_.solver == solver_choice::fom)
                return byproduct ? solver::fom_with_byproduct(b, m, preconditioner..., r, v, w, o)
                                 : solver::fom(b, m, preconditioner..., r, v, o);
            if (options_.solver != solver_choice::cg)
                return byproduct ? solver::gmres_with_byproduct(b, m, preconditioner..., r, v, w, o)
                                 : solver::gmres(b, m, preconditioner..., r, v, o);
            return byproduct ? solver::cg_with_byproduct(b, m, preconditioner..., r, v, w, o)
                             : solver::cg(b, m, preconditioner..., r, v, o);
        };
        if (options_.solver == solver_choice::bicgstab) return solver::bicgstab(b, m, r, v, o);
        if constexpr (preconditionable) {
            if (options_.precondition)
                return run(gaussian_preconditioner<B>(b, part.forward_operator(), part.noise(),
                                                      estimate_->harmonic(b, sigma.common()), r.items()));
        }
        return run();
    }

    Model& model_;
    Observation observation_;
    mmps_options options_;
    const estimate_type* estimate_;
    solver::solver_result<B> last_;
    solver_tally<B> tally_;
};

/// Deduces the observation's type.
template <Backend B, class Model, class Observation>
mmps(B&, Model&, Observation) -> mmps<B, Model, Observation>;
template <Backend B, class Model, class Observation>
mmps(B&, Model&, Observation, const mmps_options&) -> mmps<B, Model, Observation>;
template <Backend B, class Model, class Observation>
mmps(B&, Model&, Observation, const mmps_options&, const diffusion::gaussian<B>*) -> mmps<B, Model, Observation>;

}  // namespace diem::posterior
