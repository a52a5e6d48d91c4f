// SPDX-License-Identifier: Apache-2.0

// The Fourier transform of every backend against its definition, and what the definition says of special images.
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/backend/reference.hpp>

#include "support/backends.hpp"
#include "support/catch.hpp"
#include "support/compare.hpp"

using namespace diem;
using namespace diem::test;

namespace {

/// A batch with gaps of three numbers between its items, NaN in them, and normal numbers elsewhere.
template <Backend B>
batch<B> images_with_gaps(B& b, index_t features, index_t items) {
    using T = scalar_t<B>;
    batch<B> memory(b, features + 3, items);
    b.fill(memory.view(), std::numeric_limits<T>::quiet_NaN());
    b.fill_normal(random_key{17}, memory.view().feature_range(0, features));
    return memory;
}
template <class T>
double norm(const std::vector<T>& v) {
    double sum = 0;
    for (const T e : v) sum += static_cast<double>(e) * static_cast<double>(e);
    return std::sqrt(sum);
}

/// Transforms `each` images in every item of a batch with gaps; against the definition, there and back, energy.
template <Backend B>
void check_transform(B& b, index_t height, index_t width, index_t each, index_t items) {
    using T = scalar_t<B>;
    INFO(height << " x " << width << ", " << each << " images an item, " << items << " items");
    const index_t features = 2 * height * width * each;
    const auto memory = images_with_gaps(b, features, items);
    const const_view_t<B> x = memory.cview().feature_range(0, features);
    const auto x_host = to_host(b, x);
    batch<B> out(b, features + 1, items);
    const view_t<B> y = out.view().feature_range(1, features);
    for (const auto direction : {fft_direction::forward, fft_direction::inverse}) {
        std::vector<T> expected(x_host.size());
        for (std::size_t k = 0; k < expected.size(); k += static_cast<std::size_t>(2 * height * width))
            detail::fft2_by_definition(direction, height, width, x_host.data() + k, expected.data() + k);
        b.fill(out.view(), std::numeric_limits<T>::quiet_NaN());
        b.fft2(direction, height, width, x, y);
        const auto y_host = to_host(b, const_view_t<B>(y));
        const double rounds = 4 + 2 * std::log2(static_cast<double>(height * width));
        REQUIRE(worst_item_error(y_host, expected, features) <= tolerance<T>(rounds));
        REQUIRE(std::abs(norm(y_host) - norm(x_host)) <= tolerance<T>(rounds) * norm(x_host));
        b.fft2(direction == fft_direction::forward ? fft_direction::inverse : fft_direction::forward, height, width,
               const_view_t<B>(y), y);  // in place
        REQUIRE(worst_item_error(to_host(b, const_view_t<B>(y)), x_host, features) <= tolerance<T>(2 * rounds));
    }
    REQUIRE(to_host(b, x) == x_host);
}

}  // namespace

TEMPLATE_TEST_CASE("fft2 is its definition, of any size", "[fft]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    B b = make_backend<B>();
    const std::pair<index_t, index_t> sizes[] = {{1, 1},   {1, 2},  {2, 1},  {3, 1},   {1, 4},   {5, 3},
                                                 {4, 4},   {2, 17}, {7, 8},  {8, 7},   {12, 15}, {15, 12},
                                                 {17, 17}, {32, 5}, {9, 32}, {31, 22}, {33, 49}, {26, 64}};
    for (const auto& [height, width] : sizes) check_transform(b, height, width, 1, 3);
    for (const index_t each : {2, 31, 32, 64, 77}) check_transform(b, 1, 6, each, 2);  // rows, many side by side
    check_transform(b, 1, 35, 9, 2);
    for (const index_t items : {0, 1, 2, 5}) check_transform(b, 6, 10, 2, items);
}

TEMPLATE_TEST_CASE("fft2 of large images, with fewer of them than threads, does not depend on threads", "[fft]",
                   DIEM_TEST_BACKENDS) {
    using B = TestType;
    using T = scalar_t<B>;
    const index_t height = 320, width = 33, items = 3;
    B b = make_backend<B>(1);
    batch<B> x(b, 2 * height * width, items), y(b, 2 * height * width, items);
    b.fill_normal(random_key{19}, x.view());
    b.fft2(fft_direction::forward, height, width, x.cview(), y.view());
    const auto expected = to_host(b, y);
    for (const int threads : {2, 4}) {
        B other = make_backend<B>(threads);
        if (other.threads() != threads) break;  // a backend without threads
        batch<B> u(other, 2 * height * width, items), v(other, 2 * height * width, items);
        other.fill_normal(random_key{19}, u.view());
        other.fft2(fft_direction::forward, height, width, u.cview(), v.view());
        CHECK(to_host(other, v) == expected);
    }
    std::vector<T> by_definition(static_cast<std::size_t>(2 * height * width));
    const auto last = to_host(b, x.cview().item_range(items - 1, 1));
    detail::fft2_by_definition(fft_direction::forward, height, width, last.data(), by_definition.data());
    CHECK(relative_error(to_host(b, y.cview().item_range(items - 1, 1)), by_definition) <= tolerance<T>(30));
}

TEMPLATE_TEST_CASE("fft2 is centred: points, constants and waves", "[fft]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    using T = scalar_t<B>;
    B b = make_backend<B>();
    for (const auto& [height, width] : {std::pair<index_t, index_t>{6, 9}, {5, 8}, {7, 7}, {4, 10}}) {
        const double pixels = static_cast<double>(height * width);
        const auto at = [w = width](index_t i, index_t j) { return static_cast<std::size_t>(2 * (i * w + j)); };
        const auto transform = [&, h = height, w = width](const std::vector<T>& image) {
            auto x = to_backend<B, T>(b, image, 2 * h * w, 1);
            b.fft2(fft_direction::forward, h, w, x.cview(), x.view());
            return to_host(b, x);
        };
        const std::size_t size = static_cast<std::size_t>(2 * height * width);
        std::vector<T> point(size), flat(size), constant(size), wave(size);
        point[at(height / 2, width / 2)] =
            1;  // a point in the middle has a flat spectrum, and a constant is a point there
        for (std::size_t k = 0; k < size; k += 2) {
            constant[k] = 1;
            flat[k] = static_cast<T>(1 / std::sqrt(pixels));
        }
        CHECK(relative_error(transform(point), flat) <= tolerance<T>(4));
        auto expected = point;
        expected[at(height / 2, width / 2)] = static_cast<T>(std::sqrt(pixels));
        CHECK(relative_error(transform(constant), expected) <= tolerance<T>(4));
        // e^(+2 pi i (j - W/2) / W) is the frequency one to the right of the middle.
        for (index_t i = 0; i < height; ++i)
            for (index_t j = 0; j < width; ++j) {
                const double angle =
                    2 * std::numbers::pi * static_cast<double>(j - width / 2) / static_cast<double>(width);
                wave[at(i, j)] = static_cast<T>(std::cos(angle));
                wave[at(i, j) + 1] = static_cast<T>(std::sin(angle));
            }
        std::fill(expected.begin(), expected.end(), T(0));
        expected[at(height / 2, width / 2 + 1)] = static_cast<T>(std::sqrt(pixels));
        CHECK(relative_error(transform(wave), expected) <= tolerance<T>(8));
    }
}

TEMPLATE_TEST_CASE("fft2: no image feels another one; no allocation after the first; sizes are checked", "[fft]",
                   DIEM_TEST_BACKENDS) {
    using B = TestType;
    using T = scalar_t<B>;
    B b = make_backend<B>(1);
    const index_t size = 2 * 6 * 10;
    batch<B> x(b, size, 3), y(b, size, 3), z(b, size, 3);
    b.fill_normal(random_key{23}, x.view());
    b.fft2(fft_direction::forward, 6, 10, x.cview(), y.view());
    const auto allocations = b.memory().allocations();
    b.fill(x.view().item_range(1, 1), std::numeric_limits<T>::quiet_NaN());
    b.fft2(fft_direction::forward, 6, 10, x.cview(), z.view());
    CHECK(b.memory().allocations() == allocations);
    for (const index_t k : {0, 2})
        CHECK(to_host(b, y.cview().item_range(k, 1)) == to_host(b, z.cview().item_range(k, 1)));

    batch<B> wider(b, size + 1, 3), more(b, size, 4);
    CHECK_THROWS_AS(b.fft2(fft_direction::forward, 6, 10, x.cview(), wider.view()), shape_error);
    CHECK_THROWS_AS(b.fft2(fft_direction::forward, 6, 10, x.cview(), more.view()), shape_error);
    CHECK_THROWS_WITH(b.fft2(fft_direction::forward, 6, 9, x.cview(), y.view()),
                      Catch::Matchers::Contains("120 features, expected a multiple of 108 (2 x 6 x 9)"));
    CHECK_THROWS_AS(b.fft2(fft_direction::forward, 0, 10, x.cview(), y.view()), value_error);
}

TEST_CASE("roots of unity are right to the last bits, and exact on the axes", "[fft]") {
    for (const index_t n : {1, 2, 3, 4, 5, 8, 12, 17, 320, 1009})
        for (index_t k = 0; k < n; ++k) {
            const auto [c, s] = detail::root_of_unity(k, n);
            const long double angle =
                2 * std::numbers::pi_v<long double> * static_cast<long double>(k) / static_cast<long double>(n);
            REQUIRE(std::abs(c - static_cast<double>(std::cos(angle))) <= 2.3e-16);
            REQUIRE(std::abs(s - static_cast<double>(std::sin(angle))) <= 2.3e-16);
            if (4 * k % n == 0) REQUIRE(std::abs(c * s) == 0);
        }
}
