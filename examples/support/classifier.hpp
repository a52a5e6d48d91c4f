// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/backend/functors.hpp>
#include <diem/core/check.hpp>
#include <diem/linop/subsample.hpp>
#include <diem/nn/activation.hpp>
#include <diem/nn/conv_plan.hpp>
#include <diem/nn/layer_parameters.hpp>
#include <diem/nn/linear.hpp>
#include <diem/nn/norm.hpp>
#include <diem/nn/parameters.hpp>

/// A small classifier of images, for evaluation only: the features and probabilities of samples are compared with those of
/// real images where the weights of Inception-v3 are not at hand. What comes of it is no FID and no Inception score.
namespace support {

using diem::index_t;

struct classifier_config {
    diem::nn::image_shape shape{32, 32, 3};
    std::vector<index_t> channels{32, 64, 64, 128, 128};  ///< of each layer's result; the last are the features
    std::vector<index_t> strides{1, 2, 1, 2, 1};
    index_t classes = 10;
};

/// -log softmax(z)[label] of each item (log-sum-exp, so that nothing overflows), and z_bar = (softmax(z) - e_label) scale.
template <class T>
struct cross_entropy_body {
    index_t classes;
    double scale;
    DIEM_HOST_DEVICE void operator()(index_t i, const T* z_, const int* label, T* z_bar_, double* loss) const {
        const T* const z = z_ + i * classes;
        T* const z_bar = z_bar_ + i * classes;
        double top = static_cast<double>(z[0]), sum = 0;
        for (index_t k = 1; k < classes; ++k) top = top < static_cast<double>(z[k]) ? static_cast<double>(z[k]) : top;
        using std::exp;
        using std::log;
        for (index_t k = 0; k < classes; ++k) sum += exp(static_cast<double>(z[k]) - top);
        loss[i] = log(sum) + top - static_cast<double>(z[label[i]]);
        for (index_t k = 0; k < classes; ++k)
            z_bar[k] =
                static_cast<T>(scale * (exp(static_cast<double>(z[k]) - top) / sum - (k == label[i] ? 1.0 : 0.0)));
    }
};

/// h_0 = x, h_k = SiLU(conv3x3(norm(h_(k-1)))) without the norm for k = 1, features = mean of the last h over its pixels,
/// logits = W' features + c. Parameters `conv<k>.kernel`, `conv<k>.bias`, `head.weight`, `head.bias`.
template <diem::Backend B>
class classifier {
    struct layer {
        diem::nn::conv_plan<B> conv;
        std::array<diem::nn::parameter, 2> p;
    };
    /// Of one layer: h_(k-1) and its norm (neither for the first), the slope of SiLU.
    struct saved {
        diem::batch<B> before, normed, slope;
    };

public:
    struct result {
        diem::batch<B> features, logits;  ///< (last of channels) x items, classes x items
    };

    /// With parameters U(-1, 1) / sqrt(fan in), biases zero. Throws shape_error where the last image is not square.
    classifier(B& b, classifier_config config, diem::random_key key = {}) : config_(std::move(config)) {
        auto shape = config_.shape;
        for (std::size_t k = 0; k < config_.channels.size(); ++k) {
            const diem::nn::conv_shape s{shape, config_.channels[k], 3, config_.strides.at(k)};
            const auto p = diem::nn::add_conv(table_, "conv" + std::to_string(k), s);
            layers_.push_back({diem::nn::conv_plan<B>(s), p});
            shape = s.result();
        }
        diem::check_size("classifier", "width of the last image", shape.width, shape.height);
        last_ = shape;
        head_ = diem::nn::add_linear(table_, "head", features(), config_.classes);
        parameters_ = diem::batch<B>(b, table_.size(), 1);
        diem::nn::initialize<B>(b, table_, key, mutable_parameters());
    }

    [[nodiscard]] const classifier_config& config() const { return config_; }
    [[nodiscard]] index_t features() const { return last_.channels; }
    [[nodiscard]] const diem::nn::parameter_table& table() const { return table_; }
    [[nodiscard]] diem::const_vector_t<B> parameters() const { return parameters_.flat(); }
    /// To be asked for again before each later write.
    [[nodiscard]] diem::vector_t<B> mutable_parameters() {
        for (layer& l : layers_) l.conv.changed();
        return parameters_.flat();
    }

    /// Kept for the gradient of so many images: input, norm and slope of each layer.
    [[nodiscard]] std::size_t activation_bytes(index_t items) const {
        index_t each = 0;
        for (const layer& l : layers_)
            each +=
                l.conv.shape().result().features() + (&l == &layers_.front() ? 0 : 2 * l.conv.shape().in.features());
        return static_cast<std::size_t>(each * items) * sizeof(diem::scalar_t<B>);
    }

    /// `part` images at a time.
    [[nodiscard]] result forward(B& b, diem::const_view_t<B> x, index_t part = 256) {
        result r{{b, features(), x.items()}, {b, config_.classes, x.items()}};
        for (index_t i = 0; i < x.items(); i += part) {
            const index_t n = std::min(part, x.items() - i);
            run(b, x.item_range(i, n), r.features.view().item_range(i, n), r.logits.view().item_range(i, n), nullptr);
        }
        return r;
    }

    /// Mean cross-entropy of a batch and its gradient (overwritten). label[i] in 0 .. classes - 1.
    double gradient(B& b, diem::const_view_t<B> x, diem::const_vector_t<B, int> label, diem::vector_t<B> grad) {
        const index_t n = x.items();
        diem::check_size("classifier::gradient", "label.size()", label.size(), n);
        diem::check_size("classifier::gradient", "grad.size()", grad.size(), table_.size());
        std::vector<saved> kept;
        diem::batch<B> f(b, features(), n), z(b, config_.classes, n);
        diem::batch<B, double> loss(b, n, 1);
        run(b, x, f, z, &kept);
        b.launch(n, 3 * config_.classes,
                 cross_entropy_body<diem::scalar_t<B>>{config_.classes, 1 / static_cast<double>(n)}, z.cview().data(),
                 label.data(), z.view().data(), loss.view().data());
        diem::nn::linear_vjp_params<B>(b, f, z, head_[0].of(grad), head_[1].of(grad));
        diem::nn::linear_vjp<B>(b, z, head_[0].of(parameters()), f);
        diem::batch<B> h_bar(b, last_.features(), n);
        pool().template apply_adjoint<B>(b, f, h_bar);
        for (std::size_t k = layers_.size(); k-- > 0;) {
            layer& l = layers_[k];
            const saved& s = kept[k];
            b.map(diem::functors::multiply{}, h_bar.view(), s.slope.cview());
            l.conv.vjp_params(b, k == 0 ? x : s.normed.cview(), h_bar, l.p[0].of(grad), l.p[1].of(grad));
            if (k == 0) break;
            diem::batch<B> below(b, s.before.features(), n);
            l.conv.vjp(b, h_bar, l.p[0].of(parameters()), below);
            const auto g = pixels(l, below.view());
            diem::nn::layer_norm_vjp<B>(b, pixels(l, s.before.cview()), g, g);
            h_bar = std::move(below);
        }
        double sum = 0;
        for (const double each : diem::to_host(b, loss)) sum += each;
        return sum / static_cast<double>(n);
    }

private:
    void run(B& b, diem::const_view_t<B> x, diem::view_t<B> f, diem::view_t<B> z, std::vector<saved>* kept) {
        diem::check_size("classifier", "x.features()", x.features(), config_.shape.features());
        const index_t n = x.items();
        diem::batch<B> h, normed, slope;
        for (layer& l : layers_) {
            diem::const_view_t<B> in = x;
            if (&l != &layers_.front()) {
                normed = diem::batch<B>(b, h.features(), n);
                diem::nn::layer_norm_forward<B>(b, pixels(l, h.cview()), pixels(l, normed.view()));
                in = normed;
            }
            diem::batch<B> y(b, l.conv.shape().result().features(), n);
            l.conv.forward(b, in, l.p[0].of(parameters()), l.p[1].of(parameters()), y);
            if (kept) {
                slope = diem::batch<B>(b, y.features(), n);
                diem::nn::silu_forward_slope<B>(b, y, y, slope);
                kept->push_back({std::move(h), std::move(normed), std::move(slope)});
            } else {
                diem::nn::silu_forward<B>(b, y, y);
            }
            h = std::move(y);
        }
        pool().template apply<B>(b, h, f);
        diem::nn::linear_forward<B>(b, f, head_[0].of(parameters()), head_[1].of(parameters()), z);
    }
    /// The input of a layer, one column per pixel.
    template <class P>
    [[nodiscard]] static diem::batch_view<P> pixels(const layer& l, const diem::batch_view<P>& v) {
        const auto& in = l.conv.shape().in;
        return v.reshaped(in.channels, in.pixels() * v.items());
    }
    [[nodiscard]] diem::linop::subsample pool() const {
        return {last_.height, last_.width, last_.channels, last_.height};
    }

    classifier_config config_;
    diem::nn::parameter_table table_;
    std::vector<layer> layers_;
    diem::nn::image_shape last_;
    std::array<diem::nn::parameter, 2> head_;
    diem::batch<B> parameters_;
};

}  // namespace support
