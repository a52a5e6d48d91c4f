// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <complex>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <diem/core/check.hpp>
#include <diem/core/view.hpp>

/// \file
/// Arrays on the host, as files hold them.
/// \snippet tests/examples/io.cpp io/array.hpp

namespace diem::io {

/// Extents of an array, outermost first (row-major).
using shape_type = std::vector<index_t>;

/// A boolean element in files (vector<bool> has no elements to point to).
enum class boolean : std::uint8_t { no = 0, yes = 1 };

/// "[3, 8, 8]"
[[nodiscard]] inline std::string to_string(const shape_type& shape) {
    std::string text = "[";
    for (const index_t extent : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(extent);
    return text + "]";
}

/// Product of the extents into `count`; false where an extent is negative or the product overflows.
[[nodiscard]] inline bool element_count(const shape_type& shape, index_t& count) {
    bool zero = false;
    for (const index_t extent : shape) {
        if (extent < 0) return false;
        zero = zero || extent == 0;
    }
    count = zero ? 0 : 1;
    if (zero) return true;
    for (const index_t extent : shape) {
        if (count > std::numeric_limits<index_t>::max() / extent) return false;
        count *= extent;
    }
    return true;
}

/// Product of the extents, 1 for no extents. Throws value_error where it is negative or overflows.
[[nodiscard]] inline index_t element_count(const shape_type& shape) {
    index_t count = 0;
    check_value("io::element_count", element_count(shape, count),
                "shape " + to_string(shape) + " has a negative extent or too many elements");
    return count;
}

/// An owning row-major array. Items first: the memory of shape (items, features...) is that of a `features x items`
/// batch, see `batch()`.
template <class T>
struct array {
    shape_type shape;
    std::vector<T> data;

    array() = default;
    /// Zeros.
    explicit array(shape_type extents)
        : shape(std::move(extents)), data(static_cast<std::size_t>(element_count(shape))) {}
    /// Throws shape_error unless the extents hold as many elements as `values`.
    array(shape_type extents, std::vector<T> values) : shape(std::move(extents)), data(std::move(values)) {
        check_size("io::array", "elements", static_cast<index_t>(data.size()), element_count(shape));
    }

    [[nodiscard]] index_t size() const { return static_cast<index_t>(data.size()); }
    /// First extent; 1 without extents.
    [[nodiscard]] index_t items() const { return shape.empty() ? 1 : shape.front(); }
    /// Product of the other extents.
    [[nodiscard]] index_t features() const {
        return shape.empty() ? 1 : element_count(shape_type(shape.begin() + 1, shape.end()));
    }
    /// The array as a batch of `items()` columns of `features()` elements, without a copy.
    [[nodiscard]] host_view<T> batch() { return {data.data(), features(), items()}; }
    [[nodiscard]] host_view<const T> batch() const { return {data.data(), features(), items()}; }
    [[nodiscard]] host_vector<T> vector() { return {data.data(), size()}; }
    [[nodiscard]] host_vector<const T> vector() const { return {data.data(), size()}; }
    [[nodiscard]] T& operator[](index_t i) { return data[static_cast<std::size_t>(i)]; }
    [[nodiscard]] const T& operator[](index_t i) const { return data[static_cast<std::size_t>(i)]; }
};

/// Column-major (first extent fastest, as MATLAB and Fortran write) to the same array row-major: element (i, j, ...) stays
/// element (i, j, ...).
template <class T>
[[nodiscard]] std::vector<T> from_column_major(const std::vector<T>& source, const shape_type& shape) {
    std::vector<T> target(source.size());
    std::vector<index_t> steps(shape.size()), at(shape.size(), 0);
    for (std::size_t k = 0, step = 1; k < shape.size(); ++k) {
        steps[k] = static_cast<index_t>(step);
        step *= static_cast<std::size_t>(shape[k]);
    }
    index_t from = 0;
    for (T& value : target) {
        value = source[static_cast<std::size_t>(from)];
        for (std::size_t k = shape.size(); k-- > 0;) {  // the next in row-major order
            from += steps[k];
            if (++at[k] < shape[k]) break;
            from -= steps[k] * shape[k];
            at[k] = 0;
        }
    }
    return target;
}

/// Complex numbers as pairs (real, imaginary): one more extent, of 2.
template <class T>
[[nodiscard]] array<T> as_pairs(const array<std::complex<T>>& complex) {
    array<T> pairs;
    pairs.shape = complex.shape;
    pairs.shape.push_back(2);
    pairs.data.reserve(2 * complex.data.size());
    for (const auto& value : complex.data) {
        pairs.data.push_back(value.real());
        pairs.data.push_back(value.imag());
    }
    return pairs;
}

/// The inverse of `as_pairs`.
template <class T>
[[nodiscard]] array<std::complex<T>> from_pairs(const array<T>& pairs) {
    array<std::complex<T>> complex;
    complex.shape.assign(pairs.shape.begin(), pairs.shape.end() - 1);
    complex.data.reserve(pairs.data.size() / 2);
    for (index_t k = 0; k < pairs.size(); k += 2) complex.data.emplace_back(pairs[k], pairs[k + 1]);
    return complex;
}

/// Numbers of which a file says whether they are complex: then as pairs, with a last extent of 2.
template <class T>
struct numbers {
    array<T> values;
    bool complex = false;
};

}  // namespace diem::io
