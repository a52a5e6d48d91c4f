// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <type_traits>
#include <utility>

#include <diem/linop/data.hpp>

/// \file
/// An operator made of two functions.
/// \snippet tests/examples/linop.cpp linop/lambda.hpp

namespace diem::linop {

namespace detail {
/// f(b, in, out), or f(b, in, out, first item).
template <class F, class B>
concept ProductFunction = std::invocable<const F&, B&, const_view_t<B>, view_t<B>> ||
                          std::invocable<const F&, B&, const_view_t<B>, view_t<B>, index_t>;
}  // namespace detail

/// An operator made of two functions: `apply(b, x, y)` and `adjoint(b, y, x)`, which overwrite their last argument. They may
/// take a fourth argument, the number of the batch's first item, where the map differs from item to item: a slice of the
/// operator then starts elsewhere. That the two are adjoint to one another is the caller's promise.
template <class Apply, class Adjoint, class Tag = linear_tag>
class lambda {
public:
    using operator_tag = Tag;
    lambda(index_t rows, index_t cols, index_t items, Apply apply, Adjoint adjoint, index_t first = 0)
        : rows_(rows), cols_(cols), items_(items), first_(first), apply_(std::move(apply)),
          adjoint_(std::move(adjoint)) {
        check_value("lambda", rows >= 0 && cols >= 0, "rows or cols is negative");
    }

    [[nodiscard]] index_t rows() const { return rows_; }
    [[nodiscard]] index_t cols() const { return cols_; }
    [[nodiscard]] index_t items() const { return items_; }
    [[nodiscard]] lambda items(index_t first, index_t count) const {
        check_slice("lambda", items_, first, count);
        return {rows_, cols_, items_ < 0 ? any_items : count, apply_, adjoint_, items_ < 0 ? first_ : first_ + first};
    }
    template <Backend B>
        requires detail::ProductFunction<Apply, B>
    void apply(B& b, const_view_t<B> x, view_t<B> y) const {
        check_apply("lambda", *this, x, y);
        call(apply_, b, x, y);
    }
    template <Backend B>
        requires detail::ProductFunction<Adjoint, B>
    void apply_adjoint(B& b, const_view_t<B> y, view_t<B> x) const {
        check_adjoint("lambda (adjoint)", *this, y, x);
        call(adjoint_, b, y, x);
    }

private:
    template <class F, class B, class In, class Out>
    void call(const F& f, B& b, In in, Out out) const {
        if constexpr (std::is_invocable_v<const F&, B&, In, Out, index_t>)
            f(b, in, out, first_);
        else
            f(b, in, out);
    }
    index_t rows_, cols_, items_, first_;
    Apply apply_;
    Adjoint adjoint_;
};

/// rows x cols, for `items` items (`any_items`: the same map for all).
template <class Apply, class Adjoint>
[[nodiscard]] auto make_operator(index_t rows, index_t cols, index_t items, Apply apply, Adjoint adjoint) {
    return lambda<Apply, Adjoint>(rows, cols, items, std::move(apply), std::move(adjoint));
}
/// A symmetric size x size operator: one function.
template <class Apply>
[[nodiscard]] auto make_symmetric_operator(index_t size, index_t items, Apply apply) {
    return lambda<Apply, Apply, symmetric_tag>(size, size, items, apply, apply);
}

}  // namespace diem::linop
