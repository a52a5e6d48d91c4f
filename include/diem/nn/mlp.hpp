// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/backend/concept.hpp>
#include <diem/backend/functors.hpp>
#include <diem/core/check.hpp>
#include <diem/nn/activation.hpp>
#include <diem/nn/detail/gemm.hpp>
#include <diem/nn/linear.hpp>
#include <diem/nn/network.hpp>
#include <diem/nn/norm.hpp>
#include <diem/nn/parameters.hpp>
#include <diem/nn/resample.hpp>

/// \file
/// A multilayer perceptron.
/// \snippet tests/examples/nn.cpp nn/mlp.hpp

namespace diem::nn {

struct mlp_config {
    index_t features = 0;
    std::vector<index_t> hidden{256, 256, 256};
    index_t embedding = 64;  ///< even, >= 4
    bool normalize = true;   ///< layer norm after each activation
};

/// Linear, SiLU, layer norm (where `normalize`), ..., Linear, on (x, t) concatenated. The norm follows the activation.
/// Parameters `lin<k>.weight` (in, out), `lin<k>.bias`, k = 0 .. hidden layers.
template <Backend B>
class mlp {
    using T = scalar_t<B>;
    struct layer {
        index_t in, out;
        parameter weight, bias;
    };

public:
    /// Kept by a forward pass: per hidden layer SiLU and its slope; with parameters also the input.
    class activations {
        friend class mlp;
        std::vector<batch<B>> value_, slope_;
        batch<B> input_;
        bool parameters_ = false;
    };

    /// Throws value_error where a size is not positive.
    explicit mlp(mlp_config config) : config_(std::move(config)) {
        check_value("nn::mlp", config_.features > 0, "features < 1");
        check_value("nn::mlp", config_.embedding >= 4 && config_.embedding % 2 == 0, "embedding is not even and >= 4");
        std::vector<index_t> sizes{config_.features + config_.embedding};
        sizes.insert(sizes.end(), config_.hidden.begin(), config_.hidden.end());
        sizes.push_back(config_.features);
        for (std::size_t k = 0; k + 1 < sizes.size(); ++k) {
            check_value("nn::mlp", sizes[k + 1] > 0, "a hidden layer has size < 1");
            const std::string name = "lin" + std::to_string(k);
            const index_t in = sizes[k], out = sizes[k + 1];
            layer l{in, out, {}, {}};
            l.weight = table_.add(name + ".weight", {in, out}, 1 / std::sqrt(static_cast<double>(in)));
            l.bias = table_.add(name + ".bias", {out}, 0);
            layers_.push_back(std::move(l));
        }
    }

    [[nodiscard]] const mlp_config& config() const { return config_; }
    [[nodiscard]] const parameter_table& parameters() const { return table_; }
    [[nodiscard]] index_t features() const { return config_.features; }
    [[nodiscard]] index_t embedding() const { return config_.embedding; }
    /// See `Network`.
    [[nodiscard]] index_t block_unit() const { return items_of_whole_columns(1); }
    void parameters_changed() {}

    void forward(B& b, const_vector_t<B> p, const_view_t<B> x, const_view_t<B> t, view_t<B> y) {
        run(b, p, x, t, y, save_options{}, nullptr);
    }
    void forward(B& b, const_vector_t<B> p, const_view_t<B> x, const_view_t<B> t, view_t<B> y,
                 const save_options& options, activations& saved) {
        run(b, p, x, t, y, options, &saved);
    }

    void jvp(B& b, const_vector_t<B> p, const activations& saved, const_view_t<B> x_dot, view_t<B> y_dot) {
        check_saved("nn::mlp::jvp", saved, x_dot, y_dot);
        batch<B> u;
        for (std::size_t k = 0; k < layers_.size(); ++k) {
            const layer& l = layers_[k];
            const bool last = k + 1 == layers_.size();
            batch<B> next = last ? batch<B>() : batch<B>(b, l.out, x_dot.items());
            const view_t<B> out = last ? y_dot : next.view();
            if (k == 0)  // the rows of the weight that belong to x
                detail::gemm<B>(b, T(1), const_view_t<B>(p.data() + l.weight.offset, l.out, config_.features), op::none,
                                x_dot, op::none, T(0), out);
            else
                linear_jvp<B>(b, u, l.weight.of(p), out);
            if (last) break;
            b.map(functors::multiply{}, out, saved.slope_[k].cview());
            if (config_.normalize) layer_norm_jvp<B>(b, saved.value_[k], out, out);
            u = std::move(next);
        }
    }
    void vjp(B& b, const_vector_t<B> p, const activations& saved, const_view_t<B> y_bar, view_t<B> x_bar) {
        check_saved("nn::mlp::vjp", saved, y_bar, x_bar);
        backward(b, p, saved, y_bar, vector_t<B>(), update::overwrite, x_bar);
    }
    void vjp_params(B& b, const_vector_t<B> p, const activations& saved, const_view_t<B> y_bar, vector_t<B> grad,
                    update mode, view_t<B> x_bar = {}) {
        check_saved("nn::mlp::vjp_params", saved, y_bar, y_bar);
        check_value("nn::mlp::vjp_params", saved.parameters_, "the forward pass did not save for parameters");
        check_size("nn::mlp::vjp_params", "grad.size()", grad.size(), table_.size());
        backward(b, p, saved, y_bar, grad, mode, x_bar);
    }

    /// Bytes that `activations` own.
    [[nodiscard]] std::size_t activation_bytes(index_t items, const save_options& options,
                                               index_t /*embeddings*/ = 1) const {
        index_t each = options.parameters ? layers_.front().in : 0;
        for (const index_t h : config_.hidden) each += 2 * h;
        return static_cast<std::size_t>(each * items) * sizeof(T);
    }

private:
    void check_saved(const char* where, const activations& saved, const_view_t<B> in, const_view_t<B> out) const {
        check_value(where, saved.value_.size() + 1 == layers_.size(), "nothing was saved by this network");
        const index_t n = saved.value_.empty() ? in.items() : saved.value_.front().items();
        check_shape(where, "input", in, config_.features, n);
        check_shape(where, "result", out, config_.features, n);
    }
    void run(B& b, const_vector_t<B> p, const_view_t<B> x, const_view_t<B> t, view_t<B> y, const save_options& options,
             activations* saved) {
        const index_t n = x.items();
        check_size("nn::mlp", "parameters", p.size(), table_.size());
        check_size("nn::mlp", "x.features()", x.features(), config_.features);
        check_shape("nn::mlp", "y", y, config_.features, n);
        check_size("nn::mlp", "t.features()", t.features(), config_.embedding);
        if (t.items() != 1) check_size("nn::mlp", "t.items()", t.items(), n);
        if (saved) *saved = activations();
        batch<B> u(b, layers_.front().in, n);
        b.axpby(1.0, x, 0.0, u.view().feature_range(0, config_.features));
        const view_t<B> place = u.view().feature_range(config_.features, config_.embedding);
        if (t.items() == 1)
            b.map(functors::assign{}, place, per_feature{const_vector_t<B>(t.data(), t.features())});
        else
            b.axpby(1.0, t, 0.0, place);
        for (std::size_t k = 0; k < layers_.size(); ++k) {
            const layer& l = layers_[k];
            const bool last = k + 1 == layers_.size();
            batch<B> next = last ? batch<B>() : batch<B>(b, l.out, n);
            linear_forward<B>(b, u, l.weight.of(p), l.bias.of(p), last ? y : next.view());
            if (k == 0 && saved && options.parameters) saved->input_ = std::move(u);
            if (last) break;
            if (saved) {
                batch<B> value(b, l.out, n), slope(b, l.out, n);
                silu_forward_slope<B>(b, next, value, slope);
                if (config_.normalize)
                    layer_norm_forward<B>(b, value, next);
                else
                    b.copy(value.cview(), next.view());
                saved->value_.push_back(std::move(value));
                saved->slope_.push_back(std::move(slope));
            } else {
                silu_forward<B>(b, next, next);
                if (config_.normalize) layer_norm_forward<B>(b, next, next);
            }
            u = std::move(next);
        }
        if (saved) saved->parameters_ = options.parameters;
    }
    void backward(B& b, const_vector_t<B> p, const activations& saved, const_view_t<B> y_bar, vector_t<B> grad,
                  update mode, view_t<B> x_bar) {
        const index_t n = y_bar.items();
        const bool params = grad.size() > 0;
        batch<B> u;  // cotangent of the result of layer k, but for the last
        for (std::size_t k = layers_.size(); k-- > 0;) {
            const layer& l = layers_[k];
            const const_view_t<B> g = k + 1 == layers_.size() ? y_bar : u.cview();
            if (params) {
                batch<B> input;
                const_view_t<B> in = saved.input_;
                if (k > 0) in = saved.value_[k - 1];
                if (k > 0 && config_.normalize) {
                    input = batch<B>(b, l.in, n);
                    layer_norm_forward<B>(b, in, input);
                    in = input;
                }
                linear_vjp_params<B>(b, in, g, l.weight.of(grad), l.bias.of(grad), mode);
            }
            if (k == 0) {
                if (x_bar.features() > 0)
                    detail::gemm<B>(b, T(1), const_view_t<B>(p.data() + l.weight.offset, l.out, config_.features),
                                    op::transpose, g, op::none, T(0), x_bar);
                break;
            }
            batch<B> next(b, l.in, n);
            linear_vjp<B>(b, g, l.weight.of(p), next);
            if (config_.normalize) layer_norm_vjp<B>(b, saved.value_[k - 1], next, next);
            b.map(functors::multiply{}, next.view(), saved.slope_[k - 1].cview());
            u = std::move(next);
        }
    }

    mlp_config config_;
    parameter_table table_;
    std::vector<layer> layers_;
};

}  // namespace diem::nn
