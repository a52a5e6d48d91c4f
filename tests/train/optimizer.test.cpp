// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <vector>

#include <diem/backend/reference.hpp>
#include <diem/train/optimizer.hpp>

#include "support/backends.hpp"
#include "support/catch.hpp"

using namespace diem;

namespace {

/// m and v as they are stored.
template <class B>
std::vector<std::vector<double>> stored_moments(B& b, train::optimizer<B>& adam) {
    std::vector<std::vector<double>> all;
    adam.with_moments([&](const auto&... stored) {
        const auto add = [&](const auto& moment) {
            auto& to = all.emplace_back();
            for (const auto x : to_host(b, moment))
                if constexpr (std::is_same_v<std::decay_t<decltype(x)>, bfloat16>)
                    to.push_back(double(widened(x)));
                else
                    to.push_back(double(x));
        };
        (add(stored), ...);
    });
    return all;
}

}  // namespace

TEST_CASE("Adam: results do not depend on the number of threads", "") {
    const index_t n = 100'003;
    std::vector<std::vector<float>> results;
    for (const int threads : {1, 2}) {
        auto b = test::make_backend<test::main_backend<float>>(threads);
        batch<test::main_backend<float>> p(b, n, 1), g(b, n, 1);
        b.fill_normal({.seed = 1}, p.view());
        train::optimizer<test::main_backend<float>> adam(b, p.flat(), {});
        for (unsigned k = 0; k < 3; ++k) {
            b.fill_normal({.seed = 2, .step = k}, g.view());
            adam.update(b, p.flat(), g.flat(), 1e-3);
        }
        results.push_back(to_host(b, p));
        results.push_back(to_host(b, adam.average()));
    }
    CHECK(results[0] == results[2]);
    CHECK(results[1] == results[3]);
}

TEST_CASE("Adam: moments in bf16 do not depend on the number of threads, but on the seed") {
    using B = test::main_backend<float>;
    const index_t n = 100'003;
    const auto run = [&](int threads, std::uint64_t seed) {
        auto b = test::make_backend<B>(threads);
        batch<B> p(b, n, 1), g(b, n, 1);
        b.fill_normal({.seed = 1}, p.view());
        train::optimizer<B> adam(b, p.flat(), {.moments = train::moment_precision::bf16}, seed);
        for (unsigned k = 0; k < 3; ++k) {
            b.fill_normal({.seed = 2, .step = k}, g.view());
            adam.update(b, p.flat(), g.flat(), 1e-3);
        }
        auto all = to_host(b, p);
        for (const auto& stored : stored_moments(b, adam)) all.insert(all.end(), stored.begin(), stored.end());
        return all;
    };
    const auto one = run(1, 5);
    CHECK(run(2, 5) == one);
    CHECK(run(2, 6) != one);
}

TEMPLATE_TEST_CASE("Adam: moments in bf16 are those of float32 on average, and v does not stand still", "",
                   reference_backend<float>, test::main_backend<float>, test::opaque_backend<float>,
                   reference_backend<double>) {
    using B = TestType;
    B b;
    const index_t n = 20'001;  // more than a piece of those that are widened at a time
    const index_t steps = 3000 / (std::is_same_v<B, test::main_backend<float>> ? 1 : 30);
    batch<B> p(b, n, 1), q(b, n, 1), g(b, n, 1);
    b.fill(p.view(), 0);
    b.fill(q.view(), 0);
    b.fill(g.view(), 1);
    const double inf = std::numeric_limits<double>::infinity();
    train::optimizer<B> exact(b, p.flat(), {.max_norm = inf}, 7);
    train::optimizer<B> rounded(b, q.flat(), {.max_norm = inf, .moments = train::moment_precision::bf16}, 7);
    bfloat16 nearest{};
    for (index_t k = 0; k < steps; ++k) {
        exact.update(b, p.flat(), g.flat(), 1e-3);
        rounded.update(b, q.flat(), g.flat(), 1e-3);
        nearest = nearest_bfloat16(0.999F * widened(nearest) + 0.001F);
    }
    const auto expected = stored_moments(b, exact), stored = stored_moments(b, rounded);
    for (const std::size_t k : {0U, 1U}) {
        // A rounding's error has a deviation of half a unit at most, of what is at most 1: 2^-8, 2^-9 below 1/2. A moment is a sum of
        // such errors, weighted by powers of beta.
        const double beta = k == 0 ? 0.9 : 0.999;
        const double value = expected[k].front(), unit = value < 0.5 ? 0x1p-9 : 0x1p-8;
        const double deviation = unit / std::sqrt(1 - beta * beta);
        double sum = 0, worst = 0;
        for (const double s : stored[k]) {
            sum += s;
            worst = std::max(worst, std::abs(s - value));
        }
        CHECK(std::abs(sum / double(n) - value) <= 5 * deviation / std::sqrt(double(n)));
        CHECK(worst <= 6 * deviation);
    }
    CHECK(expected[1].front() >= 0.99 * (1 - std::pow(0.999, double(steps))));
    if (steps == 3000) {
        CHECK(widened(nearest) ==
              0.25F);  // where half a unit is above a step: v would stand still there, at a quarter of what it is
        CHECK(expected[1].front() >= 0.94);
    }
    // The weights differ by what the roots of v differ in.
    const auto with = to_host(b, q), without = to_host(b, p);
    double sum = 0;
    for (std::size_t j = 0; j < with.size(); ++j) sum += double(with[j] - without[j]);
    CHECK(std::abs(sum / double(n) / without.front()) <= 0.02);
}

TEST_CASE("Adam: no averaging, no clipping", "") {
    reference_backend<double> b;
    auto p = to_backend(b, std::vector<double>{1, -2}, 2, 1);
    const auto g = to_backend(b, std::vector<double>{300, -1e-3}, 2, 1);
    train::optimizer<reference_backend<double>> adam(
        b, p.flat(), {.max_norm = std::numeric_limits<double>::infinity(), .ema_decay = 0});

    adam.update(b, p.flat(), g.flat(), 0.1);

    // The first step of Adam moves every weight by the rate, against the sign of its gradient.
    const auto moved = to_host(b, p);
    CHECK(std::abs(moved[0] - 0.9) <= 1e-6);
    CHECK(std::abs(moved[1] + 1.9) <= 1e-5);
    CHECK(to_host(b, adam.average()) == moved);
    CHECK(adam.step() == 1);
}

TEST_CASE("Adam: options and sizes are checked", "") {
    reference_backend<float> b;
    batch<reference_backend<float>> p(b, 4, 1), g(b, 3, 1);
    using optimizer = train::optimizer<reference_backend<float>>;
    CHECK_THROWS_AS(optimizer(b, p.flat(), {.beta1 = 1}), value_error);
    CHECK_THROWS_AS(optimizer(b, p.flat(), {.max_norm = 0}), value_error);
    CHECK_THROWS_AS(optimizer(b, p.flat(), {.ema_decay = std::nan("")}), value_error);
    optimizer adam(b, p.flat(), {});
    CHECK_THROWS_AS(adam.update(b, p.flat(), g.flat(), 1e-3), shape_error);
    CHECK_THROWS_AS(train::check_rate({.initial = -1}), value_error);
    CHECK_THROWS_AS(train::check_rate({.schedule = train::rate_schedule::linear, .final = 0}), value_error);
    CHECK_THROWS_AS(train::check_rate({.warmup = 2}), value_error);
}

TEST_CASE("with a warm-up the average of a short training is near its end, and what it is for equal weights") {
    using B = reference_backend<double>;
    B b;
    // Weights that move by one a step: Adam's first steps with a constant gradient are of the size of the rate.
    const auto run = [&](bool warmup, index_t steps) {
        auto p = to_backend(b, std::vector<double>{0}, 1, 1), g = to_backend(b, std::vector<double>{-1}, 1, 1);
        train::optimizer<B> adam(b, p.flat(), {.eps = 1e-300, .ema_decay = 0.9999, .ema_warmup = warmup});
        double expected = 0;
        for (index_t k = 1; k <= steps; ++k) {
            adam.update(b, p.flat(), g.flat(), 1);
            const double decay = warmup ? std::min(0.9999, (1.0 + k) / (10.0 + k)) : 0.9999;
            expected = decay * expected + (1 - decay) * to_host(b, p).front();
        }
        const double average = to_host(b, adam.average()).front();
        CHECK(std::abs(average - expected) <= 1e-9 * expected);
        return average / to_host(b, p).front();
    };
    CHECK(run(true, 1000) >= 0.85);
    CHECK(run(false, 1000) <= 0.06);
}
