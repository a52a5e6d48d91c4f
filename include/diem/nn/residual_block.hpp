// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <string>

#include <diem/backend/batch.hpp>
#include <diem/backend/concept.hpp>
#include <diem/backend/functors.hpp>
#include <diem/nn/activation.hpp>
#include <diem/nn/conv_plan.hpp>
#include <diem/nn/detail/kept.hpp>
#include <diem/nn/gated_residual.hpp>
#include <diem/nn/layer_parameters.hpp>
#include <diem/nn/modulation_layer.hpp>
#include <diem/nn/network.hpp>
#include <diem/nn/norm.hpp>
#include <diem/nn/parameters.hpp>

/// \file
/// Internal: a block of the U-Net. x, y: items x (H, W, C), contiguous; modulation m: see modulation_layer.hpp. Cotangents
/// pass through a block in place: `g` is y_bar before, x_bar after.

namespace diem::nn {

/// y = (x + c f(x)) / sqrt(1 + c^2), f: modulated norm, convolution, SiLU, dropout, convolution.
template <Backend B>
class residual_block {
public:
    /// For parameters it keeps what the SiLU takes: value and slope, each needed once, are computed again.
    struct saved {
        batch<B> slope;          ///< of the SiLU, times the dropout mask; not for parameters
        detail::kept<B> before;  ///< the SiLU; for parameters
        detail::kept<B> branch;  ///< f(x); for parameters
        double dropout = 0;
        random_key dropout_key{};
    };

    /// `dropout_first`: where the block's elements start in the dropout key's stream, a multiple of 4.
    residual_block(parameter_table& table, const std::string& name, image_shape shape, index_t embedding,
                   index_t dropout_first = 0)
        : shape_(shape), dropout_first_(dropout_first), mod_(table, name, shape.channels, embedding),
          conv_1_({shape, shape.channels, 3, 1}), conv_2_({shape, shape.channels, 3, 1}),
          first_(add_conv(table, name + ".conv1", conv_1_.shape())),
          second_(add_conv(table, name + ".conv2", conv_2_.shape())) {}

    [[nodiscard]] const modulation<B>& mod() const { return mod_; }
    void parameters_changed() {
        conv_1_.changed();
        conv_2_.changed();
    }
    /// Features per item of what is saved.
    [[nodiscard]] index_t saved_features(const save_options& o) const {
        return (o.recompute ? 0 : o.parameters ? 2 : 1) * shape_.features();
    }

    /// `keep` may be null. y may not be x.
    void forward(B& b, const_vector_t<B> p, const_view_t<B> x, const batch<B>& m, view_t<B> y, const save_options& o,
                 saved* keep) {
        batch<B> z = hidden(b, p, x, m, y, o, keep);
        const bool parameters = keep && o.parameters;
        batch<B> branch;
        if (parameters) {
            keep->before = detail::kept<B>(b, std::move(z), o.rounded);
            branch = batch<B>(b, shape_.features(), x.items());
        }
        // Where z is kept, y is the input of the second convolution.
        const const_view_t<B> value = parameters ? const_view_t<B>(y) : z.cview();
        const view_t<B> f = parameters ? branch.view() : y;
        conv_2_.forward(b, value, second_[0].of(p), second_[1].of(p), f);
        gated_residual_forward<B>(b, pixels(x), pixels(const_view_t<B>(f)), mod_.gate(m), pixels(y));
        if (parameters) keep->branch = detail::kept<B>(b, std::move(branch), o.rounded);
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
        times_slope(b, s, u);
        conv_2_.forward(b, u, second_[0].of(p), {}, y_dot);
        gated_residual_jvp<B>(b, mod_.gate(m), pixels(x_dot), pixels(const_view_t<B>(y_dot)), pixels(y_dot));
    }
    void vjp(B& b, const_vector_t<B> p, const_view_t<B> x, const batch<B>& m, const saved& s, view_t<B> g) {
        batch<B> u(b, shape_.features(), x.items()), v(b, shape_.features(), x.items());
        gated_residual_vjp<B>(b, mod_.gate(m), pixels(const_view_t<B>(g)), pixels(g), pixels(u.view()));
        conv_2_.vjp(b, u, second_[0].of(p), v);
        times_slope(b, s, v);
        conv_1_.vjp(b, v, first_[0].of(p), u);
        modulated_norm_vjp<B>(b, pixels(x), mod_.a(m), mod_.shift(m), pixels(u.cview()), pixels(g), update::accumulate);
    }
    /// As vjp, with the gradient of the block's parameters; t_bar may be empty.
    void vjp_params(B& b, const_vector_t<B> p, const_view_t<B> x, const_view_t<B> t, const batch<B>& m, const saved& s,
                    view_t<B> g, vector_t<B> grad, update mode, view_t<B> t_bar) {
        const index_t n = x.items(), c = shape_.channels;
        batch<B> u(b, shape_.features(), n), v(b, shape_.features(), n), m_bar(b, 3 * c, n);
        const auto row = [&](index_t k) { return m_bar.view().feature_range(k * c, c); };
        gated_residual_vjp_params<B>(b, pixels(x), pixels(s.branch.open(b).cview()), mod_.gate(m),
                                     pixels(const_view_t<B>(g)), row(2));
        gated_residual_vjp<B>(b, mod_.gate(m), pixels(const_view_t<B>(g)), pixels(g), pixels(u.view()));
        {
            batch<B> slope(b, shape_.features(), n);
            value_and_slope(b, s, v, slope);
            conv_2_.vjp_params(b, v, u, second_[0].of(grad), second_[1].of(grad), mode);
            conv_2_.vjp(b, u, second_[0].of(p), v);
            b.map(functors::multiply{}, v.view(), slope.cview());
        }
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
    /// The input of the second convolution: the result; or, where `keep` is for parameters, `scratch`, and the result is what
    /// the SiLU took. Else `scratch` is overwritten, and keep->slope filled.
    batch<B> hidden(B& b, const_vector_t<B> p, const_view_t<B> x, const batch<B>& m, view_t<B> scratch,
                    const save_options& o, saved* keep) {
        batch<B> z(b, shape_.features(), x.items());
        modulated_norm_forward<B>(b, pixels(x), mod_.a(m), mod_.shift(m), pixels(scratch));
        conv_1_.forward(b, scratch, first_[0].of(p), first_[1].of(p), z);
        if (!keep || o.parameters) {
            const view_t<B> value = keep ? scratch : z.view();
            silu_forward<B>(b, z, value);
            drop(b, o.dropout, o.dropout_key, value);
        } else {
            keep->slope = batch<B>(b, shape_.features(), x.items());
            silu_forward_slope<B>(b, z, z, keep->slope);
            drop(b, o.dropout, o.dropout_key, z);
            drop(b, o.dropout, o.dropout_key, keep->slope);
        }
        if (keep) keep->dropout = o.dropout, keep->dropout_key = o.dropout_key;
        return z;
    }
    void drop(B& b, double rate, const random_key& key, view_t<B> x) const {
        if (rate > 0) dropout_forward<B>(b, rate, key, dropout_first_, x, x);
    }
    void value_and_slope(B& b, const saved& s, view_t<B> value, view_t<B> slope) const {
        silu_forward_slope<B>(b, s.before.open(b), value, slope);
        drop(b, s.dropout, s.dropout_key, value);
        drop(b, s.dropout, s.dropout_key, slope);
    }
    void times_slope(B& b, const saved& s, view_t<B> u) const {
        if (s.slope.features() > 0) return b.map(functors::multiply{}, u, s.slope.cview());
        silu_vjp<B>(b, s.before.open(b), u, u);
        drop(b, s.dropout, s.dropout_key, u);
    }

    image_shape shape_;
    index_t dropout_first_;
    modulation<B> mod_;
    conv_plan<B> conv_1_, conv_2_;
    std::array<parameter, 2> first_, second_;
};

}  // namespace diem::nn
