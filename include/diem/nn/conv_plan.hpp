// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>

#include <diem/backend/capabilities.hpp>
#include <diem/backend/concept.hpp>
#include <diem/nn/conv.hpp>
#include <diem/nn/update.hpp>

/// \file
/// The convolution of one layer in the fastest form of a backend.
/// \snippet tests/examples/nn.cpp nn/conv_plan.hpp

namespace diem::nn {

namespace detail {
struct no_conv3x3 {};
template <class B>
struct conv3x3_of {
    using type = no_conv3x3;
};
template <HasConv3x3 B>
struct conv3x3_of<B> {
    using type = typename B::conv3x3;
};
}  // namespace detail

/// The convolution of one layer, in the backend's own form where it has one.
template <Backend B>
class conv_plan {
public:
    conv_plan() = default;
    explicit conv_plan(const conv_shape& shape) : shape_(shape) {
        if constexpr (HasConv3x3<B>)
            if (shape.kernel == 3 && (shape.stride == 1 || shape.stride == 2))
                fast_.emplace(shape.in.height, shape.in.width, shape.in.channels, shape.out, shape.stride);
    }
    [[nodiscard]] const conv_shape& shape() const { return shape_; }

    /// y (+)= conv(x) + bias; without bias the JVP.
    void forward(B& b, const_view_t<B> x, const_vector_t<B> kernel, const_vector_t<B> bias, view_t<B> y,
                 update mode = update::overwrite) {
        if constexpr (HasConv3x3<B>)
            if (fast_) {
                detail::check_conv("nn::conv_plan", shape_, x, y);
                return fast_->forward(b, kernel, bias, x, y, mode == update::accumulate);
            }
        conv_forward<B>(b, shape_, x, kernel, bias, y, mode);
    }
    void vjp(B& b, const_view_t<B> y_bar, const_vector_t<B> kernel, view_t<B> x_bar, update mode = update::overwrite) {
        if constexpr (HasConv3x3<B>)
            if (fast_) {
                detail::check_conv("nn::conv_plan", shape_, x_bar, y_bar);
                return fast_->vjp(b, kernel, y_bar, x_bar, mode == update::accumulate);
            }
        conv_vjp<B>(b, shape_, y_bar, kernel, x_bar, mode);
    }
    void vjp_params(B& b, const_view_t<B> x, const_view_t<B> y_bar, vector_t<B> kernel_bar, vector_t<B> bias_bar,
                    update mode = update::overwrite) {
        if constexpr (HasConv3x3<B>)
            if (fast_) {
                detail::check_conv("nn::conv_plan", shape_, x, y_bar);
                return fast_->vjp_params(b, x, y_bar, kernel_bar, bias_bar, mode == update::accumulate);
            }
        conv_vjp_params<B>(b, shape_, x, y_bar, kernel_bar, bias_bar, mode);
    }
    /// The kernel has changed.
    void changed() {
        if constexpr (HasConv3x3<B>)
            if (fast_) fast_->changed();
    }

private:
    conv_shape shape_;
    std::optional<typename detail::conv3x3_of<B>::type> fast_;
};

}  // namespace diem::nn
