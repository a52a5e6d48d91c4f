// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <numeric>

#include <diem/backend/concept.hpp>
#include <diem/core/random.hpp>
#include <diem/core/view.hpp>
#include <diem/nn/parameters.hpp>
#include <diem/nn/update.hpp>

/// \file
/// What a network has.
/// \snippet tests/examples/nn.cpp nn/network.hpp

namespace diem::nn {

/// What a forward pass keeps for the derivatives that follow it.
struct save_options {
    bool parameters = false;  ///< for `vjp_params` too, not only `jvp` and `vjp`
    bool recompute = false;   ///< keep the inputs of blocks only, and compute the rest again where it is needed
    bool rounded = false;     ///< with `parameters`: keep arrays in bfloat16, where a network can (`unet`)
    double dropout = 0;       ///< rate, in training
    random_key dropout_key{};
    [[nodiscard]] bool keeps_bfloat16() const { return parameters && rounded; }
};

/// Items of images of so many pixels that have a multiple of 16 of them: products over the pixels of such blocks of a batch are, to
/// the bit, parts of that over all pixels, as kernels take up to that many columns together.
[[nodiscard]] constexpr index_t items_of_whole_columns(index_t pixels) {
    constexpr index_t columns = 16;
    return columns / std::gcd(columns, pixels);
}

/// `block_unit` of a network of stages, of which each has the shape of its result.
template <class Stages>
[[nodiscard]] index_t block_unit_of(const Stages& stages) {
    index_t unit = 1;
    for (const auto& s : stages) unit = std::max(unit, items_of_whole_columns(s.out.pixels()));
    return unit;
}

/// y = net(x, t; parameters): x is D x n, t (an embedding) is E x n or E x 1 (the same for all items).
///
/// `parameters()`                             the table of the flat buffer that every call takes
/// `forward(b, p, x, t, y)`                   keeps nothing
/// `forward(b, p, x, t, y, options, saved)`   fills `saved`, a `Net::activations` that owns its buffers
/// `jvp(b, p, saved, x_dot, y_dot)`, `vjp(b, p, saved, y_bar, x_bar)`   with respect to x, any number of times
/// `vjp_params(b, p, saved, y_bar, grad, mode, x_bar)`   gradient of all parameters, and x_bar where it is not empty;
///                                            needs `options.parameters`
/// `parameters_changed()`                     must be called between a change of the buffer and the next call
/// `activation_bytes(items, options, embeddings)`   what `saved` will own; embeddings = items of t
/// `block_unit()`                             as an option: where not 0, several threads may call `forward`, `jvp` and `vjp` at once, each
///                                            with its own backend and activations; blocks of a multiple of so many items give what
///                                            the whole batch gives, to the bit
template <class N, class B>
concept Network = Backend<B> && requires(N& net, const N& cnet, B& b, const_vector_t<B> p, vector_t<B> grad,
                                         const_view_t<B> x, view_t<B> y, typename N::activations& saved,
                                         const save_options& options, update mode, index_t n) {
    { cnet.parameters() } -> std::convertible_to<const parameter_table&>;
    { cnet.features() } -> std::convertible_to<index_t>;
    { cnet.embedding() } -> std::convertible_to<index_t>;
    net.forward(b, p, x, x, y);
    net.forward(b, p, x, x, y, options, saved);
    net.jvp(b, p, saved, x, y);
    net.vjp(b, p, saved, x, y);
    net.vjp_params(b, p, saved, x, grad, mode, y);
    net.parameters_changed();
    { cnet.activation_bytes(n, options, n) } -> std::convertible_to<std::size_t>;
};

}  // namespace diem::nn
