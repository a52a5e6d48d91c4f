// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include <diem/parallel/communicator.hpp>

/// Sums whose order does not depend on the number of ranks.
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
        return std::pair(static_cast<std::size_t>(first),
                         static_cast<std::size_t>(first_of(n, static_cast<int>(r) + 1, c.size()) - first));
    };
    std::vector<std::vector<std::pair<index_t, int>>> nodes;
    for (int r = 0; r < c.size(); ++r)
        nodes.push_back(detail::nodes_of(first_of(parts, r, c.size()), first_of(parts, r + 1, c.size())));
    std::vector<std::vector<T>> mine;
    for (const auto& node : own.nodes()) mine.push_back(to_host(b, node.value));

    const std::size_t length = slice(static_cast<std::size_t>(c.rank())).second;
    std::vector<std::size_t> to(ranks), from(ranks), gathered(ranks);
    std::vector<T> sent;
    std::size_t incoming = 0;
    for (std::size_t r = 0; r < ranks; ++r) {
        const auto [first, count] = slice(r);
        for (const auto& values : mine)
            sent.insert(sent.end(), values.begin() + static_cast<std::ptrdiff_t>(first),
                        values.begin() + static_cast<std::ptrdiff_t>(first + count));
        to[r] = mine.size() * count * sizeof(T);
        from[r] = nodes[r].size() * length * sizeof(T);
        gathered[r] = count * sizeof(T);
        incoming += nodes[r].size() * length;
    }
    std::vector<T> received(incoming);
    c.all_to_all(std::as_bytes(std::span(std::as_const(sent))), to, std::as_writable_bytes(std::span(received)), from,
                 what);
    const auto add = [](std::span<T> l, std::span<T> r) {
        for (std::size_t i = 0; i < l.size(); ++i) l[i] += r[i];
    };
    tree_sum<std::span<T>> sum;
    std::span<T> rest(received);
    for (const auto& of_rank : nodes)
        for (const auto& [index, level] : of_rank) {
            sum.push({index, level, rest.first(length)}, add);
            rest = rest.subspan(length);
        }
    const std::span<const T> result(sum.total(add));
    std::vector<T> all(static_cast<std::size_t>(n));
    c.all_gather(std::as_bytes(result), std::as_writable_bytes(std::span(all)), gathered, what);
    b.upload(host_view<const T>(all.data(), n, 1), as_batch(total));
}

}  // namespace diem::parallel
