// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <string>

#include <diem/core/check.hpp>
#include <diem/diffusion/gaussian.hpp>
#include <diem/diffusion/sampling.hpp>
#include <diem/posterior/options.hpp>
#include <diem/prior/gaussian_options.hpp>
#include <diem/prior/guard.hpp>
#include <diem/prior/mixture_options.hpp>
#include <diem/train/trainer.hpp>

/// \file
/// Options of diffusion EM, and the settings of the paper.
/// \snippet tests/examples/prior.cpp prior/em_options.hpp

namespace diem::prior {

/// When the start mean, and the Gaussian estimate behind the covariances that need one, follow the samples of a lap.
struct refresh_options {
    bool mean = true;         ///< the mean of PPCA is the mean of the samples
    bool estimate = true;     ///< mean and covariance by PPCA
    index_t rank = 64;        ///< of the covariance, at most the number of features
    index_t samples = 16384;  ///< the first so many are used
};

/// What becomes of samples with values beyond the data range before something is learned from them.
enum class out_of_range {
    keep,
    clip,    ///< their values are brought to the edge
    remove,  ///< they are left out: the official code of the paper's manifold experiment
};

/// Where posterior samples of a network begin.
enum class sampling_start {
    noise,     ///< at sigma_max, as in the paper
    gaussian,  ///< with `blended`, where it switches, see `from_gaussian`
};

/// Everything about the laps of a diffusion EM. The defaults are one place: those of `diem fit`, for images or vectors of
/// moderate size in [-2, 2]; the paper's are in `presets`.
struct em_options {
    index_t laps = 8;  ///< in all, those before a resume included
    /// Observations that a lap draws from and learns from, at most: parts of nearly one size, all in turn; 0: all of them. Deviates
    /// from the paper (all); with many observations, laps are as short as with few. See docs/large_data.md.
    index_t observations_per_lap = 0;
    diffusion::sampling_options sampling{
        .sampler = diffusion::sampler_choice::dpm_2m_sde, .steps = 64, .sigma_min = 5e-3, .sigma_max = 20};
    /// Of the E-step. Deviates from the paper (tweedie, cg, one iteration): see `presets` and docs/stability.md.
    posterior::mmps_options mmps{.cov_x = posterior::covariance::blended,
                                 .solver = posterior::solver_choice::fom,
                                 .max_iterations = posterior::by_operator,
                                 .converge_gaussian = true};
    /// Of laps whose prior is still Gaussian; empty: `mmps`.
    std::optional<posterior::mmps_options> initial_mmps{};
    /// Of such laps too: draws without a sampler, as by default, or by the sampler, as where `initial_mmps` is given.
    gaussian_e_step initial_e_step = gaussian_e_step::automatic;
    /// Of the first lap, where its prior is Gaussian: draws under a mixture that EM finds from it. Not in the paper; for at most
    /// 1024 features, see docs/stability.md.
    mixture_options mixture{};
    /// The switching sigma of `blended`, in units of the data's spread (see `spread_of`), at least sampling.sigma_min; 0:
    /// mmps.switch_sigma as it is.
    double switch_factor = 3;
    /// Of laps with a network. Deviates from the paper (noise), which `blended` does before.
    sampling_start start_at = sampling_start::gaussian;
    /// The network learns the difference to the denoiser of the first Gaussian estimate, see `model::preconditioned`. Deviates
    /// from the paper; see docs/stability.md.
    bool gaussian_skip = false;
    out_of_range outside = out_of_range::keep;
    double low = -4, high = 4;  ///< data range with a margin: data live in [-2, 2], samples of a Gaussian fit go beyond
    refresh_options refresh{};
    /// Of each M-step, with fresh optimiser and average. Noise levels that are not given are the sampler's.
    train::training_options training{.report_every = 50,
                                     .rate = {.schedule = train::rate_schedule::linear, .initial = 1e-3, .final = 1e-5},
                                     .adam = {.ema_decay = 0.99, .ema_warmup = true}};
    guard_options guard{};
    std::uint64_t seed = 0;
};

/// Items first .. first + count - 1.
struct item_part {
    index_t first = 0, count = 0;
};
/// Of `items` observations, in parts of at most `most` (0: one part), the part of a lap. The first is the largest.
[[nodiscard]] inline item_part part_of_lap(index_t items, index_t most, index_t lap) {
    const index_t parts = most > 0 ? std::max<index_t>(1, (items + most - 1) / most) : 1;
    const auto begin = [&](index_t k) { return (k * items + parts - 1) / parts; };
    const index_t k = lap % parts;
    return {begin(k), begin(k + 1) - begin(k)};
}

/// Of so many observations, those that a lap draws from, at most.
[[nodiscard]] inline index_t observations_in_lap(const em_options& o, index_t items) {
    return part_of_lap(items, o.observations_per_lap, 0).count;
}

/// Throws value_error for options outside their range, and for such as contradict each other.
inline void check_em(const em_options& o) {
    constexpr const char* where = "prior::em_options";
    check_value(where, o.laps >= 0, "laps must be >= 0");
    check_value(where, o.observations_per_lap >= 0, "observations_per_lap must be >= 0");
    check_value(where, o.switch_factor >= 0, "switch_factor must be >= 0");
    check_value(where, o.low < o.high, "low must be less than high");
    check_value(where, o.refresh.rank >= 0 && o.refresh.samples > 1, "refresh needs a rank >= 0 and samples > 1");
    check_value(where, o.initial_e_step != gaussian_e_step::moments,
                "initial_e_step must be automatic, draws or diffusion");
    check_mixture(o.mixture);
    check_value(where, o.mixture.components == 1 || (o.initial_e_step != gaussian_e_step::diffusion && !o.initial_mmps),
                "a mixture is drawn from without a sampler: initial_e_step diffusion and initial_mmps contradict it");
    diffusion::check_sampling(o.sampling);
    train::check_training(o.training);
    const double left = std::pow(o.training.adam.ema_decay, static_cast<double>(o.training.steps));
    check_value(where, left <= 0.1 || o.training.steps == 0 || o.training.adam.ema_warmup,
                "training.ema_decay " + std::to_string(o.training.adam.ema_decay) + " over training.steps " +
                    std::to_string(o.training.steps) + " leaves " +
                    std::to_string(static_cast<int>(std::round(100 * left))) +
                    " % of the averaged weights at the lap's start; at most 10 % make sense: ema_warmup, less decay or "
                    "more steps");
}

/// sqrt(tr Sigma / D): the root mean variance of a feature.
template <Backend B>
[[nodiscard]] double spread_of(B& b, const diffusion::gaussian<B>& estimate) {
    return std::sqrt(diffusion::trace_of(b, estimate) / static_cast<double>(estimate.features()));
}

/// Throws value_error where samplers start below the spread of the data, whose samples would be too narrow. `estimate` may be null.
template <Backend B>
void check_start(B& b, const diffusion::sampling_options& o, const diffusion::gaussian<B>* estimate) {
    const double spread = estimate != nullptr ? spread_of(b, *estimate) : 0;
    check_value("prior::em_options", o.sigma_max >= spread,
                "sampling.sigma_max is " + std::to_string(o.sigma_max) + ", below the spread of the data, " +
                    std::to_string(spread) + ": samples would be too narrow");
}

/// The paper's settings (Rozet et al., arXiv 2405.13712, and its code).
namespace presets {

/// The paper's E-step: V = sigma^2 J' everywhere, truncated conjugate gradients; no network pass to verify a residual.
[[nodiscard]] inline posterior::mmps_options paper_mmps(index_t iterations = 1) {
    return {.cov_x = posterior::covariance::tweedie,
            .solver = posterior::solver_choice::cg,
            .max_iterations = iterations,
            .relative_tolerance = 1e-3,
            .verify = false};
}
/// CIFAR-10 with deleted pixels: 32 laps, DDPM with 256 steps, 49,920 training steps of 256 images.
[[nodiscard]] inline em_options paper_cifar() {
    em_options o;
    o.laps = 32;
    o.sampling = {.sampler = diffusion::sampler_choice::ddpm, .steps = 256};
    o.mmps = paper_mmps();
    o.initial_e_step = gaussian_e_step::diffusion;
    o.refresh = {.mean = true, .estimate = false, .rank = 64};
    o.training = {.steps = 49920,
                  .batch = 256,
                  .loss = {.dropout = 0.1},
                  .rate = {.initial = 2e-4},
                  .adam = {.ema_decay = 0.9999},
                  .augmentation = {.height = 32,
                                   .width = 32,
                                   .channels = 3,
                                   .flip = 0.5,
                                   .hue = 1e-2,
                                   .saturation_min = 0.95,
                                   .saturation_max = 1.05}};
    return o;
}
/// Points of a curve in R^5: 64 laps, predictor-corrector with 4096 steps, samples beyond (-3, 3) removed.
[[nodiscard]] inline em_options paper_manifold() {
    em_options o;
    o.laps = 64;
    o.sampling = {.sampler = diffusion::sampler_choice::predictor_corrector,
                  .steps = 4096,
                  .batch = 1024,
                  .sigma_min = 1e-3,
                  .sigma_max = 10};
    o.mmps = paper_mmps(5);
    o.initial_e_step = gaussian_e_step::diffusion;
    o.outside = out_of_range::remove;
    o.low = -3;
    o.high = 3;
    o.refresh = {.mean = false, .estimate = false};
    o.training = {.steps = 65536,
                  .batch = 1024,
                  .rate = {.schedule = train::rate_schedule::linear, .initial = 1e-3, .final = 1e-6},
                  .adam = {.ema_decay = 0}};
    return o;
}
/// Knee MRI: 16 laps, DDPM with 64 steps, three iterations, two samples per observation; 64 epochs over `slices`.
[[nodiscard]] inline em_options paper_mri(index_t slices) {
    em_options o;
    o.laps = 16;
    o.sampling = {.sampler = diffusion::sampler_choice::ddpm, .steps = 64, .samples_per_observation = 2};
    o.mmps = paper_mmps(3);
    o.initial_e_step = gaussian_e_step::diffusion;
    o.refresh = {.mean = true, .estimate = false, .rank = 64};
    o.training = {.steps = train::steps_of_epochs(64, 2 * slices, 256),
                  .batch = 256,
                  .loss = {.dropout = 0.1},
                  .rate = {.initial = 1e-4},
                  .adam = {.ema_decay = 0.999},
                  .augmentation = {.height = 320, .width = 320, .channels = 1, .flip = 0.5, .shake = 4}};
    return o;
}

}  // namespace presets

/// A seed for one purpose of one lap: 0 the Gaussian stage's samples, 1 an E-step's, 2 training.
[[nodiscard]] inline std::uint64_t lap_seed(std::uint64_t seed, index_t lap, std::uint32_t purpose) {
    const auto words = philox({{static_cast<std::uint32_t>(lap), purpose, 0x6c61707eU, 0}}, seed);
    return std::uint64_t{words[1]} << 32 | words[0];
}

}  // namespace diem::prior
