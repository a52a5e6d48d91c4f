// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <diem/linop/data.hpp>

/// \file
/// The identity, and multiples of it.
/// \snippet tests/examples/linop.cpp linop/identity.hpp

namespace diem::linop {

/// y = x, n x n, for any number of items.
class identity {
public:
    using operator_tag = symmetric_tag;
    using elementwise_tag = linop::elementwise_tag;
    explicit identity(index_t size) : size_(size) { check_value("identity", size >= 0, "size is negative"); }

    [[nodiscard]] index_t rows() const { return size_; }
    [[nodiscard]] index_t cols() const { return size_; }
    [[nodiscard]] index_t items() const { return any_items; }
    [[nodiscard]] identity items(index_t, index_t) const { return *this; }
    template <Backend B>
    void apply(B& b, const_view_t<B> x, view_t<B> y) const {
        check_apply("identity", *this, x, y);
        b.copy(x, y);
    }
    template <Backend B>
    void apply_adjoint(B& b, const_view_t<B> y, view_t<B> x) const {
        apply<B>(b, y, x);
    }

private:
    index_t size_;
};

/// y = factor x, n x n, for any number of items.
class scaling {
public:
    using operator_tag = symmetric_tag;
    using elementwise_tag = linop::elementwise_tag;
    scaling(index_t size, double factor) : size_(size), factor_(factor) {
        check_value("scaling", size >= 0, "size is negative");
        check_value("scaling", std::isfinite(factor), "factor is not finite");
    }

    [[nodiscard]] index_t rows() const { return size_; }
    [[nodiscard]] index_t cols() const { return size_; }
    [[nodiscard]] index_t items() const { return any_items; }
    [[nodiscard]] double factor() const { return factor_; }
    [[nodiscard]] scaling items(index_t, index_t) const { return *this; }
    template <Backend B>
    void apply(B& b, const_view_t<B> x, view_t<B> y) const {
        check_apply("scaling", *this, x, y);
        b.axpby(factor_, x, 0.0, y);
    }
    template <Backend B>
    void apply_adjoint(B& b, const_view_t<B> y, view_t<B> x) const {
        apply<B>(b, y, x);
    }

private:
    index_t size_;
    double factor_;
};

}  // namespace diem::linop
