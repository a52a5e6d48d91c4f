// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <utility>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/backend/concept.hpp>
#include <diem/core/bfloat16.hpp>
#include <diem/core/check.hpp>
#include <diem/nn/attention_block.hpp>
#include <diem/nn/detail/kept.hpp>
#include <diem/nn/detail/unet_stages.hpp>
#include <diem/nn/network.hpp>
#include <diem/nn/norm.hpp>
#include <diem/nn/pad.hpp>
#include <diem/nn/parameters.hpp>
#include <diem/nn/resample.hpp>
#include <diem/nn/residual_block.hpp>
#include <diem/nn/unet_config.hpp>

/// \file
/// A U-Net, with derivatives by x and by its weights.
/// \snippet tests/examples/nn.cpp nn/unet.hpp

namespace diem::nn {

/// Time-conditional U-Net of the paper's code. Images whose height or width is no multiple of patch 2^(levels - 1) are padded by zeros
/// to the next one inside, and cut back, see `padded`.
///
/// Descent, level i: convolution (stride 1 at level 0; stride 2 and a norm below), blocks; the result is kept as skip_i.
/// Ascent, from the deepest level up: at every level but the deepest, concatenate (x, skip_i) and convolve; blocks; then
/// norm and nearest upsampling, or at level 0 a linear layer on the channels. One "block" is a residual block, followed by
/// an attention block where the level has heads. Parameters are named as in the reference and lie in the order in which
/// they act.
///
/// The network is a list of stages; stage k maps stream[k] to stream[k + 1]. Derivatives walk the list.
template <Backend B>
class unet {
    using T = scalar_t<B>;
    using kind = detail::unet_kind;
    using stage = detail::unet_stage<B>;
    struct record {
        detail::kept<B> x;  // input of the stage
        batch<B> skip;      // the same, until its merge has taken it
        detail::kept<B> u;  // down: before the norm
        batch<B> m;         // modulation of a block
        typename residual_block<B>::saved residual;
        typename attention_block<B>::saved attention;
    };

public:
    class activations {
        friend class unet;
        std::vector<record> records_;
        batch<B> t_;
        save_options options_;
        index_t items_ = 0;
    };

    /// Throws value_error where sizes do not fit together.
    explicit unet(unet_config config) : config_(std::move(config)), layout_(padded(config_)) {}

    [[nodiscard]] const unet_config& config() const { return config_; }
    [[nodiscard]] const parameter_table& parameters() const { return layout_.table; }
    [[nodiscard]] index_t features() const { return config_.height * config_.width * config_.channels; }
    [[nodiscard]] index_t embedding() const { return config_.embedding; }
    /// See `Network`.
    [[nodiscard]] index_t block_unit() const { return block_unit_of(layout_.stages); }
    void parameters_changed() {
        for (stage& s : layout_.stages) {
            if (s.conv) s.conv->changed();
            if (s.residual) s.residual->parameters_changed();
        }
    }

    void forward(B& b, const_vector_t<B> p, const_view_t<B> x, const_view_t<B> t, view_t<B> y) {
        run(b, p, x, t, y, save_options{}, nullptr);
    }
    void forward(B& b, const_vector_t<B> p, const_view_t<B> x, const_view_t<B> t, view_t<B> y,
                 const save_options& options, activations& saved) {
        run(b, p, x, t, y, options, &saved);
    }

    void jvp(B& b, const_vector_t<B> p, const activations& saved, const_view_t<B> x_dot, view_t<B> y_dot) {
        check_saved("nn::unet::jvp", saved, x_dot, y_dot);
        const index_t n = saved.items_;
        std::vector<batch<B>> skips(layout_.stages.size());
        batch<B> cur = deep(b, x_dot);
        for (std::size_t k = 0; k < layout_.stages.size(); ++k) {
            stage& s = layout_.stages[k];
            const record& r = saved.records_[k];
            batch<B> next(b, s.out.features(), n);
            switch (s.what) {
                case kind::input:
                    s.conv->forward(b, cur, s.weights[0].of(p), {}, next);
                    break;
                case kind::down:
                    s.conv->forward(b, cur, s.weights[0].of(p), {}, next);
                    layer_norm_jvp<B>(b, pixels(s.out, r.u.open(b).cview()), pixels(s.out, next.cview()),
                                      pixels(s.out, next.view()));
                    break;
                case kind::residual:
                    with_saved(b, p, saved, k, [&](const_view_t<B> x, const auto& keep) {
                        s.residual->jvp(b, p, x, r.m, keep.residual, cur, next);
                    });
                    break;
                case kind::attention:
                    with_saved(b, p, saved, k, [&](const_view_t<B> x, const auto& keep) {
                        s.attention->jvp(b, p, x, r.m, keep.attention, cur, next);
                    });
                    break;
                case kind::up: {
                    batch<B> normed(b, s.in.features(), n);
                    layer_norm_jvp<B>(b, pixels(s.in, r.x.open(b).cview()), pixels(s.in, cur.cview()),
                                      pixels(s.in, normed.view()));
                    upsample_jvp<B>(b, s.in, normed, next);
                    break;
                }
                case kind::merge: {
                    const batch<B> both = concatenated(b, s, cur, skips[s.skip]);
                    s.conv->forward(b, both, s.weights[0].of(p), {}, next);
                    skips[s.skip] = batch<B>();
                    break;
                }
                case kind::output:
                    linear_jvp<B>(b, pixels(s.in, cur.cview()), s.weights[0].of(p), pixels(s.out, next.view()));
                    break;
            }
            if (s.skip_source) skips[k] = std::move(cur);
            cur = std::move(next);
        }
        wide(b, cur, y_dot);
    }
    void vjp(B& b, const_vector_t<B> p, const activations& saved, const_view_t<B> y_bar, view_t<B> x_bar) {
        check_saved("nn::unet::vjp", saved, y_bar, x_bar);
        backward(b, p, saved, y_bar, vector_t<B>(), update::overwrite, x_bar);
    }
    void vjp_params(B& b, const_vector_t<B> p, const activations& saved, const_view_t<B> y_bar, vector_t<B> grad,
                    update mode, view_t<B> x_bar = {}) {
        check_saved("nn::unet::vjp_params", saved, y_bar, y_bar);
        check_value("nn::unet::vjp_params", saved.options_.parameters, "the forward pass did not save for parameters");
        check_size("nn::unet::vjp_params", "grad.size()", grad.size(), layout_.table.size());
        backward(b, p, saved, y_bar, grad, mode, x_bar);
    }

    [[nodiscard]] std::size_t activation_bytes(index_t items, const save_options& o, index_t embeddings = 1) const {
        index_t each = 0, per_embedding = o.parameters ? config_.embedding : 0;
        for (const stage& s : layout_.stages) {
            if (detail::keeps_input(s, o)) each += s.in.features();
            if (s.what == kind::merge && detail::keeps_input(s, o))
                each -= layout_.stages[s.skip].in.features();  // kept there
            if (s.what == kind::down) each += s.out.features();
            if (s.residual) each += s.residual->saved_features(o);
            if (s.attention) each += s.attention->saved_features(o);
            if (s.residual || s.attention) per_embedding += 3 * s.in.channels;
        }
        const std::size_t size = o.keeps_bfloat16() ? sizeof(bfloat16) : sizeof(T);
        return static_cast<std::size_t>(each * items) * size +
               static_cast<std::size_t>(per_embedding * embeddings) * sizeof(T);
    }

private:
    template <class P>
    static batch_view<P> pixels(const image_shape& s, const batch_view<P>& v) {
        return v.reshaped(s.channels, s.pixels() * v.items());
    }
    [[nodiscard]] image_shape data_shape() const { return {config_.height, config_.width, config_.channels}; }
    [[nodiscard]] image_shape padded_shape() const {
        const auto c = padded(config_);
        return {c.height, c.width, c.channels};
    }
    /// A copy of x as the network sees it. Its adjoint is `wide`.
    batch<B> deep(B& b, const_view_t<B> x) const {
        const image_shape own = data_shape(), inside = padded_shape();
        batch<B> out(b, inside.features(), x.items());
        if (own == inside) {
            rearrange(b, x, out.view());
        } else if (config_.patch > 1) {
            batch<B> larger(b, inside.features(), x.items());
            pad_image<B>(b, own, inside, x, larger);
            rearrange(b, larger, out.view());
        } else {
            pad_image<B>(b, own, inside, x, out);
        }
        return out;
    }
    void wide(B& b, const_view_t<B> x, view_t<B> y) const {
        const image_shape own = data_shape(), inside = padded_shape();
        if (own == inside) return restore(b, x, y);
        if (config_.patch == 1) return crop_image<B>(b, own, inside, x, y);
        batch<B> larger(b, inside.features(), x.items());
        restore(b, x, larger.view());
        crop_image<B>(b, own, inside, larger, y);
    }
    void rearrange(B& b, const_view_t<B> x, view_t<B> y) const {
        if (config_.patch > 1)
            space_to_depth_forward<B>(b, padded_shape(), config_.patch, x, y);
        else
            b.copy(x, y);
    }
    void restore(B& b, const_view_t<B> x, view_t<B> y) const {
        if (config_.patch > 1)
            depth_to_space_forward<B>(b, padded_shape(), config_.patch, x, y);
        else
            b.copy(x, y);
    }
    static batch<B> concatenated(B& b, const stage& s, const_view_t<B> x, const_view_t<B> skip) {
        batch<B> both(b, s.in.features(), x.items());
        const index_t c_skip = skip.features() / s.in.pixels(), c = s.in.channels - c_skip,
                      n = s.in.pixels() * x.items();
        concatenate_forward<B>(b, x.reshaped(c, n), skip.reshaped(c_skip, n), pixels(s.in, both.view()));
        return both;
    }
    void check_saved(const char* where, const activations& saved, const_view_t<B> in, const_view_t<B> out) const {
        check_value(where, saved.records_.size() == layout_.stages.size(), "nothing was saved by this network");
        check_shape(where, "input", in, features(), saved.items_);
        check_shape(where, "result", out, features(), saved.items_);
    }
    /// Calls f with the input of the block of stage k and what it saved, computed again where it was not kept.
    template <class F>
    void with_saved(B& b, const_vector_t<B> p, const activations& saved, std::size_t k, const F& f) {
        const record& r = saved.records_[k];
        const auto x = r.x.open(b);
        if (!saved.options_.recompute) return f(x, r);
        record again;
        save_options o = saved.options_;
        o.rounded = false;
        if (layout_.stages[k].residual)
            layout_.stages[k].residual->restore(b, p, x, r.m, o, again.residual);
        else
            layout_.stages[k].attention->restore(b, p, x, r.m, o, again.attention);
        f(x, again);
    }

    void run(B& b, const_vector_t<B> p, const_view_t<B> x, const_view_t<B> t, view_t<B> y, const save_options& o,
             activations* saved) {
        const index_t n = x.items();
        check_size("nn::unet", "parameters", p.size(), layout_.table.size());
        check_size("nn::unet", "x.features()", x.features(), features());
        check_shape("nn::unet", "y", y, features(), n);
        check_size("nn::unet", "t.features()", t.features(), config_.embedding);
        if (t.items() != 1) check_size("nn::unet", "t.items()", t.items(), n);
        std::vector<record> records(layout_.stages.size());
        const bool rounded = o.keeps_bfloat16();
        batch<B> cur = deep(b, x);
        for (std::size_t k = 0; k < layout_.stages.size(); ++k) {
            stage& s = layout_.stages[k];
            record& r = records[k];
            batch<B> next(b, s.out.features(), n);
            const bool keep = saved && !o.recompute;
            switch (s.what) {
                case kind::input:
                    s.conv->forward(b, cur, s.weights[0].of(p), s.weights[1].of(p), next);
                    break;
                case kind::down: {
                    batch<B> u(b, s.out.features(), n);
                    s.conv->forward(b, cur, s.weights[0].of(p), s.weights[1].of(p), u);
                    layer_norm_forward<B>(b, pixels(s.out, u.cview()), pixels(s.out, next.view()));
                    if (saved) r.u = detail::kept<B>(b, std::move(u), rounded);
                    break;
                }
                case kind::residual:
                    r.m = s.residual->mod().forward(b, p, t);
                    s.residual->forward(b, p, cur, r.m, next, o, keep ? &r.residual : nullptr);
                    break;
                case kind::attention:
                    r.m = s.attention->mod().forward(b, p, t);
                    s.attention->forward(b, p, cur, r.m, next, o, keep ? &r.attention : nullptr);
                    break;
                case kind::up: {
                    batch<B> normed(b, s.in.features(), n);
                    layer_norm_forward<B>(b, pixels(s.in, cur.cview()), pixels(s.in, normed.view()));
                    upsample_forward<B>(b, s.in, normed, next);
                    break;
                }
                case kind::merge: {
                    record& from = records[s.skip];
                    batch<B> both = concatenated(b, s, cur, from.skip);
                    if (saved && o.parameters) from.x = detail::kept<B>(b, std::move(from.skip), rounded);
                    from.skip = batch<B>();
                    s.conv->forward(b, both, s.weights[0].of(p), s.weights[1].of(p), next);
                    break;
                }
                case kind::output:
                    linear_forward<B>(b, pixels(s.in, cur.cview()), s.weights[0].of(p), s.weights[1].of(p),
                                      pixels(s.out, next.view()));
                    break;
            }
            if (!saved) r.m = batch<B>();
            if (s.skip_source)
                r.skip = std::move(cur);
            else if (saved && detail::keeps_input(s, o))
                r.x = detail::kept<B>(b, std::move(cur), rounded);
            cur = std::move(next);
        }
        wide(b, cur, y);
        if (!saved) return;
        saved->records_ = std::move(records);
        saved->options_ = o;
        saved->items_ = n;
        saved->t_ = batch<B>();
        if (o.parameters) {
            saved->t_ = batch<B>(b, t.features(), t.items());
            b.copy(t, saved->t_.view());
        }
    }

    void backward(B& b, const_vector_t<B> p, const activations& saved, const_view_t<B> y_bar, vector_t<B> grad,
                  update mode, view_t<B> x_bar) {
        const index_t n = saved.items_;
        const bool params = grad.size() > 0;
        std::vector<batch<B>> skips(layout_.stages.size());
        batch<B> g = deep(b, y_bar);
        for (std::size_t k = layout_.stages.size(); k-- > 0;) {
            stage& s = layout_.stages[k];
            const record& r = saved.records_[k];
            switch (s.what) {
                case kind::input: {
                    if (params)
                        s.conv->vjp_params(b, r.x.open(b), g, s.weights[0].of(grad), s.weights[1].of(grad), mode);
                    if (x_bar.features() == 0) break;
                    batch<B> next(b, s.in.features(), n);
                    s.conv->vjp(b, g, s.weights[0].of(p), next);
                    g = std::move(next);
                    break;
                }
                case kind::down: {
                    batch<B> next = std::move(skips[k]);  // what the merge gave
                    layer_norm_vjp<B>(b, pixels(s.out, r.u.open(b).cview()), pixels(s.out, g.cview()),
                                      pixels(s.out, g.view()));
                    if (params)
                        s.conv->vjp_params(b, r.x.open(b), g, s.weights[0].of(grad), s.weights[1].of(grad), mode);
                    s.conv->vjp(b, g, s.weights[0].of(p), next, update::accumulate);
                    g = std::move(next);
                    break;
                }
                case kind::residual:
                    with_saved(b, p, saved, k, [&](const_view_t<B> x, const auto& keep) {
                        if (params)
                            s.residual->vjp_params(b, p, x, saved.t_, r.m, keep.residual, g, grad, mode, {});
                        else
                            s.residual->vjp(b, p, x, r.m, keep.residual, g);
                    });
                    break;
                case kind::attention:
                    with_saved(b, p, saved, k, [&](const_view_t<B> x, const auto& keep) {
                        if (params)
                            s.attention->vjp_params(b, p, x, saved.t_, r.m, keep.attention, g, grad, mode, {});
                        else
                            s.attention->vjp(b, p, x, r.m, keep.attention, g);
                    });
                    break;
                case kind::up: {
                    batch<B> next(b, s.in.features(), n);
                    upsample_vjp<B>(b, s.in, g, next);
                    layer_norm_vjp<B>(b, pixels(s.in, r.x.open(b).cview()), pixels(s.in, next.cview()),
                                      pixels(s.in, next.view()));
                    g = std::move(next);
                    break;
                }
                case kind::merge: {
                    if (params) {
                        const batch<B> input = concatenated(b, s, r.x.open(b), saved.records_[s.skip].x.open(b));
                        s.conv->vjp_params(b, input, g, s.weights[0].of(grad), s.weights[1].of(grad), mode);
                    }
                    batch<B> both(b, s.in.features(), n);
                    s.conv->vjp(b, g, s.weights[0].of(p), both);
                    const index_t c_skip = layout_.stages[s.skip].in.channels, c = s.in.channels - c_skip;
                    batch<B> next(b, c * s.in.pixels(), n), skip(b, c_skip * s.in.pixels(), n);
                    concatenate_vjp<B>(b, pixels(s.in, both.cview()), next.view().reshaped(c, s.in.pixels() * n),
                                       skip.view().reshaped(c_skip, s.in.pixels() * n));
                    skips[s.skip] = std::move(skip);
                    g = std::move(next);
                    break;
                }
                case kind::output: {
                    if (params)
                        linear_vjp_params<B>(b, pixels(s.in, r.x.open(b).cview()), pixels(s.out, g.cview()),
                                             s.weights[0].of(grad), s.weights[1].of(grad), mode);
                    batch<B> next(b, s.in.features(), n);
                    linear_vjp<B>(b, pixels(s.out, g.cview()), s.weights[0].of(p), pixels(s.in, next.view()));
                    g = std::move(next);
                    break;
                }
            }
        }
        if (x_bar.features() > 0) wide(b, g, x_bar);
    }
    unet_config config_;
    detail::unet_stages<B> layout_;
};

}  // namespace diem::nn
