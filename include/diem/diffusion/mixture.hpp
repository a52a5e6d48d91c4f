// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstddef>
#include <utility>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/backend/concept.hpp>
#include <diem/backend/reference.hpp>
#include <diem/core/check.hpp>
#include <diem/core/random.hpp>
#include <diem/diffusion/concept.hpp>
#include <diem/diffusion/mixture_body.hpp>
#include <diem/diffusion/mixture_parameters.hpp>
#include <diem/linop/concept.hpp>

/// \file
/// A mixture of Gaussians as a prior, for few features.
/// \snippet tests/examples/diffusion.cpp diffusion/mixture.hpp

namespace diem::diffusion {

/// One dense symmetric D x D matrix per item, seen as an operator: refers to memory of its linearization.
template <Backend B>
class mixture_jacobian {
    using T = scalar_t<B>;

public:
    using operator_tag = linop::symmetric_tag;
    mixture_jacobian(index_t features, const_view_t<B> matrices) : features_(features), matrices_(matrices) {}

    [[nodiscard]] index_t rows() const { return features_; }
    [[nodiscard]] index_t cols() const { return features_; }
    [[nodiscard]] index_t items() const { return matrices_.items(); }
    /// D^2 x n: the matrices, column-major.
    [[nodiscard]] const_view_t<B> matrices() const { return matrices_; }
    void apply(B& b, const_view_t<B> x, view_t<B> y) const {
        check_shape("mixture_jacobian", "x", x, features_, items());
        check_shape("mixture_jacobian", "y", y, features_, items());
        b.gemm_batched(T(1), as_matrices(matrices_, features_, features_), op::none, as_columns(x), op::none, T(0),
                       as_columns(y));
    }
    void apply_adjoint(B& b, const_view_t<B> y, view_t<B> x) const { apply(b, y, x); }
    [[nodiscard]] mixture_jacobian items(index_t first, index_t count) const {
        return {features_, matrices_.item_range(first, count)};
    }

private:
    index_t features_;
    const_view_t<B> matrices_;
};

template <Backend B>
class mixture_linearization {
public:
    mixture_linearization(batch<B> mean, batch<B> jacobian) : mean_(std::move(mean)), jacobian_(std::move(jacobian)) {}
    [[nodiscard]] const_view_t<B> mean() const { return mean_.view(); }
    [[nodiscard]] mixture_jacobian<B> jacobian() const { return {mean_.features(), jacobian_.view()}; }

private:
    batch<B> mean_, jacobian_;
};

/// A mixture of K Gaussians with full covariances as a score model, for small D:
///
///     E[x | x_t] = sum_k w_k h_k,  w_k ~ weight_k N(x_t; m_k, C_k + sigma^2 I),  h_k = m_k + C_k (C_k + sigma^2 I)^-1 (x_t - m_k),
///     J = sum_k w_k (C_k (C_k + sigma^2 I)^-1 + (h_k - x_hat)(h_k - x_hat)' / sigma^2) = Cov[x | x_t] / sigma^2,
///
/// exact and symmetric. The covariances are diagonalised once, C_k = Q_k diag(l_k) Q_k', so that no noise level needs a
/// factorisation; everything is computed in double. Cost per item O(K D^2), with the Jacobian O(K D^3).
template <Backend B>
class mixture {
    using T = scalar_t<B>;
    template <class U>
    using pointer = typename B::template pointer<U>;

public:
    using score_model_tag = diffusion::score_model_tag;

    /// Weights are normalised; covariances may be singular. Throws shape_error; value_error where a parameter is not
    /// valid, or a covariance has an eigenvalue below -1e-6 of its largest.
    mixture(B& b, const mixture_parameters& p) : features_(p.features), components_(p.components()) {
        p.check("mixture");
        const auto d = static_cast<std::size_t>(features_);
        std::vector<double> q = p.cov, l(d * p.weight.size()), log_weight;
        double sum = 0;
        for (const double w : p.weight) sum += w;
        reference_backend<double> host;
        for (index_t k = 0; k < components_; ++k) {
            double* const values = l.data() + k * features_;
            host.eigh(host_view<double>(q.data() + k * features_ * features_, features_, features_),
                      host_vector<double>(values, features_));
            for (index_t j = 0; j < features_; ++j) {
                check_value("mixture", values[j] >= -1e-6 * values[features_ - 1], "cov has a negative eigenvalue");
                if (values[j] < 0) values[j] = 0;
            }
            log_weight.push_back(std::log(p.weight[static_cast<std::size_t>(k)] / sum));
        }
        log_weight_ = to_backend(b, log_weight, components_, 1);
        mean_ = to_backend(b, p.mean, features_, components_);
        q_ = to_backend(b, q, features_ * features_, components_);
        l_ = to_backend(b, l, features_, components_);
    }

    [[nodiscard]] index_t features() const { return features_; }
    [[nodiscard]] index_t components() const { return components_; }

    void denoise(B& b, const_view_t<B> x_t, noise_level<B> sigma, view_t<B> x_hat) const {
        evaluate(b, x_t, sigma, x_hat, pointer<T>{});
    }
    [[nodiscard]] mixture_linearization<B> linearize(B& b, const_view_t<B> x_t, noise_level<B> sigma) const {
        batch<B> x_hat(b, features_, x_t.items()), jacobian(b, features_ * features_, x_t.items());
        evaluate(b, x_t, sigma, x_hat.view(), jacobian.view().data());
        return {std::move(x_hat), std::move(jacobian)};
    }

    /// Direct draws (see random_lane::prior_sample): a component, then its square root times D normals, in double.
    void sample(B& b, const random_key& key, view_t<B> x) const {
        check_shape("mixture::sample", "x", x, features_, x.items());
        batch<B, double> work(b, features_, x.items());
        b.launch(x.items(), features_ * features_, detail::mixture_draw<T>{features_, components_, x.stride(), key},
                 log_weight(), mean(), q(), l(), x.data(), work.view().data());
    }
    /// out_i = log density of x_t at this noise level >= 0; sigma 0 needs covariances that are not singular.
    void log_density(B& b, const_view_t<B> x, double sigma, vector_t<B, double> out) const {
        check_shape("mixture::log_density", "x", x, features_, x.items());
        check_size("mixture::log_density", "out.size()", out.size(), x.items());
        check_value("mixture::log_density", sigma >= 0 && std::isfinite(sigma), "sigma is not finite and >= 0");
        batch<B, double> work(b, components_ + features_, x.items());
        b.launch(x.items(), components_ * features_ * features_,
                 detail::mixture_log_density<T>{features_, components_, x.stride(), sigma}, log_weight(), mean(), q(),
                 l(), pointer<const T>(x.data()), out.data(), work.view().data());
    }

private:
    void evaluate(B& b, const_view_t<B> x_t, const noise_level<B>& sigma, view_t<B> x_hat, pointer<T> jacobian) const {
        check_shape("mixture", "x_t", x_t, features_, x_t.items());
        check_shape("mixture", "x_hat", x_hat, features_, x_t.items());
        if (sigma.shared())
            check_positive("mixture", "sigma", sigma.common());
        else
            check_size("mixture", "sigma", sigma.per_item().size(), x_t.items());
        const bool derivative = !(jacobian == pointer<T>{});
        const detail::mixture_denoise<T> f{features_,  components_,  sigma.common(), sigma.shared(),
                                           derivative, x_t.stride(), x_hat.stride()};
        batch<B, double> work(b, f.work_size(), x_t.items());
        b.launch(x_t.items(), components_ * features_ * features_ * (derivative ? features_ : 4), f, log_weight(),
                 mean(), q(), l(), pointer<const T>(sigma.per_item().data()), pointer<const T>(x_t.data()),
                 x_hat.data(), jacobian, work.view().data());
    }
    [[nodiscard]] pointer<const double> log_weight() const { return log_weight_.view().data(); }
    [[nodiscard]] pointer<const double> mean() const { return mean_.view().data(); }
    [[nodiscard]] pointer<const double> q() const { return q_.view().data(); }
    [[nodiscard]] pointer<const double> l() const { return l_.view().data(); }

    index_t features_, components_;
    batch<B, double> log_weight_, mean_, q_, l_;
};

}  // namespace diem::diffusion
