// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <atomic>
#include <optional>
#include <utility>
#include <variant>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/core/check.hpp>
#include <diem/diffusion/concept.hpp>
#include <diem/diffusion/gaussian.hpp>
#include <diem/io/json.hpp>
#include <diem/linop/concept.hpp>
#include <diem/model/any_network.hpp>
#include <diem/model/preconditioned.hpp>
#include <diem/posterior/sample.hpp>
#include <diem/prior/em_options.hpp>
#include <diem/prior/moments.hpp>
#include <diem/prior/run.hpp>

/// \file
/// A learned prior, as a value.
/// \snippet tests/examples/prior.cpp prior/learned.hpp

namespace diem::prior {

/// How to draw from a prior; kept with it.
struct drawing_options {
    diffusion::sampling_options sampling{};
    /// Of posterior samples; with `blended`, switch_sigma is set from switch_factor and the estimate.
    posterior::mmps_options mmps{};
    double switch_factor = 0;
    sampling_start start_at = sampling_start::noise;  ///< of posterior samples, where `from_gaussian` gives the draws
};

/// A prior learned from observations, as a value: what EM makes, what files hold, and what samples. A `ScoreModel` by itself.
///
/// It is a Gaussian, N(mu, diag(d) + u u'), or a network, of which it keeps the averaged weights (those that denoise) and
/// the last ones (where further training begins), the start mean of samplers, a Gaussian estimate for the covariances that
/// need one, the network's skip connection, and how to draw. Movable; copied by `clone` alone. Sampling changes nothing
/// that can be seen, but one object serves one caller at a time: the network keeps prepared weights.
///
/// Both kinds are one type, and not two models of a concept, because EM turns the one into the other in its first lap.
/// `Net`: an `nn::Network`; `model::any_network` can be read from files.
template <Backend B, class Net = model::any_network<B>>
class learned {
public:
    using score_model_tag = diffusion::score_model_tag;
    using gaussian_type = diffusion::gaussian<B>;
    using network_type = model::preconditioned<B, Net>;

    class jacobian_operator;
    class linearization;

    /// A Gaussian prior, drawn from in closed form, and its posterior by conjugate gradients to convergence.
    learned(B& b, gaussian_type gaussian) : mean_(b, gaussian.features(), 1), estimate_(std::move(gaussian)) {
        b.copy(as_batch(estimate_->mu()), mean_.view());
        drawing.mmps = {.max_iterations = 256, .relative_tolerance = 1e-3};
    }
    /// A network whose parameters are the averaged weights; `last`: the last ones, flat, or empty for a network that was trained
    /// elsewhere. `mean`: D x 1.
    learned(network_type network, batch<B> last, batch<B> mean, std::optional<gaussian_type> estimate)
        : mean_(std::move(mean)), estimate_(std::move(estimate)) {
        if (last.features() > 0)
            check_shape("prior::learned", "last", last.view(), std::as_const(network).parameters().size(), 1);
        check_shape("prior::learned", "mean", mean_.view(), network.features(), 1);
        if (estimate_) check_size("prior::learned", "estimate", estimate_->features(), network.features());
        network_.emplace(trained{std::move(network), std::move(last)});
    }
    learned(learned&&) noexcept = default;
    learned& operator=(learned&&) noexcept = default;
    learned(const learned&) = delete;
    learned& operator=(const learned&) = delete;

    [[nodiscard]] learned clone(B& b) const {
        learned copy = network_ ? learned(network_type(b, network_->model), copy_of(b, network_->last),
                                          copy_of(b, mean_), estimate_)
                                : learned(b, *estimate_);
        b.copy(mean_.view(), copy.mean_.view());
        if (moments.mean.features() > 0) copy.moments = {copy_of(b, moments.mean), copy_of(b, moments.deviation)};
        copy.history = history;
        copy.drawing = drawing;
        copy.notes = notes;
        return copy;
    }

    [[nodiscard]] index_t features() const { return mean_.features(); }
    [[nodiscard]] bool has_network() const { return network_.has_value(); }
    /// Laps of diffusion EM behind it: 0 for a Gaussian.
    [[nodiscard]] index_t laps() const { return static_cast<index_t>(history.size()); }
    /// Where samplers start, D.
    [[nodiscard]] const_vector_t<B> mean() const { return mean_.flat(); }
    /// The Gaussian estimate, or the Gaussian prior itself; null where a network has none.
    [[nodiscard]] const gaussian_type* estimate() const { return estimate_ ? &*estimate_ : nullptr; }
    /// The network with its averaged weights. Throws value_error where there is none.
    [[nodiscard]] const network_type& network() const {
        check_value("prior::learned", has_network(), "a Gaussian prior has no network");
        return network_->model;
    }
    /// Whether its network was trained here and may be trained further.
    [[nodiscard]] bool trainable() const { return network_ && network_->last.features() > 0; }
    /// Where further training begins, flat. Throws value_error where there is no network, or one that was trained elsewhere.
    [[nodiscard]] const_vector_t<B> last_weights() const {
        check_value("prior::learned", has_network(), "a Gaussian prior has no network");
        check_value("prior::learned", trainable(), "its network was trained elsewhere, and is not trained further");
        return network_->last.flat();
    }

    /// The class of what is drawn, of a network that has classes: see `nn::ddpm_unet::set_labels`. Throws value_error.
    void set_labels(std::vector<index_t> labels)
        requires requires(Net& n) { n.set_labels(labels); }
    {
        check_value("prior::learned", has_network(), "a Gaussian prior has no classes, a label was given");
        network_->model.set_labels(std::move(labels));
    }

    void set_mean(batch<B> mean) {
        check_shape("prior::learned::set_mean", "mean", mean.view(), features(), 1);
        mean_ = std::move(mean);
    }
    /// Of a network; the estimate of a Gaussian prior is the prior itself.
    void set_estimate(gaussian_type estimate) {
        check_size("prior::learned::set_estimate", "estimate.features()", estimate.features(), features());
        estimate_.emplace(std::move(estimate));
    }

    /// x_hat = E[x | x_t]; see `diffusion::Denoiser`.
    void denoise(B& b, const_view_t<B> x_t, diffusion::noise_level<B> sigma, view_t<B> x_hat) const {
        if (network_)
            network_->model.denoise(b, x_t, sigma, x_hat);
        else
            estimate_->denoise(b, x_t, sigma, x_hat);
    }
    [[nodiscard]] linearization linearize(B& b, const_view_t<B> x_t, diffusion::noise_level<B> sigma) const {
        if (network_) return linearization(network_->model.linearize(b, x_t, sigma));
        return linearization(estimate_->linearize(b, x_t, sigma));
    }

    /// What `posterior::sample` needs to draw under this prior. Refers to it.
    [[nodiscard]] posterior::sample_options<B> sample_options(B& b) const { return sample_options(b, drawing); }
    /// The same with options of the caller's: `blended` switches at so many spreads of the estimate, at least at so many
    /// sigma_min; what cannot work without an estimate is the paper's covariance.
    [[nodiscard]] posterior::sample_options<B> sample_options(B& b, const drawing_options& how) const {
        using posterior::covariance;
        auto mmps = how.mmps;
        const bool needs = mmps.cov_x == covariance::blended || mmps.cov_x == covariance::gaussian ||
                           mmps.cov_x == covariance::gaussian_heuristic;
        if (needs && !estimate_) mmps.cov_x = covariance::tweedie;
        if (mmps.cov_x == covariance::blended && how.switch_factor > 0)
            mmps.switch_sigma = how.switch_factor * std::max(spread_of(b, *estimate_), how.sampling.sigma_min);
        posterior::sample_options<B> options{how.sampling, mmps, estimate(), mean()};
        if (how.start_at == sampling_start::gaussian && mmps.cov_x == covariance::blended)
            options.start.sigma = mmps.switch_sigma;
        return options;
    }

    drawing_options drawing{};
    sample_moments<B> moments{};             ///< of the last lap's samples
    std::vector<lap_diagnostics> history{};  ///< one entry per lap behind it
    io::json notes = io::json::object();     ///< the user's own, kept in files: the shape of images, say

private:
    struct trained {
        mutable network_type model;  // it keeps weights prepared for the kernels
        batch<B> last;
    };
    [[nodiscard]] static batch<B> copy_of(B& b, const batch<B>& from) {
        batch<B> to(b, from.features(), from.items());
        b.copy(from.view(), to.view());
        return to;
    }

    std::optional<trained> network_;
    batch<B> mean_;
    std::optional<gaussian_type> estimate_;
};

/// J of either kind.
template <Backend B, class Net>
class learned<B, Net>::jacobian_operator {
public:
    using operator_tag = linop::linear_tag;
    using of_network = typename network_type::linearization::jacobian_operator;
    using of_gaussian = diffusion::gaussian_jacobian<B>;

    explicit jacobian_operator(std::variant<of_gaussian, of_network> j) : j_(std::move(j)) {}
    [[nodiscard]] index_t rows() const {
        return std::visit([](const auto& j) { return j.rows(); }, j_);
    }
    [[nodiscard]] index_t cols() const { return rows(); }
    [[nodiscard]] index_t items() const {
        return std::visit([](const auto& j) { return j.items(); }, j_);
    }
    void apply(B& b, const_view_t<B> x, view_t<B> y) const {
        std::visit([&](const auto& j) { j.apply(b, x, y); }, j_);
    }
    void apply_adjoint(B& b, const_view_t<B> y, view_t<B> x) const {
        std::visit([&](const auto& j) { j.apply_adjoint(b, y, x); }, j_);
    }
    [[nodiscard]] jacobian_operator items(index_t first, index_t count) const {
        return std::visit([&](const auto& j) { return jacobian_operator(j.items(first, count)); }, j_);
    }

private:
    std::variant<of_gaussian, of_network> j_;
};

template <Backend B, class Net>
class learned<B, Net>::linearization {
public:
    using of_network = typename network_type::linearization;
    using of_gaussian = diffusion::gaussian_linearization<B>;

    explicit linearization(of_gaussian l) : l_(std::move(l)) {}
    explicit linearization(of_network l) : l_(std::move(l)) {}
    [[nodiscard]] const_view_t<B> mean() const {
        return std::visit([](const auto& l) { return l.mean(); }, l_);
    }
    [[nodiscard]] jacobian_operator jacobian() const {
        return std::visit([](const auto& l) { return jacobian_operator(l.jacobian()); }, l_);
    }

private:
    std::variant<of_gaussian, of_network> l_;
};

/// A run that learns such a prior.
template <Backend B, class Net = model::any_network<B>>
using run = basic_run<learned<B, Net>, const_view_t<B>>;

/// Fills x (D x n) with samples of the prior itself: of a Gaussian in closed form, of a network by a sampler. Item i is a
/// function of the key and i. Returns whether all are drawn, see `diffusion::sample` for `cancel` and `ranks`.
template <Backend B, class Net, parallel::Communicator C = parallel::self>
bool sample(B& b, const learned<B, Net>& prior, const diffusion::sampling_options& sampling, const random_key& key,
            view_t<B> x, const std::atomic<bool>* cancel = nullptr, const C& ranks = {}) {
    if (prior.has_network())
        return diffusion::sample(b, prior, sampling, {prior.mean(), prior.estimate()}, key, x, cancel, ranks);
    prior.estimate()->sample(b, key.with_lane(random_lane::prior_sample), x);
    return true;
}
/// The same by the prior's own sampler.
template <Backend B, class Net>
bool sample(B& b, const learned<B, Net>& prior, const random_key& key, view_t<B> x) {
    return sample(b, prior, prior.drawing.sampling, key, x);
}

}  // namespace diem::prior
