// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <utility>

#include <diem/linop/data.hpp>

/// \file
/// Operators made of operators. They hold copies of their parts, which are light values (views and sizes): what the parts
/// refer to must outlive them. Temporaries come from the backend's pool.
/// \snippet tests/examples/linop.cpp linop/compose.hpp

namespace diem::linop {

/// A': rows and columns exchanged.
template <class A>
class adjoint_of {
public:
    using operator_tag = typename A::operator_tag;
    explicit adjoint_of(A a) : a_(std::move(a)) {}

    [[nodiscard]] index_t rows() const { return a_.cols(); }
    [[nodiscard]] index_t cols() const { return a_.rows(); }
    [[nodiscard]] index_t items() const { return a_.items(); }
    [[nodiscard]] auto items(index_t first, index_t count) const {
        return linop::adjoint_of<decltype(a_.items(first, count))>(a_.items(first, count));
    }
    template <Backend B>
    void apply(B& b, const_view_t<B> x, view_t<B> y) const {
        a_.apply_adjoint(b, x, y);
    }
    template <Backend B>
    void apply_adjoint(B& b, const_view_t<B> y, view_t<B> x) const {
        a_.apply(b, y, x);
    }

private:
    A a_;
};
template <class A>
[[nodiscard]] adjoint_of<A> adjoint(A a) {
    return adjoint_of<A>(std::move(a));
}

/// A'A: of least squares, such as CG-SENSE (`sum(normal(a), scaling(a.cols(), lambda))`). An operator that has a shorter way from
/// x to A'A x than through y has `apply_normal(b, x, y)`; any other is applied, then its adjoint.
template <class A>
class normal_of {
public:
    using operator_tag = symmetric_tag;
    explicit normal_of(A a) : a_(std::move(a)) {}

    [[nodiscard]] index_t rows() const { return a_.cols(); }
    [[nodiscard]] index_t cols() const { return a_.cols(); }
    [[nodiscard]] index_t items() const { return a_.items(); }
    [[nodiscard]] auto items(index_t first, index_t count) const {
        return linop::normal_of<decltype(a_.items(first, count))>(a_.items(first, count));
    }
    template <Backend B>
    void apply(B& b, const_view_t<B> x, view_t<B> y) const {
        if constexpr (requires { a_.apply_normal(b, x, y); }) {
            a_.apply_normal(b, x, y);
        } else {
            batch<B> middle(b, a_.rows(), x.items());
            a_.apply(b, x, middle.view());
            a_.apply_adjoint(b, middle.cview(), y);
        }
    }
    template <Backend B>
    void apply_adjoint(B& b, const_view_t<B> y, view_t<B> x) const {
        apply(b, y, x);
    }

private:
    A a_;
};
template <class A>
[[nodiscard]] normal_of<A> normal(A a) {
    return normal_of<A>(std::move(a));
}

/// A, with the promise that it is symmetric; a by-product of A passes through.
template <class A>
class symmetric {
public:
    using operator_tag = symmetric_tag;
    explicit symmetric(A a) : a_(std::move(a)) { check_size("assume_symmetric", "cols", a_.cols(), a_.rows()); }

    [[nodiscard]] index_t rows() const { return a_.rows(); }
    [[nodiscard]] index_t cols() const { return a_.cols(); }
    [[nodiscard]] index_t items() const { return a_.items(); }
    [[nodiscard]] auto items(index_t first, index_t count) const {
        return linop::symmetric<decltype(a_.items(first, count))>(a_.items(first, count));
    }
    template <Backend B>
    void apply(B& b, const_view_t<B> x, view_t<B> y) const {
        a_.apply(b, x, y);
    }
    template <Backend B>
    void apply_adjoint(B& b, const_view_t<B> y, view_t<B> x) const {
        a_.apply(b, y, x);
    }
    template <Backend B>
        requires requires(const A& a, B& b, const_view_t<B> p, view_t<B> q) { a.apply_with_byproduct(b, p, q, q); }
    void apply_with_byproduct(B& b, const_view_t<B> p, view_t<B> q, view_t<B> w) const {
        a_.apply_with_byproduct(b, p, q, w);
    }

private:
    A a_;
};
template <class A>
[[nodiscard]] symmetric<A> assume_symmetric(A a) {
    return symmetric<A>(std::move(a));
}

/// y = A x + C x. Symmetric if both are.
template <class A, class C>
class sum_of {
public:
    using operator_tag = detail::joint_tag<A, C>;
    sum_of(A a, C c) : a_(std::move(a)), c_(std::move(c)), items_(joint_items("sum", a_.items(), c_.items())) {
        check_size("sum", "rows of the second operator", c_.rows(), a_.rows());
        check_size("sum", "cols of the second operator", c_.cols(), a_.cols());
    }

    [[nodiscard]] index_t rows() const { return a_.rows(); }
    [[nodiscard]] index_t cols() const { return a_.cols(); }
    [[nodiscard]] index_t items() const { return items_; }
    [[nodiscard]] auto items(index_t first, index_t count) const {
        return linop::sum_of<decltype(a_.items(first, count)), decltype(c_.items(first, count))>(
            a_.items(first, count), c_.items(first, count));
    }
    template <Backend B>
    void apply(B& b, const_view_t<B> x, view_t<B> y) const {
        check_apply("sum", *this, x, y);
        a_.apply(b, x, y);
        batch<B> other(b, y.features(), y.items());
        c_.apply(b, x, other.view());
        b.axpby(1.0, other.cview(), 1.0, y);
    }
    template <Backend B>
    void apply_adjoint(B& b, const_view_t<B> y, view_t<B> x) const {
        check_adjoint("sum (adjoint)", *this, y, x);
        a_.apply_adjoint(b, y, x);
        batch<B> other(b, x.features(), x.items());
        c_.apply_adjoint(b, y, other.view());
        b.axpby(1.0, other.cview(), 1.0, x);
    }

private:
    A a_;
    C c_;
    index_t items_;
};
/// A + C + ...
template <class A, class C>
[[nodiscard]] sum_of<A, C> sum(A a, C c) {
    return {std::move(a), std::move(c)};
}
template <class A, class C, class D, class... Rest>
[[nodiscard]] auto sum(A a, C c, D d, Rest... rest) {
    return sum(sum(std::move(a), std::move(c)), std::move(d), std::move(rest)...);
}

namespace detail {
template <bool>
struct elementwise_if {};
template <>
struct elementwise_if<true> {
    using elementwise_tag = linop::elementwise_tag;
};
}  // namespace detail

/// y = A C x. Not tagged symmetric: wrap A V A' in `assume_symmetric`. Element-wise if both are.
template <class A, class C>
class composition : public detail::elementwise_if<ElementwiseOperator<A> && ElementwiseOperator<C>> {
public:
    using operator_tag = linear_tag;
    composition(A a, C c) : a_(std::move(a)), c_(std::move(c)), items_(joint_items("compose", a_.items(), c_.items())) {
        check_size("compose", "rows of the second operator", c_.rows(), a_.cols());
    }

    [[nodiscard]] index_t rows() const { return a_.rows(); }
    [[nodiscard]] index_t cols() const { return c_.cols(); }
    [[nodiscard]] index_t items() const { return items_; }
    [[nodiscard]] auto items(index_t first, index_t count) const {
        return linop::composition<decltype(a_.items(first, count)), decltype(c_.items(first, count))>(
            a_.items(first, count), c_.items(first, count));
    }
    template <Backend B>
    void apply(B& b, const_view_t<B> x, view_t<B> y) const {
        check_apply("compose", *this, x, y);
        batch<B> middle(b, c_.rows(), x.items());
        c_.apply(b, x, middle.view());
        a_.apply(b, middle.cview(), y);
    }
    template <Backend B>
    void apply_adjoint(B& b, const_view_t<B> y, view_t<B> x) const {
        check_adjoint("compose (adjoint)", *this, y, x);
        batch<B> middle(b, c_.rows(), y.items());
        a_.apply_adjoint(b, y, middle.view());
        c_.apply_adjoint(b, middle.cview(), x);
    }

private:
    A a_;
    C c_;
    index_t items_;
};
/// A C ..., applied from the right.
template <class A, class C>
[[nodiscard]] composition<A, C> compose(A a, C c) {
    return {std::move(a), std::move(c)};
}
template <class A, class C, class D, class... Rest>
[[nodiscard]] auto compose(A a, C c, D d, Rest... rest) {
    return compose(std::move(a), compose(std::move(c), std::move(d), std::move(rest)...));
}

/// y = (A x, C x): the rows of A above those of C.
template <class A, class C>
class stacked {
public:
    using operator_tag = linear_tag;
    stacked(A a, C c) : a_(std::move(a)), c_(std::move(c)), items_(joint_items("stack", a_.items(), c_.items())) {
        check_size("stack", "cols of the second operator", c_.cols(), a_.cols());
    }

    [[nodiscard]] index_t rows() const { return a_.rows() + c_.rows(); }
    [[nodiscard]] index_t cols() const { return a_.cols(); }
    [[nodiscard]] index_t items() const { return items_; }
    [[nodiscard]] auto items(index_t first, index_t count) const {
        return linop::stacked<decltype(a_.items(first, count)), decltype(c_.items(first, count))>(
            a_.items(first, count), c_.items(first, count));
    }
    template <Backend B>
    void apply(B& b, const_view_t<B> x, view_t<B> y) const {
        check_apply("stack", *this, x, y);
        a_.apply(b, x, rows_of(y, 0, a_.rows()));
        c_.apply(b, x, rows_of(y, a_.rows(), c_.rows()));
    }
    template <Backend B>
    void apply_adjoint(B& b, const_view_t<B> y, view_t<B> x) const {
        check_adjoint("stack (adjoint)", *this, y, x);
        a_.apply_adjoint(b, rows_of(y, 0, a_.rows()), x);
        batch<B> other(b, x.features(), x.items());
        c_.apply_adjoint(b, rows_of(y, a_.rows(), c_.rows()), other.view());
        b.axpby(1.0, other.cview(), 1.0, x);
    }

private:
    A a_;
    C c_;
    index_t items_;
};
/// Rows of several operators on top of one another.
template <class A, class C>
[[nodiscard]] stacked<A, C> stack(A a, C c) {
    return {std::move(a), std::move(c)};
}
template <class A, class C, class D, class... Rest>
[[nodiscard]] auto stack(A a, C c, D d, Rest... rest) {
    return stack(stack(std::move(a), std::move(c)), std::move(d), std::move(rest)...);
}

}  // namespace diem::linop
