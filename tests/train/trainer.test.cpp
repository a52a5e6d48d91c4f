// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <limits>
#include <vector>

#include <diem/backend/reference.hpp>
#include <diem/train/trainer.hpp>

#include "support/backends.hpp"
#include "support/catch.hpp"
#include "toy_model.hpp"

using namespace diem;

namespace {

const train::training_options options{
    .steps = 40,
    .batch = 12,
    .loss = {.sigma_min = 0.1, .sigma_max = 10, .micro_batch = 5, .dropout = 0.5},
    .rate = {.schedule = train::rate_schedule::linear, .initial = 1e-2, .final = 1e-4, .warmup = 0.1},
    .adam = {.ema_decay = 0.9},
    .augmentation = {.height = 2, .width = 2, .channels = 1, .flip = 0.5}};

template <class B>
struct outcome {
    std::vector<double> losses;
    std::vector<scalar_t<B>> weights, average;
    bool operator==(const outcome&) const = default;
};

/// Trains the toy model, stopping and starting again after each of `stops`.
template <class B>
outcome<B> train_toy(B& b, const std::vector<index_t>& stops, train::training_options o = options) {
    test::toy_model<B> model(b, 4, 11);
    batch<B> data(b, 4, 31);
    b.fill_normal({.seed = 21}, data.view());
    auto state = train::start_training(b, model, o, 77);
    outcome<B> result;
    std::size_t next = 0;
    for (bool done = false; !done;) {
        const auto report =
            train::fit_denoiser<B>(b, model, data.view(), o, state, [&](const train::training_progress& p) {
                result.losses.push_back(p.loss);
                return next >= stops.size() || p.step < stops[next];
            });
        ++next;
        done = report.status == train::training_status::completed;
    }
    CHECK(state.adam.step() == o.steps);
    result.weights = to_host(b, model.parameters());
    result.average = to_host(b, state.adam.average());
    return result;
}

}  // namespace

TEMPLATE_TEST_CASE("a training that is stopped and continued equals one that is not, to the bit", "",
                   reference_backend<float>, test::main_backend<float>, test::opaque_backend<float>) {
    TestType b;
    const auto whole = train_toy(b, {});
    REQUIRE(whole.losses.size() == 40);
    CHECK(train_toy(b, {1}) == whole);
    CHECK(train_toy(b, {7, 8, 31}) == whole);
    CHECK(train_toy(b, {39}) == whole);

    auto rounded = options;
    rounded.adam.moments = train::moment_precision::bf16;
    const auto with = train_toy(b, {}, rounded);
    CHECK(train_toy(b, {7, 8, 31}, rounded) == with);
    CHECK(with.weights != whole.weights);
    for (std::size_t k = 0; k < whole.losses.size(); ++k)
        CHECK(with.losses[k] == Approx(whole.losses[k]).epsilon(0.02));
}

TEST_CASE("training lowers the loss and does not depend on threads") {
    using M = test::main_backend<float>;
    M one = test::make_backend<M>(1), two = test::make_backend<M>(2);
    auto long_run = options;
    long_run.steps = 400;
    const auto result = train_toy(one, {}, long_run);
    CHECK(result == train_toy(two, {}, long_run));
    double first = 0, last = 0;
    for (std::size_t k = 0; k < 50; ++k) {
        first += result.losses[k];
        last += result.losses[350 + k];
    }
    CHECK(last <= 0.7 * first);
}

TEST_CASE("training stops at a loss that is not finite and says so") {
    reference_backend<float> b;
    using B = reference_backend<float>;
    test::toy_model<B> model(b, 4, 11);
    batch<B> data(b, 4, 31);
    b.fill(data.view(), std::numeric_limits<float>::infinity());
    auto state = train::start_training(b, model, options, 1);
    const auto report = train::fit_denoiser<B>(b, model, data.view(), options, state);
    CHECK(report.status == train::training_status::non_finite);
    CHECK(report.step == 1);
}

TEST_CASE("training reports every so many steps, and the last") {
    reference_backend<float> b;
    using B = reference_backend<float>;
    test::toy_model<B> model(b, 4, 11);
    batch<B> data(b, 4, 31);
    b.fill_normal({.seed = 21}, data.view());
    auto o = options;
    o.report_every = 15;
    auto state = train::start_training(b, model, o, 1);
    std::vector<index_t> steps;
    train::fit_denoiser<B>(b, model, data.view(), o, state,
                           [&](const train::training_progress& p) { steps.push_back(p.step); });
    CHECK(steps == std::vector<index_t>{15, 30, 40});
}

TEST_CASE("after its first step training allocates nothing") {
    using B = test::main_backend<float>;
    B b = test::make_backend<B>(1);
    test::toy_model<B> model(b, 4, 11);
    batch<B> data(b, 4, 31);
    b.fill_normal({.seed = 21}, data.view());
    auto state = train::start_training(b, model, options, 1);
    std::size_t after_first = 0;
    train::fit_denoiser<B>(b, model, data.view(), options, state, [&](const train::training_progress& p) {
        if (p.step == 1) after_first = b.memory().allocations();
        CHECK(b.memory().allocations() == after_first);
    });
}

TEST_CASE("options of a training are checked") {
    reference_backend<float> b;
    using B = reference_backend<float>;
    test::toy_model<B> model(b, 4, 11);
    batch<B> data(b, 3, 31), none(b, 4, 0);
    auto state = train::start_training(b, model, options, 1);
    CHECK_THROWS_AS(train::fit_denoiser<B>(b, model, data.view(), options, state), shape_error);
    CHECK_THROWS_AS(train::fit_denoiser<B>(b, model, none.view(), options, state), value_error);
    auto o = options;
    o.batch = 0;
    CHECK_THROWS_AS(train::start_training(b, model, o, 1), value_error);
    CHECK(train::steps_of_epochs(256, 50'000, 256) == 49'920);  // the paper's CIFAR-10 lap
    CHECK(train::steps_of_epochs(1, 257, 256) == 1);
    CHECK(train::steps_of_epochs(3, 10, 256) == 3);
}
