// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <utility>

#include <diem/backend/batch.hpp>
#include <diem/core/error.hpp>
#include <diem/core/version.hpp>
#include <diem/io/json.hpp>
#include <diem/parallel/communicator.hpp>
#include <diem/posterior/sample.hpp>
#include <diem/prior/checkpoint.hpp>
#include <diem/prior/data_sketch.hpp>
#include <diem/prior/files.hpp>
#include <diem/prior/learned.hpp>
#include <diem/prior/run.hpp>
#include <diem/prior/run_folder.hpp>
#include <diem/prior/settings.hpp>

/// \file
/// Internal: the state of a diffusion EM in its folder: run.safetensors holds the last good prior, where the lap stands, and what must
/// be the same when it is resumed; prior_K.safetensors the prior of lap K.

namespace diem::prior::detail {

/// The samples of a lap.
template <Backend B>
struct sampling_stage {
    batch<B> x;
    posterior::sample_state state{};
    double outside = 0;  ///< samples beyond the range
    bool ready = false;  ///< x is what training takes: all are drawn, those out of range clipped or removed
};

[[nodiscard]] inline io::json to_json(const posterior::sample_state& s, double outside) {
    return {{"done", s.done},         {"residual", s.residual}, {"outside", outside}, {"non_finite", s.non_finite},
            {"statuses", s.statuses}, {"seconds", s.seconds}};
}

/// The first entry that another description of a run has otherwise than this one's, in words; empty: none.
[[nodiscard]] inline std::string difference_of(const io::json& other, const io::json& now) {
    for (const auto& [key, value] : now.items()) {
        const auto at = other.find(key);
        if (at != other.end() && (*at == value || is_same_sketch(*at, value))) continue;
        return "another \"" + key + "\": " + (at != other.end() ? at->dump() : std::string("none")) + ", now " +
               value.dump();
    }
    return {};
}
/// Throws config_error, naming the entry, where a stored description of a run differs from this one's.
inline void check_same_run(const std::string& where, const io::json& stored, const io::json& now) {
    if (const auto text = difference_of(stored, now); !text.empty())
        throw config_error(where + ": the run in it was made with " + text);
}
/// Ends all ranks, naming the entry, where one is to learn something else than rank 0, or by another version.
template <class Run>
void check_ranks(const Run& run, io::json now) {
    if (run.ranks.size() == 1) return;
    now["version"] = version;
    const auto first = io::json::parse(parallel::broadcast(run.ranks, now.dump(), 0, "what rank 0 is to learn"));
    if (const auto text = difference_of(first, now); !text.empty()) run.ranks.abort("rank 0 has " + text);
    run.ranks.barrier("all being about to learn the same");
}

template <Backend B, class Net>
class run_file {
    using T = scalar_t<B>;
    using prior_type = learned<B, Net>;

public:
    template <class Observation>
    run_file(B& b, const run<B, Net>& run, em_options options, const Net& net, const Observation& observed)
        : run_(run), total_(observed.items() * options.sampling.samples_per_observation), net_(net) {
        if (!run.folder.empty() || run.ranks.size() > 1) {
            fingerprint_ = settings_json(options);
            fingerprint_.erase("laps");
            fingerprint_.erase("guard");
            fingerprint_["seed"] = options.seed;
            fingerprint_["network"] = model::to_json(net.config());
            fingerprint_.update(describe_data(b, observed));
            check_ranks(run, fingerprint_);
        }
        begin_in_folder(run, false);
    }

    /// The stored prior where there is one to resume, else `start`. Stages in progress are kept for `take_...`.
    prior_type restore(B& b, prior_type start) {
        if (run_.folder.empty() || !run_.resume || !std::filesystem::exists(path())) return start;
        checkpoint_reader<B> in(path());
        const auto run = in.template state<io::json>("run");
        std::string stage;
        try {
            check_same_run(path().string(), run.at("options"), fingerprint_);
            stage = run.at("stage").template get<std::string>();
        } catch (const io::json::exception& e) {
            in.fail(std::string("state \"run\": ") + e.what());
        }
        auto prior = get_prior<B, Net>(b, in, network_of_file<B, Net>(in));
        if (stage != "lap") restore_samples(b, in, run, prior.features(), stage == "training");
        if (stage == "training") training_ = get_training<B>(in, net_.parameters());
        in.finish();
        prior.drawing = start.drawing;
        return prior;
    }

    [[nodiscard]] std::optional<sampling_stage<B>> take_sampling() { return std::exchange(sampling_, std::nullopt); }
    template <class Network>
    [[nodiscard]] std::optional<train::training_state<B>> take_training(B& b, Network& network,
                                                                        const train::training_options& options) {
        if (!training_) return std::nullopt;
        auto state = restore_training(b, network, *training_, options);
        training_.reset();
        return state;
    }

    void save_sampling(B& b, const prior_type& prior, index_t lap, const sampling_stage<B>& s) const {
        const auto drawn = s.x.cview().item_range(0, s.state.done);
        save(b, prior, {{"stage", "sampling"}, {"lap", lap}, {"e_step", to_json(s.state, s.outside)}}, nullptr,
             [&](checkpoint_writer<B>& out) { out.batch_as(b, "samples", drawn); });
    }
    template <class Network>
    void save_training(B& b, const prior_type& prior, index_t lap, const sampling_stage<B>& s, const Network& network,
                       train::training_state<B>& training) const {
        const io::json run{
            {"stage", "training"}, {"lap", lap}, {"e_step", to_json(s.state, s.outside)}, {"samples", s.x.items()}};
        save(b, prior, run, training_counters(training), [&](checkpoint_writer<B>& out) {
            out.batch_as(b, "samples", s.x.cview());
            put_training<B>(b, out, network.table(), network.parameters(), training);
        });
    }
    void save_lap(B& b, const prior_type& next, index_t lap) const {
        save(b, next, {{"stage", "lap"}, {"lap", lap + 1}}, nullptr, [](checkpoint_writer<B>&) {});
        if (run_.writes() && run_.keep_laps) prior::save(run_.folder / lap_file_name(lap), b, next);
    }

private:
    void restore_samples(B& b, checkpoint_reader<B>& in, const io::json& run, index_t features, bool ready) {
        sampling_stage<B> s{batch<B>(b, features, 0), {}, 0, ready};
        index_t stored = 0;
        try {
            const auto& e = run.at("e_step");
            s.state.done = e.at("done").template get<index_t>();
            s.state.residual = e.at("residual").template get<double>();
            s.state.non_finite = e.at("non_finite").template get<double>();
            s.state.statuses = status_numbers<decltype(s.state.statuses)>(e.at("statuses"));
            s.state.seconds = e.at("seconds").template get<double>();
            s.outside = e.at("outside").template get<double>();
            stored = ready ? run.at("samples").template get<index_t>() : s.state.done;
        } catch (const io::json::exception& e) {
            in.fail(std::string("state \"run\": ") + e.what());
        }
        if (s.state.done < 0 || s.state.done > total_ || stored < 0 || stored > total_)
            in.fail("state \"run\": the number of samples is out of range");
        s.x = batch<B>(b, features, ready ? stored : total_);
        in.batch_into(b, "samples", s.x.view().item_range(0, stored));
        sampling_.emplace(std::move(s));
    }
    /// `training`: its counters, null where there is none; `add` adds tensors.
    template <class Add>
    void save(B& b, const prior_type& prior, io::json run, const io::json& training, const Add& add) const {
        if (!run_.writes()) return;
        auto state = state_of(prior);
        run["options"] = fingerprint_;
        state["run"] = std::move(run);
        if (!training.is_null()) state["training"] = training;
        checkpoint_writer<B> out(config_of(prior), state);
        put_prior(b, out, prior);
        add(out);
        out.write(path());
    }
    [[nodiscard]] std::filesystem::path path() const { return run_.folder / run_file_name; }
    const run<B, Net>& run_;
    index_t total_;
    const Net& net_;
    io::json fingerprint_;
    std::optional<sampling_stage<B>> sampling_;
    std::optional<stored_training<T>> training_;
};

}  // namespace diem::prior::detail
