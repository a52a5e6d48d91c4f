// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/core/check.hpp>
#include <diem/linop/concept.hpp>

/// \file
/// The numbers that operators are made of, and the checks that operators make.
/// \snippet tests/examples/linop.cpp linop/data.hpp

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

/// For authors of operators: the arguments of `apply`, of `apply_adjoint`, of `apply_normal`, of `items`. Throw shape_error, value_error.
template <class A, class P, class Q>
void check_apply(std::string_view where, const A& a, const batch_view<P>& x, const batch_view<Q>& y) {
    detail::check_product(where, a.cols(), a.rows(), a.items(), x, y);
}
template <class A, class P, class Q>
void check_adjoint(std::string_view where, const A& a, const batch_view<P>& y, const batch_view<Q>& x) {
    detail::check_product(where, a.rows(), a.cols(), a.items(), y, x);
}
template <class A, class P, class Q>
void check_normal(std::string_view where, const A& a, const batch_view<P>& x, const batch_view<Q>& y) {
    detail::check_product(where, a.cols(), a.cols(), a.items(), x, y);
}
inline void check_slice(std::string_view where, index_t items, index_t first, index_t count) {
    check_value(where, first >= 0 && count >= 0 && (items < 0 || first + count <= items),
                "items(first, count) is outside the operator");
}

namespace detail {

/// How many of a part of an item's numbers are not `Good`. Index: (item, part).
template <class Good>
struct count_bad {
    index_t features, stride, parts, length;
    template <class T>
    DIEM_HOST_DEVICE void operator()(index_t i, const T* values, int* bad) const {
        const index_t item = i / parts, first = (i - item * parts) * length;
        const index_t last = first + length < features ? first + length : features;
        int count = 0;
        for (index_t j = first; j < last; ++j) count += Good{}(values[item * stride + j]) ? 0 : 1;
        bad[i] = count;
    }
};

}  // namespace detail

/// What `check_entries` asks of numbers.
struct finite_entry {
    static constexpr const char* otherwise = "not finite";
    template <class T>
    DIEM_HOST_DEVICE bool operator()(T v) const {
        return v - v == 0;
    }
};
struct positive_entry {
    static constexpr const char* otherwise = "not finite and > 0";
    template <class T>
    DIEM_HOST_DEVICE bool operator()(T v) const {
        return v > 0 && v - v == 0;
    }
};
struct zero_or_one_entry {
    static constexpr const char* otherwise = "neither 0 nor 1";
    template <class T>
    DIEM_HOST_DEVICE bool operator()(T v) const {
        return v == 0 || v == 1;
    }
};

/// Throws value_error where a number of the batch is not what `Good` asks for; says of which item, and how many. Waits.
template <class Good, Backend B>
void check_entries(std::string_view where, B& b, std::string_view what, const_view_t<B> values) {
    if (values.empty()) return;
    constexpr index_t length = 4096;
    const index_t parts = (values.features() + length - 1) / length;
    batch<B, int> bad(b, parts, values.items());
    b.launch(parts * values.items(), length, detail::count_bad<Good>{values.features(), values.stride(), parts, length},
             values.data(), bad.view().data());
    const std::vector<int> counts = to_host(b, bad);
    for (index_t i = 0; i < values.items(); ++i) {
        index_t count = 0;
        for (index_t k = 0; k < parts; ++k) count += counts[static_cast<std::size_t>(i * parts + k)];
        if (count != 0)
            throw value_error(std::string(where) + ": item " + std::to_string(i) + " of the " + std::string(what) +
                              " has " + std::to_string(count) + " entries that are " + Good::otherwise);
    }
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
