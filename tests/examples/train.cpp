// SPDX-License-Identifier: Apache-2.0
#include <diem/model/any_network.hpp>
#include <diem/model/preconditioned.hpp>
#include <diem/train/augmentation.hpp>
#include <diem/train/concept.hpp>
#include <diem/train/loss.hpp>
#include <diem/train/optimizer.hpp>
#include <diem/train/ppca.hpp>
#include <diem/train/shuffle.hpp>
#include <diem/train/trainer.hpp>

#include <algorithm>
#include <cmath>

#include "example.hpp"

namespace {

using network = diem::model::any_network<backend>;
using denoiser = diem::model::preconditioned<backend, network>;

denoiser small_denoiser(backend& b) {
    denoiser model(b, network(diem::nn::mlp_config{.features = 2, .hidden = {32}, .embedding = 8}));
    model.initialize(b, {.seed = 1});
    return model;
}

}  // namespace

TEST_CASE("train/augmentation.hpp") {
    backend b(1);
    // [train/augmentation.hpp]
    diem::batch<backend> images(b, 8 * 8 * 3, 10), drawn(b, 8 * 8 * 3, 32);
    b.fill_uniform({.seed = 1}, images.view());
    const diem::train::augmentation_options change{.height = 8, .width = 8, .channels = 3, .flip = 0.5, .shake = 2};
    const diem::train::item_stream order{.seed = 2, .items = 10};  // epoch after epoch, each in its own order
    diem::train::gather_batch(b, images.cview(), order, 0, change, {.seed = 2}, drawn.view());
    // [train/augmentation.hpp]
    const auto x = diem::to_host(b, drawn);
    CHECK(*std::max_element(x.begin(), x.end()) < 1);  // nothing but pixels of the images
    CHECK(*std::min_element(x.begin(), x.end()) > 0);
}

TEST_CASE("train/concept.hpp") {
    // [train/concept.hpp]
    // A network behind `preconditioned` can be trained; a Gaussian has no weights.
    using model = diem::model::preconditioned<backend, diem::model::any_network<backend>>;
    static_assert(diem::train::TrainableModel<model, backend>);
    static_assert(!diem::train::TrainableModel<diem::diffusion::gaussian<backend>, backend>);
    // [train/concept.hpp]
}

TEST_CASE("train/loss.hpp") {
    backend b(1);
    auto model = small_denoiser(b);
    diem::batch<backend> data(b, 2, 100);
    b.fill_normal({.seed = 1}, data.view());
    // [train/loss.hpp]
    diem::batch<backend> grad(b, model.parameters().size(), 1);
    diem::batch<backend, double> loss(b, 1, 1);
    const auto draw = [&](diem::index_t first, auto part) {
        b.copy(data.cview().item_range(first, part.items()), part);
    };
    diem::train::denoising_loss(b, model, draw, 100, {.seed = 1}, {.sigma_min = 1e-2, .sigma_max = 10}, grad.flat(),
                                loss.flat());
    // [train/loss.hpp]
    CHECK(diem::to_host(b, loss)[0] > 0);
    CHECK(std::isfinite(diem::to_host(b, grad)[3]));
}

TEST_CASE("train/optimizer.hpp") {
    backend b(1);
    // [train/optimizer.hpp]
    // Adam on |p - 3|^2 / 2, whose gradient is p - 3.
    auto p = diem::to_backend(b, std::vector<float>{0, 10}, 2, 1);
    diem::train::optimizer<backend> adam(b, p.flat(), {.ema_decay = 0});
    for (int k = 0; k < 500; ++k) {
        diem::batch<backend> gradient(b, 2, 1);
        b.fill(gradient.view(), -3.0F);
        b.axpby(1.0, p.cview(), 1.0, gradient.view());
        adam.update(
            b, p.flat(), gradient.flat(),
            diem::train::learning_rate({.schedule = diem::train::rate_schedule::linear, .initial = 0.1}, k, 500));
    }
    // [train/optimizer.hpp]
    CHECK(diem::to_host(b, p)[0] == Approx(3).margin(0.02));
    CHECK(diem::to_host(b, p)[1] == Approx(3).margin(0.02));
}

TEST_CASE("train/ppca.hpp") {
    backend b(1);
    diem::batch<backend> x(b, 3, 2000);
    diem::diffusion::gaussian<backend>(b, diem::to_backend(b, std::vector<float>{1, 2, 3}, 3, 1),
                                       diem::to_backend(b, std::vector<float>{0.1F, 0.1F, 0.1F}, 3, 1),
                                       diem::to_backend(b, std::vector<float>{2, 0, 0}, 3, 1))
        .sample(b, {.seed = 1}, x.view());
    // [train/ppca.hpp]
    // Samples of N(mean, 0.1 I + u u') with u = (2, 0, 0): mean, diagonal and u come out.
    const auto fitted = diem::train::ppca(b, x.cview(), {.rank = 1});
    const auto u = diem::to_host(b, fitted.factor);  // its sign is free
    // [train/ppca.hpp]
    CHECK(std::abs(u[0]) == Approx(2).epsilon(0.05));
    CHECK(diem::to_host(b, fitted.diagonal)[1] == Approx(0.1).epsilon(0.1));
    CHECK(diem::to_host(b, fitted.mean)[2] == Approx(3).epsilon(0.02));
}

TEST_CASE("train/shuffle.hpp") {
    // [train/shuffle.hpp]
    std::vector<diem::index_t> order;  // of five items in epoch 3: a function of seed and epoch
    const diem::train::permutation epoch(1, 3, 5);
    for (diem::index_t position = 0; position < 5; ++position) order.push_back(epoch(position));
    // [train/shuffle.hpp]
    std::sort(order.begin(), order.end());
    CHECK(order == std::vector<diem::index_t>{0, 1, 2, 3, 4});
}

TEST_CASE("train/trainer.hpp") {
    backend b(1);
    auto model = small_denoiser(b);
    diem::batch<backend> data(b, 2, 200);
    b.fill_normal({.seed = 1}, data.view());
    double loss = 0;
    // [train/trainer.hpp]
    diem::train::training_options how{.steps = 40, .batch = 50, .report_every = 20};
    how.rate.initial = 1e-3;
    auto state = diem::train::start_training(b, model, how, 1);  // seed 1
    const auto report = diem::train::fit_denoiser(b, model, data.cview(), how, state, [&](const auto& progress) {
        loss = progress.recent_loss;
        return true;  // false stops; the same call goes on, to the bit
    });
    // [train/trainer.hpp]
    CHECK(report.status == diem::train::training_status::completed);
    CHECK(report.step == 40);
    CHECK(loss == report.recent_loss);
}
