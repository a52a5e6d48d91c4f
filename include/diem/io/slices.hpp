// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <complex>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <diem/core/check.hpp>
#include <diem/io/array.hpp>

/// \file
/// Slices of k-space, or of coil maps, that are read one at a time.
/// \snippet tests/examples/io.cpp io/slices.hpp
namespace diem::io {

/// Complex images of coils, a slice at a time, from wherever they lie: each is read, and changed, when it is asked for. Copies
/// refer to the same ones.
class complex_slices {
public:
    using slice_type = array<std::complex<float>>;  ///< (1, coils, height, width)

    complex_slices() = default;
    /// `read(i)`: slice i. shape: (slices, coils, height, width).
    complex_slices(shape_type shape, std::function<slice_type(index_t)> read)
        : shape_(std::move(shape)), read_(std::move(read)) {
        check_value("io::complex_slices", shape_.size() == 4, "expected (slices, coils, height, width)");
    }
    /// Those at `values`, which `owner` keeps there (null: the caller). Throws shape_error for another number of them.
    complex_slices(const shape_type& shape, std::span<const std::complex<float>> values,
                   std::shared_ptr<const void> owner)
        : complex_slices(shape, [shape, values, owner](index_t i) {
              const std::size_t size = values.size() / static_cast<std::size_t>(shape[0]);
              const auto from = values.begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(i) * size);
              return slice_type({1, shape[1], shape[2], shape[3]}, {from, from + static_cast<std::ptrdiff_t>(size)});
          }) {
        check_size("io::complex_slices", "values", static_cast<index_t>(values.size()), element_count(shape));
        values_ = values;
        owner_ = std::move(owner);
    }
    /// All of an array of four axes.
    [[nodiscard]] static complex_slices of(slice_type a) {
        const auto there = std::make_shared<const slice_type>(std::move(a));
        return {there->shape, there->data, there};
    }

    [[nodiscard]] const shape_type& shape() const { return shape_; }
    [[nodiscard]] bool empty() const { return shape_.empty(); }
    [[nodiscard]] index_t slices() const { return shape_.at(0); }
    [[nodiscard]] index_t coils() const { return shape_.at(1); }
    [[nodiscard]] index_t height() const { return shape_.at(2); }
    [[nodiscard]] index_t width() const { return shape_.at(3); }
    /// Numbers of a slice.
    [[nodiscard]] index_t features() const { return coils() * height() * width(); }

    /// Throws what its file, and what was done to it, throw.
    [[nodiscard]] slice_type operator()(index_t i) const { return read_(i); }
    [[nodiscard]] slice_type all() const {
        slice_type out(shape_);
        for (index_t i = 0; i < slices(); ++i) {
            const auto one = read_(i);
            std::copy(one.data.begin(), one.data.end(), out.data.begin() + i * features());
        }
        return out;
    }
    /// All of them where they lie one after another in memory or in a mapped file, not seen by `checked`; else none.
    [[nodiscard]] std::span<const std::complex<float>> values() const { return values_; }
    [[nodiscard]] const std::shared_ptr<const void>& owner() const { return owner_; }

    /// Of each slice, when it is read, what `f(i, slice)` makes of it: (1, coils, height, width) of the same coils.
    template <class F>
    [[nodiscard]] complex_slices changed(index_t height, index_t width, F f) const {
        return {{slices(), coils(), height, width},
                [read = read_, f = std::move(f)](index_t i) { return f(i, read(i)); }};
    }
    /// The same slices; `f(i, slice)`, which may throw, sees each when it is read.
    template <class F>
    [[nodiscard]] complex_slices checked(F f) const {
        auto out = *this;
        out.read_ = [read = read_, f = std::move(f)](index_t i) {
            auto slice = read(i);
            f(i, std::as_const(slice));
            return slice;
        };
        return out;
    }
    /// The same slices, refused when they are read where a number is not finite. Throws io_error naming `name`.
    [[nodiscard]] complex_slices finite(const std::string& name) const {
        return checked([name, each = features()](index_t i, const slice_type& slice) {
            for (index_t k = 0; k < slice.size(); ++k)
                if (!std::isfinite(slice[k].real()) || !std::isfinite(slice[k].imag()))
                    throw io_error(name + ": number " + std::to_string(i * each + k) + " is not finite");
        });
    }

private:
    shape_type shape_;
    std::function<slice_type(index_t)> read_;
    std::span<const std::complex<float>> values_{};
    std::shared_ptr<const void> owner_{};
};

}  // namespace diem::io
