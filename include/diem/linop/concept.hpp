// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>

#include <diem/backend/concept.hpp>

/// \file
/// Linear maps on batches: one map per item, or the same one for all.
/// \snippet tests/examples/linop.cpp linop/concept.hpp

namespace diem::linop {

/// Opt-in tags: being linear, or symmetric, is a promise and never deduced from syntax.
struct linear_tag {};
/// Every item's map is symmetric (self-adjoint).
struct symmetric_tag : linear_tag {};

/// `items()` of an operator that is the same for every item and takes batches of any number of items.
inline constexpr index_t any_items = -1;

/// y_i = A_i x_i for each item i of a batch.
///
/// `rows()`, `cols()`     sizes of A_i
/// `items()`              number of items it is made for, or `any_items`
/// `apply(b, x, y)`       y = A x: x is cols x n, y is rows x n; y is overwritten; x and y must not overlap
/// `apply_adjoint(b, y, x)`  x = A' y
/// `items(first, count)`  the operator of that range of items, a light value that refers to this one's data
/// Throws shape_error when sizes do not fit.
///
/// **Views may be strided**: item i of x begins at `x.data() + i * x.stride()`, and `x.stride()` may be larger than
/// `x.features()`, of x and y each. `stack` passes rows of a taller batch, for example. What lies between two items is
/// not to be read or written. `testing::check_operator` (testing/operator.hpp) tries all of this on an operator of
/// one's own.
template <class A, class B>
concept LinearOperator = Backend<B> && std::derived_from<typename A::operator_tag, linear_tag> &&
                         requires(const A& a, B& b, const_view_t<B> in, view_t<B> out, index_t n) {
                             { a.rows() } -> std::convertible_to<index_t>;
                             { a.cols() } -> std::convertible_to<index_t>;
                             { a.items() } -> std::convertible_to<index_t>;
                             a.apply(b, in, out);
                             a.apply_adjoint(b, in, out);
                             a.items(n, n).apply(b, in, out);
                             a.items(n, n).apply_adjoint(b, in, out);
                         };

/// A linear operator that promises to be symmetric, as CG needs.
template <class A, class B>
concept SymmetricOperator = LinearOperator<A, B> && std::derived_from<typename A::operator_tag, symmetric_tag>;

/// Opt-in by `using elementwise_tag = linop::elementwise_tag`: every item's map is diagonal, y_j = a_j x_j.
struct elementwise_tag {};
/// An operator with that tag.
template <class A>
concept ElementwiseOperator = std::same_as<typename A::elementwise_tag, elementwise_tag>;

/// Sigma_y of an observation: a symmetric positive definite operator that can also be inverted and sampled. That an
/// operator is symmetric is not enough: a model's Jacobian is no noise.
///
/// `apply_inverse(b, x, y)`  y = Sigma^-1 x
/// `sample(b, key, y)`       y ~ N(0, Sigma): S z with S S' = Sigma, z of `key`
template <class C, class B>
concept NoiseCovariance =
    SymmetricOperator<C, B> && requires(const C& c, B& b, const_view_t<B> x, view_t<B> y, const random_key& key) {
        c.apply_inverse(b, x, y);
        c.sample(b, key, y);
    };

/// An operator whose product gives away another one: `apply_with_byproduct(b, p, q, w)`, q = M p and w = W p.
template <class A, class B>
concept ByproductOperator = LinearOperator<A, B> && requires(const A& a, B& b, const_view_t<B> p, view_t<B> q) {
    a.apply_with_byproduct(b, p, q, q);
};

/// An operator that is never less than a known positive definite one, M >= N: `floor(b, p, out)` sets out_i = p_i'N_i
/// p_i. A direction of less curvature shows that M is not what it claims to be, and solvers do not go along it.
template <class A, class B>
concept FlooredOperator = LinearOperator<A, B> && requires(const A& a, B& b, const_view_t<B> p,
                                                           vector_t<B, double> out) { a.floor(b, p, out); };

}  // namespace diem::linop
