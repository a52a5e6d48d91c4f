// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <concepts>
#include <type_traits>
#include <utility>

#include <diem/backend/batch.hpp>
#include <diem/backend/capabilities.hpp>
#include <diem/backend/functors.hpp>
#include <diem/core/check.hpp>
#include <diem/diffusion/concept.hpp>
#include <diem/posterior/any_policies.hpp>
#include <diem/posterior/innovation.hpp>
#include <diem/posterior/observation.hpp>
#include <diem/posterior/options.hpp>
#include <diem/posterior/policies.hpp>
#include <diem/posterior/tally.hpp>

/// \file
/// Moment matching posterior sampling.
/// \snippet tests/examples/posterior.cpp posterior/mmps.hpp

namespace diem::posterior {

/// Moment matching posterior sampling: the posterior denoiser of a prior's denoiser d and an observation y = A x + e,
///
///     E[x | x_t, y] ~ x_hat + V A'v,  (Sigma_y + A V A') v = y - A x_hat,  x_hat = d(x_t),  V = sigma^2 J'.
///
/// A `Denoiser`, so that every sampler samples the posterior p(x | y) unchanged. One call with m iterations of cg,
/// gmres or fom costs one forward pass and m VJPs: V A'v is summed from the V A'p that the products made. With bicgstab, and
/// where M has another V than the correction, one VJP more. Exact for a Gaussian prior and a converged solve.
/// Policies say what stands for V and how M v = y - A x_hat is solved: `fixed_policies` of a covariance and a solver
/// (policies.hpp), or `any_policies` by `mmps_options`, which is compiled once for all choices.
///
/// Where A is a `linop::NonlinearOperator` f, A is f'(x_hat) and the innovation y - f(x_hat): the measurement is taken for
/// linear about x_hat, anew in each call. Then nothing is exact, not even for a Gaussian prior: p(y | x_t) is taken for a
/// Gaussian that it is not, modes that a linear map about x_hat does not see are missed (phase retrieval has several), and what
/// has no slope at x_hat, a saturated pixel say, pulls nowhere. An affine f is exact, and a linear one the same to the bit.
/// Items of x_t and of the observation correspond; items whose solve breaks down keep the best iterate and are counted in
/// `tally()`. The model, the data of the observation and the estimate must outlive this object.
/// Source: Rozet et al., arXiv 2405.13712, Alg. 3. Deviates: solves per item, not one for the whole batch.
template <Backend B, diffusion::ScoreModel<B> Model, class Observation, class Policies = any_policies<B>>
class mmps {
    using T = scalar_t<B>;
    using level = diffusion::noise_level<B>;

    static constexpr bool preconditionable = detail::preconditionable<Observation>;

public:
    using score_model_tag = diffusion::score_model_tag;
    using estimate_type = diffusion::gaussian<B>;

    /// Chosen when the program runs. Throws shape_error; value_error for a combination that cannot work.
    mmps(B& b, Model& model, Observation observation, const mmps_options& options = {},
         const estimate_type* estimate = nullptr)
        requires std::same_as<Policies, any_policies<B>>
        : mmps(b, model, std::move(observation), Policies(options, estimate)) {}
    template <CovariancePolicy C, SolverPolicy S>
        requires std::same_as<Policies, fixed_policies<C, S>> && PoliciesFor<C, S, B, Observation>
    mmps(B& b, Model& model, Observation observation, const C& covariance, const S& solver)
        : mmps(b, model, std::move(observation), Policies{covariance, solver}) {}
    mmps(B& b, Model& model, Observation observation, const Policies& policies)
        : model_(model), observation_(std::move(observation)), policies_(policies), tally_(b) {
        check_size("mmps", "model.features()", model.features(), observation_.forward_operator().cols());
        if constexpr (std::same_as<Policies, any_policies<B>>) policies_.settle(b, observation_);
        policies_.check(model, preconditionable);
    }

    [[nodiscard]] index_t features() const { return observation_.forward_operator().cols(); }
    [[nodiscard]] const Observation& observed() const { return observation_; }
    [[nodiscard]] const Policies& policies() const { return policies_; }
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
        const index_t block = block_items();
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
    [[nodiscard]] index_t block_items() const {
        if (policies_.block_items > 0) return policies_.block_items;
        if constexpr (CacheBlocked<B> && requires { typename Model::analytic_tag; }) {
            const index_t n = std::max<index_t>(1, observation_.items());
            const index_t most = std::max<index_t>(1, B::block_elements / std::max<index_t>(features(), 1));
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
        if constexpr (preconditionable && BlockThreaded<B> && requires { model_.prepare(b, 1.0); }) {
            if (sigma.shared()) {
                model_.prepare(b, sigma.common());
                policies_.prepare(b, sigma.common());
                return b.for_blocks(n, block, one);
            }
        }
        for (index_t first = 0; first < n; first += block) one(b, first, std::min(block, n - first));
    }

    template <class Part>
    solver::solver_result<B> denoise_block(B& b, const Part& part, const_view_t<B> x_t, const level& sigma,
                                           view_t<B> x_hat) const {
        return policies_.with(b, model_, x_t, sigma, [&](const_view_t<B> mean, const auto& v, const auto& correction) {
            return correct(b, part, sigma, v, correction, mean, x_hat);
        });
    }

    /// out = mean + W A'v, M v = y - A mean, with V = `in_m` in M, and W = `correction`, or V where that is `v_itself` or empty.
    template <class Part, class V, class W>
    solver::solver_result<B> correct(B& b, const Part& part, const level& sigma, const V& in_m,
                                     [[maybe_unused]] const W& correction, const_view_t<B> mean, view_t<B> out) const {
        const index_t n = mean.items();
        const auto at = innovation_at(b, part, mean);
        const auto& a = at.derivative;
        batch<B> v(b, a.rows(), n), w(b, features(), n);

        using A = std::remove_cvref_t<decltype(a)>;
        using N = typename Part::noise_type;
        const innovation<B, A, N, V> m(a, part.noise(), in_m, n);
        auto result = policies_.solve(b, part, sigma, m, at.value.view(), v.view(), w.view());
        const auto by = [&](const auto& product) {
            batch<B> u(b, features(), n);
            a.apply_adjoint(b, v.cview(), u.view());
            product(b, u.cview(), w.view());
        };
        if constexpr (std::same_as<W, v_itself>) {
            if (!policies_.byproduct) by(in_m);
        } else if constexpr (requires { correction.has_value(); }) {
            if (correction.has_value())
                by(*correction);
            else if (!policies_.byproduct)
                by(in_m);
        } else {
            by(correction);
        }
        b.map(functors::sum{}, out, mean, w.cview());
        return result;
    }

    Model& model_;
    Observation observation_;
    Policies policies_;
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
template <Backend B, class Model, class Observation, CovariancePolicy C, SolverPolicy S>
    requires PoliciesFor<C, S, B, Observation>
mmps(B&, Model&, Observation, const C&, const S&) -> mmps<B, Model, Observation, fixed_policies<C, S>>;

}  // namespace diem::posterior
