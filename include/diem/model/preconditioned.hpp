// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstddef>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/backend/capabilities.hpp>
#include <diem/backend/concept.hpp>
#include <diem/backend/functors.hpp>
#include <diem/core/check.hpp>
#include <diem/diffusion/concept.hpp>
#include <diem/diffusion/gaussian.hpp>
#include <diem/linop/concept.hpp>
#include <diem/model/detail/coefficients.hpp>
#include <diem/model/detail/network_blocks.hpp>
#include <diem/model/gaussian_skip.hpp>
#include <diem/model/parameterization.hpp>
#include <diem/nn/embedding.hpp>
#include <diem/nn/network.hpp>

/// \file
/// A network as a denoiser.
/// \snippet tests/examples/model.cpp model/preconditioned.hpp

namespace diem::model {

/// Training: dropout, and which items it is drawn for.
struct training {
    double dropout = 0;
    random_key key{};  ///< seed, step and first item; the lane is `random_lane::dropout`
};

template <Backend B, class Net>
class preconditioned;

/// What `preconditioned::linearize` returns; refers to the model, whose parameters must not change meanwhile.
template <Backend B, class Net>
class preconditioned_linearization {
public:
    /// J = c_skip I + c_out c_in J_net (with a `gaussian_skip`, S instead of c_skip I), for all items or a range of them.
    class jacobian_operator {
    public:
        using operator_tag = linop::linear_tag;
        jacobian_operator(const preconditioned_linearization& owner, index_t first, index_t count)
            : owner_(&owner), first_(first), count_(count) {}
        [[nodiscard]] index_t rows() const { return owner_->x_hat_.features(); }
        [[nodiscard]] index_t cols() const { return owner_->x_hat_.features(); }
        [[nodiscard]] index_t items() const { return count_; }
        void apply(B& b, const_view_t<B> x_dot, view_t<B> y_dot) const { run<false>(b, x_dot, y_dot); }
        void apply_adjoint(B& b, const_view_t<B> y_bar, view_t<B> x_bar) const { run<true>(b, y_bar, x_bar); }
        /// A range that is not the whole costs as much as the whole: the other items are taken as zero.
        [[nodiscard]] jacobian_operator items(index_t first, index_t count) const {
            return {*owner_, first_ + first, count};
        }

    private:
        template <bool adjoint>  // known when compiled: a posterior needs no JVP of any layer
        void run(B& b, const_view_t<B> in, view_t<B> out) const {
            const index_t all = owner_->x_hat_.items();
            check_shape("model::jacobian", "input", in, rows(), count_);
            check_shape("model::jacobian", "result", out, rows(), count_);
            if (count_ == all) return owner_->template derivative<adjoint>(b, in, out);
            batch<B> wide_in(b, rows(), all), wide_out(b, rows(), all);
            b.fill(wide_in.view(), scalar_t<B>(0));
            b.copy(in, wide_in.view().item_range(first_, count_));
            owner_->template derivative<adjoint>(b, wide_in, wide_out);
            b.copy(wide_out.cview().item_range(first_, count_), out);
        }
        const preconditioned_linearization* owner_;
        index_t first_, count_;
    };

    /// x_hat = E[x | x_t].
    [[nodiscard]] const_view_t<B> mean() const { return x_hat_; }
    [[nodiscard]] jacobian_operator jacobian() const { return {*this, 0, x_hat_.items()}; }

    /// Gradient of <x_hat_bar, x_hat> with respect to all parameters; only after `linearize` with `training`.
    void vjp_params(B& b, const_view_t<B> x_hat_bar, vector_t<B> grad, nn::update mode) const {
        check_shape("model::vjp_params", "x_hat_bar", x_hat_bar, x_hat_.features(), x_hat_.items());
        batch<B> y_bar(b, x_hat_bar.features(), x_hat_bar.items());
        coefficients_.scale(b, table::out, x_hat_bar, y_bar);
        blocks::vjp_params(b, model_->net_, model_->parameters(), saved_, y_bar, grad, mode);
    }

private:
    friend class preconditioned<B, Net>;
    using table = detail::coefficient_table<B>;
    using blocks = detail::network_blocks<B, Net>;

    explicit preconditioned_linearization(preconditioned<B, Net>& model) : model_(&model) {}

    template <bool adjoint>
    void derivative(B& b, const_view_t<B> in, view_t<B> out) const {
        blocks::template derivative<adjoint>(b, model_->net_, model_->parameters(), saved_, in, out);
        coefficients_.combine(b, table::skip, in, table::in_out, out);
        if (model_->skip_) model_->skip_->add(b, gains_, in, out);
    }

    preconditioned<B, Net>* model_;
    detail::coefficient_table<B> coefficients_;
    typename blocks::saved saved_;
    batch<B> x_hat_, gains_;
};

/// A network as a denoiser (Karras et al., NeurIPS 2022, arXiv 2206.00364):
///
///     E[x | x_t] ~ c_skip x_t + c_out net(c_in x_t, embedding(c_noise))
///     c_skip = d^2 / (s^2 + d^2), c_out = s d / sqrt(s^2 + d^2), c_in = 1 / sqrt(s^2 + d^2), d = sigma_data
/// with c_noise = log s (Karras: log(s) / 4), or as another `parameterization` has them. c_skip x_t is the denoiser of
/// N(0, d^2 I); with `set_skip` that of a Gaussian estimate of the data takes its place, which leaves less to learn, and
/// V = s^2 J' nearly right where s is large:
///     E[x | x_t] ~ mu + S (x_t - mu) + c_out net(c_in x_t, embedding(c_noise)),  S: see `gaussian_skip`
/// Sharing one sigma, embedding and modulations are computed once for the batch, or for each of its blocks, which threads take.
/// Not to be used from two threads at once: the network keeps prepared weights.
template <Backend B, class Net>
class preconditioned {
public:
    using score_model_tag = diffusion::score_model_tag;
    using network = Net;
    using linearization = preconditioned_linearization<B, Net>;

    /// Weights uninitialised: see `initialize`.
    preconditioned(B& b, Net net, preconditioning options = {})
        : net_(std::move(net)), options_(std::move(options)), parameters_(b, net_.parameters().size(), 1) {
        check_positive("model::preconditioned", "sigma_data", options_.sigma_data);
        check_parameterization(options_.form);
        for (const double s : options_.form.sigmas) logs_.push_back(std::log(s));
    }
    /// Another one of the same weights, in memory of its own; the skip connection, which never changes, is shared.
    preconditioned(B& b, const preconditioned& other) : preconditioned(b, Net(other.net_.config()), other.options_) {
        b.copy(other.parameters_.view(), parameters_.view());
        skip_ = other.skip_;
        skip_gaussian_ = other.skip_gaussian_;
    }

    [[nodiscard]] index_t features() const { return net_.features(); }
    [[nodiscard]] const Net& net() const { return net_; }
    /// Classes of a network that has them: see `nn::ddpm_unet::set_labels`.
    void set_labels(std::vector<index_t> labels)
        requires requires(Net& n) { n.set_labels(labels); }
    {
        net_.set_labels(std::move(labels));
    }
    [[nodiscard]] const preconditioning& options() const { return options_; }
    [[nodiscard]] const nn::parameter_table& table() const { return net_.parameters(); }
    [[nodiscard]] const_vector_t<B> parameters() const { return parameters_.flat(); }
    /// For writing; whoever keeps this view calls `parameters_changed` after every later write.
    [[nodiscard]] vector_t<B> mutable_parameters() {
        net_.parameters_changed();
        return parameters_.flat();
    }
    /// Null where there is none.
    [[nodiscard]] const gaussian_skip<B>* skip() const { return skip_.get(); }
    /// From now on the network adds to this Gaussian's denoiser; nothing: to that of N(0, sigma_data^2 I) again.
    void set_skip(B& b, const std::optional<diffusion::gaussian<B>>& prior) {
        if (prior) {
            check_size("model::set_skip", "prior.features()", prior->features(), features());
            check_value("model::set_skip", options_.form.predicts == prediction::residual,
                        "the network does not predict a residual");
        }
        skip_ = prior ? std::make_shared<const gaussian_skip<B>>(b, *prior) : nullptr;
        skip_gaussian_ = prior;
    }
    /// The Gaussian that the skip connection was made of; null where there is none.
    [[nodiscard]] const diffusion::gaussian<B>* skip_gaussian() const {
        return skip_gaussian_ ? &*skip_gaussian_ : nullptr;
    }
    /// Drops what was prepared from the old values.
    void parameters_changed() { net_.parameters_changed(); }
    /// Initial weights of the reference: U(-1, 1) / sqrt(fan in), biases zero.
    void initialize(B& b, random_key key) { nn::initialize<B>(b, table(), key, mutable_parameters()); }

    void denoise(B& b, const_view_t<B> x_t, diffusion::noise_level<B> sigma, view_t<B> x_hat) {
        check_arguments("model::denoise", x_t, sigma);
        check_shape("model::denoise", "x_hat", x_hat, x_t.features(), x_t.items());
        batch<B> noise;
        const coefficients c(b, sigma, rule(), logs_, noise);
        const batch<B> embedding = embed(b, std::move(noise));
        batch<B> scaled(b, x_t.features(), x_t.items());
        c.scale(b, coefficients::in, x_t, scaled);
        blocks::forward(b, net_, parameters(), scaled, embedding, x_hat);
        add_skip(b, c, skip_ ? skip_->gains(b, sigma) : batch<B>(), x_t, x_hat);
    }

    /// For JVPs and VJPs with respect to x_t.
    [[nodiscard]] linearization linearize(B& b, const_view_t<B> x_t, diffusion::noise_level<B> sigma) {
        return linearize(b, x_t, sigma, saving(false, false, {}));
    }
    /// For `vjp_params` too, with dropout.
    [[nodiscard]] linearization linearize(B& b, const_view_t<B> x_t, diffusion::noise_level<B> sigma,
                                          const training& options) {
        return linearize(b, x_t, sigma, saving(true, rounds_to_bfloat16(b), options));
    }

    /// Bytes that a linearisation keeps for a batch, in evaluation or in training (with one sigma per item), on that backend.
    [[nodiscard]] std::size_t activation_bytes(const B& b, index_t items, bool for_training = false) const {
        return net_.activation_bytes(items, saving(for_training, rounds_to_bfloat16(b), {}),
                                     for_training ? items : blocks::count(b, net_, items, 1)) +
               static_cast<std::size_t>(features() * items) * sizeof(scalar_t<B>) +
               (skip_ ? static_cast<std::size_t>(skip_->rank() * (for_training ? items : 1)) * sizeof(scalar_t<B>) : 0);
    }

private:
    friend class preconditioned_linearization<B, Net>;
    using coefficients = detail::coefficient_table<B>;
    using blocks = detail::network_blocks<B, Net>;

    void check_arguments(const char* where, const_view_t<B> x_t, const diffusion::noise_level<B>& sigma) const {
        check_size(where, "x_t.features()", x_t.features(), features());
        if (!sigma.shared()) check_size(where, "sigma.size()", sigma.per_item().size(), x_t.items());
    }
    [[nodiscard]] nn::save_options saving(bool parameters, bool rounded, const training& t) const {
        return {parameters, options_.recompute, rounded, t.dropout, t.key.with_lane(random_lane::dropout)};
    }
    linearization linearize(B& b, const_view_t<B> x_t, const diffusion::noise_level<B>& sigma,
                            const nn::save_options& save) {
        check_arguments("model::linearize", x_t, sigma);
        linearization l(*this);
        batch<B> noise;
        l.coefficients_ = coefficients(b, sigma, rule(), logs_, noise);
        const batch<B> embedding = embed(b, std::move(noise));
        batch<B> scaled(b, x_t.features(), x_t.items());
        l.coefficients_.scale(b, coefficients::in, x_t, scaled);
        l.x_hat_ = batch<B>(b, x_t.features(), x_t.items());
        blocks::forward(b, net_, parameters(), scaled, embedding, l.x_hat_, save, l.saved_);
        if (skip_) l.gains_ = skip_->gains(b, sigma);
        add_skip(b, l.coefficients_, l.gains_, x_t, l.x_hat_);
        return l;
    }
    [[nodiscard]] detail::coefficient_rule rule() const { return {options_.form, options_.sigma_data, rest()}; }
    /// Networks with an embedding of one number are given c_noise itself.
    [[nodiscard]] batch<B> embed(B& b, batch<B> noise) const {
        if (net_.embedding() == 1) return noise;
        batch<B> embedding(b, net_.embedding(), noise.items());
        nn::embedding_forward<B>(b, noise, embedding);
        return embedding;
    }
    [[nodiscard]] double rest() const { return skip_ ? skip_->rest() : options_.sigma_data * options_.sigma_data; }
    /// From the network's output to x_hat.
    void add_skip(B& b, const coefficients& c, const batch<B>& gains, const_view_t<B> x_t, view_t<B> x_hat) const {
        if (!skip_) return c.combine(b, coefficients::skip, x_t, coefficients::out, x_hat);
        batch<B> centred(b, x_t.features(), x_t.items());
        b.map(functors::difference{}, centred.view(), x_t, per_feature{skip_->mu()});
        c.combine(b, coefficients::skip, centred.cview(), coefficients::out, x_hat);
        skip_->add(b, gains, centred.cview(), x_hat);
        b.map(functors::add{}, x_hat, per_feature{skip_->mu()});
    }

    Net net_;
    preconditioning options_;
    std::vector<double> logs_;  // of options_.form.sigmas
    batch<B> parameters_;
    std::shared_ptr<const gaussian_skip<B>> skip_;
    std::optional<diffusion::gaussian<B>> skip_gaussian_;
};

}  // namespace diem::model
