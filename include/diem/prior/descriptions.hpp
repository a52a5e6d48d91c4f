// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <diem/io/json.hpp>
#include <diem/prior/em_options.hpp>
#include <diem/prior/gaussian_options.hpp>
#include <diem/prior/learned.hpp>

/// \file
/// Internal: options described once, entry by entry: `describe(visitor, options)` names each with its range and what it is for. What
/// follows from it: reading a JSON configuration, writing it back, what must be the same when a run is resumed, and the
/// table of docs/command_line.md.

namespace diem::prior {

/// Values that an entry may take.
struct range {
    double least = -std::numeric_limits<double>::infinity(), most = std::numeric_limits<double>::infinity();
    bool open_below = false, open_above = false;  ///< least, most are left out

    [[nodiscard]] bool contains(double v) const {
        return (open_below ? v > least : v >= least) && (open_above ? v < most : v <= most);
    }
    [[nodiscard]] std::string words() const {
        const auto number = [](double v) {
            return io::json(v == std::floor(v) && std::abs(v) < 1e15 ? io::json(static_cast<std::int64_t>(v))
                                                                     : io::json(v))
                .dump();
        };
        std::string text;
        if (std::isfinite(least)) text = (open_below ? "above " : "at least ") + number(least);
        if (std::isfinite(most))
            text += (text.empty() ? "" : ", ") + std::string(open_above ? "below " : "at most ") + number(most);
        return text;
    }
};
inline constexpr range any_value{};
[[nodiscard]] inline range at_least(double v) { return {.least = v}; }
[[nodiscard]] inline range above(double v) { return {.least = v, .open_below = true}; }
[[nodiscard]] inline range between(double low, double high, bool open_above = false) {
    return {.least = low, .most = high, .open_above = open_above};
}
/// Noise levels and rates: numbers whose squares, and one over them, single precision can hold.
[[nodiscard]] inline range level() { return between(1e-15, 1e15); }
/// Counts have an upper bound, so that no product of two of them wraps.
[[nodiscard]] inline range count(double least = 1, double most = 1e9) { return {.least = least, .most = most}; }

template <class E>
using names_of = std::vector<std::pair<std::string, E>>;

template <class V>
void describe(V& v, diffusion::sampling_options& o) {
    using diffusion::sampler_choice, diffusion::schedule_choice;
    v.choice("name", o.sampler,
             names_of<sampler_choice>{{"ddpm", sampler_choice::ddpm},
                                      {"ddim", sampler_choice::ddim},
                                      {"heun", sampler_choice::heun},
                                      {"predictor_corrector", sampler_choice::predictor_corrector},
                                      {"dpm_solver_2m", sampler_choice::dpm_2m},
                                      {"dpm_solver_2m_sde", sampler_choice::dpm_2m_sde}},
             "the sampler");
    v.choice("schedule", o.schedule,
             names_of<schedule_choice>{{"ve_log_linear", schedule_choice::ve_log_linear},
                                       {"edm", schedule_choice::edm},
                                       {"vp_cosine", schedule_choice::vp_cosine}},
             "noise levels along the steps");
    v.number("steps", o.steps, count(1, 1e6), "steps from sigma_max to sigma_min");
    v.number("batch", o.batch, count(), "items at once");
    v.number("samples_per_observation", o.samples_per_observation, count(1, 1e6),
             "posterior samples of each observation");
    v.number("sigma_min", o.sigma_min, level(), "least noise level, in the data's units");
    v.number("sigma_max", o.sigma_max, level(), "noise level where sampling starts");
}

template <class V>
void describe(V& v, posterior::mmps_options& o) {
    v.named("covariance", o.cov_x, posterior::detail::covariance_names,
            "what stands for the covariance of x given x_t");
    v.named("solver", o.solver, posterior::detail::solver_names, "of M v = y - A x_hat");
    v.number("max_iterations", o.max_iterations, count(posterior::by_operator, 1e6),
             "of the solver: one network pass each; -1: 1 where the operator shows all that it shows equally well, as "
             "masks do, else 4");
    v.number("relative_tolerance", o.relative_tolerance, at_least(0), "of the residual; 0: all iterations are made");
    v.flag("verify", o.verify, "one product more, for the true residual, where a tolerance is given");
    v.number("check_every", o.check_every, count(0, 1e6), "iterations between looks at the residual");
    v.number("switch_sigma", o.switch_sigma, level(), "where blended switches, in the data's units");
    v.flag("precondition", o.precondition, "by the Gaussian estimate; element-wise operators");
    v.flag("converge_gaussian", o.converge_gaussian,
           "solves to convergence where the covariance is the Gaussian estimate's, whatever solver and iterations: "
           "products of the operator, but no network pass");
}

template <class V>
void describe(V& v, train::rate_options& o) {
    using train::rate_schedule;
    v.choice("schedule", o.schedule,
             names_of<rate_schedule>{{"constant", rate_schedule::constant},
                                     {"linear", rate_schedule::linear},
                                     {"exponential", rate_schedule::exponential}},
             "of the learning rate");
    v.number("initial", o.initial, level(), "first learning rate");
    v.number("final", o.final, level(), "last one");
    v.number("warmup", o.warmup, between(0, 1), "share of the steps in which it rises");
}

template <class V>
void describe(V& v, train::augmentation_options& o) {
    v.number("flip", o.flip, between(0, 1), "probability of mirroring left and right");
    v.number("hue", o.hue, between(0, 0.5), "turns the hue by up to this share of the circle");
    v.number("saturation_min", o.saturation_min, at_least(0), "least factor of the saturation");
    v.number("saturation_max", o.saturation_max, at_least(0), "greatest");
    v.number("shake", o.shake, count(0, 1e4), "shifts by up to so many pixels");
}

template <class V>
void describe(V& v, train::training_options& o) {
    v.number("batch", o.batch, count(), "items of a step");
    v.steps("steps", "epochs", o.steps, o.batch, "optimiser steps of a lap, or passes over its samples");
    v.number("parts", o.parts, count(), "of a batch, which the ranks of mpirun share; at most the batch");
    v.number("micro_batch", o.loss.micro_batch, count(0), "items through the network at once; 0: the batch");
    v.number("dropout", o.loss.dropout, between(0, 1, true), "rate");
    v.number("sigma_min", o.loss.sigma_min, level(), "least noise level trained for; default: the sampler's");
    v.number("sigma_max", o.loss.sigma_max, level(), "greatest");
    v.object("rate", [&](auto& r) { describe(r, o.rate); });
    v.number("max_norm", o.adam.max_norm, above(0), "gradients are scaled to this norm; \"inf\": never");
    v.number("ema_decay", o.adam.ema_decay, between(0, 1, true), "of the averaged weights, a step");
    v.flag("ema_warmup", o.adam.ema_warmup, "less decay in the first steps of a lap");
    v.choice("moments", o.adam.moments,
             names_of<train::moment_precision>{{"float32", train::moment_precision::float32},
                                               {"bf16", train::moment_precision::bf16}},
             "what Adam's moments are stored in; bf16: half the memory, rounded at random");
    v.number("report_every", o.report_every, count(), "steps between two looks at the loss");
    v.object("augmentation", [&](auto& a) { describe(a, o.augmentation); });
}

template <class V>
void describe(V& v, guard_options& o) {
    v.number("max_outside_share", o.max_outside_share, any_value, "of samples beyond [low, high]");
    v.number("max_removed_share", o.max_removed_share, any_value, "of samples removed");
    v.number("max_non_finite_share", o.max_non_finite_share, any_value, "of samples that are not finite");
    v.number("max_residual", o.max_residual, any_value, "of the data residual");
    v.number("max_residual_ratio", o.max_residual_ratio, any_value, "of it to earlier laps");
    v.number("max_loss_ratio", o.max_loss_ratio, any_value, "of the loss to earlier laps");
    v.number("max_change", o.max_change, any_value, "of the samples' moments, in spreads");
    v.number("max_breakdown_share", o.max_breakdown_share, any_value, "of solves that break down");
}

/// Of EM, and of drawing.
template <class V, class Options>
void describe_switch(V& v, Options& o) {
    v.number("switch_factor", o.switch_factor, at_least(0), "where blended switches, in spreads of the data");
    v.choice(
        "start_at", o.start_at,
        names_of<sampling_start>{{"noise", sampling_start::noise}, {"gaussian", sampling_start::gaussian}},
        "where posterior samples begin: at sigma_max, or with blended where it switches, at a draw of the Gaussian's");
}

template <class V>
void describe(V& v, em_options& o) {
    v.number("laps", o.laps, count(0, 1e6), "E-steps and M-steps, those before a resume included");
    v.number("observations_per_lap", o.observations_per_lap, count(0),
             "that a lap draws from and learns from, at most: parts in turn; 0: all");
    v.object("sampler", [&](auto& s) { describe(s, o.sampling); });
    v.object("posterior", [&](auto& p) { describe(p, o.mmps); });
    v.optional("initial_posterior", o.initial_mmps, [&](auto& p, auto& m) { describe(p, m); });
    v.choice(
        "initial_e_step", o.initial_e_step,
        names_of<gaussian_e_step>{{"auto", gaussian_e_step::automatic},
                                  {"draws", gaussian_e_step::draws},
                                  {"diffusion", gaussian_e_step::diffusion}},
        "of the Gaussian's lap: draws without a sampler, or by it; auto: draws, unless initial_posterior is given");
    v.object("mixture", [&](auto& m) {
        m.number("components", o.mixture.components, count(1, 1e6),
                 "of a mixture of Gaussians that the first lap draws from, for at most 1024 features; 1: none");
        m.number("laps", o.mixture.laps, count(0, 1e6), "of its EM");
        m.number("shared", o.mixture.shared, at_least(1e-9),
                 "so many observations' worth of a common covariance in each component's");
    });
    describe_switch(v, o);
    v.flag("gaussian_skip", o.gaussian_skip, "the network adds to the Gaussian's denoiser");
    v.choice("out_of_range", o.outside,
             names_of<out_of_range>{
                 {"keep", out_of_range::keep}, {"clip", out_of_range::clip}, {"remove", out_of_range::remove}},
             "what becomes of samples beyond [low, high] before training");
    v.number("low", o.low, any_value, "least value of data, with a margin");
    v.number("high", o.high, any_value, "greatest");
    v.object("refresh", [&](auto& r) {
        r.flag("mean", o.refresh.mean, "the start mean follows the samples");
        r.flag("estimate", o.refresh.estimate, "so does the Gaussian estimate");
        r.number("rank", o.refresh.rank, count(0, 1e6), "of the estimate");
        r.number("samples", o.refresh.samples, count(2), "that it is made from");
    });
    v.object("training", [&](auto& t) {
        t.lap_of(o.observations_per_lap, o.sampling.samples_per_observation);
        describe(t, o.training);
    });
    v.object("guard", [&](auto& g) { describe(g, o.guard); });
}

template <class V>
void describe(V& v, gaussian_fit_options& o) {
    using train::rest;
    v.number("rank", o.ppca.rank, count(0, 1e6), "of the covariance's low-rank part");
    v.choice("rest", o.ppca.rest, names_of<rest>{{"isotropic", rest::isotropic}, {"diagonal", rest::diagonal}},
             "the noise term beside it");
    v.choice("basis", o.basis,
             names_of<gaussian_basis>{{"values", gaussian_basis::values},
                                      {"frequencies", gaussian_basis::frequencies},
                                      {"cosines", gaussian_basis::cosines}},
             "what the noise term is of; frequencies, cosines: of images, with rest diagonal a spectrum");
    v.number("laps", o.fit.max_laps, count(0, 1e6), "of Gaussian EM");
    v.number("start_variance", o.start_variance, at_least(0),
             "of what it starts with, in the data's scale; 0: 1, or 0.1 where directions are seldom or never seen");
    v.number("batch", o.batch, count(), "observations at once in exact E-steps");
    v.named("e_step", o.e_step, detail::e_step_names,
            "exact moments, draws, or a diffusion sampler; auto: moments where they are cheap, else draws");
    v.object("sampler", [&](auto& s) { describe(s, o.sampling); });
    v.object("posterior", [&](auto& p) { describe(p, o.mmps); });
}

template <class V>
void describe(V& v, drawing_options& o) {
    v.object("sampler", [&](auto& s) { describe(s, o.sampling); });
    v.object("posterior", [&](auto& p) { describe(p, o.mmps); });
    describe_switch(v, o);
}

}  // namespace diem::prior
