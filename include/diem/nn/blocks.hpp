// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cmath>
#include <string>

#include <diem/backend/batch.hpp>
#include <diem/backend/concept.hpp>
#include <diem/backend/functors.hpp>
#include <diem/nn/activation.hpp>
#include <diem/nn/attention.hpp>
#include <diem/nn/conv_plan.hpp>
#include <diem/nn/linear.hpp>
#include <diem/nn/modulation.hpp>
#include <diem/nn/network.hpp>
#include <diem/nn/norm.hpp>
#include <diem/nn/parameters.hpp>
#include <diem/nn/resample.hpp>

/// The two blocks of the U-Net. x, y: items x (H, W, C), contiguous; t (embedding): E x m; modulation m: 3 C x m, rows
/// a, b, c; m = items, or 1 for all of them. Cotangents pass through a block in place: `g` is y_bar before, x_bar after.
namespace diem::nn {

namespace detail {
inline std::array<parameter, 2> add_linear(parameter_table& table, const std::string& name, index_t in, index_t out,
                                           double factor = 1) {
    const parameter weight = table.add(name + ".weight", {in, out}, factor / std::sqrt(static_cast<double>(in)));
    return {weight, table.add(name + ".bias", {out}, 0)};
}
inline std::array<parameter, 2> add_conv(parameter_table& table, const std::string& name, const conv_shape& s) {
    const parameter kernel = table.add(name + ".kernel", {s.kernel, s.kernel, s.in.channels, s.out},
                                       1 / std::sqrt(static_cast<double>(s.depth())));
    return {kernel, table.add(name + ".bias", {s.out}, 0)};
}
}  // namespace detail

/// (a, b, c) = Linear(SiLU(Linear(t))).
template <Backend B>
class modulation {
public:
    modulation(parameter_table& table, const std::string& name, index_t channels, index_t embedding)
        : channels_(channels), embedding_(embedding),
          first_(detail::add_linear(table, name + ".mod1", embedding, embedding)),
          second_(detail::add_linear(table, name + ".mod2", embedding, 3 * channels, 0.1)) {}

    [[nodiscard]] batch<B> forward(B& b, const_vector_t<B> p, const_view_t<B> t) const {
        batch<B> u(b, embedding_, t.items()), m(b, 3 * channels_, t.items());
        linear_forward<B>(b, t, first_[0].of(p), first_[1].of(p), u);
        silu_forward<B>(b, u, u);
        linear_forward<B>(b, u, second_[0].of(p), second_[1].of(p), m);
        return m;
    }
    /// m_bar: 3 C x items of the images, summed here where t has one item. t_bar may be empty.
    void vjp_params(B& b, const_vector_t<B> p, const_view_t<B> t, const_view_t<B> m_bar, vector_t<B> grad, update mode,
                    view_t<B> t_bar) const {
        batch<B> sum;
        if (m_bar.items() != t.items()) {
            sum = batch<B>(b, m_bar.features(), 1);
            detail::row_sums<B>(b, m_bar, sum.flat(), update::overwrite);
            m_bar = sum;
        }
        batch<B> u(b, embedding_, t.items()), s(b, embedding_, t.items());
        linear_forward<B>(b, t, first_[0].of(p), first_[1].of(p), u);
        silu_forward<B>(b, u, s);
        linear_vjp_params<B>(b, s, m_bar, second_[0].of(grad), second_[1].of(grad), mode);
        linear_vjp<B>(b, m_bar, second_[0].of(p), s);
        silu_vjp<B>(b, u, s, s);
        linear_vjp_params<B>(b, t, s, first_[0].of(grad), first_[1].of(grad), mode);
        if (t_bar.features() > 0) linear_vjp<B>(b, s, first_[0].of(p), t_bar);
    }

    [[nodiscard]] const_view_t<B> a(const batch<B>& m) const { return m.cview().feature_range(0, channels_); }
    [[nodiscard]] const_view_t<B> shift(const batch<B>& m) const {
        return m.cview().feature_range(channels_, channels_);
    }
    [[nodiscard]] const_view_t<B> gate(const batch<B>& m) const {
        return m.cview().feature_range(2 * channels_, channels_);
    }
    [[nodiscard]] index_t channels() const { return channels_; }

private:
    index_t channels_, embedding_;
    std::array<parameter, 2> first_, second_;
};

/// y = (x + c f(x)) / sqrt(1 + c^2), f: modulated norm, convolution, SiLU, dropout, convolution.
template <Backend B>
class residual_block {
public:
    struct saved {
        batch<B> slope;   ///< of the SiLU, times the dropout mask
        batch<B> value;   ///< input of the second convolution; for parameters
        batch<B> branch;  ///< f(x); for parameters
    };

    /// `dropout_first`: where the block's elements start in the dropout key's stream, a multiple of 4.
    residual_block(parameter_table& table, const std::string& name, image_shape shape, index_t embedding,
                   index_t dropout_first = 0)
        : shape_(shape), dropout_first_(dropout_first), mod_(table, name, shape.channels, embedding),
          conv_1_({shape, shape.channels, 3, 1}), conv_2_({shape, shape.channels, 3, 1}),
          first_(detail::add_conv(table, name + ".conv1", conv_1_.shape())),
          second_(detail::add_conv(table, name + ".conv2", conv_2_.shape())) {}

    [[nodiscard]] const modulation<B>& mod() const { return mod_; }
    void parameters_changed() {
        conv_1_.changed();
        conv_2_.changed();
    }
    /// Features per item of what is saved.
    [[nodiscard]] index_t saved_features(const save_options& o) const {
        return (o.recompute ? 0 : o.parameters ? 3 : 1) * shape_.features();
    }

    /// `keep` may be null. y may not be x.
    void forward(B& b, const_vector_t<B> p, const_view_t<B> x, const batch<B>& m, view_t<B> y, const save_options& o,
                 saved* keep) {
        const index_t n = x.items();
        batch<B> z = hidden(b, p, x, m, y, o, keep);
        batch<B> branch;
        view_t<B> f = y;
        if (keep && o.parameters) {
            branch = batch<B>(b, shape_.features(), n);
            f = branch;
        }
        conv_2_.forward(b, z, second_[0].of(p), second_[1].of(p), f);
        gated_residual_forward<B>(b, pixels(x), pixels(const_view_t<B>(f)), mod_.gate(m), pixels(y));
        if (keep && o.parameters) {
            keep->value = std::move(z);
            keep->branch = std::move(branch);
        }
    }
    /// Fills `keep` again from the input.
    void restore(B& b, const_vector_t<B> p, const_view_t<B> x, const batch<B>& m, const save_options& o, saved& keep) {
        batch<B> y(b, shape_.features(), x.items());
        if (o.parameters)
            forward(b, p, x, m, y, o, &keep);
        else
            hidden(b, p, x, m, y, o, &keep);
    }
    void jvp(B& b, const_vector_t<B> p, const_view_t<B> x, const batch<B>& m, const saved& s, const_view_t<B> x_dot,
             view_t<B> y_dot) {
        batch<B> u(b, shape_.features(), x.items());
        modulated_norm_jvp<B>(b, pixels(x), mod_.a(m), mod_.shift(m), pixels(x_dot), pixels(y_dot));
        conv_1_.forward(b, y_dot, first_[0].of(p), {}, u);
        b.map(functors::multiply{}, u.view(), s.slope.cview());
        conv_2_.forward(b, u, second_[0].of(p), {}, y_dot);
        gated_residual_jvp<B>(b, mod_.gate(m), pixels(x_dot), pixels(const_view_t<B>(y_dot)), pixels(y_dot));
    }
    void vjp(B& b, const_vector_t<B> p, const_view_t<B> x, const batch<B>& m, const saved& s, view_t<B> g) {
        batch<B> u(b, shape_.features(), x.items()), v(b, shape_.features(), x.items());
        gated_residual_vjp<B>(b, mod_.gate(m), pixels(const_view_t<B>(g)), pixels(g), pixels(u.view()));
        conv_2_.vjp(b, u, second_[0].of(p), v);
        b.map(functors::multiply{}, v.view(), s.slope.cview());
        conv_1_.vjp(b, v, first_[0].of(p), u);
        modulated_norm_vjp<B>(b, pixels(x), mod_.a(m), mod_.shift(m), pixels(u.cview()), pixels(g), update::accumulate);
    }
    /// As vjp, with the gradient of the block's parameters; t_bar may be empty.
    void vjp_params(B& b, const_vector_t<B> p, const_view_t<B> x, const_view_t<B> t, const batch<B>& m, const saved& s,
                    view_t<B> g, vector_t<B> grad, update mode, view_t<B> t_bar) {
        const index_t n = x.items(), c = shape_.channels;
        batch<B> u(b, shape_.features(), n), v(b, shape_.features(), n), m_bar(b, 3 * c, n);
        const auto row = [&](index_t k) { return m_bar.view().feature_range(k * c, c); };
        gated_residual_vjp_params<B>(b, pixels(x), pixels(s.branch.cview()), mod_.gate(m), pixels(const_view_t<B>(g)),
                                     row(2));
        gated_residual_vjp<B>(b, mod_.gate(m), pixels(const_view_t<B>(g)), pixels(g), pixels(u.view()));
        conv_2_.vjp_params(b, s.value, u, second_[0].of(grad), second_[1].of(grad), mode);
        conv_2_.vjp(b, u, second_[0].of(p), v);
        b.map(functors::multiply{}, v.view(), s.slope.cview());
        modulated_norm_forward<B>(b, pixels(x), mod_.a(m), mod_.shift(m), pixels(u.view()));
        conv_1_.vjp_params(b, u, v, first_[0].of(grad), first_[1].of(grad), mode);
        conv_1_.vjp(b, v, first_[0].of(p), u);
        modulated_norm_vjp_params<B>(b, pixels(x), mod_.a(m), mod_.shift(m), pixels(u.cview()), pixels(g), row(0),
                                     row(1), update::accumulate);
        mod_.vjp_params(b, p, t, m_bar, grad, mode, t_bar);
    }

private:
    template <class P>
    [[nodiscard]] batch_view<P> pixels(const batch_view<P>& v) const {
        return v.reshaped(shape_.channels, shape_.pixels() * v.items());
    }
    /// Input of the second convolution; `scratch` is overwritten. Fills keep->slope.
    batch<B> hidden(B& b, const_vector_t<B> p, const_view_t<B> x, const batch<B>& m, view_t<B> scratch,
                    const save_options& o, saved* keep) {
        const index_t n = x.items();
        batch<B> z(b, shape_.features(), n);
        modulated_norm_forward<B>(b, pixels(x), mod_.a(m), mod_.shift(m), pixels(scratch));
        conv_1_.forward(b, scratch, first_[0].of(p), first_[1].of(p), z);
        if (keep) {
            keep->slope = batch<B>(b, shape_.features(), n);
            silu_forward_slope<B>(b, z, z, keep->slope);
        } else {
            silu_forward<B>(b, z, z);
        }
        if (o.dropout > 0) {
            dropout_forward<B>(b, o.dropout, o.dropout_key, dropout_first_, z, z);
            if (keep) dropout_forward<B>(b, o.dropout, o.dropout_key, dropout_first_, keep->slope, keep->slope);
        }
        return z;
    }

    image_shape shape_;
    index_t dropout_first_;
    modulation<B> mod_;
    conv_plan<B> conv_1_, conv_2_;
    std::array<parameter, 2> first_, second_;
};

/// y = (x + c f(x)) / sqrt(1 + c^2), f: modulated norm, multi-head self-attention among all pixels.
template <Backend B>
class attention_block {
public:
    struct saved {
        batch<B> q, k, v;
        batch<B> result;  ///< before the last projection; for parameters
        batch<B> branch;  ///< f(x); for parameters
    };

    attention_block(parameter_table& table, const std::string& name, image_shape shape, index_t embedding,
                    index_t heads)
        : shape_(shape), attention_{shape.pixels(), shape.channels, heads},
          mod_(table, name, shape.channels, embedding),
          q_(detail::add_linear(table, name + ".q", shape.channels, shape.channels)),
          k_(detail::add_linear(table, name + ".k", shape.channels, shape.channels)),
          v_(detail::add_linear(table, name + ".v", shape.channels, shape.channels)),
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
        saved local;
        saved& s = keep ? *keep : local;
        project(b, p, x, m, y, s);
        batch<B> result;
        view_t<B> r = y;
        if (keep && o.parameters) {
            result = batch<B>(b, shape_.features(), x.items());
            r = result;
        }
        attention_forward<B>(b, attention_, s.q, s.k, s.v, r);
        if (!keep) local = saved();
        batch<B> branch(b, shape_.features(), x.items());
        linear_forward<B>(b, pixels(const_view_t<B>(r)), out_.of(p), {}, pixels(branch.view()));
        gated_residual_forward<B>(b, pixels(x), pixels(branch.cview()), mod_.gate(m), pixels(y));
        if (keep && o.parameters) {
            keep->result = std::move(result);
            keep->branch = std::move(branch);
        }
    }
    void restore(B& b, const_vector_t<B> p, const_view_t<B> x, const batch<B>& m, const save_options& o, saved& keep) {
        batch<B> y(b, shape_.features(), x.items());
        if (o.parameters)
            forward(b, p, x, m, y, o, &keep);
        else
            project(b, p, x, m, y, keep);
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
        attention_jvp<B>(b, attention_, s.q, s.k, s.v, q, k, v, y_dot);
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
        gated_residual_vjp_params<B>(b, pixels(x), pixels(s.branch.cview()), mod_.gate(m), pixels(const_view_t<B>(g)),
                                     row(2));
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
    void project(B& b, const_vector_t<B> p, const_view_t<B> x, const batch<B>& m, view_t<B> scratch, saved& s) {
        modulated_norm_forward<B>(b, pixels(x), mod_.a(m), mod_.shift(m), pixels(scratch));
        const const_view_t<B> h = scratch;
        const auto to = [&](const std::array<parameter, 2>& w, batch<B>& out) {
            out = batch<B>(b, shape_.features(), x.items());
            linear_forward<B>(b, pixels(h), w[0].of(p), w[1].of(p), pixels(out.view()));
        };
        to(q_, s.q);
        to(k_, s.k);
        to(v_, s.v);
    }
    /// g = r g, and the cotangent of the norm's result.
    batch<B> branch_vjp(B& b, const_vector_t<B> p, const batch<B>& m, const saved& s, view_t<B> g, const gradient* to) {
        const index_t n = g.items();
        batch<B> u(b, shape_.features(), n), o_bar(b, shape_.features(), n);
        gated_residual_vjp<B>(b, mod_.gate(m), pixels(const_view_t<B>(g)), pixels(g), pixels(u.view()));
        if (to) linear_vjp_params<B>(b, pixels(s.result.cview()), pixels(u.cview()), out_.of(to->grad), {}, to->mode);
        linear_vjp<B>(b, pixels(u.cview()), out_.of(p), pixels(o_bar.view()));
        batch<B> q(b, shape_.features(), n), k(b, shape_.features(), n), v(b, shape_.features(), n);
        attention_vjp<B>(b, attention_, s.q, s.k, s.v, o_bar, q, k, v);
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
