// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <diem/core/error.hpp>

/// \file
/// Checks of what users bring, to be called from any test or program: they return figures and need no test framework.
/// \snippet tests/examples/testing.cpp testing/report.hpp

namespace diem::testing {

/// One thing that was measured: it passes if `value <= bound`; NaN does not. An infinite bound: it is only reported.
struct figure {
    std::string name;
    double value = 0, bound = 0;
    std::string words;  ///< what it says

    [[nodiscard]] bool passed() const { return value <= bound; }
    [[nodiscard]] std::string text() const {
        char numbers[64];
        std::snprintf(numbers, sizeof numbers, std::isinf(bound) ? "%.3g, reported only" : "%.3g, bound %.3g", value,
                      bound);
        return std::string(passed() ? "ok      " : "FAILED  ") + name + ": " + numbers + " (" + words + ")";
    }
};

/// All that a check has measured.
struct report {
    std::vector<figure> figures;

    [[nodiscard]] bool passed() const {
        return std::all_of(figures.begin(), figures.end(), [](const figure& f) { return f.passed(); });
    }
    /// One line per figure.
    [[nodiscard]] std::string text() const {
        std::string all;
        for (const figure& f : figures) all += f.text() + "\n";
        return all;
    }
    /// Throws value_error where there is none of that name.
    [[nodiscard]] const figure& operator[](std::string_view name) const {
        for (const figure& f : figures)
            if (f.name == name) return f;
        throw value_error("testing::report: no figure is named '" + std::string(name) + "'");
    }
    void add(std::string name, double value, double bound, std::string words) {
        figures.push_back({std::move(name), value, bound, std::move(words)});
    }
};

namespace detail {

/// max |a - b|; NaN where there is one, or where sizes differ.
template <class T>
[[nodiscard]] double largest_difference(const std::vector<T>& a, const std::vector<T>& b) {
    if (a.size() != b.size()) return NAN;
    double worst = 0;
    for (std::size_t k = 0; k < a.size(); ++k) {
        const double e = std::abs(static_cast<double>(a[k]) - static_cast<double>(b[k]));
        if (!(e <= worst)) worst = e;
        if (std::isnan(e)) return e;
    }
    return worst;
}
template <class T>
[[nodiscard]] double largest(const std::vector<T>& values) {
    return largest_difference(values, std::vector<T>(values.size(), T(0)));
}
/// a / b, and 0 where both are.
[[nodiscard]] inline double ratio(double a, double b) { return a == 0 ? 0 : a / b; }
/// The larger one, or NaN.
[[nodiscard]] inline double worse(double a, double b) { return std::isnan(a) || a > b ? a : b; }

}  // namespace detail

}  // namespace diem::testing
