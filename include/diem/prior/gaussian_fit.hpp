// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <optional>
#include <utility>

#include <diem/backend/batch.hpp>
#include <diem/backend/concept.hpp>
#include <diem/core/check.hpp>
#include <diem/diffusion/gaussian.hpp>
#include <diem/em/fit.hpp>
#include <diem/linop/hartley.hpp>
#include <diem/prior/gaussian_e_steps.hpp>
#include <diem/prior/gaussian_options.hpp>
#include <diem/train/ppca.hpp>

/// A Gaussian prior N(mu, diag(d) + u u') learned by EM from observations alone: the method's first stage.
namespace diem::prior {

/// N(0, variance I) of rank 0: where Gaussian EM starts.
template <Backend B>
[[nodiscard]] diffusion::gaussian<B> isotropic_gaussian(B& b, index_t features, double variance = 1,
                                                        std::optional<linop::hartley> basis = std::nullopt) {
    batch<B> mu(b, features, 1), d(b, features, 1);
    b.fill(mu.view(), scalar_t<B>(0));
    b.fill(d.view(), static_cast<scalar_t<B>>(variance));
    return {b, std::move(mu), std::move(d), batch<B>(b, features, 0), std::move(basis)};
}

/// The basis that options ask for. Throws value_error where the image is not of so many features.
[[nodiscard]] inline std::optional<linop::hartley> basis_of(const gaussian_fit_options& o, index_t features) {
    if (o.basis == gaussian_basis::values) return std::nullopt;
    check_value("prior::gaussian_fit", o.height > 0 && o.width > 0 && o.channels > 0,
                "a basis of frequencies needs the image's height, width and channels");
    linop::hartley basis(o.height, o.width, o.channels);
    check_size("prior::gaussian_fit", "height x width x channels of the basis", basis.rows(), features);
    return basis;
}

namespace detail {

template <Backend B>
diffusion::gaussian<B> to_gaussian(B& b, train::ppca_result<B> p, const std::optional<linop::hartley>& basis) {
    if (basis) basis->apply(b, p.mean.cview(), p.mean.view());
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
    em::objective evidence{detail::read_log_evidence{}};
    em::monitors with_evidence(monitor, evidence);
    em::monitors without(monitor);
    const ppca_m_step<B> m_step{b, options.ppca};
    if (options.e_step == gaussian_e_step::moments && !start.basis())
        return em::fit(
            std::move(start),
            [&](prior_type& p, index_t) -> em::outcome<gaussian_moments<B>> {
                auto moments = detail::moments_until_cancelled(b, p, observed, options.batch, run);
                if (!moments) return em::verdict{em::decision::cancel, "cancelled"};
                return {std::move(*moments)};  // the move is for nvcc
            },
            m_step, options.fit, with_evidence);
    check_value("prior::fit_gaussian", options.e_step != gaussian_e_step::moments,
                "exact moments need a basis of values");
    std::optional<detail::exact_draws<B, Observation>> exact;
    if (options.e_step == gaussian_e_step::draws) exact.emplace(b, start, observed);
    const auto e_step = [&](prior_type& p, index_t lap) {
        return detail::sampling_e_step(b, p, observed, exact, options, lap, run);
    };
    const bool measured =
        options.e_step == gaussian_e_step::draws || (options.measure_evidence && detail::is_elementwise<Observation>);
    return measured ? em::fit(std::move(start), e_step, m_step, options.fit, with_evidence)
                    : em::fit(std::move(start), e_step, m_step, options.fit, without);
}

}  // namespace diem::prior
