// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <chrono>
#include <filesystem>
#include <functional>
#include <string>

#include <diem/backend/concept.hpp>
#include <diem/parallel/communicator.hpp>
#include <diem/prior/diagnostics.hpp>
#include <diem/prior/recoverability.hpp>

/// \file
/// A run of learning from outside: progress, cancellation, files.
/// \snippet tests/examples/prior.cpp prior/run.hpp

namespace diem::prior {

/// Where a run stands, for display. Laps are numbered from 0 everywhere: here, in diagnostics, messages and names of files;
/// `done` counts what is finished, so that lap 0 of the Gaussian stage is told with done = 1.
struct progress {
    enum class stage_type { gaussian, mixture, sampling, training };
    stage_type stage = stage_type::gaussian;
    index_t lap = 0;
    index_t done = 0, total = 0;  ///< laps of the Gaussian stage or of the mixture, samples, or training steps
    /// Log-evidence of all observations, of a mixture that of the first lap's, or the running mean of the loss; NaN: not measured.
    double figure = 0;
};

/// A run of learning seen from outside: what it tells, how it is stopped, where it is kept.
///
/// With a folder the run is saved every `save_every` seconds, on cancellation and after each lap; one that is resumed draws
/// the batches that are missing, or goes on at the very step, and its numbers are those of an uninterrupted one.
template <class Prior, class View>
struct basic_run {
    std::filesystem::path folder{};  ///< of checkpoints; empty: none are written
    double save_every = 600;         ///< seconds between checkpoints inside a lap
    bool keep_laps = true;           ///< also a file for each lap's prior
    bool resume = false;             ///< go on from the folder's checkpoint where there is one
    bool overwrite = false;          ///< remove the files of a run that the folder holds; with neither it is refused

    /// Set by anyone, a signal handler say: the step of a sampler or of training, or the batch of an exact E-step, is finished; what is
    /// whole is saved, and the run ends as cancelled.
    const std::atomic<bool>* cancel = nullptr;
    /// Once, before anything is learned by `learn`: what the operators show of x.
    std::function<void(const recoverability&)> on_recoverability{};
    /// After a lap of the Gaussian stage or of a mixture, a batch of samples, a reported step of training.
    std::function<void(const progress&)> on_progress{};
    /// After a good lap: its diagnostics, its samples as they were drawn (D x n), the prior it made.
    std::function<void(const lap_diagnostics&, View, const Prior&)> on_lap{};

    /// Who learns together: all with the same arguments. Rank 0 writes the files but those of samples, which each rank
    /// writes that drew them; all must see all.
    parallel::any_communicator ranks{};

    /// On any rank. All ranks must ask, and get the same answer.
    [[nodiscard]] bool cancelled() const { return parallel::any_of(ranks, asked_to_stop(), "whether to go on"); }
    /// On this rank.
    [[nodiscard]] bool asked_to_stop() const { return cancel != nullptr && cancel->load(); }
    [[nodiscard]] bool writes() const { return !folder.empty() && ranks.rank() == 0; }
    void tell(const progress& p) const {
        if (on_progress) on_progress(p);
    }
};

enum class run_status {
    completed,
    cancelled,  ///< run again with resume to go on
    rejected,   ///< a lap went wrong: the prior is the last good one, the report says why
};

[[nodiscard]] constexpr const char* to_string(run_status s) {
    return s == run_status::completed ? "completed" : s == run_status::cancelled ? "cancelled" : "rejected";
}

/// Due so many seconds after it was started last, for checkpoints.
class interval_timer {
public:
    explicit interval_timer(double seconds) : seconds_(seconds) { restart(); }
    [[nodiscard]] bool due() const { return std::chrono::duration<double>(clock::now() - last_).count() >= seconds_; }
    void restart() { last_ = clock::now(); }

private:
    using clock = std::chrono::steady_clock;
    double seconds_;
    clock::time_point last_;
};

}  // namespace diem::prior
