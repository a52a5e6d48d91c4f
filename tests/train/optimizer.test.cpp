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
