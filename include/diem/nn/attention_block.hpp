// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cmath>
#include <string>
#include <utility>

#include <diem/backend/batch.hpp>
#include <diem/backend/concept.hpp>
#include <diem/core/check.hpp>
#include <diem/nn/attention.hpp>
#include <diem/nn/detail/kept.hpp>
#include <diem/nn/gated_residual.hpp>
#include <diem/nn/layer_parameters.hpp>
#include <diem/nn/linear.hpp>
#include <diem/nn/modulation_layer.hpp>
#include <diem/nn/network.hpp>
#include <diem/nn/norm.hpp>
#include <diem/nn/parameters.hpp>

/// \file
/// Internal: a block of the U-Net. x, y: items x (H, W, C), contiguous; modulation m: see modulation_layer.hpp. Cotangents
/// pass through a block in place: `g` is y_bar before, x_bar after.

namespace diem::nn {

/// y = (x + c f(x)) / sqrt(1 + c^2), f: modulated norm, multi-head self-attention among all pixels.
template <Backend B>
class attention_block {
public:
    struct saved {
        detail::kept<B> q, k, v;
        detail::kept<B> result;  ///< before the last projection; for parameters
        detail::kept<B> branch;  ///< f(x); for parameters
    };

    attention_block(parameter_table& table, const std::string& name, image_shape shape, index_t embedding,
                    index_t heads)
        : shape_(shape), attention_{shape.pixels(), shape.channels, heads},
          mod_(table, name, shape.channels, embedding),
          q_(add_linear(table, name + ".q", shape.channels, shape.channels)),
          k_(add_linear(table, name + ".k", shape.channels, shape.channels)),
          v_(add_linear(table, name + ".v", shape.channels, shape.channels)),
          out_(table.add(name + ".out.weight", {shape.channels, shape.channels},
                         1 / std::sqrt(static_cast<double>(shape.channels)))) {
        check_value("nn::attention_block", heads >= 1 && shape.channels % heads == 0,
                    name + ": channels are not a multiple of heads");
    }

    [[nodiscard]] const modulation<B>& mod() const { return mod_; }
    [[nodiscard]] index_t saved_features(const save_options& o) const {
        return (o.recompute ? 0 : o.parameters ? 5 : 3) * shape_.features();
    }

    void forward(B& b, const_vector_t<B> p, const_view_t<B> x, const batch<B>& m, view_t<B> y, const save_options& o,
                 saved* keep) {
        projections of = project(b, p, x, m, y);
        batch<B> result;
        view_t<B> r = y;
        if (keep && o.parameters) {
            result = batch<B>(b, shape_.features(), x.items());
            r = result;
        }
        attention_forward<B>(b, attention_, of.q, of.k, of.v, r);
        if (keep) keep_projections(b, std::move(of), o, *keep);
        of = projections();
        batch<B> branch(b, shape_.features(), x.items());
        linear_forward<B>(b, pixels(const_view_t<B>(r)), out_.of(p), {}, pixels(branch.view()));
        gated_residual_forward<B>(b, pixels(x), pixels(branch.cview()), mod_.gate(m), pixels(y));
        if (keep && o.parameters) {
            keep->result = detail::kept<B>(b, std::move(result), o.rounded);
            keep->branch = detail::kept<B>(b, std::move(branch), o.rounded);
        }
    }
    void restore(B& b, const_vector_t<B> p, const_view_t<B> x, const batch<B>& m, const save_options& o, saved& keep) {
        batch<B> y(b, shape_.features(), x.items());
        if (o.parameters)
            forward(b, p, x, m, y, o, &keep);
        else
            keep_projections(b, project(b, p, x, m, y), o, keep);
    }
    void jvp(B& b, const_vector_t<B> p, const_view_t<B> x, const batch<B>& m, const saved& s, const_view_t<B> x_dot,
             view_t<B> y_dot) {
        const index_t n = x.items();
        batch<B> q(b, shape_.features(), n), k(b, shape_.features(), n), v(b, shape_.features(), n);
        modulated_norm_jvp<B>(b, pixels(x), mod_.a(m), mod_.shift(m), pixels(x_dot), pixels(y_dot));
        const const_view_t<B> h_dot = y_dot;
        linear_jvp<B>(b, pixels(h_dot), q_[0].of(p), pixels(q.view()));
        linear_jvp<B>(b, pixels(h_dot), k_[0].of(p), pixels(k.view()));
        linear_jvp<B>(b, pixels(h_dot), v_[0].of(p), pixels(v.view()));
        attention_jvp<B>(b, attention_, s.q.open(b), s.k.open(b), s.v.open(b), q, k, v, y_dot);
        linear_jvp<B>(b, pixels(h_dot), out_.of(p), pixels(q.view()));
        gated_residual_jvp<B>(b, mod_.gate(m), pixels(x_dot), pixels(q.cview()), pixels(y_dot));
    }
    void vjp(B& b, const_vector_t<B> p, const_view_t<B> x, const batch<B>& m, const saved& s, view_t<B> g) {
        batch<B> h_bar = branch_vjp(b, p, m, s, g, nullptr);
        modulated_norm_vjp<B>(b, pixels(x), mod_.a(m), mod_.shift(m), pixels(h_bar.cview()), pixels(g),
                              update::accumulate);
    }
    void vjp_params(B& b, const_vector_t<B> p, const_view_t<B> x, const_view_t<B> t, const batch<B>& m, const saved& s,
                    view_t<B> g, vector_t<B> grad, update mode, view_t<B> t_bar) {
        const index_t n = x.items(), c = shape_.channels;
        batch<B> m_bar(b, 3 * c, n);
        const auto row = [&](index_t k) { return m_bar.view().feature_range(k * c, c); };
        gated_residual_vjp_params<B>(b, pixels(x), pixels(s.branch.open(b).cview()), mod_.gate(m),
                                     pixels(const_view_t<B>(g)), row(2));
        gradient to{&x, grad, mode};
        batch<B> h_bar = branch_vjp(b, p, m, s, g, &to);
        modulated_norm_vjp_params<B>(b, pixels(x), mod_.a(m), mod_.shift(m), pixels(h_bar.cview()), pixels(g), row(0),
                                     row(1), update::accumulate);
        mod_.vjp_params(b, p, t, m_bar, grad, mode, t_bar);
    }

private:
    struct gradient {
        const const_view_t<B>* x;
        vector_t<B> grad;
        update mode;
    };
    template <class P>
    [[nodiscard]] batch_view<P> pixels(const batch_view<P>& v) const {
        return v.reshaped(shape_.channels, shape_.pixels() * v.items());
    }
    struct projections {
        batch<B> q, k, v;
    };
    projections project(B& b, const_vector_t<B> p, const_view_t<B> x, const batch<B>& m, view_t<B> scratch) {
        modulated_norm_forward<B>(b, pixels(x), mod_.a(m), mod_.shift(m), pixels(scratch));
        const const_view_t<B> h = scratch;
        const auto by = [&](const std::array<parameter, 2>& w) {
            batch<B> out(b, shape_.features(), x.items());
            linear_forward<B>(b, pixels(h), w[0].of(p), w[1].of(p), pixels(out.view()));
            return out;
        };
        return {by(q_), by(k_), by(v_)};
    }
    static void keep_projections(B& b, projections of, const save_options& o, saved& s) {
        const bool rounded = o.keeps_bfloat16();
        s.q = detail::kept<B>(b, std::move(of.q), rounded);
        s.k = detail::kept<B>(b, std::move(of.k), rounded);
        s.v = detail::kept<B>(b, std::move(of.v), rounded);
    }
    /// g = r g, and the cotangent of the norm's result.
    batch<B> branch_vjp(B& b, const_vector_t<B> p, const batch<B>& m, const saved& s, view_t<B> g, const gradient* to) {
        const index_t n = g.items();
        batch<B> u(b, shape_.features(), n), o_bar(b, shape_.features(), n);
        gated_residual_vjp<B>(b, mod_.gate(m), pixels(const_view_t<B>(g)), pixels(g), pixels(u.view()));
        if (to)
            linear_vjp_params<B>(b, pixels(s.result.open(b).cview()), pixels(u.cview()), out_.of(to->grad), {},
                                 to->mode);
        linear_vjp<B>(b, pixels(u.cview()), out_.of(p), pixels(o_bar.view()));
        batch<B> q(b, shape_.features(), n), k(b, shape_.features(), n), v(b, shape_.features(), n);
        attention_vjp<B>(b, attention_, s.q.open(b), s.k.open(b), s.v.open(b), o_bar, q, k, v);
        if (to) {
            modulated_norm_forward<B>(b, pixels(*to->x), mod_.a(m), mod_.shift(m), pixels(u.view()));
            const auto add = [&](const batch<B>& bar, const std::array<parameter, 2>& w) {
                linear_vjp_params<B>(b, pixels(u.cview()), pixels(bar.cview()), w[0].of(to->grad), w[1].of(to->grad),
                                     to->mode);
            };
            add(q, q_);
            add(k, k_);
            add(v, v_);
        }
        linear_vjp<B>(b, pixels(q.cview()), q_[0].of(p), pixels(u.view()));
        linear_vjp<B>(b, pixels(k.cview()), k_[0].of(p), pixels(u.view()), update::accumulate);
        linear_vjp<B>(b, pixels(v.cview()), v_[0].of(p), pixels(u.view()), update::accumulate);
        return u;
    }

    image_shape shape_;
    attention_shape attention_;
    modulation<B> mod_;
    std::array<parameter, 2> q_, k_, v_;
    parameter out_;
};

}  // namespace diem::nn
