// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <utility>
#include <vector>

#include <diem/backend/concept.hpp>
#include <diem/core/check.hpp>

/// \file
/// Batches in the memory of a backend, and the way there and back.
/// \snippet tests/examples/backend.cpp backend/batch.hpp

namespace diem {

/// Owning `features x items` in the memory of a backend, contiguous, uninitialised at first.
template <Backend B, class T = scalar_t<B>>
class batch {
public:
    batch() = default;
    /// Throws shape_error for sizes that are negative or whose product cannot be counted, memory_error where there is not as
    /// much memory.
    batch(B& b, index_t features, index_t items)
        : buffer_(b.template allocate<T>(checked_product("batch", "features x items", features, items))),
          features_(features), items_(items) {}
    /// On a buffer that there is: features x items elements. Throws shape_error where it has another size.
    batch(buffer_t<B, T> buffer, index_t features, index_t items) : features_(features), items_(items) {
        check_size("batch", "buffer.size()", buffer.size(),
                   checked_product("batch", "features x items", features, items));
        buffer_ = std::move(buffer);
    }

    /// The first `items` of it alone, in the same memory. Unchecked.
    void keep_items(index_t items) { items_ = items; }

    [[nodiscard]] view_t<B, T> view() { return {buffer_.data(), features_, items_}; }
    [[nodiscard]] const_view_t<B, T> view() const { return {buffer_.data(), features_, items_}; }
    [[nodiscard]] const_view_t<B, T> cview() const { return view(); }
    /// The elements as one array.
    [[nodiscard]] vector_t<B, T> flat() { return {buffer_.data(), features_ * items_}; }
    [[nodiscard]] const_vector_t<B, T> flat() const { return {buffer_.data(), features_ * items_}; }
    operator view_t<B, T>() { return view(); }              // NOLINT(google-explicit-constructor)
    operator const_view_t<B, T>() const { return view(); }  // NOLINT(google-explicit-constructor)
    [[nodiscard]] index_t features() const { return features_; }
    [[nodiscard]] index_t items() const { return items_; }

private:
    buffer_t<B, T> buffer_;
    index_t features_ = 0, items_ = 0;
};

/// A vector seen as a batch of one item.
template <class Pointer>
batch_view<Pointer> as_batch(const vector_view<Pointer>& v) {
    return {v.data(), v.size(), 1};
}

/// Copies between a backend and a std::vector (items one after another); waits for the copy.
template <Backend B, class T>
batch<B, T> to_backend(B& backend, const std::vector<T>& values, index_t features, index_t items) {
    check_size("to_backend", "values.size()", static_cast<index_t>(values.size()),
               checked_product("to_backend", "features x items", features, items));
    batch<B, T> out(backend, features, items);
    backend.upload(host_view<const T>(values.data(), features, items), out.view());
    return out;
}
template <Backend B, class Pointer>
auto to_host(B& backend, const batch_view<Pointer>& v) {
    using T = typename batch_view<Pointer>::value_type;
    std::vector<T> out(static_cast<std::size_t>(v.size()));
    backend.download(const_view_t<B, T>(v), host_view<T>(out.data(), v.features(), v.items()));
    return out;
}
template <Backend B, class Pointer>
auto to_host(B& backend, const vector_view<Pointer>& v) {
    return to_host(backend, as_batch(v));
}
template <Backend B, class T>
std::vector<T> to_host(B& backend, const batch<B, T>& v) {
    return to_host(backend, v.view());
}

}  // namespace diem
