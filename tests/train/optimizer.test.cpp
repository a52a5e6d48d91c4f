// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <limits>
#include <vector>

#include <diem/backend/reference.hpp>
#include <diem/train/optimizer.hpp>

#include "support/backends.hpp"
#include "support/catch.hpp"

using namespace diem;

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
