// SPDX-License-Identifier: Apache-2.0
// Training on a Gaussian mixture, whose best denoiser is known.
#include <cmath>
#include <iostream>
#include <utility>
#include <vector>

#include <diem/backend/eigen.hpp>
#include <diem/diffusion/mixture.hpp>
#include <diem/model/preconditioned.hpp>
#include <diem/nn/mlp.hpp>
#include <diem/train/trainer.hpp>

#include "support/catch.hpp"

using namespace diem;

namespace {

using B = eigen_backend<float>;
using network = model::preconditioned<B, nn::mlp<B>>;

const diffusion::mixture_parameters truth{2,
                                          {0.5, 0.3, 0.2},
                                          {-1, -0.5, 1, 1, 0.8, -1.2},
                                          {0.04, 0.01, 0.01, 0.03, 0.05, 0, 0, 0.02, 0.02, -0.01, -0.01, 0.04}};

/// Mean over noise levels of the loss's weight (1 / sigma^2 + 1) times the squared distance per feature to the exact denoiser,
/// for fresh x_t: what the loss exceeds its least value by.
template <class Model>
double excess(B& b, Model& model, const diffusion::mixture<B>& exact) {
    const index_t n = 2000;
    batch<B> x(b, 2, n), x_t(b, 2, n), got(b, 2, n), expected(b, 2, n);
    batch<B, double> squares(b, n, 1);
    exact.sample(b, {.seed = 100, .lane = random_lane::prior_sample}, x.view());
    double sum = 0;
    std::uint32_t k = 0;
    const std::vector<double> levels{0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2};
    for (const double sigma : levels) {
        b.fill_normal({.seed = 101, .lane = random_lane::user, .step = k++}, x_t.view());
        b.axpby(1.0, x.cview(), sigma, x_t.view());
        model.denoise(b, x_t.view(), sigma, got.view());
        exact.denoise(b, x_t.view(), sigma, expected.view());
        b.axpby(-1.0, expected.cview(), 1.0, got.view());
        b.dot(got.cview(), got.cview(), squares.flat());
        double mean = 0;
        for (const double s : to_host(b, squares)) mean += s / (2 * static_cast<double>(n));
        sum += (1 / (sigma * sigma) + 1) * mean;
    }
    return sum / static_cast<double>(levels.size());
}

}  // namespace

TEST_CASE("training approaches the closed-form denoiser of a Gaussian mixture") {
    B b(1);
    const diffusion::mixture<B> exact(b, truth);
    network model(b, nn::mlp<B>({.features = 2, .hidden = {64, 64}, .embedding = 16}));
    model.initialize(b, {.seed = 1});
    batch<B> data(b, 2, 8192);
    exact.sample(b, {.seed = 2, .lane = random_lane::prior_sample}, data.view());
    const train::training_options options{
        .steps = 3000,
        .batch = 128,
        .report_every = 100,
        .loss = {.sigma_min = 1e-2, .sigma_max = 10},
        .rate = {.schedule = train::rate_schedule::linear, .initial = 3e-3, .final = 1e-5},
        .adam = {.ema_decay = 0.99}};
    auto state = train::start_training(b, model, options, 3);
    // The averaged weights, seen through a model of their own.
    network averaged(b, nn::mlp<B>({.features = 2, .hidden = {64, 64}, .embedding = 16}));
    std::vector<double> errors{excess(b, model, exact)};
    for (const index_t stop : {200, 800, 3000}) {
        train::fit_denoiser<B>(b, model, data.view(), options, state,
                               [&](const train::training_progress& p) { return p.step < stop; });
        b.copy(as_batch(std::as_const(state).adam.average()), as_batch(averaged.mutable_parameters()));
        errors.push_back(excess(b, averaged, exact));
        std::cout << "steps " << state.adam.step() << ": excess loss " << errors.back() << '\n';
    }

    CHECK(errors[1] <= 0.5 * errors[0]);
    CHECK(errors[2] <= 0.25 * errors[1]);
    CHECK(errors[3] <= 0.6 * errors[2]);
    CHECK(errors[3] <= 0.01);  // 2 % of what the untrained network has to lose
}
