// SPDX-License-Identifier: Apache-2.0
#include <diem/core/random.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <set>
#include <utility>
#include <vector>

#include "support/catch.hpp"

// After diem's header on purpose: Random123 defines macros.
#if __has_include(<Random123/philox.h>)
#include <Random123/philox.h>
#endif

using namespace diem;

namespace {

void check_words(const philox_words& got, const std::array<std::uint32_t, 4>& expected) {
    for (int k = 0; k < 4; ++k) CHECK(got[k] == expected[static_cast<std::size_t>(k)]);
}

/// Sums of powers.
struct moments {
    double count = 0, first = 0, second = 0, third = 0, fourth = 0;
    void add(double x) { ++count, first += x, second += x * x, third += x * x * x, fourth += x * x * x * x; }
};

/// |sample mean - expected| within 5 standard errors.
void check_mean(double sum, double count, double expected, double variance) {
    const double bound = 5 * std::sqrt(variance / count);
    CHECK(std::abs(sum / count - expected) <= bound);
}

/// An array of four with log, sqrt, sin, cos found by lookup, as a vectorised backend has.
struct four {
    using Scalar = float;
    std::array<float, 4> v;
    template <class F>
    friend four map(const four& a, F f) {
        four r{};
        for (std::size_t k = 0; k < 4; ++k) r.v[k] = f(a.v[k]);
        return r;
    }
    friend four log(const four& a) {
        return map(a, [](float x) { return std::log(x); });
    }
    friend four sqrt(const four& a) {
        return map(a, [](float x) { return std::sqrt(x); });
    }
    friend four sin(const four& a) {
        return map(a, [](float x) { return std::sin(x); });
    }
    friend four cos(const four& a) {
        return map(a, [](float x) { return std::cos(x); });
    }
    friend four operator*(float s, const four& a) {
        return map(a, [s](float x) { return s * x; });
    }
    friend four operator*(const four& a, const four& b) {
        four r{};
        for (std::size_t k = 0; k < 4; ++k) r.v[k] = a.v[k] * b.v[k];
        return r;
    }
};

}  // namespace

TEST_CASE("philox: published known answers") {
    // Philox4x32-10 of the known-answer file that accompanies Salmon et al., SC'11.
    check_words(philox({{0, 0, 0, 0}}, 0), {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
    check_words(philox({{~0U, ~0U, ~0U, ~0U}}, ~std::uint64_t{0}), {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
    check_words(philox({{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}}, 0x299f31d0a4093822),
                {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("philox: constant expression") {
    constexpr philox_words words = philox({{0, 0, 0, 0}}, 0);
    STATIC_REQUIRE(words[0] == 0x6627e8d5);
}

#if defined(philox4x32)
TEST_CASE("philox: equals Random123") {
    std::uint32_t state = 12345;
    const auto next = [&state] { return state = state * 1664525U + 1013904223U; };
    for (int n = 0; n < 1000; ++n) {
        const philox_words counter{{next(), next(), next(), next()}};
        const std::uint32_t low = next(), high = next();
        const philox4x32_ctr_t theirs = philox4x32(philox4x32_ctr_t({{counter[0], counter[1], counter[2], counter[3]}}),
                                                   philox4x32_key_t({{low, high}}));
        check_words(philox(counter, std::uint64_t{high} << 32 | low),
                    {theirs.v[0], theirs.v[1], theirs.v[2], theirs.v[3]});
    }
}
#endif

TEST_CASE("random: the counter is (block, item, step, lane), the key is the seed") {
    const random_key key{0x0123456789abcdef, 7, 9, 100};
    const philox_words got = random_words(key, 3, 5);
    const philox_words expected = philox({{5, 103, 9, 7}}, 0x0123456789abcdef);
    check_words(got, {expected[0], expected[1], expected[2], expected[3]});
    CHECK(key.with_lane(1) == random_key{0x0123456789abcdef, 1, 9, 100});
    CHECK(key.with_step(1) == random_key{0x0123456789abcdef, 7, 1, 100});
    CHECK(key.skip_items(4) == random_key{0x0123456789abcdef, 7, 9, 104});
}

TEST_CASE("random: uniforms stay strictly inside (0, 1)") {
    const philox_words low{{0, 0, 0, 0}}, high{{~0U, ~0U, ~0U, ~0U}};
    CHECK(uniform_of_words<float>(low, 0) == 0x1p-24F);
    CHECK(uniform_of_words<double>(low, 1) == 0x1p-53);
    CHECK(uniform_of_words<float>(high, 3) == 1 - 0x1p-24F);
    CHECK(uniform_of_words<double>(high, 1) == 1 - 0x1p-53);
    CHECK(uniform_of_words<float>(high, 3) < 1);
    CHECK(uniform_of_words<double>(high, 1) < 1);
}

TEMPLATE_TEST_CASE("random: element functions agree with blocks", "", float, double) {
    using T = TestType;
    constexpr int n = uniforms_per_block<T>;
    const random_key key{42, 1, 2, 3};
    for (std::uint32_t block = 0; block < 5; ++block) {
        const philox_words words = random_words(key, 6, block);
        T z[n];
        normal_block<T>(key, 6, block, z);
        for (int k = 0; k < n; ++k) {
            const auto j = static_cast<std::uint32_t>(n) * block + static_cast<std::uint32_t>(k);
            CHECK(uniform<T>(key, 6, j) == uniform_of_words<T>(words, k));
            CHECK(normal<T>(key, 6, j) == z[k]);
        }
    }
    T u[5];
    for (std::uint32_t k = 0; k < 5; ++k) u[k] = uniform<T>(key, 6, k);  // the words of element 0
    std::sort(u, u + 5);
    CHECK(beta33<T>(key, 6, 0) == u[2]);
}

TEST_CASE("random: Box-Muller, one formula for scalars and arrays") {
    four u1{{0.1F, 0.5F, 0.9F, 0x1p-24F}}, u2{{0.2F, 0.25F, 0.7F, 0.99F}}, z1{}, z2{};
    box_muller(u1, u2, z1, z2);
    for (std::size_t k = 0; k < 4; ++k) {
        float a = 0, b = 0;
        box_muller(u1.v[k], u2.v[k], a, b);
        CHECK(z1.v[k] == a);
        CHECK(z2.v[k] == b);
        const double radius = std::sqrt(-2 * std::log(static_cast<double>(u1.v[k])));
        const double angle = 2 * std::acos(-1.0) * static_cast<double>(u2.v[k]);
        CHECK(std::abs(a - radius * std::cos(angle)) <= 1e-5);
        CHECK(std::abs(b - radius * std::sin(angle)) <= 1e-5);
    }
}

TEMPLATE_TEST_CASE("random: moments", "", float, double) {
    using T = TestType;
    const random_key key{2024, random_lane::user, 0, 0};
    constexpr std::uint32_t items = 200, features = 1000;
    constexpr double count = double{items} * features;
    moments u, z, b;
    double neighbours = 0, pairs = 0, heads = 0;
    for (std::uint32_t i = 0; i < items; ++i) {
        T previous = 0;
        for (std::uint32_t j = 0; j < features; ++j) {
            u.add(static_cast<double>(uniform<T>(key, i, j)) - 0.5);
            const T value = normal<T>(key.with_step(1), i, j);
            z.add(static_cast<double>(value));
            neighbours += static_cast<double>(value * previous);
            pairs += static_cast<double>(value * normal<T>(key.with_step(1), i + items, j));
            previous = value;
            b.add(static_cast<double>(beta33<T>(key.with_step(2), i, j)) - 0.5);
            heads += bernoulli(key.with_step(3), i, j, 0.25) ? 1 : 0;
        }
    }
    check_mean(u.first, count, 0, 1.0 / 12);
    check_mean(u.second, count, 1.0 / 12, 1.0 / 180);
    check_mean(z.first, count, 0, 1);
    check_mean(z.second, count, 1, 2);
    check_mean(z.third, count, 0, 15);
    check_mean(z.fourth, count, 3, 96);
    check_mean(neighbours, count, 0, 1);
    check_mean(pairs, count, 0, 1);
    check_mean(b.first, count, 0, 1.0 / 28);
    check_mean(b.second, count, 1.0 / 28, 1.0 / 336 - 1.0 / 784);
    check_mean(heads, count, 0.25, 0.25 * 0.75);
}

TEST_CASE("random: Beta(3, 3) has the right distribution") {
    // F(x) = x^3 (10 - 15 x + 6 x^2); Kolmogorov-Smirnov at one in a million, 1.95 / sqrt(n) being one in a thousand.
    constexpr std::uint32_t count = 20000;
    std::vector<double> samples;
    for (std::uint32_t j = 0; j < count; ++j) samples.push_back(beta33<double>({11, 0, 0, 0}, 0, j));
    std::sort(samples.begin(), samples.end());
    double distance = 0;
    for (std::uint32_t k = 0; k < count; ++k) {
        const double x = samples[k], f = x * x * x * (10 - 15 * x + 6 * x * x);
        distance = std::max({distance, f - static_cast<double>(k) / count, static_cast<double>(k + 1) / count - f});
    }
    CHECK(distance <= 2.7 / std::sqrt(double{count}));
}

TEST_CASE("random: Bernoulli at the ends") {
    const random_key key{3, 1, 4, 1};
    for (std::uint32_t j = 0; j < 1000; ++j) {
        CHECK_FALSE(bernoulli(key, 0, j, 0.0));
        CHECK_FALSE(bernoulli(key, 0, j, -1.0));
        CHECK(bernoulli(key, 0, j, 1.0));
    }
}

TEMPLATE_TEST_CASE("random: a batch split anywhere draws the same numbers", "", float, double) {
    using T = TestType;
    const random_key key{99, 5, 6, 1000};
    for (std::uint32_t split = 0; split <= 7; ++split)
        for (std::uint32_t i = 0; i < 7; ++i) {
            const random_key part = i < split ? key : key.skip_items(split);
            const std::uint32_t item = i < split ? i : i - split;
            for (std::uint32_t j = 0; j < 9; ++j) {
                CHECK(normal<T>(part, item, j) == normal<T>(key, i, j));
                CHECK(beta33<T>(part, item, j) == beta33<T>(key, i, j));
            }
        }
}

TEST_CASE("random: lanes, steps, items and seeds are independent") {
    // No two of these streams share a word, and each pair is uncorrelated.
    const random_key base{1, 1, 1, 1};
    const std::vector<random_key> keys{base,
                                       base.with_lane(2),
                                       base.with_step(2),
                                       base.skip_items(1),
                                       {2, 1, 1, 1},
                                       {std::uint64_t{1} << 32 | 1, 1, 1, 1}};
    constexpr std::uint32_t count = 4000;
    std::set<std::pair<std::uint32_t, std::uint32_t>> seen;
    for (const random_key& key : keys)
        for (std::uint32_t block = 0; block < count / 4; ++block) {
            const philox_words words = random_words(key, 0, block);
            CHECK(seen.insert({words[0], words[1]}).second);
        }
    for (std::size_t a = 0; a < keys.size(); ++a)
        for (std::size_t b = a + 1; b < keys.size(); ++b) {
            double sum = 0;
            for (std::uint32_t j = 0; j < count; ++j)
                sum += normal<double>(keys[a], 0, j) * normal<double>(keys[b], 0, j);
            check_mean(sum, count, 0, 1);
        }
}
