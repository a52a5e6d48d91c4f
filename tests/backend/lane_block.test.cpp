// SPDX-License-Identifier: Apache-2.0
#include <diem/backend/eigen/elementwise.hpp>

#include <cmath>

#include "support/catch.hpp"

using namespace diem;

// What a functor is called with on blocks is what it is called with on single numbers.
TEMPLATE_TEST_CASE("a block of numbers computes as its numbers do", "", detail::eigen::lane_block<float>,
                   detail::eigen::lane_block<double>, (detail::eigen::lane_block<float, 16>),
                   (detail::eigen::lane_block<double, 16>)) {
    using block = TestType;
    using T = typename block::Scalar;
    const T tolerance = sizeof(T) == 4 ? T(5e-7) : T(1e-15);
    T a[block::size], b[block::size], out[block::size];
    for (int k = 0; k < block::size; ++k) {
        a[k] = T(0.1) + T(0.37) * static_cast<T>(k);
        b[k] = T(5) - T(0.81) * static_cast<T>(k);
    }
    const auto same = [&](const block& result, auto&& expected) {
        result.store(out);
        for (int k = 0; k < block::size; ++k) {
            CAPTURE(k, a[k], b[k]);
            const T value = expected(a[k], b[k]);
            CHECK(std::abs(out[k] - value) <= tolerance * (1 + std::abs(value)));
        }
    };
    const block x = block::load(a), y = block::load(b);
    same(x, [](T u, T) { return u; });
    same(T(3), [](T, T) { return T(3); });
    same(x + y, [](T u, T v) { return u + v; });
    same(x - y, [](T u, T v) { return u - v; });
    same(x * y, [](T u, T v) { return u * v; });
    same(x / y, [](T u, T v) { return u / v; });
    same(T(2) / (T(1) + x), [](T u, T) { return T(2) / (T(1) + u); });
    same(1 - x * 2, [](T u, T) { return 1 - u * 2; });
    same(-x, [](T u, T) { return -u; });
    same(abs(y), [](T, T v) { return std::abs(v); });
    same(sqrt(x), [](T u, T) { return std::sqrt(u); });
    same(exp(y), [](T, T v) { return std::exp(v); });
    same(log(x), [](T u, T) { return std::log(u); });
    same(sin(y), [](T, T v) { return std::sin(v); });
    same(cos(y), [](T, T v) { return std::cos(v); });
    block z = x;
    z += y;
    z *= x;
    z -= y;
    z /= T(2);
    same(z, [](T u, T v) { return ((u + v) * u - v) / 2; });
}
