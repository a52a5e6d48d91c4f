// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <utility>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/core/random.hpp>
#include <diem/diffusion/concept.hpp>
#include <diem/linop/concept.hpp>
#include <diem/model/preconditioned.hpp>
#include <diem/train/concept.hpp>

namespace diem::test {

struct toy_add {
    template <class V>
    DIEM_HOST_DEVICE void operator()(V& y, const V& x) const {
        y = y + x;
    }
};
/// Multiplies by twice a coin flip, as dropout of rate 0.5 does.
template <class T>
struct toy_dropout {
    random_key key;
    index_t features;
    DIEM_HOST_DEVICE void operator()(index_t i, T* x) const {
        for (index_t j = 0; j < features; ++j)
            x[i * features + j] *=
                bernoulli(key, static_cast<std::uint32_t>(i), static_cast<std::uint32_t>(j), 0.5) ? T(2) : T(0);
    }
};

/// The smallest trainable denoiser: x_hat = W m(x_t) + c, whatever sigma is; m is a dropout mask in training.
template <Backend B>
class toy_model {
    using T = scalar_t<B>;

public:
    using score_model_tag = diffusion::score_model_tag;

    class jacobian_type {
    public:
        using operator_tag = linop::linear_tag;
        jacobian_type(const_view_t<B> w) : w_(w) {}
        [[nodiscard]] index_t rows() const { return w_.features(); }
        [[nodiscard]] index_t cols() const { return w_.items(); }
        [[nodiscard]] index_t items() const { return linop::any_items; }
        [[nodiscard]] jacobian_type items(index_t, index_t) const { return *this; }
        void apply(B& b, const_view_t<B> x, view_t<B> y) const { b.gemm(T(1), w_, op::none, x, op::none, T(0), y); }
        void apply_adjoint(B& b, const_view_t<B> y, view_t<B> x) const {
            b.gemm(T(1), w_, op::transpose, y, op::none, T(0), x);
        }

    private:
        const_view_t<B> w_;
    };

    class linearization {
    public:
        linearization(batch<B> input, batch<B> mean, const_view_t<B> w)
            : input_(std::move(input)), mean_(std::move(mean)), w_(w) {}
        [[nodiscard]] const_view_t<B> mean() const { return mean_.view(); }
        [[nodiscard]] jacobian_type jacobian() const { return w_; }
        void vjp_params(B& b, const_view_t<B> x_hat_bar, vector_t<B> grad, nn::update update) const {
            const index_t d = w_.features();
            const T beta = update == nn::update::overwrite ? T(0) : T(1);
            batch<B> ones(b, 1, x_hat_bar.items());
            b.fill(ones.view(), T(1));
            b.gemm(T(1), x_hat_bar, op::none, input_.view(), op::transpose, beta, view_t<B>(grad.data(), d, d));
            b.gemm(T(1), x_hat_bar, op::none, ones.cview(), op::transpose, beta, view_t<B>(grad.data() + d * d, d, 1));
        }

    private:
        batch<B> input_, mean_;
        const_view_t<B> w_;
    };

    toy_model(B& b, index_t features, std::uint64_t seed)
        : features_(features), weights_(b, features * features + features, 1) {
        b.fill_normal({.seed = seed, .lane = random_lane::initial_weights}, weights_.view());
        b.axpby(0.1, weights_.cview(), 0.0, weights_.view());
    }
    [[nodiscard]] index_t features() const { return features_; }
    [[nodiscard]] vector_t<B> mutable_parameters() { return weights_.flat(); }
    [[nodiscard]] const_vector_t<B> parameters() const { return weights_.flat(); }
    void denoise(B& b, const_view_t<B> x_t, diffusion::noise_level<B>, view_t<B> x_hat) {
        b.gemm(T(1), w(), op::none, x_t, op::none, T(0), x_hat);
        b.map(toy_add{}, x_hat, per_feature{bias()});
    }
    [[nodiscard]] linearization linearize(B& b, const_view_t<B> x_t, diffusion::noise_level<B> sigma,
                                          const model::training& training = {}) {
        batch<B> input(b, features_, x_t.items()), mean(b, features_, x_t.items());
        b.copy(x_t, input.view());
        if (training.dropout > 0)
            b.launch(x_t.items(), features_, toy_dropout<T>{training.key, features_}, input.view().data());
        denoise(b, input.cview(), sigma, mean.view());
        return {std::move(input), std::move(mean), w()};
    }

private:
    [[nodiscard]] const_view_t<B> w() const { return {weights_.view().data(), features_, features_}; }
    [[nodiscard]] const_vector_t<B> bias() const { return weights_.flat().range(features_ * features_, features_); }

    index_t features_;
    batch<B> weights_;
};

}  // namespace diem::test
