// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/core/check.hpp>
#include <diem/io/json.hpp>
#include <diem/nn/parameters.hpp>
#include <diem/prior/checkpoint.hpp>
#include <diem/train/trainer.hpp>

/// \file
/// A training in progress in a file, alone or beside what else a run keeps:
///
///     param/<name>, ema/<name>       last and averaged weights
///     adam_m/<name>, adam_v/<name>   moments, BF16 where they are stored so
/// \snippet tests/examples/prior.cpp prior/training_file.hpp

namespace diem::prior {

/// Counters and seed of a training, for the "state" of a file. NaN is null.
template <Backend B>
[[nodiscard]] io::json training_counters(const train::training_state<B>& state) {
    io::json counters{{"step", state.adam.step()}, {"seed", state.seed}, {"recent_loss", nullptr}};
    if (std::isfinite(state.recent_loss)) counters["recent_loss"] = state.recent_loss;
    if (const auto moments = state.adam.options().moments; moments != train::moment_precision::float32)
        counters["moments"] = train::to_string(moments);
    return counters;
}

/// Adds weights and state of a training in progress.
template <Backend B>
void put_training(B& b, checkpoint_writer<B>& out, const nn::parameter_table& table, const_vector_t<B> weights,
                  train::training_state<B>& state) {
    out.flat(b, "param/", table, weights);
    out.flat(b, "ema/", table, state.adam.average());
    state.adam.with_moments([&](const auto& m, const auto& v) {
        out.flat(b, "adam_m/", table, m);
        out.flat(b, "adam_v/", table, v);
    });
}

/// A training read from a file, in host memory.
template <class T>
struct stored_training {
    std::vector<T> weights, average, m, v;
    std::string moments = "float32";  ///< what m and v were stored in; here they are widened
    index_t step = 0;
    std::uint64_t seed = 0;
    double recent_loss = std::numeric_limits<double>::quiet_NaN();
};

template <Backend B>
[[nodiscard]] stored_training<scalar_t<B>> get_training(checkpoint_reader<B>& in, const nn::parameter_table& table) {
    stored_training<scalar_t<B>> t;
    t.weights = in.flat("param/", table);
    t.average = in.flat("ema/", table);
    t.m = in.flat("adam_m/", table);
    t.v = in.flat("adam_v/", table);
    const auto counters = in.template state<io::json>("training");
    try {
        t.step = counters.at("step").template get<index_t>();
        t.seed = counters.at("seed").template get<std::uint64_t>();
        if (!counters.at("recent_loss").is_null()) t.recent_loss = counters.at("recent_loss").template get<double>();
        if (counters.contains("moments")) t.moments = counters.at("moments").template get<std::string>();
    } catch (const io::json::exception& e) {
        in.fail(std::string("state \"training\": ") + e.what());
    }
    if (t.step < 0) in.fail("state \"training\": step is negative");
    return t;
}

/// Puts a stored training in place: weights into the model, the rest into the state returned. Throws value_error where its moments
/// are stored in another precision than the options say.
template <Backend B, train::TrainableModel<B> M>
[[nodiscard]] train::training_state<B> restore_training(B& b, M& model, const stored_training<scalar_t<B>>& t,
                                                        const train::training_options& options) {
    const std::string moments = train::to_string(options.adam.moments),
                      stored = "the training's moments are " + t.moments;
    check_value("prior::restore_training", t.moments == moments, stored + ", the option `moments` is " + moments);
    auto state = train::start_training(b, model, options, t.seed);
    upload_flat(b, t.weights, vector_t<B>(model.mutable_parameters()));
    upload_flat(b, t.average, state.adam.average());
    state.adam.with_moments([&](const auto& m, const auto& v) {
        upload_flat(b, t.m, m);
        upload_flat(b, t.v, v);
    });
    state.adam.set_step(t.step);
    state.recent_loss = t.recent_loss;
    return state;
}

/// A training alone in a file. `config` says how the model is built.
template <Backend B, train::TrainableModel<B> M>
void save_training(const std::filesystem::path& path, B& b, M& model, const nn::parameter_table& table,
                   train::training_state<B>& state, const io::json& config = io::json::object()) {
    checkpoint_writer<B> out(config, {{"kind", "training"}, {"training", training_counters(state)}});
    put_training<B>(b, out, table, std::as_const(model).parameters(), state);
    out.write(path);
}
/// Restores it. Throws io_error, and then neither model nor anything else has changed.
template <Backend B, train::TrainableModel<B> M>
[[nodiscard]] train::training_state<B> load_training(const std::filesystem::path& path, B& b, M& model,
                                                     const nn::parameter_table& table,
                                                     const train::training_options& options) {
    checkpoint_reader<B> in(path);
    if (in.template state<std::string>("kind") != "training") in.fail("holds no training in progress");
    const auto stored = get_training<B>(in, table);
    in.finish();
    return restore_training(b, model, stored, options);
}

}  // namespace diem::prior
