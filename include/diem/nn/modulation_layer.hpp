// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <string>

#include <diem/backend/batch.hpp>
#include <diem/backend/concept.hpp>
#include <diem/nn/activation.hpp>
#include <diem/nn/layer_parameters.hpp>
#include <diem/nn/linear.hpp>
#include <diem/nn/parameters.hpp>
#include <diem/nn/update.hpp>

/// \file
/// Internal: the layer that turns the embedding t (E x m) into the modulation of a block, 3 C x m, rows a, b, c; m = items, or 1 for all of
/// them.

namespace diem::nn {

/// (a, b, c) = Linear(SiLU(Linear(t))).
template <Backend B>
class modulation {
public:
    modulation(parameter_table& table, const std::string& name, index_t channels, index_t embedding)
        : channels_(channels), embedding_(embedding), first_(add_linear(table, name + ".mod1", embedding, embedding)),
          second_(add_linear(table, name + ".mod2", embedding, 3 * channels, 0.1)) {}

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

}  // namespace diem::nn
