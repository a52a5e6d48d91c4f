// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdio>
#include <filesystem>
#include <utility>
#include <vector>

#include <diem/algorithms.hpp>

#include "mri/slice_patches.hpp"
#include "support/progress.hpp"

/// A prior of complex patches, and the same network on images of another size.
namespace mri {

struct patch_prior_options {
    index_t patches = 8192, steps = 2000, batch = 16;
    double rate = 1e-3;
    diem::nn::unet_config network{.patch = 2, .hid_channels = {48, 96, 128}, .hid_blocks = {2, 2, 2}, .embedding = 64};
    std::uint64_t seed = 0;
};

template <diem::Backend B>
using network_of = diem::model::preconditioned<B, diem::model::any_network<B>>;

template <diem::Backend B>
diem::prior::learned<B> train_patch_prior(B& b, const slice_patches& source, const patch_prior_options& o, const diem::prior::learned<B>* start = nullptr) {
    const index_t features = 2 * source.size * source.size;
    diem::batch<B> data(b, features, o.patches);
    {
        std::vector<float> one(static_cast<std::size_t>(features));
        support::progress shown("patches", long(o.patches));
        for (index_t i = 0; i < o.patches; ++i) {
            source.draw({.seed = o.seed, .lane = diem::random_lane::user}, static_cast<std::uint32_t>(i), one.data());
            b.upload(diem::host_view<const float>(one.data(), features, 1), data.view().item_range(i, 1));
            shown.update(long(i + 1));
        }
    }
    auto config = o.network;
    config.height = config.width = source.size;
    config.channels = 2;
    network_of<B> model(b, diem::model::any_network<B>(config), {.sigma_data = 1});
    if (start)
        b.copy(as_batch(start->last_weights()), as_batch(model.mutable_parameters()));
    else
        model.initialize(b, {.seed = o.seed});
    std::printf("%ld weights\n", long(model.table().size()));
    diem::train::training_options t;
    t.steps = o.steps;
    t.batch = o.batch;
    t.report_every = 10;
    t.loss = {.sigma_min = 1e-2, .sigma_max = 3};
    t.rate = {.schedule = diem::train::rate_schedule::linear, .initial = o.rate, .final = o.rate / 20, .warmup = 0.02};
    t.adam.ema_decay = 0.995;
    t.adam.ema_warmup = true;
    auto state = diem::train::start_training(b, model, t, o.seed);
    {
        support::progress shown("training", long(o.steps), 0, 20);
        diem::train::fit_denoiser<B>(b, model, data.cview(), t, state, [&](const diem::train::training_progress& p) {
            shown.update(long(p.step), "loss " + std::to_string(p.recent_loss));
            return true;
        });
    }
    diem::batch<B> last(b, model.table().size(), 1), mean(b, features, 1);
    b.copy(as_batch(std::as_const(model).parameters()), last.view());
    b.copy(as_batch(std::as_const(state.adam).average()), as_batch(model.mutable_parameters()));
    b.fill(mean.view(), 0.0F);
    diem::prior::learned<B> prior(std::move(model), std::move(last), std::move(mean), std::nullopt);
    prior.history.push_back({.lap = 1, .samples = o.patches});
    return prior;
}

/// The network of a prior of patches, on images of height x width: it is made of convolutions alone.
template <diem::Backend B>
network_of<B> at_size(B& b, const diem::prior::learned<B>& prior, index_t height, index_t width, double sigma_data = 1) {
    auto config = std::get<diem::nn::unet_config>(prior.network().net().config());
    config.height = height;
    config.width = width;
    network_of<B> model(b, diem::model::any_network<B>(config), {.sigma_data = sigma_data});
    b.copy(as_batch(prior.network().parameters()), as_batch(model.mutable_parameters()));
    return model;
}

}  // namespace mri
