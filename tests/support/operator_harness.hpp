// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <diem/linop/concept.hpp>
#include <diem/testing/operator.hpp>

#include "support/backends.hpp"
#include "support/catch.hpp"

namespace diem::test {

template <Backend B>
[[nodiscard]] batch<B> random_batch(B& b, index_t features, index_t items, std::uint32_t step) {
    batch<B> out(b, features, items);
    b.fill_normal(random_key{71, random_lane::user, step}, out.view());
    return out;
}
/// Uniform in [low, high).
template <Backend B>
[[nodiscard]] batch<B> random_positive(B& b, index_t features, index_t items, std::uint32_t step, double low = 0.5,
                                       double high = 2) {
    batch<B> u(b, features, items), ones(b, features, items);
    b.fill_uniform(random_key{72, random_lane::user, step}, u.view());
    b.fill(ones.view(), scalar_t<B>(1));
    b.axpby(low, ones.cview(), high - low, u.view());
    return u;
}

/// max |a - b| <= tolerance * scale; NaN fails.
template <class T>
[[nodiscard]] bool close(const std::vector<T>& a, const std::vector<T>& b, double scale, double tolerance) {
    if (a.size() != b.size()) return false;
    for (std::size_t k = 0; k < a.size(); ++k)
        if (!(std::abs(static_cast<double>(a[k]) - static_cast<double>(b[k])) <= tolerance * scale)) return false;
    return true;
}
template <class T>
[[nodiscard]] double largest(const std::vector<T>& values) {
    double top = 0;
    for (const T v : values) top = std::max(top, std::abs(static_cast<double>(v)));
    return top;
}

/// `testing::check_operator` on a batch of `count` items (the operator's own number, where it has one), wrong sizes included.
template <Backend B, linop::LinearOperator<B> A>
void check_operator(B& b, const A& a, index_t count, const std::string& name = {}) {
    if (a.items() >= 0) REQUIRE(a.items() == count);
    const testing::report found = testing::check_operator(b, a, {.items = count, .wrong_sizes = true});
    INFO(name << " " << a.rows() << " x " << a.cols() << ", " << count << " items\n" << found.text());
    CHECK(found.passed());
}

}  // namespace diem::test
