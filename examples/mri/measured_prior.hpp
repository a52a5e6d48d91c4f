// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <diem/algorithms.hpp>

#include "mri/measured_options.hpp"
#include "mri/slice_patches.hpp"
#include "support/progress.hpp"

/// A prior of complex patches.
namespace measured {

template <diem::Backend B>
using network_of = diem::model::preconditioned<B, diem::model::any_network<B>>;

/// Trains on patches that `source` draws; `start`: a prior whose weights are the first ones, or null.
template <diem::Backend B>
[[nodiscard]] diem::prior::learned<B> train_prior(B& b, const slice_patches& source, const prior_settings& o,
                                                  const diem::prior::learned<B>* start) {
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
    diem::nn::unet_config config{.patch = 2, .embedding = 64};
    config.hid_channels = o.channels;
    config.hid_blocks.assign(o.channels.size(), 2);
    if (start) config = std::get<diem::nn::unet_config>(start->network().net().config());
    config.height = config.width = source.size;
    config.channels = 2;
    network_of<B> model(b, diem::model::any_network<B>(config));
    if (start)
        b.copy(as_batch(start->last_weights()), as_batch(model.mutable_parameters()));
    else
        model.initialize(b, {.seed = o.seed});
    diem::train::training_options t;
    t.steps = o.steps;
    t.batch = o.batch;
    t.report_every = 10;
    t.loss = {.sigma_min = 1e-2, .sigma_max = 3};
    t.rate = {.schedule = diem::train::rate_schedule::linear, .initial = o.rate, .final = o.rate / 20, .warmup = 0.02};
    t.adam.ema_decay = 0.995;
    t.adam.ema_warmup = true;
    auto state = diem::train::start_training(b, model, t, o.seed);
    diem::prior::lap_diagnostics lap{.lap = start ? start->laps() + 1 : 1, .samples = o.patches};
    {
        support::progress shown("training", long(o.steps), 0, 20);
        const auto report = diem::train::fit_denoiser<B>(
            b, model, data.cview(), t, state, [&](const diem::train::training_progress& p) {
                shown.update(long(p.step), "loss " + std::to_string(p.recent_loss));
                return true;
            });
        diem::check_value("mri", report.status == diem::train::training_status::completed,
                          "loss or gradient not finite at step " + std::to_string(report.step));
        lap.loss = report.recent_loss;
    }
    diem::batch<B> last(b, model.table().size(), 1), mean(b, features, 1);
    b.copy(as_batch(std::as_const(model).parameters()), last.view());
    b.copy(as_batch(std::as_const(state.adam).average()), as_batch(model.mutable_parameters()));
    b.fill(mean.view(), diem::scalar_t<B>(0));
    diem::prior::learned<B> prior(std::move(model), std::move(last), std::move(mean), std::nullopt);
    if (start) prior.history = start->history;
    prior.history.push_back(lap);
    return prior;
}

}  // namespace measured
