// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <utility>

#include <diem/backend/functors.hpp>
#include <diem/linop/data.hpp>

/// \file
/// Products with a diagonal.
/// \snippet tests/examples/linop.cpp linop/diagonal.hpp

namespace diem::linop {

/// y_i = d x (one diagonal for all items) or y_i = d_i x_i (one per item), element-wise.
template <Backend B>
class diagonal {
public:
    using operator_tag = symmetric_tag;
    using elementwise_tag = linop::elementwise_tag;

    /// d: n numbers, a vector or a batch of one item.
    [[nodiscard]] static diagonal shared(item_data<B> d) {
        check_size("diagonal::shared", "items of the diagonal", d.items(), 1);
        return diagonal(std::move(d), true);
    }
    /// d: n x items.
    [[nodiscard]] static diagonal per_item(item_data<B> d) { return diagonal(std::move(d), false); }

    [[nodiscard]] index_t rows() const { return d_.features(); }
    [[nodiscard]] index_t cols() const { return d_.features(); }
    [[nodiscard]] index_t items() const { return shared_ ? any_items : d_.items(); }
    [[nodiscard]] bool is_shared() const { return shared_; }
    /// n x 1 if shared, else n x items.
    [[nodiscard]] const item_data<B>& values() const { return d_; }
    [[nodiscard]] diagonal items(index_t first, index_t count) const {
        check_slice("diagonal", items(), first, count);
        return shared_ ? *this : diagonal(d_.items(first, count), false);
    }

    /// f(output V&, input V, d V) element-wise: apply is f = product.
    template <class F>
    void map(B& b, const F& f, const_view_t<B> x, view_t<B> y) const {
        check_apply("diagonal", *this, x, y);
        if (shared_)
            b.map(f, y, x, per_feature{d_.vector()});
        else
            b.map(f, y, x, d_.view());
    }
    void apply(B& b, const_view_t<B> x, view_t<B> y) const { map(b, functors::product{}, x, y); }
    void apply_adjoint(B& b, const_view_t<B> y, view_t<B> x) const { apply(b, y, x); }
    /// y = d x + scale z, in one pass.
    void apply_plus(B& b, const_view_t<B> x, double scale, const_view_t<B> z, view_t<B> y) const {
        check_apply("diagonal", *this, x, y);
        check_shape("diagonal", "z", z, y.features(), y.items());
        if (shared_)
            b.map(detail::multiply_plus{scale}, y, x, z, per_feature{d_.vector()});
        else
            b.map(detail::multiply_plus{scale}, y, x, z, d_.view());
    }

private:
    diagonal(item_data<B> d, bool is_shared) : d_(std::move(d)), shared_(is_shared) {}
    item_data<B> d_;
    bool shared_;
};

}  // namespace diem::linop
