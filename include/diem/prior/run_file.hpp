// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/io/json.hpp>
#include <diem/parallel/communicator.hpp>
#include <diem/posterior/sample.hpp>
#include <diem/prior/checkpoint.hpp>
#include <diem/prior/data_sketch.hpp>
#include <diem/prior/files.hpp>
#include <diem/prior/lap_samples.hpp>
#include <diem/prior/learned.hpp>
#include <diem/prior/run.hpp>
#include <diem/prior/run_folder.hpp>
#include <diem/prior/same_run.hpp>
#include <diem/prior/settings.hpp>
#include <diem/prior/training_file.hpp>

/// \file
/// Internal: the state of a diffusion EM in its folder: run.safetensors holds the last good prior, a training in progress, and what must
/// be the same when it is resumed; files of `lap_samples` the lap's samples; prior_K.safetensors the prior of lap K.

namespace diem::prior::detail {

/// The samples of a lap.
template <Backend B>
struct sampling_stage {
    batch<B> x;
    posterior::sample_state state{};
    double outside = 0;  ///< samples beyond the range
};

template <Backend B, class Net>
class run_file {
    using T = scalar_t<B>;
    using prior_type = learned<B, Net>;

public:
    template <class Observation>
    run_file(B& b, const run<B, Net>& run, em_options options, const Net& net, const Observation& observed)
        : run_(run), net_(net), samples_(run.folder, run.ranks) {
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

    /// The stored prior where there is one to resume, else `start`. A training in progress is kept for `take_training`.
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
        if (run.contains("e_step"))  // of a version that kept samples here: the lap begins anew, to the same end
            for (const char* of : {"samples", "param/", "ema/", "adam_m/", "adam_v/"}) in.skip_prefix(of);
        else if (stage == "training")
            training_ = get_training<B>(in, net_.parameters());
        in.finish();
        prior.drawing = start.drawing;
        stored_ = true;
        return prior;
    }

    /// A lap begins, under this prior. Reads what a run that is resumed drew of its samples into x, and says which those are.
    [[nodiscard]] std::vector<posterior::drawn_range> begin_lap(B& b, const prior_type& prior, index_t lap,
                                                                view_t<B> x) {
        if (run_.folder.empty()) return {};
        if (!stored_) save(b, prior, {{"stage", "lap"}, {"lap", lap}}, nullptr, [](checkpoint_writer<B>&) {});
        stored_ = true;
        std::string hash;
        if (run_.writes()) {
            checkpoint_writer<B> tensors(io::json::object(), io::json::object());
            put_prior(b, tensors, prior);
            hash = tensors.hash();
        }
        auto which = fingerprint_;
        which["prior"] = parallel::broadcast(run_.ranks, hash, 0, "which prior samples are drawn under");
        samples_.begin(lap, std::move(which));
        return std::exchange(resumes_, false) ? samples_.read(b, x) : std::vector<posterior::drawn_range>();
    }
    /// This rank drew these samples of the lap.
    void drawn(const posterior::drawn_range& range) {
        if (!run_.folder.empty()) samples_.drawn(range);
    }
    /// Writes those samples that this rank drew since it wrote last; x holds all of the lap. All ranks write theirs at the same time.
    void save_samples(B& b, const_view_t<B> x) { samples_.write(b, x); }

    template <class Network>
    [[nodiscard]] std::optional<train::training_state<B>> take_training(B& b, Network& network,
                                                                        const train::training_options& options) {
        if (!training_) return std::nullopt;
        auto state = restore_training(b, network, *training_, options);
        training_.reset();
        return state;
    }

    /// `x`: all samples of the lap as they were drawn, or what of them is not in files yet.
    template <class Network>
    void save_training(B& b, const prior_type& prior, index_t lap, const_view_t<B> x, const Network& network,
                       train::training_state<B>& training) {
        save_samples(b, x);
        run_.ranks.barrier("the lap's samples being in files");  // before a file says that it is learned from them
        save(b, prior, {{"stage", "training"}, {"lap", lap}}, training_counters(training),
             [&](checkpoint_writer<B>& out) {
                 put_training<B>(b, out, network.table(), network.parameters(), training);
             });
    }
    void save_lap(B& b, const prior_type& next, index_t lap) const {
        if (!run_.folder.empty()) run_.ranks.barrier("all being done with the lap");
        save(b, next, {{"stage", "lap"}, {"lap", lap + 1}}, nullptr, [](checkpoint_writer<B>&) {});
        if (!run_.writes()) return;
        if (run_.keep_laps) prior::save(run_.folder / lap_file_name(lap), b, next);
        samples_.remove();
    }

private:
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
    const Net& net_;
    io::json fingerprint_;
    lap_samples<B> samples_;
    std::optional<stored_training<T>> training_;
    bool stored_ = false;         ///< run.safetensors is there
    bool resumes_ = run_.resume;  ///< there may be samples of the first lap
};

}  // namespace diem::prior::detail
