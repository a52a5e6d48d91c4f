// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include <diem/core/check.hpp>
#include <diem/diffusion/gaussian.hpp>
#include <diem/io/json.hpp>
#include <diem/posterior/options.hpp>
#include <diem/prior/diagnostics.hpp>
#include <diem/prior/e_step.hpp>
#include <diem/train/trainer.hpp>

namespace diem::prior {

/// When the start mean, and the Gaussian estimate behind the covariances that need one, follow the samples of a lap.
struct refresh_options {
    bool mean = true;         ///< the mean of PPCA is the mean of the samples
    bool estimate = false;    ///< mean and covariance by PPCA
    index_t rank = 64;        ///< of the covariance, at most the number of features
    index_t samples = 16384;  ///< the first so many are used
};

/// Everything about a diffusion EM. The noise levels of `sampling` hold for training too.
struct em_options {
    index_t laps = 32;  ///< in all, those before a resume included
    sampling_options sampling{};
    /// Of the E-step. Deviates from the paper (tweedie, cg, one iteration): see `paper_mmps` and docs/stability.md.
    posterior::mmps_options mmps{
        .cov_x = posterior::covariance::blended, .solver = posterior::solver_choice::fom, .max_iterations = 1};
    /// Of laps whose prior is not yet the network; empty: `mmps`.
    std::optional<posterior::mmps_options> initial_mmps{};
    /// The switching sigma of `blended`, in units of the data's spread (see `spread_of`); 0: mmps.switch_sigma as it is.
    double switch_factor = 3;
    /// The network learns the difference to the denoiser of the first Gaussian estimate, see `model::preconditioned`. Deviates
    /// from the paper; see docs/stability.md.
    bool gaussian_skip = false;
    /// Before anything is learned from samples, their values beyond guard.low and guard.high are brought there: what runs
    /// away where nothing is observed teaches the edge of the range. Deviates from the paper; see docs/stability.md.
    bool clip_samples = false;
    refresh_options refresh{};
    train::training_options training{};  ///< of each M-step, with fresh optimiser and average
    guard_options guard{};
    std::uint64_t seed = 0;

    std::filesystem::path folder{};        ///< of checkpoints; empty: none are written
    double save_every = 600;               ///< seconds between checkpoints inside a lap
    bool keep_laps = true;                 ///< also a file for each lap's prior
    bool resume = false;                   ///< go on from the folder's checkpoint where there is one
    io::json config = io::json::object();  ///< how the model is built, for the files
    const std::atomic<bool>* cancel =
        nullptr;  ///< set (by a signal handler, say): the batch or step is finished and saved
};

/// The paper's E-step: V = sigma^2 J' everywhere, truncated conjugate gradients.
[[nodiscard]] inline posterior::mmps_options paper_mmps(index_t iterations = 1) {
    return {.cov_x = posterior::covariance::tweedie,
            .solver = posterior::solver_choice::cg,
            .max_iterations = iterations,
            .relative_tolerance = 1e-3};
}

/// sqrt(tr Sigma / D): the root mean variance of a feature.
template <Backend B>
[[nodiscard]] double spread_of(B& b, const diffusion::gaussian<B>& estimate) {
    return std::sqrt(diffusion::trace_of(b, estimate) / static_cast<double>(estimate.features()));
}

namespace detail {

/// What must be the same when a run is resumed.
[[nodiscard]] inline io::json fingerprint(const em_options& o, index_t observations, index_t features) {
    const auto solver = [](const posterior::mmps_options& m) {
        return io::json{{"covariance", posterior::to_string(m.cov_x)},
                        {"solver", posterior::to_string(m.solver)},
                        {"iterations", m.max_iterations},
                        {"tolerance", m.relative_tolerance},
                        {"switch_sigma", m.switch_sigma},
                        {"precondition", m.precondition}};
    };
    const auto& s = o.sampling;
    const auto& t = o.training;
    const auto& a = t.augmentation;
    return {
        {"observations", observations},
        {"features", features},
        {"seed", o.seed},
        {"mmps", solver(o.mmps)},
        {"initial_mmps", o.initial_mmps ? solver(*o.initial_mmps) : io::json(nullptr)},
        {"switch_factor", o.switch_factor},
        {"gaussian_skip", o.gaussian_skip},
        {"clip_samples", o.clip_samples ? io::json{o.guard.low, o.guard.high} : io::json(nullptr)},
        {"refresh", {o.refresh.mean, o.refresh.estimate, o.refresh.rank, o.refresh.samples}},
        {"sampling",
         {static_cast<int>(s.sampler), s.steps, s.batch, s.samples_per_observation, s.sigma_min, s.sigma_max}},
        {"training", {t.steps, t.batch, t.report_every, t.loss.micro_batch, t.loss.dropout}},
        {"rate", {static_cast<int>(t.rate.schedule), t.rate.initial, t.rate.final, t.rate.warmup}},
        {"adam", {t.adam.beta1, t.adam.beta2, t.adam.eps, t.adam.max_norm, t.adam.ema_decay}},
        {"augmentation", {a.height, a.width, a.channels, a.flip, a.hue, a.saturation_min, a.saturation_max, a.shake}}};
}

/// Throws config_error, naming the entry, where a stored fingerprint differs from this run's.
inline void check_fingerprint(const std::string& where, const io::json& stored, const io::json& now) {
    for (const auto& [key, value] : now.items())
        if (!stored.contains(key) || stored.at(key) != value)
            throw config_error(where + ": the run in it was made with another \"" + key +
                               "\": " + (stored.contains(key) ? stored.at(key).dump() : std::string("none")) +
                               ", now " + value.dump());
}

/// A seed for one purpose of one lap.
[[nodiscard]] inline std::uint64_t lap_seed(std::uint64_t seed, index_t lap, std::uint32_t purpose) {
    const auto words = philox({{static_cast<std::uint32_t>(lap), purpose, 0x6c61707eU, 0}}, seed);
    return std::uint64_t{words[1]} << 32 | words[0];
}

}  // namespace detail
}  // namespace diem::prior
