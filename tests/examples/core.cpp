// SPDX-License-Identifier: Apache-2.0
#include <diem/core/bfloat16.hpp>
#include <diem/core/check.hpp>
#include <diem/core/error.hpp>
#include <diem/core/macros.hpp>
#include <diem/core/random.hpp>
#include <diem/core/version.hpp>
#include <diem/core/view.hpp>

#include <cstdint>
#include <cstdio>
#include <numeric>
#include <sstream>
#include <string>
#include <vector>

#include "example.hpp"
#include "support/message.hpp"

namespace {

// [core/check.hpp]
double mean_of(diem::host_view<const float> x) {
    diem::check_size("mean_of", "x.features()", x.features(), 1);
    diem::check_value("mean_of", !x.empty(), "x has no items");
    return std::accumulate(x.data(), x.data() + x.items(), 0.0) / static_cast<double>(x.items());
}
// [core/check.hpp]

// [core/macros.hpp]
/// y = x |x| for `map`: V is a number, or an array of them that fills the registers of a core.
struct signed_square {
    template <class V>
    DIEM_HOST_DEVICE void operator()(V& y, const V& x) const {
        y = x * abs(x);
    }
};
// [core/macros.hpp]

}  // namespace

TEST_CASE("core/check.hpp") {
    const std::vector<float> x{1, 2, 6};
    CHECK(mean_of({x.data(), 1, 3}) == 3);
    CHECK(diem::test::message_of<diem::shape_error>([&] {
              mean_of({x.data(), 3, 1});
          }) == "mean_of: x.features() is 3, expected 1");
    CHECK(diem::test::message_of<diem::value_error>([&] { mean_of({x.data(), 1, 0}); }) == "mean_of: x has no items");
}

TEST_CASE("core/bfloat16.hpp") {
    // [core/bfloat16.hpp]
    // A sum of 1000 ones, kept in 16 bits: to nearest it stands still at 256, where 257 is no such number.
    diem::bfloat16 nearest, random;
    for (std::uint32_t k = 0; k < 1000; ++k) {
        nearest = diem::nearest_bfloat16(diem::widened(nearest) + 1);
        random = diem::stochastic_bfloat16(diem::widened(random) + 1, diem::random_words({.seed = 1}, 0, k)[0]);
    }
    // [core/bfloat16.hpp]
    CHECK(diem::widened(nearest) == 256);
    CHECK(diem::widened(random) == Approx(1000).epsilon(0.1));
}

TEST_CASE("core/error.hpp") {
    backend b(1);
    // [core/error.hpp]
    try {
        const diem::batch<backend> x(b, -3, 2);
    } catch (const diem::shape_error& e) {       // sizes; value_error: an option or a number; io_error: a file; ...
        std::fprintf(stderr, "%s\n", e.what());  // names function, argument and sizes
    } catch (const diem::error& e) {             // all that the library throws
        std::fprintf(stderr, "%s\n", e.what());
    }
    // [core/error.hpp]
    CHECK_THROWS_AS(diem::batch<backend>(b, -3, 2), diem::shape_error);
}

TEST_CASE("core/macros.hpp") {
    backend b(1);
    const auto x = diem::to_backend(b, std::vector<float>{-1, 2}, 2, 1);
    diem::batch<backend> y(b, 2, 1);
    b.map(signed_square{}, y.view(), x.cview());
    CHECK(diem::to_host(b, y) == std::vector<float>{-1, 4});
}

TEST_CASE("core/random.hpp") {
    // [core/random.hpp]
    const diem::random_key key{.seed = 1, .lane = diem::random_lane::user};
    const auto z = diem::normal<float>(key, 5, 2);                   // element 2 of item 5
    const auto same = diem::normal<float>(key.skip_items(3), 2, 2);  // the same in a part that begins at item 3
    const auto other = diem::normal<float>(key.with_step(1), 5, 2);  // of another draw
    // [core/random.hpp]
    CHECK(z == same);
    CHECK(z != other);
}

TEST_CASE("core/version.hpp") {
    // [core/version.hpp]
    static_assert(DIEM_VERSION_MAJOR > 0 || DIEM_VERSION_MINOR >= 1, "diem 0.1 or later is needed");
    std::printf("made by diem %s\n", diem::version);
    // [core/version.hpp]
    std::ostringstream numbers_of_it;
    numbers_of_it << DIEM_VERSION_MAJOR << '.' << DIEM_VERSION_MINOR << '.' << DIEM_VERSION_PATCH;
    CHECK(numbers_of_it.str() == diem::version);
}

TEST_CASE("core/view.hpp") {
    // [core/view.hpp]
    std::vector<float> values{1, 2, 3, 4, 5, 6};
    const diem::host_view<float> x(values.data(), 3, 2);  // two items of three features
    const auto second = x.item_range(1, 1);               // 4, 5, 6
    const auto last = x.feature_range(2, 1);              // 3 and 6: items of one number, still three numbers apart
    // [core/view.hpp]
    CHECK(second.data()[0] == 4);
    CHECK(last.data()[last.stride()] == 6);
}
