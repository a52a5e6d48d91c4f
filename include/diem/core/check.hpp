// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <limits>
#include <span>
#include <string>
#include <string_view>

#include <diem/core/error.hpp>
#include <diem/core/view.hpp>

/// \file
/// Checks of arguments, made in every build by public entry points. `where` is the function ("solver::cg"), `what` the
/// argument or the quantity.
/// \snippet tests/examples/core.cpp core/check.hpp

namespace diem {

namespace detail {
[[noreturn]] inline void throw_size(std::string_view where, std::string_view what, index_t got, index_t expected) {
    throw shape_error(std::string(where) + ": " + std::string(what) + " is " + std::to_string(got) + ", expected " +
                      std::to_string(expected));
}
}  // namespace detail

/// Throws shape_error unless `got == expected`, e.g. `check_size("cg", "x.items()", x.items(), b.items())`.
inline void check_size(std::string_view where, std::string_view what, index_t got, index_t expected) {
    if (got != expected) detail::throw_size(where, what, got, expected);
}

/// Throws shape_error unless the view has `features` and `items`.
template <class Pointer>
void check_shape(std::string_view where, std::string_view what, const batch_view<Pointer>& view, index_t features,
                 index_t items) {
    if (view.features() != features || view.items() != items)
        throw shape_error(std::string(where) + ": " + std::string(what) + " is " + std::to_string(view.features()) +
                          " x " + std::to_string(view.items()) + " (features x items), expected " +
                          std::to_string(features) + " x " + std::to_string(items));
}

/// Throws value_error with `message` unless `condition`.
inline void check_value(std::string_view where, bool condition, std::string_view message) {
    if (!condition) throw value_error(std::string(where) + ": " + std::string(message));
}

/// Throws value_error unless `value` is finite and positive.
inline void check_positive(std::string_view where, std::string_view what, double value) {
    if (!(value > 0) || !std::isfinite(value))
        throw value_error(std::string(where) + ": " + std::string(what) + " is " + std::to_string(value) +
                          ", expected a finite number > 0");
}

/// The product of sizes, for numbers of elements: 1 of none, 0 where one is 0. `what` names the sizes ("features x items").
/// Throws shape_error where one is negative, or where the product does not fit into index_t.
[[nodiscard]] inline index_t checked_product(std::string_view where, std::string_view what,
                                             std::span<const index_t> sizes) {
    const auto refuse = [&](const char* why) {
        std::string text;
        for (const index_t n : sizes) text += (text.empty() ? "" : " x ") + std::to_string(n);
        throw shape_error(std::string(where) + ": " + text + " (" + std::string(what) + "), " + why);
    };
    index_t product = 1;
    bool empty = false, fits = true;
    for (const index_t n : sizes) {
        if (n < 0) refuse("expected sizes >= 0");
        empty = empty || n == 0;
        fits = fits && (n == 0 || product <= std::numeric_limits<index_t>::max() / n);
        if (fits && n != 0) product *= n;
    }
    if (empty) return 0;
    if (!fits) refuse("more elements than can be counted");
    return product;
}
[[nodiscard]] inline index_t checked_product(std::string_view where, std::string_view what, index_t a, index_t b) {
    const index_t sizes[] = {a, b};
    return checked_product(where, what, sizes);
}
/// a + b for numbers of elements that are not negative. Throws shape_error where it does not fit into index_t.
[[nodiscard]] inline index_t checked_sum(std::string_view where, std::string_view what, index_t a, index_t b) {
    if (b > std::numeric_limits<index_t>::max() - a)
        throw shape_error(std::string(where) + ": " + std::to_string(a) + " + " + std::to_string(b) + " (" +
                          std::string(what) + "), more elements than can be counted");
    return a + b;
}

}  // namespace diem
