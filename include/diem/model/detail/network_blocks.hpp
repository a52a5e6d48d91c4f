// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include <diem/backend/capabilities.hpp>
#include <diem/backend/concept.hpp>
#include <diem/core/check.hpp>
#include <diem/nn/network.hpp>
#include <diem/nn/update.hpp>

/// \file
/// Internal: the passes of a network over a batch, in blocks of items that have a thread each, where backend and network can. A
/// thread goes through all layers with what its cache holds and waits for no other between them. An item's result depends
/// on no other item, so blocks make no difference to it. A gradient, which sums over items, takes the batch as one block.

namespace diem::model::detail {

template <Backend B, class Net>
class network_blocks {
public:
    /// What was saved of each block.
    class saved {
        friend class network_blocks;
        [[nodiscard]] std::size_t index(index_t first) const {
            return static_cast<std::size_t>(block_ > 0 ? first / block_ : 0);
        }
        std::vector<typename Net::activations> of_ = std::vector<typename Net::activations>(1);
        index_t items_ = 0, block_ = 0;
    };

    static void forward(B& b, Net& net, const_vector_t<B> p, const_view_t<B> x, const_view_t<B> t, view_t<B> y) {
        each(b, x.items(), block_of(b, net, x.items(), t.items()), [&](B& part, index_t first, index_t count) {
            net.forward(part, p, x.item_range(first, count), embedding(t, first, count), y.item_range(first, count));
        });
    }
    static void forward(B& b, Net& net, const_vector_t<B> p, const_view_t<B> x, const_view_t<B> t, view_t<B> y,
                        const nn::save_options& options, saved& s) {
        s.items_ = x.items();
        s.block_ = options.parameters ? s.items_ : block_of(b, net, s.items_, t.items());
        s.of_ = std::vector<typename Net::activations>(static_cast<std::size_t>(blocks(s.items_, s.block_)));
        each(b, s.items_, s.block_, [&](B& part, index_t first, index_t count) {
            net.forward(part, p, x.item_range(first, count), embedding(t, first, count), y.item_range(first, count),
                        options, s.of_[s.index(first)]);
        });
    }
    template <bool adjoint>
    static void derivative(B& b, Net& net, const_vector_t<B> p, const saved& s, const_view_t<B> in, view_t<B> out) {
        each(b, s.items_, s.block_, [&](B& part, index_t first, index_t count) {
            if constexpr (adjoint)
                net.vjp(part, p, s.of_[s.index(first)], in.item_range(first, count), out.item_range(first, count));
            else
                net.jvp(part, p, s.of_[s.index(first)], in.item_range(first, count), out.item_range(first, count));
        });
    }
    /// Of a batch that was saved for it.
    static void vjp_params(B& b, Net& net, const_vector_t<B> p, const saved& s, const_view_t<B> y_bar, vector_t<B> grad,
                           nn::update mode) {
        check_value("model::vjp_params", s.block_ == s.items_, "the linearisation was not made for training");
        net.vjp_params(b, p, s.of_[0], y_bar, grad, mode, view_t<B>());
    }

    /// Into how many blocks items are taken; each computes and keeps what depends on sigma alone.
    static index_t count(const B& b, const Net& net, index_t items, index_t embeddings) {
        return blocks(items, block_of(b, net, items, embeddings));
    }

private:
    /// One of no items, too.
    static index_t blocks(index_t items, index_t block) { return block > 0 ? (items + block - 1) / block : 1; }
    static const_view_t<B> embedding(const_view_t<B> t, index_t first, index_t count) {
        return t.items() == 1 ? t : t.item_range(first, count);
    }
    /// Items of a block: all where threads would have unequal shares, for then they share each layer better, or one item each, for
    /// which each would prepare every kernel anew.
    static index_t block_of(const B& b, const Net& net, index_t items, index_t embeddings) {
        if constexpr (BlockThreaded<B> && requires { net.block_unit(); }) {
            const index_t threads = b.threads(), share = (items + threads - 1) / threads;
            index_t unit = net.block_unit();
            if (threads == 1 || unit == 0 || share < 2) return items;
            if (embeddings > 1)
                unit = std::max(unit, nn::items_of_whole_columns(1));  // products with a column for each item
            const index_t block = (share + unit - 1) / unit * unit;
            const bool equal = block * threads <= items + items / 8, whole = unit == 1 || items % block == 0;
            if (equal && whole) return block;
        }
        return items;
    }
    template <class F>
    static void each(B& b, index_t items, index_t block, const F& f) {
        if constexpr (BlockThreaded<B>)
            if (block < items) return b.for_blocks(items, block, f);
        f(b, index_t{0}, items);
    }
};

}  // namespace diem::model::detail
