// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string_view>
#include <utility>

#include <diem/backend/batch.hpp>
#include <diem/core/check.hpp>
#include <diem/linop/concept.hpp>

namespace diem::linop {

/// Numbers that an operator is made of. Given as a view or a `batch&`, the operator refers to them and they must outlive it;
/// given as a `batch&&`, the operator and all its copies and slices share their ownership.
template <Backend B>
class item_data {
public:
    item_data(const_view_t<B> values) : view_(values) {}              // NOLINT(google-explicit-constructor)
    item_data(view_t<B> values) : view_(values) {}                    // NOLINT(google-explicit-constructor)
    item_data(const_vector_t<B> values) : view_(as_batch(values)) {}  // NOLINT(google-explicit-constructor)
    item_data(vector_t<B> values) : view_(as_batch(values)) {}        // NOLINT(google-explicit-constructor)
    item_data(const batch<B>& values) : view_(values.view()) {}       // NOLINT(google-explicit-constructor)
    item_data(batch<B>&& values)                                      // NOLINT(google-explicit-constructor)
        : owner_(std::make_shared<const batch<B>>(std::move(values))), view_(owner_->view()) {}

    [[nodiscard]] const_view_t<B> view() const { return view_; }
    [[nodiscard]] index_t features() const { return view_.features(); }
    [[nodiscard]] index_t items() const { return view_.items(); }
    /// The one item of a batch of one, as a vector.
    [[nodiscard]] const_vector_t<B> vector() const { return {view_.data(), view_.features()}; }
    [[nodiscard]] item_data items(index_t first, index_t count) const {
        item_data part(*this);
        part.view_ = view_.item_range(first, count);
        return part;
    }

private:
    std::shared_ptr<const batch<B>> owner_;
    const_view_t<B> view_;
};

namespace detail {

/// in is `from x n`, out is `to x n`, n fits the operator's items.
template <class P, class Q>
void check_product(std::string_view where, index_t from, index_t to, index_t items, const batch_view<P>& in,
                   const batch_view<Q>& out) {
    const index_t n = items >= 0 ? items : in.items();
    check_shape(where, "input", in, from, n);
    check_shape(where, "output", out, to, n);
}

}  // namespace detail

/// For authors of operators: the arguments of `apply`, of `apply_adjoint`, of `items`. Throw shape_error, value_error.
template <class A, class P, class Q>
void check_apply(std::string_view where, const A& a, const batch_view<P>& x, const batch_view<Q>& y) {
    detail::check_product(where, a.cols(), a.rows(), a.items(), x, y);
}
template <class A, class P, class Q>
void check_adjoint(std::string_view where, const A& a, const batch_view<P>& y, const batch_view<Q>& x) {
    detail::check_product(where, a.rows(), a.cols(), a.items(), y, x);
}
inline void check_slice(std::string_view where, index_t items, index_t first, index_t count) {
    check_value(where, first >= 0 && count >= 0 && (items < 0 || first + count <= items),
                "items(first, count) is outside the operator");
}

/// `v.feature_range(first, count)`, also of a batch without items, whose pointer may be null and not be shifted.
template <class Pointer>
[[nodiscard]] batch_view<Pointer> rows_of(const batch_view<Pointer>& v, index_t first, index_t count) {
    return v.feature_range(v.items() == 0 ? 0 : first, count);
}

/// Items of an operator made of two; shape_error where they differ.
[[nodiscard]] inline index_t joint_items(std::string_view where, index_t a, index_t b) {
    if (a < 0) return b;
    if (b >= 0) check_size(where, "items of the second operator", b, a);
    return a;
}

namespace detail {

/// The tag of something made of operators: symmetric if all of them are.
template <class A, class... Rest>
using joint_tag = std::conditional_t<(std::derived_from<typename A::operator_tag, symmetric_tag> && ... &&
                                      std::derived_from<typename Rest::operator_tag, symmetric_tag>),
                                     symmetric_tag, linear_tag>;

struct multiply_plus {  // y = a x + scale z
    double scale;
    template <class V>
    DIEM_HOST_DEVICE void operator()(V& y, const V& x, const V& z, const V& a) const {
        using T = typename diem::detail::random_scalar<V>::type;
        y = a * x + T(scale) * z;
    }
};

}  // namespace detail

}  // namespace diem::linop
