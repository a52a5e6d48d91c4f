// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <cstddef>
#include <type_traits>

#include <diem/backend/concept.hpp>
#include <diem/backend/memory.hpp>
#include <diem/backend/product_precision.hpp>

/// \file
/// What a backend may have beyond `Backend`, for algorithms to take where it is there. All of it changes speed alone: the same
/// algorithm is right without it.
/// \snippet tests/examples/backend.cpp backend/capabilities.hpp

namespace diem {

namespace archetype {
/// The least functors that the members below must take.
struct range_functor {
    void operator()(index_t /*first*/, index_t /*last*/) const {}
};
template <class B>
struct block_functor {
    void operator()(B& /*part*/, index_t /*first*/, index_t /*count*/) const {}
};
struct row_functor {
    template <class Team, class T>
    DIEM_HOST_DEVICE void operator()(index_t i, Team team, T* y) const {
        if (team.first() == 0) y[i] = team.sum(T(0));
    }
};
}  // namespace archetype

/// Memory of the host whose large blocks may come from elsewhere, such as files (io/mapped.hpp): `large_blocks_from(least,
/// source)`, see `block_source`; `random_access(view, on)` says how one of them is about to be read. Host code may read it.
template <class B>
concept HasLargeBlocks = Backend<B> && std::is_pointer_v<typename B::template pointer<scalar_t<B>>> &&
                         requires(B& b, block_source from, const_view_t<B> v) {
                             b.large_blocks_from(std::size_t{1}, from);
                             b.random_access(v, true);
                         };

/// Very many threads, which want many short indices in `launch` rather than few long ones. Opt-in by
/// `using fine_grained_tag = void`. `launch_teams(count, length, f, pointers...)` calls f(i, team, raw pointers...) for rows of
/// `length` numbers: see backend/team.hpp.
template <class B>
concept FineGrained = Backend<B> && requires(B& b, view_t<B> y, archetype::row_functor f, index_t n) {
    typename B::fine_grained_tag;
    b.launch_teams(n, n, f, y.data());
};

/// Threads of the host: `parallel(count, cost, f)` calls f(first, last) on parts of 0 .. count - 1. A whole item per index is the
/// fast way there, while on a device it would leave most of it idle.
template <class B>
concept HostThreaded = Backend<B> && requires(B& b, index_t n, archetype::range_functor f) { b.parallel(n, n, f); };

/// Caches that are worth minding: `block_elements` is the size of an array that a dozen others can share them with. Chains of
/// element-wise passes take that much at a time.
template <class B>
concept CacheBlocked = Backend<B> && requires {
    { B::block_elements } -> std::convertible_to<index_t>;
};

/// Items on threads of their own: `for_blocks(items, block, f)` calls f(part, first, count) for blocks of `block` items, each on
/// one thread, where `part` is a backend of that thread alone on the same memory.
template <class B>
concept BlockThreaded =
    Backend<B> && requires(B& b, index_t n, archetype::block_functor<B> f) { b.for_blocks(n, n, f); };

/// A faster 3x3 convolution: a type `conv3x3` that prepares one kernel for any number of calls,
///
///     B::conv3x3 c(height, width, in, out, stride),
///     c.forward(b, kernel, bias, x, y, accumulate), c.vjp(b, kernel, y_bar, x_bar, accumulate),
///     c.vjp_params(b, x, y_bar, kernel_bar, bias_bar, accumulate), c.changed()
///
/// Views and vectors are those of nn/conv.hpp; `bias` may be empty. What is prepared from the kernel is kept until `changed`. Where the
/// backend is `BlockThreaded`, parts of it may call `forward` and `vjp` at once.
template <class B>
concept HasConv3x3 = Backend<B> && requires(B& b, typename B::conv3x3& c, const_vector_t<B> k, vector_t<B> g,
                                            const_view_t<B> in, view_t<B> out) {
    requires std::constructible_from<typename B::conv3x3, index_t, index_t, index_t, index_t, index_t>;
    c.forward(b, k, k, in, out, true);
    c.vjp(b, k, in, out, true);
    c.vjp_params(b, in, in, g, g, true);
    c.changed();
};

/// A faster diag(d) + u u': a type `low_rank` that keeps one u in the form it likes,
///
///     B::low_rank p;  p.prepare(b, u)                        copies u
///     p.project(b, x, t), p.expand(b, scale, d, x, t, y)     t = u' x,  y = scale diag(d) x + u t
///
/// An empty d stands for ones; x may be y.
template <class B>
concept HasLowRank = Backend<B> && requires(B& b, typename B::low_rank& p, const typename B::low_rank& made,
                                            const_view_t<B> in, view_t<B> out, const_vector_t<B> d) {
    requires std::default_initializable<typename B::low_rank>;
    p.prepare(b, in);
    made.project(b, in, out);
    made.expand(b, scalar_t<B>(1), d, in, in, out);
};

/// Products of a network that may be rounded otherwise than all others (backend/product_precision.hpp): `network_gemm` and
/// `network_gemm_batched`, called as `gemm` and `gemm_batched` are.
template <class B>
concept HasNetworkGemm = Backend<B> && requires(B& b, scalar_t<B> s, const_view_t<B> in, view_t<B> out,
                                                const_matrices_t<B> from, matrices_t<B> to) {
    b.network_gemm(s, in, op::none, in, op::transpose, s, out);
    b.network_gemm_batched(s, from, op::none, from, op::transpose, s, to);
};

/// Whether the products of a network take operands in bfloat16 there: what is kept of them may then be rounded, too.
template <Backend B>
[[nodiscard]] bool rounds_to_bfloat16([[maybe_unused]] const B& b) {
    if constexpr (HasNetworkGemm<B> && std::is_same_v<scalar_t<B>, float> && requires { b.products(); })
        return b.products() == product_precision::bf16;
    else
        return false;
}

}  // namespace diem
