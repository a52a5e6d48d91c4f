// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <utility>
#include <vector>

#include <diem/parallel/buffers.hpp>
#include <diem/parallel/communicator.hpp>

/// \file
/// Sums whose order does not depend on the number of ranks.
/// \snippet tests/examples/parallel.cpp parallel/tree_sum.hpp

namespace diem::parallel {

/// The sum of parts 0 .. n - 1 over a binary tree that n alone fixes: node k of level l is the sum of nodes 2 k and 2 k + 1 of level
/// l - 1, or the first alone where the second is beyond n. Parts, or whole nodes, are pushed from left to right, beginning anywhere;
/// `add(left, right)` is left += right.
template <class Value>
class tree_sum {
public:
    struct node {
        index_t index;  ///< within its level
        int level;
        Value value;
    };
    template <class Add>
    void push(node next, const Add& add) {
        nodes_.push_back(std::move(next));
        while (nodes_.size() > 1) {
            auto &left = nodes_[nodes_.size() - 2], &right = nodes_.back();
            if (left.level != right.level || left.index % 2 != 0 || left.index + 1 != right.index) return;
            add(left.value, right.value);
            left.index /= 2;
            ++left.level;
            nodes_.pop_back();
        }
    }
    /// All parts were pushed, from 0 on: what has no right neighbour goes up alone.
    template <class Add>
    Value& total(const Add& add) {
        for (; nodes_.size() > 1; nodes_.pop_back()) add(nodes_[nodes_.size() - 2].value, nodes_.back().value);
        return nodes_.front().value;
    }
    [[nodiscard]] std::vector<node>& nodes() { return nodes_; }

private:
    std::vector<node> nodes_;
};

namespace detail {
/// Levels and indices of the nodes that parts first .. last - 1 come to.
[[nodiscard]] inline std::vector<std::pair<index_t, int>> nodes_of(index_t first, index_t last) {
    tree_sum<char> sum;
    for (index_t k = first; k < last; ++k) sum.push({k, 0, 0}, [](char, char) {});
    std::vector<std::pair<index_t, int>> out;
    for (const auto& n : sum.nodes()) out.emplace_back(n.index, n.level);
    return out;
}
}  // namespace detail

/// Ends a sum of `parts` vectors of n numbers, of which each rank r pushed `first_of(parts, r, size)` and on: `total` (n) is the same to
/// the bit for every number of ranks. Each rank sums a slice of the numbers, received of all, then all gather the slices: about
/// (2 + log2 parts / size) n numbers go through each rank. With one rank nothing is sent.
template <Communicator C, Backend B>
void all_reduce(const C& c, B& b, tree_sum<batch<B>>& own, index_t parts, vector_t<B> total, const char* what) {
    using T = scalar_t<B>;
    const index_t n = total.size();
    if (c.size() == 1) {
        const auto add = [&](batch<B>& l, batch<B>& r) { b.axpby(1.0, r.cview(), 1.0, l.view()); };
        b.copy(own.total(add).cview(), as_batch(total));
        return;
    }
    const auto ranks = static_cast<std::size_t>(c.size());
    const auto slice = [&](std::size_t r) {
        const index_t first = first_of(n, static_cast<int>(r), c.size());
        return std::pair(first, first_of(n, static_cast<int>(r) + 1, c.size()) - first);
    };
    std::vector<std::vector<std::pair<index_t, int>>> nodes;
    for (int r = 0; r < c.size(); ++r)
        nodes.push_back(detail::nodes_of(first_of(parts, r, c.size()), first_of(parts, r + 1, c.size())));
    const auto here = static_cast<std::size_t>(c.rank()), mine = own.nodes().size();
    const index_t length = slice(here).second;
    std::vector<index_t> to, from, gathered;
    for (std::size_t r = 0; r < ranks; ++r) {
        const index_t count = slice(r).second;
        to.push_back(static_cast<index_t>(mine) * count);
        from.push_back(static_cast<index_t>(nodes[r].size()) * length);
        gathered.push_back(count);
    }
    const index_t incoming = std::accumulate(from.begin(), from.end(), index_t{0});
    batch<B> sent(b, std::max<index_t>(1, static_cast<index_t>(mine) * n), 1);
    batch<B> received(b, std::max<index_t>(1, incoming), 1);
    index_t at = 0;
    for (std::size_t r = 0; r < ranks; ++r) {
        const auto [first, count] = slice(r);
        for (const auto& node : own.nodes()) {
            const const_vector_t<B> values = node.value.flat();
            b.copy(as_batch(values.range(first, count)), as_batch(sent.flat().range(at, count)));
            at += count;
        }
    }
    all_to_all<T>(c, b, sent.flat().range(0, at), to, received.flat().range(0, incoming), from, what);
    const auto add = [&](vector_t<B>& l, vector_t<B>& r) {
        b.axpby(1.0, as_batch(const_vector_t<B>(r)), 1.0, as_batch(l));
    };
    tree_sum<vector_t<B>> sum;
    at = 0;
    for (const auto& of_rank : nodes)
        for (const auto& [index, level] : of_rank) {
            sum.push({index, level, received.flat().range(at, length)}, add);
            at += length;
        }
    all_gather<T>(c, b, const_vector_t<B>(sum.total(add)), total, gathered, what);
}

}  // namespace diem::parallel
