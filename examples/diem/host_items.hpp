// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <complex>
#include <functional>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/backend/capabilities.hpp>
#include <diem/io/array.hpp>
#include <diem/io/slices.hpp>

/// What a user brings, in host memory or in files, and the way from there into the memory of a backend.
namespace program {

using diem::index_t;

/// Memory of the host for so many numbers.
using host_memory_source = std::function<std::shared_ptr<float>(std::size_t count)>;
[[nodiscard]] inline std::shared_ptr<float> plain_memory(std::size_t count) {
    auto values = std::make_shared<std::vector<float>>(count);
    return {values, values->data()};
}

/// Items as they came, items first: a file's, or a caller's. Read where they lie, and copied when a value is changed.
class host_items {
public:
    host_items() = default;
    host_items(host_items&&) noexcept = default;
    host_items& operator=(host_items&&) noexcept = default;
    explicit host_items(diem::io::array<float> a) : shape_(std::move(a.shape)) {
        auto values = std::make_shared<std::vector<float>>(std::move(a.data));
        values_ = *values;
        own_ = {values, values->data()};
    }
    /// Refers to `values`, which `file` keeps there; a copy of them would lie in `memory`.
    host_items(diem::io::shape_type shape, std::span<const float> values, std::shared_ptr<const void> file = {},
               host_memory_source memory = plain_memory)
        : shape_(std::move(shape)), file_(std::move(file)), memory_(std::move(memory)), values_(values) {}
    /// For the caller to fill.
    host_items(diem::io::shape_type shape, host_memory_source memory)
        : shape_(std::move(shape)), memory_(std::move(memory)) {
        const auto count = static_cast<std::size_t>(diem::io::element_count(shape_));
        own_ = memory_(count);
        values_ = {own_.get(), count};
    }

    [[nodiscard]] const diem::io::shape_type& shape() const { return shape_; }
    [[nodiscard]] std::span<const float> values() const { return values_; }
    [[nodiscard]] index_t items() const { return shape_.empty() ? 1 : shape_.front(); }
    [[nodiscard]] index_t size() const { return static_cast<index_t>(values_.size()); }
    [[nodiscard]] index_t features() const { return size() / items(); }
    [[nodiscard]] float operator[](index_t k) const { return values_[static_cast<std::size_t>(k)]; }
    /// The values, to be changed.
    [[nodiscard]] std::span<float> mutable_values() {
        if (!own_) {
            own_ = memory_(values_.size());
            std::copy(values_.begin(), values_.end(), own_.get());
            values_ = {own_.get(), values_.size()};
            file_.reset();
        }
        return {own_.get(), values_.size()};
    }
    void set(index_t k, float value) { mutable_values()[static_cast<std::size_t>(k)] = value; }
    /// Whether the values are still the caller's.
    [[nodiscard]] bool borrowed() const { return !own_ && !file_; }
    /// What keeps the values there; null: the caller.
    [[nodiscard]] std::shared_ptr<const void> owner() const { return own_ ? own_ : file_; }
    [[nodiscard]] const host_memory_source& memory() const { return memory_; }

private:
    diem::io::shape_type shape_;
    std::shared_ptr<float> own_{};
    std::shared_ptr<const void> file_{};
    host_memory_source memory_ = plain_memory;
    std::span<const float> values_{};
};

/// Numbers where they lie, kept there by `owner`: a batch that is not to be changed.
template <diem::HasLargeBlocks B>
[[nodiscard]] diem::batch<B> batch_over(const std::shared_ptr<const void>& owner, const float* values, index_t features,
                                        index_t items) {
    return {diem::buffer_t<B>(std::const_pointer_cast<void>(owner), const_cast<float*>(values), features * items),
            features, items};
}
/// The values as features x items, without a copy where the backend's memory is the host's: then they are not to be changed.
template <diem::Backend B>
[[nodiscard]] diem::batch<B> take(B& b, const host_items& v, index_t features, index_t items) {
    const auto* values = v.values().data();
    if constexpr (diem::HasLargeBlocks<B>) {
        if (!v.borrowed()) return batch_over<B>(v.owner(), values, features, items);
    }
    diem::batch<B> own(b, features, items);
    b.upload(diem::host_view<const float>(values, features, items), own.view());
    return own;
}

/// Complex numbers as the real ones that they lie as, (re, im).
[[nodiscard]] inline const float* pairs_in(const std::complex<float>* values) {
    return reinterpret_cast<const float*>(values);
}
/// A batch that is to be filled, in `memory` where there is one and the backend can use it.
template <diem::Backend B>
[[nodiscard]] diem::batch<B> batch_in(B& b, const host_memory_source& memory, index_t features, index_t items) {
    if constexpr (diem::HasLargeBlocks<B>) {
        if (memory) {
            const auto size = features * items;
            const auto values = memory(static_cast<std::size_t>(size));
            return {diem::buffer_t<B>(values, values.get(), size), features, items};
        }
    }
    return {b, features, items};
}
/// Slices into items of as many features, one at a time: the host has no more of them.
template <diem::Backend B>
void upload_slices(B& b, const diem::io::complex_slices& slices, diem::view_t<B> to) {
    for (index_t i = 0; i < slices.slices(); ++i) {
        const auto one = slices(i);
        b.upload(diem::host_view<const float>(pairs_in(one.data.data()), 2 * slices.features(), 1),
                 to.item_range(i, 1));
    }
}
/// Slices as items, as `take` of values: those that lie one after another stay where they are, others lie in `memory`.
template <diem::Backend B>
[[nodiscard]] diem::batch<B> take(B& b, const diem::io::complex_slices& slices, const host_memory_source& memory) {
    const index_t features = 2 * slices.features(), items = slices.slices();
    if constexpr (diem::HasLargeBlocks<B>) {
        if (!slices.values().empty() && slices.owner())
            return batch_over<B>(slices.owner(), pairs_in(slices.values().data()), features, items);
    }
    auto own = batch_in(b, memory, features, items);
    upload_slices(b, slices, own.view());
    return own;
}

}  // namespace program
