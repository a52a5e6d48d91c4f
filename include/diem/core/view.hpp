// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <memory>
#include <type_traits>

#include <diem/core/macros.hpp>

/// \file
/// Views of batches and vectors, which own nothing.
/// \snippet tests/examples/core.cpp core/view.hpp

namespace diem {

/// Signed type of every size and position.
using index_t = std::ptrdiff_t;

/// A non-owning batch: `features x items`, each item contiguous, item i at `data + i * stride` (column-major).
///
/// `Pointer` is the backend's pointer type (`T*` on the host and in CUDA, an opaque type where host code must not
/// dereference); a view of `T` converts to a view of `const T`. Images are height-width-channel inside an item.
template <class Pointer>
class batch_view {
public:
    using pointer = Pointer;
    using element_type = typename std::pointer_traits<Pointer>::element_type;
    using value_type = std::remove_cv_t<element_type>;

    constexpr batch_view() = default;
    DIEM_HOST_DEVICE constexpr batch_view(Pointer data, index_t features, index_t items, index_t stride)
        : data_(data), features_(features), items_(items), stride_(stride) {}
    /// Items follow one another without a gap.
    DIEM_HOST_DEVICE constexpr batch_view(Pointer data, index_t features, index_t items)
        : batch_view(data, features, items, features) {}
    template <class Other>
        requires(!std::is_same_v<Other, Pointer> && std::is_convertible_v<Other, Pointer>)
    DIEM_HOST_DEVICE constexpr batch_view(const batch_view<Other>& other)  // NOLINT(google-explicit-constructor)
        : batch_view(other.data(), other.features(), other.items(), other.stride()) {}

    [[nodiscard]] DIEM_HOST_DEVICE constexpr Pointer data() const { return data_; }
    [[nodiscard]] DIEM_HOST_DEVICE constexpr index_t features() const { return features_; }
    [[nodiscard]] DIEM_HOST_DEVICE constexpr index_t items() const { return items_; }
    [[nodiscard]] DIEM_HOST_DEVICE constexpr index_t stride() const { return stride_; }
    [[nodiscard]] DIEM_HOST_DEVICE constexpr index_t size() const { return features_ * items_; }
    [[nodiscard]] DIEM_HOST_DEVICE constexpr bool empty() const { return size() == 0; }
    /// No gap between items, so that the batch may be seen as one array of `size()` elements.
    [[nodiscard]] DIEM_HOST_DEVICE constexpr bool contiguous() const { return stride_ == features_ || items_ <= 1; }

    /// Items first .. first + count - 1. Unchecked.
    [[nodiscard]] DIEM_HOST_DEVICE constexpr batch_view item_range(index_t first, index_t count) const {
        return {shifted(first * stride_), features_, count, stride_};
    }
    /// Features first .. first + count - 1 of every item. Unchecked.
    [[nodiscard]] DIEM_HOST_DEVICE constexpr batch_view feature_range(index_t first, index_t count) const {
        return {shifted(first), count, items_, stride_};
    }
    /// The same memory seen with other extents: `features * items == size()`, on a contiguous view. Unchecked.
    [[nodiscard]] DIEM_HOST_DEVICE constexpr batch_view reshaped(index_t features, index_t items) const {
        return {data_, features, items, features};
    }

private:
    // An empty batch may hold a null pointer, which must not be shifted.
    [[nodiscard]] DIEM_HOST_DEVICE constexpr Pointer shifted(index_t n) const {
        return size() == 0 ? data_ : data_ + n;
    }

    Pointer data_{};
    index_t features_ = 0;
    index_t items_ = 0;
    index_t stride_ = 0;
};

/// A non-owning array of `size` contiguous elements: one number per item, or per feature.
template <class Pointer>
class vector_view {
public:
    using pointer = Pointer;
    using element_type = typename std::pointer_traits<Pointer>::element_type;
    using value_type = std::remove_cv_t<element_type>;

    constexpr vector_view() = default;
    DIEM_HOST_DEVICE constexpr vector_view(Pointer data, index_t size) : data_(data), size_(size) {}
    template <class Other>
        requires(!std::is_same_v<Other, Pointer> && std::is_convertible_v<Other, Pointer>)
    DIEM_HOST_DEVICE constexpr vector_view(const vector_view<Other>& other)  // NOLINT(google-explicit-constructor)
        : vector_view(other.data(), other.size()) {}

    [[nodiscard]] DIEM_HOST_DEVICE constexpr Pointer data() const { return data_; }
    [[nodiscard]] DIEM_HOST_DEVICE constexpr index_t size() const { return size_; }
    [[nodiscard]] DIEM_HOST_DEVICE constexpr vector_view range(index_t first, index_t count) const {
        return {size_ == 0 ? data_ : data_ + first, count};
    }

private:
    Pointer data_{};
    index_t size_ = 0;
};

/// Views of ordinary host memory.
template <class T>
using host_view = batch_view<T*>;
template <class T>
using host_vector = vector_view<T*>;

}  // namespace diem
