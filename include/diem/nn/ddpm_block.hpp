// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <optional>
#include <string>
#include <utility>

#include <diem/backend/batch.hpp>
#include <diem/backend/concept.hpp>
#include <diem/core/check.hpp>
#include <diem/nn/attention.hpp>
#include <diem/nn/conv_plan.hpp>
#include <diem/nn/ddpm_unet_config.hpp>
#include <diem/nn/filtered_resample.hpp>
#include <diem/nn/group_norm.hpp>
#include <diem/nn/layer_parameters.hpp>
#include <diem/nn/linear.hpp>
#include <diem/nn/parameters.hpp>

/// \file
/// Internal: the pieces of a `ddpm_unet`. x, y: items x (H, W, C), contiguous. Cotangents pass through in place of new arrays where shapes
/// allow: `vjp` takes y_bar as `g` and overwrites it.

namespace diem::nn {

/// A group norm with parameters.
template <Backend B>
struct norm_layer {
    group_norm_shape shape;
    parameter gamma, beta;

    norm_layer(parameter_table& table, const std::string& name, const ddpm_unet_config& c, image_shape s)
        : shape{s.pixels(), s.channels, c.groups_of(s.channels), c.epsilon},
          gamma(table.add(name + ".weight", {s.channels}, 0)), beta(table.add(name + ".bias", {s.channels}, 0)) {
        check_value("nn::ddpm_unet", s.channels % shape.groups == 0,
                    name + ": " + std::to_string(s.channels) + " channels are not a multiple of " +
                        std::to_string(shape.groups) + " groups");
    }
    [[nodiscard]] group_norm_map<B> map(const_vector_t<B> p) const { return {gamma.of(p), beta.of(p)}; }
};

/// y = r y.
template <Backend B>
void scale_residual(B& b, double r, view_t<B> y) {
    if (r != 1) b.axpby(0.0, const_view_t<B>(y), r, y);
}

enum class resampling { none, down, up };

/// y = r (s(x) + conv(silu(norm(conv(R silu(norm(x)))))), the inner norm modulated by the embedding (Ho et al., arXiv 2006.11239);
/// R halves or doubles the image or leaves it, s is R with a convolution where channels change or the configuration asks.
template <Backend B>
class ddpm_block {
public:
    struct saved {
        batch<B> table_0, h, table_1;
    };

    ddpm_block(parameter_table& table, const std::string& name, const ddpm_unet_config& c, image_shape in, index_t out,
               resampling r)
        : resampling_(r), in_(in), out_(result_of(in, out, r)), scale_shift_(c.scale_shift), scale_(c.residual_scale),
          norm_0_(table, name + ".norm0", c, in), conv_0_(conv_shape{between(), out, 3, 1}),
          kernel_0_(add_conv(table, name + ".conv0", conv_0_.shape())),
          affine_(add_linear(table, name + ".affine", c.embedding, modulation_features())),
          norm_1_(table, name + ".norm1", c, out_), conv_1_(conv_shape{out_, out, 3, 1}),
          kernel_1_(add_conv(table, name + ".conv1", conv_1_.shape())) {
        const resample_filter f = resample_filter::of(c.filter);
        const image_shape& fine = r == resampling::up ? out_ : in;
        resample_ = {{fine.height, fine.width, in.channels}, f, f.margin()};
        if (in.channels != out || (r != resampling::none && c.skip_conv)) {
            skip_.emplace(conv_shape{between(), out, 1, 1});
            kernel_skip_ = add_conv(table, name + ".skip", skip_->shape());
        }
    }

    [[nodiscard]] image_shape in() const { return in_; }
    [[nodiscard]] image_shape out() const { return out_; }
    void parameters_changed() {
        conv_0_.changed();
        conv_1_.changed();
    }
    /// Numbers that `saved` owns for an item.
    [[nodiscard]] index_t saved_features() const { return 4 * in_.channels + out_.features() + 4 * out_.channels; }

    [[nodiscard]] index_t modulation_features() const { return scale_shift_ ? 2 * out_.channels : out_.channels; }
    /// Of the embedding e (after its silu): C or 2 C x items of e.
    [[nodiscard]] batch<B> modulation(B& b, const_vector_t<B> p, const_view_t<B> e) const {
        batch<B> m(b, modulation_features(), e.items());
        linear_forward<B>(b, e, affine_[0].of(p), affine_[1].of(p), m);
        return m;
    }
    void forward(B& b, const_vector_t<B> p, const_view_t<B> x, const batch<B>& m, view_t<B> y, saved* keep) {
        saved local;
        const batch<B> z = inner(b, p, x, m, keep ? *keep : local, keep != nullptr);
        beside(b, p, x, y, true);
        conv_1_.forward(b, z, kernel_1_[0].of(p), kernel_1_[1].of(p), y, update::accumulate);
        scale_residual<B>(b, scale_, y);
    }
    /// What `forward` keeps, computed again.
    void restore(B& b, const_vector_t<B> p, const_view_t<B> x, const batch<B>& m, saved& s) {
        inner(b, p, x, m, s, true);
    }
    void jvp(B& b, const_vector_t<B> p, const_view_t<B> x, const saved& s, const_view_t<B> x_dot, view_t<B> y_dot) {
        batch<B> u(b, in_.features(), x.items()), z(b, out_.features(), x.items());
        group_norm_jvp<B, then_silu>(b, norm_0_.shape, x, s.table_0, x_dot, u);
        u = resampled(b, std::move(u));
        conv_0_.forward(b, u, kernel_0_[0].of(p), {}, z);
        group_norm_jvp<B, then_silu>(b, norm_1_.shape, s.h, s.table_1, z, z);
        beside(b, p, x_dot, y_dot, false);
        conv_1_.forward(b, z, kernel_1_[0].of(p), {}, y_dot, update::accumulate);
        scale_residual<B>(b, scale_, y_dot);
    }
    /// x_bar = J' g; g is overwritten.
    void vjp(B& b, const_vector_t<B> p, const_view_t<B> x, const saved& s, view_t<B> g, view_t<B> x_bar) {
        const index_t n = x.items();
        scale_residual<B>(b, scale_, g);
        batch<B> z(b, out_.features(), n);
        conv_1_.vjp(b, g, kernel_1_[0].of(p), z);
        group_norm_vjp<B, then_silu>(b, norm_1_.shape, s.h, s.table_1, z, z);
        batch<B> u(b, between().features(), n);
        conv_0_.vjp(b, z, kernel_0_[0].of(p), u);
        z = batch<B>();
        u = resampled_adjoint(b, std::move(u));
        group_norm_vjp<B, then_silu>(b, norm_0_.shape, x, s.table_0, u, x_bar);
        if (!skip_) return add_resampled_adjoint(b, g, x_bar);
        if (resampling_ == resampling::none) return skip_->vjp(b, g, kernel_skip_[0].of(p), x_bar, update::accumulate);
        batch<B> wide(b, between().features(), n);
        skip_->vjp(b, g, kernel_skip_[0].of(p), wide);
        add_resampled_adjoint(b, wide, x_bar);
    }

private:
    static image_shape result_of(image_shape in, index_t out, resampling r) {
        if (r == resampling::down) return {in.height / 2, in.width / 2, out};
        if (r == resampling::up) return {in.height * 2, in.width * 2, out};
        return {in.height, in.width, out};
    }
    /// silu(norm(conv(R silu(norm(x))))); s: what derivatives need, where `keep`.
    batch<B> inner(B& b, const_vector_t<B> p, const_view_t<B> x, const batch<B>& m, saved& s, bool keep) {
        const index_t n = x.items();
        s.table_0 = group_norm_table<B>(b, norm_0_.shape, x, norm_0_.map(p));
        batch<B> u(b, in_.features(), n);
        group_norm_forward<B, then_silu>(b, norm_0_.shape, x, s.table_0, u);
        u = resampled(b, std::move(u));
        s.h = batch<B>(b, out_.features(), n);
        conv_0_.forward(b, u, kernel_0_[0].of(p), kernel_0_[1].of(p), s.h);
        u = batch<B>();
        s.table_1 = group_norm_table<B>(b, norm_1_.shape, s.h, modulated(p, m));
        batch<B> z = keep ? batch<B>(b, out_.features(), n) : std::move(s.h);
        group_norm_forward<B, then_silu>(b, norm_1_.shape, keep ? s.h.cview() : z.cview(), s.table_1, z);
        return z;
    }
    /// R x: what the first convolution sees.
    [[nodiscard]] image_shape between() const { return {out_.height, out_.width, in_.channels}; }
    [[nodiscard]] group_norm_map<B> modulated(const_vector_t<B> p, const batch<B>& m) const {
        auto map = norm_1_.map(p);
        const index_t c = out_.channels;
        if (scale_shift_) {
            map.scale = m.cview().feature_range(0, c);
            map.shift = m.cview().feature_range(c, c);
        } else {
            map.before = m.cview();
        }
        return map;
    }
    void resample(B& b, const_view_t<B> x, view_t<B> y) const {
        if (resampling_ == resampling::down)
            filter_down<B>(b, resample_, x, y);
        else
            filter_up<B>(b, resample_, x, y);
    }
    [[nodiscard]] batch<B> resampled(B& b, batch<B> x) const {
        if (resampling_ == resampling::none) return x;
        batch<B> y(b, between().features(), x.items());
        resample(b, x, y);
        return y;
    }
    void add_resampled_adjoint(B& b, const_view_t<B> y_bar, view_t<B> x_bar, update mode = update::accumulate) const {
        if (resampling_ == resampling::none)
            b.axpby(1.0, y_bar, mode == update::accumulate ? 1.0 : 0.0, x_bar);
        else if (resampling_ == resampling::down)
            filter_up<B>(b, resample_, y_bar, x_bar, 1, mode);
        else
            filter_down<B>(b, resample_, y_bar, x_bar, 4, mode);
    }
    [[nodiscard]] batch<B> resampled_adjoint(B& b, batch<B> y_bar) const {
        if (resampling_ == resampling::none) return y_bar;
        batch<B> x_bar(b, in_.features(), y_bar.items());
        add_resampled_adjoint(b, y_bar, x_bar, update::overwrite);
        return x_bar;
    }
    /// y = s(x), with the bias or without.
    void beside(B& b, const_vector_t<B> p, const_view_t<B> x, view_t<B> y, bool bias) {
        batch<B> other;
        if (resampling_ != resampling::none) {
            if (!skip_) return resample(b, x, y);
            other = batch<B>(b, between().features(), x.items());
            resample(b, x, other);
            x = other;
        }
        if (skip_)
            skip_->forward(b, x, kernel_skip_[0].of(p), bias ? kernel_skip_[1].of(p) : const_vector_t<B>(), y);
        else
            b.copy(x, y);
    }
    resampling resampling_;
    image_shape in_, out_;
    bool scale_shift_;
    double scale_;
    resample_shape resample_{};
    norm_layer<B> norm_0_;
    conv_plan<B> conv_0_;
    std::array<parameter, 2> kernel_0_, affine_;
    norm_layer<B> norm_1_;
    conv_plan<B> conv_1_;
    std::array<parameter, 2> kernel_1_;
    std::optional<conv_plan<B>> skip_;
    std::array<parameter, 2> kernel_skip_{};
};

/// y = r (x + out(attention(q, k, v of norm(x)))), among all pixels.
template <Backend B>
class ddpm_attention {
public:
    struct saved {
        batch<B> table, q, k, v;
    };

    ddpm_attention(parameter_table& table, const std::string& name, const ddpm_unet_config& c, image_shape shape)
        : shape_(shape), attention_{shape.pixels(), shape.channels, c.heads_of(shape.channels)},
          scale_(c.residual_scale), norm_(table, name + ".norm", c, shape),
          q_(add_linear(table, name + ".q", shape.channels, shape.channels)),
          k_(add_linear(table, name + ".k", shape.channels, shape.channels)),
          v_(add_linear(table, name + ".v", shape.channels, shape.channels)),
          out_(add_linear(table, name + ".out", shape.channels, shape.channels)) {
        check_value("nn::ddpm_unet",
                    attention_.heads >= 1 && shape.channels % attention_.heads == 0 &&
                        (c.head_channels == 0 || shape.channels % c.head_channels == 0),
                    name + ": channels are not a multiple of heads");
    }
    [[nodiscard]] image_shape shape() const { return shape_; }
    [[nodiscard]] index_t saved_features() const { return 3 * shape_.features() + 4 * shape_.channels; }

    void forward(B& b, const_vector_t<B> p, const_view_t<B> x, view_t<B> y, saved* keep) const {
        saved local;
        saved& s = keep ? *keep : local;
        project(b, p, x, y, s);
        batch<B> result(b, shape_.features(), x.items());
        attention_forward<B>(b, attention_, s.q, s.k, s.v, result);
        linear_forward<B>(b, pixels(result.cview()), out_[0].of(p), out_[1].of(p), pixels(y));
        b.axpby(scale_, x, scale_, y);
    }
    /// What `forward` keeps, computed again.
    void restore(B& b, const_vector_t<B> p, const_view_t<B> x, saved& s) const {
        batch<B> normed(b, shape_.features(), x.items());
        project(b, p, x, normed, s);
    }
    void jvp(B& b, const_vector_t<B> p, const_view_t<B> x, const saved& s, const_view_t<B> x_dot,
             view_t<B> y_dot) const {
        const index_t n = x.items();
        batch<B> q(b, shape_.features(), n), k(b, shape_.features(), n), v(b, shape_.features(), n);
        group_norm_jvp<B>(b, norm_.shape, x, s.table, x_dot, y_dot);
        linear_jvp<B>(b, pixels(const_view_t<B>(y_dot)), q_[0].of(p), pixels(q.view()));
        linear_jvp<B>(b, pixels(const_view_t<B>(y_dot)), k_[0].of(p), pixels(k.view()));
        linear_jvp<B>(b, pixels(const_view_t<B>(y_dot)), v_[0].of(p), pixels(v.view()));
        batch<B> result(b, shape_.features(), n);
        attention_jvp<B>(b, attention_, s.q, s.k, s.v, q, k, v, result);
        linear_jvp<B>(b, pixels(result.cview()), out_[0].of(p), pixels(y_dot));
        b.axpby(scale_, x_dot, scale_, y_dot);
    }
    /// g: y_bar before, x_bar after.
    void vjp(B& b, const_vector_t<B> p, const_view_t<B> x, const saved& s, view_t<B> g) const {
        const index_t n = x.items();
        scale_residual<B>(b, scale_, g);
        batch<B> q(b, shape_.features(), n), k(b, shape_.features(), n), v(b, shape_.features(), n),
            h(b, shape_.features(), n);
        linear_vjp<B>(b, pixels(const_view_t<B>(g)), out_[0].of(p), pixels(h.view()));
        attention_vjp<B>(b, attention_, s.q, s.k, s.v, h, q, k, v);
        linear_vjp<B>(b, pixels(q.cview()), q_[0].of(p), pixels(h.view()));
        linear_vjp<B>(b, pixels(k.cview()), k_[0].of(p), pixels(h.view()), update::accumulate);
        linear_vjp<B>(b, pixels(v.cview()), v_[0].of(p), pixels(h.view()), update::accumulate);
        group_norm_vjp<B>(b, norm_.shape, x, s.table, h, g, update::accumulate);
    }

private:
    template <class P>
    [[nodiscard]] batch_view<P> pixels(const batch_view<P>& v) const {
        return v.reshaped(shape_.channels, shape_.pixels() * v.items());
    }
    /// Fills s; `normed`: of the shape of x, overwritten.
    void project(B& b, const_vector_t<B> p, const_view_t<B> x, view_t<B> normed, saved& s) const {
        s.table = group_norm_table<B>(b, norm_.shape, x, norm_.map(p));
        group_norm_forward<B>(b, norm_.shape, x, s.table, normed);
        const auto part = [&](const std::array<parameter, 2>& w, batch<B>& to) {
            to = batch<B>(b, shape_.features(), x.items());
            linear_forward<B>(b, pixels(const_view_t<B>(normed)), w[0].of(p), w[1].of(p), pixels(to.view()));
        };
        part(q_, s.q);
        part(k_, s.k);
        part(v_, s.v);
    }
    image_shape shape_;
    attention_shape attention_;
    double scale_;
    norm_layer<B> norm_;
    std::array<parameter, 2> q_, k_, v_, out_;
};

}  // namespace diem::nn
