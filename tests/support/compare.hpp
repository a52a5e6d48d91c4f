// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include <diem/core/view.hpp>

namespace diem::test {

/// max |a - b| / scale, scale the largest |b| (1 where b is zero). NaN anywhere gives NaN, so `error <= tol` fails on it.
template <class T, class U>
double relative_error(const std::vector<T>& a, const std::vector<U>& b) {
    if (a.size() != b.size()) return std::numeric_limits<double>::quiet_NaN();
    double worst = 0, scale = 0;
    for (std::size_t k = 0; k < a.size(); ++k) {
        const double e = std::abs(static_cast<double>(a[k]) - static_cast<double>(b[k]));
        if (!(e <= worst)) worst = e;
        if (std::isnan(e)) return e;
        scale = std::max(scale, std::abs(static_cast<double>(b[k])));
    }
    return worst / (scale > 0 ? scale : 1);
}

/// The same per item of a `features x items` batch: the worst item.
template <class T, class U>
double worst_item_error(const std::vector<T>& a, const std::vector<U>& b, index_t features) {
    if (a.size() != b.size() || features <= 0) return a.size() == b.size() && a.empty() ? 0.0 : NAN;
    double worst = 0;
    const auto n = static_cast<std::size_t>(features);
    for (std::size_t k = 0; k < a.size(); k += n) {
        const std::vector<T> x(a.begin() + static_cast<std::ptrdiff_t>(k),
                               a.begin() + static_cast<std::ptrdiff_t>(k + n));
        const std::vector<U> y(b.begin() + static_cast<std::ptrdiff_t>(k),
                               b.begin() + static_cast<std::ptrdiff_t>(k + n));
        const double e = relative_error(x, y);
        if (!(e <= worst)) worst = e;
        if (std::isnan(worst)) return worst;
    }
    return worst;
}

/// `factor` units of rounding of T.
template <class T>
double tolerance(double factor) {
    return factor * static_cast<double>(std::numeric_limits<T>::epsilon());
}

}  // namespace diem::test
