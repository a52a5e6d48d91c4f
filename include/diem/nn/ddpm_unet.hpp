// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/backend/concept.hpp>
#include <diem/backend/functors.hpp>
#include <diem/core/check.hpp>
#include <diem/core/error.hpp>
#include <diem/nn/activation.hpp>
#include <diem/nn/ddpm_block.hpp>
#include <diem/nn/ddpm_unet_config.hpp>
#include <diem/nn/detail/ddpm_stages.hpp>
#include <diem/nn/embedding.hpp>
#include <diem/nn/linear.hpp>
#include <diem/nn/network.hpp>
#include <diem/nn/pad.hpp>
#include <diem/nn/parameters.hpp>
#include <diem/nn/resample.hpp>

/// \file
/// The U-Nets of DDPM++, NCSN++ and ADM, for weights from elsewhere.
/// \snippet tests/examples/nn.cpp nn/ddpm_unet.hpp

namespace diem::nn {

/// The U-Nets of DDPM and what followed (Ho et al., arXiv 2006.11239; Song et al., arXiv 2011.13456; Dhariwal and Nichol, arXiv
/// 2105.05233; Karras et al., arXiv 2206.00364): DDPM++, NCSN++ and ADM are configurations of one network. Its weights come from
/// elsewhere (tools/convert_network): there are derivatives with respect to x, none with respect to weights, and `vjp_params` throws.
///
/// t is c_noise itself, 1 x (1 or items); what embeds it are sines and cosines of frequencies that are parameters, two linear layers,
/// and the class of an item, where there are classes: the configuration's, or `set_labels`.
template <Backend B>
class ddpm_unet {
    using T = scalar_t<B>;
    using kind = detail::ddpm_kind;
    using stage = detail::ddpm_stage<B>;
    struct record {
        batch<B> x;      // input of the stage
        batch<B> m;      // modulation of a block
        batch<B> table;  // head
        typename ddpm_block<B>::saved block;
        typename ddpm_attention<B>::saved attention;
    };

public:
    class activations {
        friend class ddpm_unet;
        std::vector<record> records_;
        bool recompute_ = false;
        index_t items_ = 0;
    };

    /// Throws value_error where sizes do not fit together.
    explicit ddpm_unet(ddpm_unet_config config) : config_(std::move(config)), layout_(config_) {}

    [[nodiscard]] const ddpm_unet_config& config() const { return config_; }
    [[nodiscard]] const parameter_table& parameters() const { return layout_.table; }
    [[nodiscard]] index_t features() const { return config_.height * config_.width * config_.channels; }
    [[nodiscard]] index_t embedding() const { return 1; }
    /// The class of all items (one entry, -1: none), or of each item of the batches to come. Throws value_error.
    void set_labels(std::vector<index_t> labels) {
        check_value("nn::ddpm_unet::set_labels", !labels.empty(), "no label");
        for (const index_t l : labels)
            check_value(
                "nn::ddpm_unet::set_labels", l >= -1 && l < config_.labels,
                "label " + std::to_string(l) + ", the network has " + std::to_string(config_.labels) + " classes");
        labels_.clear();
        if (labels.size() == 1)
            config_.label = labels.front();
        else
            labels_ = std::move(labels);
    }
    /// See `Network`.
    [[nodiscard]] index_t block_unit() const {
        return labels_.empty() ? block_unit_of(layout_.stages) : 0;  // labels are of a whole batch
    }
    void parameters_changed() {
        for (stage& s : layout_.stages) {
            if (s.conv) s.conv->changed();
            if (s.block) s.block->parameters_changed();
        }
    }

    void forward(B& b, const_vector_t<B> p, const_view_t<B> x, const_view_t<B> t, view_t<B> y) {
        run(b, p, x, t, y, {}, nullptr);
    }
    /// Throws value_error for options.parameters and dropout.
    void forward(B& b, const_vector_t<B> p, const_view_t<B> x, const_view_t<B> t, view_t<B> y,
                 const save_options& options, activations& saved) {
        if (options.parameters || options.dropout > 0) refuse_training();
        run(b, p, x, t, y, options, &saved);
    }
    void jvp(B& b, const_vector_t<B> p, const activations& saved, const_view_t<B> x_dot, view_t<B> y_dot) {
        check_saved("nn::ddpm_unet::jvp", saved, x_dot, y_dot);
        const index_t n = saved.items_;
        auto& stages = layout_.stages;
        std::vector<batch<B>> kept(stages.size());
        batch<B> cur = copied(b, x_dot);
        for (std::size_t k = 0; k < stages.size(); ++k) {
            stage& s = stages[k];
            const record& r = saved.records_[k];
            batch<B> next(b, s.out.features(), n);
            with_saved(b, p, saved, k, [&](const record& a) {
                switch (s.what) {
                    case kind::stem:
                        s.conv->forward(b, cur, s.kernel[0].of(p), {}, next);
                        break;
                    case kind::block:
                        s.block->jvp(b, p, r.x, a.block, cur, next);
                        break;
                    case kind::attend:
                        s.attention->jvp(b, p, r.x, a.attention, cur, next);
                        break;
                    case kind::join:
                        join(b, p, s, cur, s.source == 0 ? x_dot : kept[s.source].cview(), next, false);
                        break;
                    case kind::merge:
                        merge(b, s, cur, kept[s.source], next);
                        kept[s.source] = batch<B>();
                        break;
                    case kind::head:
                        group_norm_jvp<B, then_silu>(b, s.norm->shape, r.x, a.table, cur, cur);
                        s.conv->forward(b, cur, s.kernel[0].of(p), {}, next);
                        break;
                }
            });
            if (s.is_source) kept[k] = std::move(cur);
            cur = std::move(next);
        }
        b.copy(cur.cview(), y_dot);
    }
    void vjp(B& b, const_vector_t<B> p, const activations& saved, const_view_t<B> y_bar, view_t<B> x_bar) {
        check_saved("nn::ddpm_unet::vjp", saved, y_bar, x_bar);
        const index_t n = saved.items_;
        auto& stages = layout_.stages;
        std::vector<batch<B>> bars(stages.size());  // what merges and joins give to the inputs of their sources
        batch<B> g = copied(b, y_bar), image_bar;
        for (std::size_t k = stages.size(); k-- > 0;) {
            stage& s = stages[k];
            const record& r = saved.records_[k];
            batch<B> next;
            if (s.what != kind::attend) next = batch<B>(b, s.in.features(), n);
            with_saved(b, p, saved, k, [&](const record& a) {
                switch (s.what) {
                    case kind::stem:
                        s.conv->vjp(b, g, s.kernel[0].of(p), next);
                        break;
                    case kind::block:
                        s.block->vjp(b, p, r.x, a.block, g, next);
                        break;
                    case kind::attend:
                        s.attention->vjp(b, p, r.x, a.attention, g);
                        break;
                    case kind::join:
                        join_vjp(b, p, s, g, next, s.source == 0 ? image_bar : bars[s.source]);
                        break;
                    case kind::merge: {
                        const index_t c = s.in.channels, c_skip = s.out.channels - c, m = s.in.pixels() * n;
                        batch<B>& skip = bars[s.source];  // joins add to it later
                        skip = batch<B>(b, c_skip * s.in.pixels(), n);
                        concatenate_vjp<B>(b, g.cview().reshaped(c + c_skip, m), next.view().reshaped(c, m),
                                           skip.view().reshaped(c_skip, m));
                        break;
                    }
                    case kind::head:
                        s.conv->vjp(b, g, s.kernel[0].of(p), next);
                        group_norm_vjp<B, then_silu>(b, s.norm->shape, r.x, a.table, next, next);
                        break;
                }
            });
            if (s.what != kind::attend) g = std::move(next);
            if (s.is_source) {
                b.axpby(1.0, bars[k].cview(), 1.0, g.view());
                bars[k] = batch<B>();
            }
        }
        if (image_bar.features() > 0) b.axpby(1.0, image_bar.cview(), 1.0, g.view());
        b.copy(g.cview(), x_bar);
    }
    /// Throws value_error: see above.
    void vjp_params(B& /*b*/, const_vector_t<B> /*p*/, const activations& /*saved*/, const_view_t<B> /*y_bar*/,
                    vector_t<B> /*grad*/, update /*mode*/, view_t<B> /*x_bar*/ = {}) {
        refuse_training();
    }

    [[nodiscard]] std::size_t activation_bytes(index_t items, const save_options& o, index_t embeddings = 1) const {
        index_t each = 0, per_embedding = 0;
        for (const stage& s : layout_.stages) {
            if (keeps_input(s)) each += s.in.features();
            if (s.block) per_embedding += s.block->modulation_features();
            if (o.recompute) continue;
            if (s.block) each += s.block->saved_features();
            if (s.attention) each += s.attention->saved_features();
            if (s.what == kind::head) each += 4 * s.in.channels;
        }
        return static_cast<std::size_t>(each * items + per_embedding * embeddings) * sizeof(T);
    }

private:
    [[noreturn]] static void refuse_training() {
        throw value_error(
            "nn::ddpm_unet: weights from elsewhere are not trained further: no derivatives with respect to them");
    }
    static bool keeps_input(const stage& s) {
        return s.what == kind::block || s.what == kind::attend || s.what == kind::head;
    }
    [[nodiscard]] static batch<B> copied(B& b, const_view_t<B> x) {
        batch<B> out(b, x.features(), x.items());
        b.copy(x, out.view());
        return out;
    }
    void check_saved(const char* where, const activations& saved, const_view_t<B> in, const_view_t<B> out) const {
        check_value(where, saved.records_.size() == layout_.stages.size(), "nothing was saved by this network");
        check_shape(where, "input", in, features(), saved.items_);
        check_shape(where, "result", out, features(), saved.items_);
    }
    static void merge(B& b, const stage& s, const_view_t<B> x, const_view_t<B> skip, view_t<B> y) {
        const index_t c = s.in.channels, both = s.out.channels, n = s.in.pixels() * x.items();
        concatenate_forward<B>(b, x.reshaped(c, n), skip.reshaped(both - c, n), y.reshaped(both, n));
    }
    /// y = (x + down(conv(image))) / sqrt(2), the image with zeros around it.
    static void join(B& b, const_vector_t<B> p, stage& s, const_view_t<B> x, const_view_t<B> image, view_t<B> y,
                     bool bias) {
        const image_shape padded = s.conv->shape().in, own = unpadded(s);
        batch<B> wide(b, padded.features(), x.items()), u(b, s.filter.fine.features(), x.items());
        pad_image<B>(b, own, padded, image, wide, margin(s));
        s.conv->forward(b, wide, s.kernel[0].of(p), bias ? s.kernel[1].of(p) : const_vector_t<B>(), u);
        filter_down<B>(b, s.filter, u, y);
        b.axpby(half_root, x, half_root, y);
    }
    static void join_vjp(B& b, const_vector_t<B> p, stage& s, const_view_t<B> y_bar, view_t<B> x_bar,
                         batch<B>& image_bar) {
        const image_shape padded = s.conv->shape().in, own = unpadded(s);
        batch<B> wide(b, padded.features(), y_bar.items()), u(b, s.filter.fine.features(), y_bar.items());
        b.axpby(half_root, y_bar, 0.0, x_bar);
        filter_up<B>(b, s.filter, x_bar, u, 1);
        s.conv->vjp(b, u, s.kernel[0].of(p), wide);
        if (image_bar.features() == 0) {
            image_bar = batch<B>(b, own.features(), y_bar.items());
            return crop_image<B>(b, own, padded, wide, image_bar, margin(s));
        }
        batch<B> part(b, own.features(), y_bar.items());
        crop_image<B>(b, own, padded, wide, part, margin(s));
        b.axpby(1.0, part.cview(), 1.0, image_bar.view());
    }
    static index_t margin(const stage& s) { return s.filter.filter.margin(); }
    static image_shape unpadded(const stage& s) {
        const image_shape& padded = s.conv->shape().in;
        return {padded.height - 2 * margin(s), padded.width - 2 * margin(s), padded.channels};
    }
    /// Calls f with what stage k saved, computed again where it was not kept.
    template <class F>
    void with_saved(B& b, const_vector_t<B> p, const activations& saved, std::size_t k, const F& f) {
        const record& r = saved.records_[k];
        stage& s = layout_.stages[k];
        if (!saved.recompute_ || !keeps_input(s)) return f(r);
        record again;
        if (s.block)
            s.block->restore(b, p, r.x, r.m, again.block);
        else if (s.attention)
            s.attention->restore(b, p, r.x, again.attention);
        else
            activated(b, p, s, r.x, &again);
        f(again);
    }
    /// The stages that are not linear.
    void act(B& b, const_vector_t<B> p, stage& s, const_view_t<B> x, const batch<B>& m, view_t<B> y, record* keep) {
        if (s.block) return s.block->forward(b, p, x, m, y, keep ? &keep->block : nullptr);
        if (s.attention) return s.attention->forward(b, p, x, y, keep ? &keep->attention : nullptr);
        s.conv->forward(b, activated(b, p, s, x, keep), s.kernel[0].of(p), s.kernel[1].of(p), y);
    }
    /// What the convolution of the head sees.
    static batch<B> activated(B& b, const_vector_t<B> p, const stage& s, const_view_t<B> x, record* keep) {
        batch<B> table = group_norm_table<B>(b, s.norm->shape, x, s.norm->map(p)), u(b, s.in.features(), x.items());
        group_norm_forward<B, then_silu>(b, s.norm->shape, x, table, u);
        if (keep) keep->table = std::move(table);
        return u;
    }

    /// silu of the embedding of t and of the items' classes: E x (1 or items).
    [[nodiscard]] batch<B> embed(B& b, const_vector_t<B> p, const_view_t<B> t, index_t items) const {
        batch<B> noise(b, config_.noise_channels, t.items());
        embedding_forward<B>(b, t, layout_.frequencies.of(p), noise);
        const bool early = config_.label_at == label_place::noise;
        if (early) noise = labelled(b, p, std::move(noise), items);
        const auto layer = [&](const std::array<parameter, 2>& w, const batch<B>& u) {
            batch<B> v(b, config_.embedding, u.items());
            linear_forward<B>(b, u, w[0].of(p), w[1].of(p), v);
            return v;
        };
        batch<B> e = layer(layout_.map_0, noise);
        silu_forward<B>(b, e, e);
        e = layer(layout_.map_1, e);
        if (!early) e = labelled(b, p, std::move(e), items);
        silu_forward<B>(b, e, e);
        return e;
    }
    [[nodiscard]] batch<B> labelled(B& b, const_vector_t<B> p, batch<B> e, index_t items) const {
        if (config_.labels == 0) return e;
        const const_view_t<B> rows(layout_.labels.of(p).data(), e.features(), config_.labels + 1);
        const auto row = [&](index_t label) { return rows.item_range(label < 0 ? config_.labels : label, 1); };
        if (labels_.empty()) {
            const auto common = row(config_.label);
            b.map(functors::add{}, e.view(), per_feature{const_vector_t<B>(common.data(), common.features())});
            return e;
        }
        check_size("nn::ddpm_unet", "labels", static_cast<index_t>(labels_.size()), items);
        batch<B> out(b, e.features(), items);
        for (index_t i = 0; i < items; ++i)
            b.copy(row(labels_[static_cast<std::size_t>(i)]), out.view().item_range(i, 1));
        if (e.items() == 1)
            b.map(functors::add{}, out.view(), per_feature{const_vector_t<B>(e.flat())});
        else
            b.axpby(1.0, e.cview(), 1.0, out.view());
        return out;
    }

    void run(B& b, const_vector_t<B> p, const_view_t<B> x, const_view_t<B> t, view_t<B> y, const save_options& o,
             activations* saved) {
        const index_t n = x.items();
        check_size("nn::ddpm_unet", "parameters", p.size(), layout_.table.size());
        check_size("nn::ddpm_unet", "x.features()", x.features(), features());
        check_shape("nn::ddpm_unet", "y", y, features(), n);
        check_size("nn::ddpm_unet", "t.features()", t.features(), 1);
        if (t.items() != 1) check_size("nn::ddpm_unet", "t.items()", t.items(), n);
        auto& stages = layout_.stages;
        const batch<B> e = embed(b, p, t, n);
        std::vector<record> records(stages.size());
        batch<B> cur = copied(b, x);
        for (std::size_t k = 0; k < stages.size(); ++k) {
            stage& s = stages[k];
            record& r = records[k];
            batch<B> next(b, s.out.features(), n);
            switch (s.what) {
                case kind::stem:
                    s.conv->forward(b, cur, s.kernel[0].of(p), s.kernel[1].of(p), next);
                    break;
                case kind::join:
                    join(b, p, s, cur, s.source == 0 ? x : records[s.source].x.cview(), next, true);
                    break;
                case kind::merge: {
                    batch<B>& skip = records[s.source].x;
                    merge(b, s, cur, skip, next);
                    if (!(saved && keeps_input(stages[s.source]))) skip = batch<B>();
                    break;
                }
                default:
                    if (s.block) r.m = s.block->modulation(b, p, e);
                    act(b, p, s, cur, r.m, next, saved && !o.recompute ? &r : nullptr);
                    if (!(saved && o.recompute)) r.m = batch<B>();
            }
            if (s.is_source || (saved && keeps_input(s))) r.x = std::move(cur);
            cur = std::move(next);
        }
        b.copy(cur.cview(), y);
        if (!saved) return;
        saved->records_ = std::move(records);
        saved->recompute_ = o.recompute;
        saved->items_ = n;
    }

    static constexpr double half_root = 0.70710678118654752440;
    ddpm_unet_config config_;
    detail::ddpm_stages<B> layout_;
    std::vector<index_t> labels_;
};

}  // namespace diem::nn
