// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <atomic>
#include <optional>
#include <utility>

#include <diem/backend/batch.hpp>
#include <diem/backend/concept.hpp>
#include <diem/core/check.hpp>
#include <diem/diffusion/gaussian.hpp>
#include <diem/em/fit.hpp>
#include <diem/linop/image_basis.hpp>
#include <diem/prior/exact_draws.hpp>
#include <diem/prior/gaussian_e_steps.hpp>
#include <diem/prior/gaussian_options.hpp>
#include <diem/train/ppca.hpp>

/// \file
/// A Gaussian prior N(mu, diag(d) + u u') learned by EM from observations alone: the method's first stage.
/// \snippet tests/examples/prior.cpp prior/gaussian_fit.hpp

namespace diem::prior {

/// Bytes that an E-step of Gaussian EM holds at once, about. `elementwise`: A and Sigma_y are, as masks; else `moments` forms
/// them as matrices.
[[nodiscard]] inline double gaussian_e_step_bytes(gaussian_e_step e, index_t features, index_t rows, index_t items,
                                                  index_t rank, index_t batch, bool elementwise, std::size_t scalar) {
    const auto d = static_cast<double>(features), r = static_cast<double>(rows), n = static_cast<double>(items),
               k = static_cast<double>(rank), m = static_cast<double>(std::min(batch, items));
    const double samples = d * n;
    if (e == gaussian_e_step::diffusion) return static_cast<double>(scalar) * (samples + 16 * d * m);
    if (e == gaussian_e_step::draws && !elementwise)
        return static_cast<double>(scalar) * (samples + (6 * d + 10 * r) * m);
    const double conditional = elementwise ? m * (3 * d + k * k + 2 * k) : m * (2 * r * d + r * r + d);
    const double covariance = e == gaussian_e_step::moments ? 2 * d * d : 0;
    return static_cast<double>(scalar) * (samples + conditional + covariance);
}

/// The exact E-step: moments for up to 1024 features where element-wise operators, or matrices of at most 1 GB, make them cheap;
/// else draws.
[[nodiscard]] inline gaussian_e_step choose_gaussian_e_step(index_t features, index_t rows, index_t batch,
                                                            bool elementwise, gaussian_basis basis) {
    const double matrices = gaussian_e_step_bytes(gaussian_e_step::moments, features, rows, batch, 0, batch, false, 4);
    const bool cheap = features <= 1024 && (elementwise || matrices <= 1e9);
    return cheap && basis == gaussian_basis::values ? gaussian_e_step::moments : gaussian_e_step::draws;
}
/// What `automatic` stands for.
template <class Observation>
[[nodiscard]] gaussian_e_step chosen_e_step(const gaussian_fit_options& o, const Observation& observed) {
    if (o.e_step != gaussian_e_step::automatic) return o.e_step;
    const auto& a = observed.forward_operator();
    return choose_gaussian_e_step(a.cols(), a.rows(), o.batch, detail::is_elementwise<Observation>, o.basis);
}

/// N(0, variance I) of rank 0: where Gaussian EM starts.
template <Backend B>
[[nodiscard]] diffusion::gaussian<B> isotropic_gaussian(B& b, index_t features, double variance = 1,
                                                        std::optional<linop::image_basis> basis = std::nullopt) {
    batch<B> mu(b, features, 1), d(b, features, 1);
    b.fill(mu.view(), scalar_t<B>(0));
    b.fill(d.view(), static_cast<scalar_t<B>>(variance));
    return {b, std::move(mu), std::move(d), batch<B>(b, features, 0), basis};
}

/// The basis that options ask for. Throws value_error where the image is not of so many features.
[[nodiscard]] inline std::optional<linop::image_basis> basis_of(const gaussian_fit_options& o, index_t features) {
    if (o.basis == gaussian_basis::values) return std::nullopt;
    check_value("prior::gaussian_fit", o.height > 0 && o.width > 0 && o.channels > 0,
                "a basis of images needs their height, width and channels");
    using kind = linop::image_basis::kind;
    const linop::image_basis basis(o.basis == gaussian_basis::cosines ? kind::cosine : kind::hartley, o.height, o.width,
                                   o.channels);
    check_size("prior::gaussian_fit", "height x width x channels of the basis", basis.rows(), features);
    return basis;
}

namespace detail {

template <Backend B>
diffusion::gaussian<B> to_gaussian(B& b, train::ppca_result<B> p, const std::optional<linop::image_basis>& basis) {
    if (basis) basis->apply_adjoint(b, p.mean.cview(), p.mean.view());
    return {b, std::move(p.mean), std::move(p.diagonal), std::move(p.factor), basis};
}
/// The prior as a start of factor analysis, in its basis; none where its rank differs.
template <Backend B>
bool as_start(B& b, const diffusion::gaussian<B>& prior, index_t rank, train::ppca_result<B>& start) {
    if (prior.rank() != rank) return false;
    const index_t n = prior.features();
    start = {batch<B>(b, n, 1), batch<B>(b, n, 1), batch<B>(b, n, rank), {}};
    b.copy(as_batch(prior.mu()), start.mean.view());
    if (prior.basis()) prior.basis()->apply(b, start.mean.cview(), start.mean.view());
    b.copy(as_batch(prior.d()), start.diagonal.view());
    b.copy(prior.u(), start.factor.view());
    return true;
}

}  // namespace detail

/// The M-step: probabilistic PCA of moments or samples.
template <Backend B>
struct ppca_m_step {
    B& b;
    train::ppca_options options;

    diffusion::gaussian<B> operator()(gaussian_moments<B>& s, const diffusion::gaussian<B>& prior, index_t) const {
        train::ppca_result<B> start;
        const bool warm = options.rest == train::rest::diagonal && detail::as_start(b, prior, options.rank, start);
        return detail::to_gaussian(
            b, train::ppca_of_covariance(b, s.mean.cview(), s.covariance.view(), options, warm ? &start : nullptr),
            std::nullopt);
    }
    /// In the prior's basis, which the samples are brought to.
    diffusion::gaussian<B> operator()(gaussian_samples<B>& s, const diffusion::gaussian<B>& prior, index_t) const {
        train::ppca_result<B> start;
        const bool warm = options.rest == train::rest::diagonal && detail::as_start(b, prior, options.rank, start);
        if (prior.basis() && !std::exchange(s.coefficients, true)) prior.basis()->apply(b, s.x.cview(), s.x.view());
        return detail::to_gaussian(b, train::ppca(b, s.x.cview(), options, warm ? &start : nullptr), prior.basis());
    }
};

namespace detail {

/// What a fit asks of a `run`, where there is none.
struct no_run {
    parallel::self ranks{};
    const std::atomic<bool>* cancel = nullptr;
    [[nodiscard]] static constexpr bool cancelled() { return false; }
};

template <Backend B, class Observation, class Run>
em::outcome<gaussian_samples<B>> sampling_e_step(B& b, const diffusion::gaussian<B>& prior, const Observation& observed,
                                                 const std::optional<exact_draws<B, Observation>>& exact,
                                                 const gaussian_fit_options& o, index_t lap, const Run& run) {
    const std::uint64_t seed = lap_seed(o.seed, lap, 0);
    if (exact) {
        gaussian_samples<B> s{batch<B>(b, prior.features(), observed.items()), exact->in_basis()};
        const random_key key{.seed = seed, .lane = random_lane::prior_sample};
        const auto result = (*exact)(b, prior, key, s.x.view(), o.batch, run.ranks, [&] { return !run.cancelled(); });
        if (!result.finished) return em::verdict{em::decision::cancel, "cancelled"};
        s.log_evidence = result.log_evidence;
        return {std::move(s)};
    }
    gaussian_samples<B> s{batch<B>(b, prior.features(), observed.items() * o.sampling.samples_per_observation)};
    const auto go_on = [&](const posterior::sample_state&, const posterior::drawn_batch<B>&) {
        return !run.cancelled();
    };
    if (!posterior::sample(b, prior, observed,
                           posterior::sample_options<B>{o.sampling, o.mmps, &prior, prior.mu(), run.cancel},
                           random_key{.seed = seed}, s.x.view(), s.state, go_on, run.ranks))
        return em::verdict{em::decision::cancel, "cancelled"};
    if constexpr (is_elementwise<Observation>)
        if (o.measure_evidence && !prior.basis()) s.log_evidence = log_evidence(b, prior, observed, o.batch, run.ranks);
    return {std::move(s)};  // the move is for nvcc
}

struct read_log_evidence {
    template <class S, class P>
    double operator()(const S& s, const P&) const {
        return s.log_evidence;
    }
};

}  // namespace detail

/// Learns N(mu, diag(d) + u u') from observations, in the basis of `start` and from there (see `isotropic_gaussian`). The
/// objective recorded in the history is the log-evidence, sum_i log p(y_i), of the prior each lap began with, where it was
/// measured. `monitor` sees gaussian_moments or gaussian_samples. `run` (see run.hpp) cancels an exact E-step
/// after its batch, one by diffusion after its step. Its ranks share the batches of such an E-step and of exact draws; exact moments and the M-step each does
/// alike. Throws value_error. Source: the initial stage of arXiv 2405.13712 with gaussian_e_step::diffusion; the exact
/// E-steps are this library's.
template <Backend B, class Observation, class Monitor = em::no_monitor, class Run = detail::no_run>
[[nodiscard]] em::fit_result<diffusion::gaussian<B>> fit_gaussian(B& b, diffusion::gaussian<B> start,
                                                                  const Observation& observed,
                                                                  gaussian_fit_options options = {},
                                                                  Monitor&& monitor = {}, const Run& run = {}) {
    using prior_type = diffusion::gaussian<B>;
    options.ppca.rank = std::min(options.ppca.rank, start.features());
    if (const auto& h = start.basis())
        options.basis =
            h->of_kind() == linop::image_basis::kind::cosine ? gaussian_basis::cosines : gaussian_basis::frequencies;
    options.e_step = chosen_e_step(options, observed);
    em::objective evidence{detail::read_log_evidence{}};
    em::monitors with_evidence(monitor, evidence);
    em::monitors without(monitor);
    const ppca_m_step<B> m_step{b, options.ppca};
    if (options.e_step == gaussian_e_step::moments && !start.basis())
        return em::fit(
            std::move(start),
            [&](prior_type& p, index_t) -> em::outcome<gaussian_moments<B>> {
                auto moments = detail::moments_while(b, p, observed, options.batch, [&] { return !run.cancelled(); });
                if (!moments) return em::verdict{em::decision::cancel, "cancelled"};
                return {std::move(*moments)};  // the move is for nvcc
            },
            m_step, options.fit, with_evidence);
    check_value("prior::fit_gaussian", options.e_step != gaussian_e_step::moments,
                "exact moments need a basis of values");
    std::optional<exact_draws<B, Observation>> exact;
    if (options.e_step == gaussian_e_step::draws) exact.emplace(b, start, observed);
    const auto e_step = [&](prior_type& p, index_t lap) {
        return detail::sampling_e_step(b, p, observed, exact, options, lap, run);
    };
    const bool measured = exact ? exact->closed() : options.measure_evidence && detail::is_elementwise<Observation>;
    return measured ? em::fit(std::move(start), e_step, m_step, options.fit, with_evidence)
                    : em::fit(std::move(start), e_step, m_step, options.fit, without);
}

}  // namespace diem::prior
