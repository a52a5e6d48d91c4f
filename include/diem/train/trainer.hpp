// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <utility>

#include <diem/backend/batch.hpp>
#include <diem/backend/capabilities.hpp>
#include <diem/core/check.hpp>
#include <diem/core/random.hpp>
#include <diem/parallel/communicator.hpp>
#include <diem/train/augmentation.hpp>
#include <diem/train/concept.hpp>
#include <diem/train/loss.hpp>
#include <diem/train/optimizer.hpp>
#include <diem/train/shuffle.hpp>

/// \file
/// Training a denoiser on samples.
/// \snippet tests/examples/train.cpp train/trainer.hpp

namespace diem::train {

struct training_options {
    index_t steps = 1000;  ///< optimiser steps in all; see `steps_of_epochs`
    index_t batch = 256;   ///< items per step
    index_t parts = 1;     ///< of a batch, which ranks share, at most `batch`; numbers depend on it, not on the ranks
    index_t report_every =
        1;  ///< steps between calls of the callback, the last step always; each waits for the backend
    loss_options loss{};
    rate_options rate{};
    adam_options adam{};
    augmentation_options augmentation{};
};

/// Steps of `epochs` passes over `items` items, the last incomplete batch of each pass dropped, as the paper's code does; at
/// least one step a pass.
[[nodiscard]] inline index_t steps_of_epochs(index_t epochs, index_t items, index_t batch) {
    return epochs * std::max<index_t>(1, items / batch);
}

/// Throws value_error for options outside their range.
inline void check_training(const training_options& o) {
    check_value("train::training_options", o.steps >= 0, "steps must be >= 0");
    check_value("train::training_options", o.batch > 0, "batch must be > 0");
    check_value("train::training_options", o.parts > 0 && o.parts <= o.batch, "parts must lie in [1, batch]");
    check_value("train::training_options", o.report_every > 0, "report_every must be > 0");
    check_loss(o.loss);
    check_rate(o.rate);
}

/// All that a training in progress is, beside the weights in the model and the data: stored and restored, it goes on to
/// the bit. Random numbers are functions of seed and step, so that there is no other random state.
template <Backend B>
struct training_state {
    optimizer<B> adam;                                              ///< moments, averaged weights, number of steps done
    std::uint64_t seed = 0;                                         ///< of shuffling, noise, augmentation, dropout
    double recent_loss = std::numeric_limits<double>::quiet_NaN();  ///< running mean of the loss, see `training_report`
};

/// A fresh state for the model's present weights.
template <Backend B, TrainableModel<B> M>
[[nodiscard]] training_state<B> start_training(B& b, M& model, const training_options& options, std::uint64_t seed) {
    check_training(options);
    return {optimizer<B>(b, std::as_const(model).parameters(), options.adam, seed), seed,
            std::numeric_limits<double>::quiet_NaN()};
}

/// What the callback is told after a step.
struct training_progress {
    index_t step = 0;   ///< steps done, this one included
    index_t steps = 0;  ///< in all
    double loss = 0;    ///< of this step's batch, before the update
    double recent_loss = 0;
    double gradient_norm = 0;  ///< before clipping
    double rate = 0;
};

enum class training_status {
    completed,
    stopped,     ///< the callback returned false
    non_finite,  ///< a loss or gradient norm was not finite: the weights are spoilt
};

[[nodiscard]] constexpr const char* to_string(training_status status) {
    switch (status) {
        case training_status::completed:
            return "completed";
        case training_status::stopped:
            return "stopped";
        case training_status::non_finite:
            return "non_finite";
    }
    return "?";
}

struct training_report {
    training_status status = training_status::completed;
    index_t step = 0;  ///< steps done in all
    /// Mean loss, weighted by 0.98^age over the reported steps (about the last 50).
    double recent_loss = std::numeric_limits<double>::quiet_NaN();
};

struct no_callback {
    void operator()(const training_progress&) const {}
};

namespace detail {

/// Training reads items in a shuffled order, as long as this lives: for data that lie on a disk.
template <Backend B>
class shuffled_reads {
public:
    shuffled_reads(B& b, const_view_t<B> data) : b_(b), data_(data) { tell(true); }
    shuffled_reads(const shuffled_reads&) = delete;
    shuffled_reads& operator=(const shuffled_reads&) = delete;
    ~shuffled_reads() { tell(false); }

private:
    void tell([[maybe_unused]] bool on) {
        if constexpr (HasLargeBlocks<B>) b_.random_access(data_, on);
    }
    B& b_;
    const_view_t<B> data_;
};

}  // namespace detail

/// Goes on with a training until `options.steps` steps are done: the weights of `model` are the last ones, the averaged
/// ones are `state.adam.average()`. `callback(progress)` may return false to stop after that step; calling again with the
/// same arguments goes on as if there had been no stop, equal to the bit. `data` is D x items. The ranks share the parts of each
/// batch; each has the same data, model and state, before and after, and the callback must answer alike on all.
template <Backend B, TrainableModel<B> M, class Callback = no_callback, parallel::Communicator C = parallel::self>
training_report fit_denoiser(B& b, M& model, const_view_t<B> data, const training_options& options,
                             training_state<B>& state, Callback&& callback = {}, const C& ranks = {}) {
    check_training(options);
    check_size("train::fit_denoiser", "data.features()", data.features(), model.features());
    check_value("train::fit_denoiser", data.items() > 0, "there are no training items");
    check_augmentation(options.augmentation, data.features());
    batch<B> grad(b, std::as_const(model).parameters().size(), 1);
    batch<B, double> loss(b, 1, 1);
    const item_stream stream{state.seed, data.items()};
    const detail::shuffled_reads<B> on_disk(b, data);
    training_report report{training_status::completed, state.adam.step(), state.recent_loss};
    while (report.step < options.steps) {
        const index_t step = report.step;
        const random_key key{.seed = state.seed, .step = static_cast<std::uint32_t>(step)};
        const auto draw = [&](index_t first, view_t<B> part) {
            gather_batch<B>(b, data, stream, step * options.batch + first, options.augmentation,
                            key.skip_items(static_cast<std::uint32_t>(first)), part);
        };
        denoising_loss<B>(b, model, draw, options.batch, key, options.loss, grad.flat(), loss.flat(), options.parts,
                          ranks);
        const double rate = learning_rate(options.rate, step, options.steps);
        state.adam.update(b, model.mutable_parameters(), grad.flat(), rate);
        ++report.step;
        if (report.step % options.report_every != 0 && report.step != options.steps) continue;
        const double value = to_host(b, loss).front(), norm = state.adam.norm(b);
        auto& recent = state.recent_loss;
        recent = std::isnan(recent) ? value : 0.98 * recent + 0.02 * value;
        report.recent_loss = recent;
        if (!std::isfinite(value) || !std::isfinite(norm)) {
            report.status = training_status::non_finite;
            return report;
        }
        const training_progress progress{report.step, options.steps, value, recent, norm, rate};
        if constexpr (std::is_void_v<decltype(callback(progress))>) {
            callback(progress);
        } else if (!callback(progress) && report.step < options.steps) {
            report.status = training_status::stopped;
            return report;
        }
    }
    return report;
}

}  // namespace diem::train
