// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>
#include <type_traits>

#include <diem/backend/concept.hpp>
#include <diem/core/check.hpp>

/// \file
/// Internal: host-side access to the operands of `map`, shared by the backends that live in host memory.

namespace diem::detail {

template <class Pointer>
auto* raw(Pointer p) {
    if constexpr (std::is_pointer_v<Pointer>)
        return p;
    else
        return p.unwrap();  // opaque pointers: only a backend may call this
}

/// What a functor on values of T receives for an element: the element itself, or its value where the type differs
/// (a float64 per-item number beside float32 features) or is const.
template <class T, class E>
DIEM_HOST_DEVICE decltype(auto) value_or_reference(E& element) {
    if constexpr (std::is_same_v<T, E> || std::is_same_v<const T, E>)
        return static_cast<E&>(element);
    else
        return static_cast<T>(element);
}

/// Where an operand's element (feature j, item i) lives: base + i * item_step + j * feature_step.
template <class T>
struct strided {
    T* base;
    index_t item_step, feature_step;
    [[nodiscard]] DIEM_HOST_DEVICE T& at(index_t j, index_t i) const { return base[i * item_step + j * feature_step]; }
};

template <class Pointer>
auto strided_of(const batch_view<Pointer>& v) {
    using T = typename batch_view<Pointer>::element_type;
    return strided<T>{raw(v.data()), v.stride(), 1};
}
template <class Pointer>
auto strided_of(const per_item<Pointer>& v) {
    using T = typename vector_view<Pointer>::element_type;
    return strided<const T>{raw(v.values.data()), 1, 0};
}
template <class Pointer>
auto strided_of(const per_feature<Pointer>& v) {
    using T = typename vector_view<Pointer>::element_type;
    return strided<const T>{raw(v.values.data()), 0, 1};
}

struct extents {
    index_t features = -1, items = -1;
    bool flat = true;  // every operand is one contiguous array of the same shape
};

template <class Pointer>
void join(extents& e, const batch_view<Pointer>& v) {
    if (e.features < 0) {
        e.features = v.features();
        e.items = v.items();
    }
    check_shape("map", "operand", v, e.features, e.items);
    e.flat = e.flat && v.contiguous();
}
template <class Pointer>
void join(extents& e, const per_item<Pointer>& v) {
    if (e.items >= 0) check_size("map", "per_item operand", v.values.size(), e.items);
    e.flat = false;
}
template <class Pointer>
void join(extents& e, const per_feature<Pointer>& v) {
    if (e.features >= 0) check_size("map", "per_feature operand", v.values.size(), e.features);
    e.flat = false;
}

/// The common shape of all operands; shape_error when they do not agree. The first one must be a batch view.
template <class... Ops>
extents common_extents(const Ops&... ops) {
    extents e;
    (join(e, ops), ...);
    return e;
}

/// Per-item or common coefficient of `axpby`.
inline double coefficient(double a, index_t) { return a; }
template <class Pointer>
double coefficient(const vector_view<Pointer>& a, index_t i) {
    return raw(a.data())[i];
}
inline void check_coefficient(double, index_t) {}
template <class Pointer>
void check_coefficient(const vector_view<Pointer>& a, index_t items) {
    check_size("axpby", "coefficients", a.size(), items);
}

template <class PA, class PB, class PC>
void check_gemm(const batch_view<PA>& a, op ta, const batch_view<PB>& b, op tb, const batch_view<PC>& c) {
    const bool na = ta == op::none, nb = tb == op::none;
    const index_t m = na ? a.features() : a.items(), k = na ? a.items() : a.features();
    const index_t l = nb ? b.features() : b.items(), n = nb ? b.items() : b.features();
    check_size("gemm", "inner size of op(B)", l, k);
    check_shape("gemm", "C", c, m, n);
}
template <class PA, class PB, class PC>
void check_gemm(const matrix_batch<PA>& a, op ta, const matrix_batch<PB>& b, op tb, const matrix_batch<PC>& c) {
    const bool na = ta == op::none, nb = tb == op::none;
    check_size("gemm_batched", "inner size of op(B)", nb ? b.rows : b.cols, na ? a.cols : a.rows);
    check_size("gemm_batched", "C.rows", c.rows, na ? a.rows : a.cols);
    check_size("gemm_batched", "C.cols", c.cols, nb ? b.cols : b.rows);
    check_size("gemm_batched", "A.count", a.count, c.count);
    check_size("gemm_batched", "B.count", b.count, c.count);
}

}  // namespace diem::detail
