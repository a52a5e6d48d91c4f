// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>

#include <diem/backend/batch.hpp>
#include <diem/em/fit.hpp>
#include <diem/linop/image_basis.hpp>
#include <diem/parallel/communicator.hpp>
#include <diem/posterior/sample.hpp>
#include <diem/prior/em_options.hpp>
#include <diem/prior/exact_draws.hpp>
#include <diem/prior/from_gaussian.hpp>
#include <diem/prior/gaussian_fit.hpp>
#include <diem/prior/guard.hpp>
#include <diem/prior/learned.hpp>
#include <diem/prior/mixture_draws.hpp>
#include <diem/prior/moments.hpp>
#include <diem/prior/run.hpp>
#include <diem/prior/run_file.hpp>
#include <diem/testing/adjoint.hpp>
#include <diem/train/ppca.hpp>
#include <diem/train/trainer.hpp>

/// \file
/// Learning a diffusion prior from observations alone, by expectation-maximisation.
/// \snippet tests/examples/prior.cpp prior/diffusion_em.hpp

namespace diem::prior {

/// What a run of learning ends with.
template <Backend B, class Net = model::any_network<B>>
struct learn_result {
    learned<B, Net> prior;  ///< the last good one
    run_status status = run_status::completed;
    std::string report{};  ///< one or two lines for people
    std::optional<lap_diagnostics> rejected_lap{};
    std::optional<recoverability> recoverable{};  ///< of `learn`: what the operators show of x
};

namespace detail {

/// The samples of a lap, ready to be learned from.
template <Backend B>
struct em_samples {
    sampling_stage<B> drawn;
    sample_moments<B> moments{};
    lap_diagnostics diagnostics{};
};

/// The two steps, for em::fit: each returns its value, or says why the lap ends.
template <Backend B, class Net, class Observation>
class diffusion_em {
    using prior_type = learned<B, Net>;
    using network_type = typename prior_type::network_type;
    using samples_type = em_samples<B>;

public:
    /// `untrained` gives the network of the first lap.
    diffusion_em(B& b, const Net& untrained, const Observation& observed, const em_options& options,
                 const run<B, Net>& run, run_file<B, Net>& file)
        : b_(b), untrained_(untrained), observed_(observed), options_(options), run_(run), file_(file),
          timer_(run.save_every) {
        auto& loss = options_.training.loss;
        if (!loss.sigma_min) loss.sigma_min = options.sampling.sigma_min;
        if (!loss.sigma_max) loss.sigma_max = options.sampling.sigma_max;
    }

    em::outcome<samples_type> e_step(const prior_type& prior, index_t lap) {
        samples_type result;
        const auto part = part_of_lap(observed_.items(), options_.observations_per_lap, lap);
        result.drawn.x = batch<B>(b_, prior.features(), part.count * options_.sampling.samples_per_observation);
        if (!draw(prior, observed_.items(part.first, part.count), lap, result.drawn))
            return em::verdict{em::decision::cancel, "cancelled"};
        auto& [x, state, outside_count] = result.drawn;
        const bool bounded = options_.outside != out_of_range::keep;
        if (bounded && outside_count > 0) {
            file_.save_samples(b_, x.cview());  // as they were drawn
            if (options_.outside == out_of_range::clip)
                clip_samples<B>(b_, x.view(), options_.low, options_.high);
            else
                x = remove_outside<B>(b_, x.cview(), options_.low, options_.high);
        }

        auto& d = result.diagnostics = diagnostics_of(state, outside_count);
        d.lap = lap;
        d.removed = d.samples - x.items();
        if (x.items() == 0) return {std::move(result), {em::decision::reject, "every sample was out of range"}};
        result.moments = moments_of<B>(b_, x.cview());
        d.change = change_of(b_, prior.moments, result.moments, 10 * options_.sampling.sigma_min);
        d.variance = variance_of(b_, result.moments);
        auto fault = e_step_fault(d, prior.history, options_.guard, bounded);
        if (!fault.empty()) return {std::move(result), {em::decision::reject, std::move(fault)}};
        return em::outcome<samples_type>(std::move(result));
    }

    em::outcome<prior_type> m_step(samples_type& samples, const prior_type& prior, index_t lap) {
        const auto start = std::chrono::steady_clock::now();
        auto network = trainee(prior);
        auto state = file_.take_training(b_, network, options_.training);
        if (!state) state = train::start_training(b_, network, options_.training, lap_seed(options_.seed, lap, 2));
        const double bound = options_.guard.max_loss_ratio * least_loss(prior.history);
        bool too_large = false;
        // One type for all operators: a project compiles the training once (diem/instantiate.hpp).
        const std::function<bool(const train::training_progress&)> callback = [&](const train::training_progress& p) {
            run_.tell({progress::stage_type::training, lap, p.step, p.steps, p.recent_loss});
            too_large = p.step >= std::min<index_t>(100, p.steps) && !(p.recent_loss <= bound);
            const auto [stop, save] = wishes();
            if (stop || save) file_.save_training(b_, prior, lap, samples.drawn.x.cview(), network, *state);
            return !stop && !too_large;
        };
        const auto report = train::fit_denoiser<B>(b_, network, samples.drawn.x.cview(), options_.training, *state,
                                                   callback, run_.ranks);
        auto& d = samples.diagnostics;
        d.loss = report.recent_loss;
        d.m_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        if (report.status == train::training_status::non_finite)
            return em::verdict{em::decision::reject,
                               "loss or gradient not finite at step " + std::to_string(report.step)};
        if (too_large)
            return em::verdict{em::decision::reject, "loss " + shown(d.loss) + " at step " +
                                                         std::to_string(report.step) + ", before at least " +
                                                         shown(least_loss(prior.history))};
        if (report.status == train::training_status::stopped) return em::verdict{em::decision::cancel, "cancelled"};
        return next_prior(prior, samples, std::move(network), *state);
    }

private:
    /// Whether a rank is to stop, and whether it is time to save: all decide alike.
    std::array<bool, 2> wishes() {
        const auto all =
            parallel::any_of(run_.ranks, std::array{run_.asked_to_stop(), timer_.due()}, "whether to go on");
        if (all[1]) timer_.restart();
        return all;
    }
    void count_outside(const_view_t<B> x, double& count) const {
        const auto out = outside<B>(b_, x, options_.low, options_.high);
        count += static_cast<double>(std::count(out.begin(), out.end(), 1));
    }

    /// Draws the samples of a lap, but for those that the folder of a resumed run holds; false where it was cancelled.
    template <class Part>
    bool draw(const prior_type& prior, const Part& observed, index_t lap, sampling_stage<B>& stage) {
        for (const auto& range : file_.begin_lap(b_, prior, lap, stage.x.view())) {
            stage.state.add(range);
            count_outside(stage.x.cview().item_range(range.first, range.count), stage.outside);
        }
        const auto observer = [&](const posterior::sample_state& s, const posterior::drawn_batch<B>& drawn) {
            replace_non_finite<B>(b_, drawn.x, drawn.finite);
            count_outside(const_view_t<B>(drawn.x), stage.outside);
            if (drawn.own) file_.drawn(drawn.range);
            run_.tell({progress::stage_type::sampling, lap, s.drawn(), stage.x.items(), 0});
            if (drawn.more) return true;
            const auto [stop, save] = wishes();
            if (save) file_.save_samples(b_, stage.x.cview());
            return !stop;
        };
        const bool asked = options_.initial_e_step == gaussian_e_step::diffusion ||
                           (options_.initial_e_step == gaussian_e_step::automatic && options_.initial_mmps);
        const std::uint64_t seed = lap_seed(options_.seed, lap, 1);
        bool drawn = false;
        const auto go_on = [&] { return !run_.cancelled(); };
        if (!prior.has_network() && options_.mixture.components > 1) {
            const auto tell = [&](index_t at, double evidence) {
                run_.tell({progress::stage_type::mixture, at, at + 1, options_.mixture.laps, evidence});
            };
            drawn = sample_by_mixture(b_, *prior.estimate(), observed, options_.mixture, seed, stage.x.view(),
                                      stage.state, options_.sampling.batch, observer, tell, go_on, run_.ranks);
        } else if (!prior.has_network() && !asked) {
            drawn = sample_exactly(b_, *prior.estimate(), observed, seed, stage.x.view(), stage.state,
                                   options_.sampling.batch, observer, go_on, run_.ranks);
        } else {
            auto how = prior.drawing;
            how.sampling = options_.sampling;
            if (!prior.has_network() && options_.initial_mmps) how.mmps = *options_.initial_mmps;
            auto drawing = prior.sample_options(b_, how);
            if (prior.has_network() && drawing.start.sigma > 0)
                drawing = from_gaussian<B>(std::move(drawing), observed);
            drawing.cancel = run_.cancel;
            drawn = posterior::sample<B>(b_, prior, observed, drawing, {.seed = seed}, stage.x.view(), stage.state,
                                         observer, run_.ranks);
        }
        // After the last batch all are drawn: training notices the cancellation, or the end of the lap.
        if (!drawn) file_.save_samples(b_, stage.x.cview());
        return drawn;
    }

    /// The network with the weights where training begins.
    [[nodiscard]] network_type trainee(const prior_type& prior) const {
        if (prior.has_network()) {
            network_type network(b_, prior.network());
            b_.copy(as_batch(prior.last_weights()), as_batch(network.mutable_parameters()));
            return network;
        }
        network_type network(b_, Net(untrained_.config()));
        network.initialize(b_, {.seed = options_.seed});
        if (options_.gaussian_skip) network.set_skip(b_, *prior.estimate());
        return network;
    }

    /// In the basis of the one before; in one of images the rest is a spectrum. `variance`: of the samples, per feature.
    [[nodiscard]] diffusion::gaussian<B> estimate_of(const_view_t<B> x, double variance,
                                                     const std::optional<linop::image_basis>& basis) const {
        train::ppca_options ppca;
        ppca.rank = std::min(options_.refresh.rank, x.features());
        if (!basis) return to_gaussian(b_, train::ppca(b_, x, ppca), basis);
        ppca.rest = train::rest::diagonal;
        ppca.least_rest *= std::min(variance, 1.0);
        batch<B> coefficients(b_, x.features(), x.items());
        basis->apply(b_, x, coefficients.view());
        return to_gaussian(b_, train::ppca(b_, coefficients.cview(), ppca), basis);
    }

    [[nodiscard]] prior_type next_prior(const prior_type& prior, samples_type& samples, network_type network,
                                        train::training_state<B>& state) const {
        const const_vector_t<B> weights = std::as_const(network).parameters();
        batch<B> last(b_, weights.size(), 1), mean(b_, prior.features(), 1);
        b_.copy(as_batch(weights), last.view());
        b_.copy(as_batch(const_vector_t<B>(state.adam.average())), as_batch(network.mutable_parameters()));
        b_.copy(as_batch(prior.mean()), mean.view());
        auto estimate = prior.estimate() ? std::optional(*prior.estimate()) : std::nullopt;
        const auto& r = options_.refresh;
        const auto x = samples.drawn.x.cview().item_range(0, std::min(r.samples, samples.drawn.x.items()));
        if (r.estimate) {
            const auto basis = estimate ? estimate->basis() : std::nullopt;
            estimate.emplace(estimate_of(x, samples.diagnostics.variance, basis));
            if (r.mean) b_.copy(as_batch(estimate->mu()), mean.view());
        } else if (r.mean) {
            mean = moments_of<B>(b_, x).mean;
        }
        prior_type next(std::move(network), std::move(last), std::move(mean), std::move(estimate));
        next.drawing = prior.drawing;
        next.notes = prior.notes;
        next.moments = std::move(samples.moments);
        next.history = prior.history;
        next.history.push_back(samples.diagnostics);
        return next;
    }

    B& b_;
    const Net& untrained_;
    const Observation& observed_;
    em_options options_;
    const run<B, Net>& run_;
    run_file<B, Net>& file_;
    interval_timer timer_;
};

}  // namespace detail

/// Diffusion EM. Lap k: a posterior sample (or several) of each observation by MMPS under the prior; then the start mean and
/// the estimate are refreshed, and a network trained on the samples, from the prior's last weights, with fresh optimiser and
/// average. `start` is a Gaussian prior, of which the first lap makes one of `net` with weights drawn by the seed, or any
/// learned before. The result's `drawing` is that of the options.
///
/// Throws io_error (also where the folder holds a run already), config_error (resumed with other options or data), value_error (options, see `check_em`
/// and `check_start`; the adjoint of A is none).
template <Backend B, class Net, class Observation>
[[nodiscard]] learn_result<B, Net> fit_diffusion(B& b, learned<B, Net> start, const Net& net,
                                                 const Observation& observed, const em_options& options,
                                                 const run<B, Net>& run = {}) {
    check_em(options);
    check_size("prior::fit_diffusion", "start.features()", start.features(), net.features());
    check_size("prior::fit_diffusion", "A.cols()", observed.forward_operator().cols(), net.features());
    check_mixture(options.mixture, net.features(), observations_in_lap(options, observed.items()));
    if (options.mixture.components > 1 && !start.has_network())
        start.estimate()->require_no_basis("prior::fit_diffusion: a mixture");
    if (options.mmps.precondition && start.estimate())
        start.estimate()->require_no_basis("prior::fit_diffusion: a preconditioner");
    testing::require_adjoint(b, observed.forward_operator(), {.seed = options.seed}, "prior::fit_diffusion: A");
    check_start(b, options.sampling, start.estimate());
    start.drawing = {options.sampling, options.mmps, options.switch_factor, options.start_at};
    detail::run_file<B, Net> file(b, run, options, net, observed);
    auto prior = file.restore(b, std::move(start));
    run.ranks.barrier("all ranks having read the checkpoint");

    using prior_type = learned<B, Net>;
    using samples_type = detail::em_samples<B>;
    detail::diffusion_em<B, Net, Observation> engine(b, net, observed, options, run, file);
    const auto e_step = [&](prior_type& p, index_t lap) { return engine.e_step(p, lap); };
    const auto m_step = [&](samples_type& s, const prior_type& p, index_t lap) { return engine.m_step(s, p, lap); };
    std::optional<lap_diagnostics> dropped;
    struct monitor_type {
        B& b;
        const prior::run<B, Net>& run;
        detail::run_file<B, Net>& file;
        std::optional<lap_diagnostics>& dropped;
        index_t laps;
        em::verdict lap_end(const em::lap_record& record, const samples_type& s, const prior_type& next) {
            file.save_lap(b, next, record.lap);
            if (run.on_lap) run.on_lap(s.diagnostics, s.drawn.x.cview(), next);
            if (run.cancelled() && next.laps() < laps) return {em::decision::stop, "cancelled"};
            return {};
        }
        void lap_dropped(const em::lap_record&, const samples_type& s, const em::verdict&) { dropped = s.diagnostics; }
    } monitor{b, run, file, dropped, options.laps};
    em::fit_options laps;
    laps.first_lap = prior.laps();
    laps.max_laps = std::max<index_t>(0, options.laps - prior.laps());
    auto fitted = em::fit(std::move(prior), e_step, m_step, laps, monitor);

    learn_result<B, Net> result{std::move(fitted.prior)};
    const std::string done = std::to_string(result.prior.laps()) + " of " + std::to_string(options.laps) + " laps done";
    if (fitted.reason == em::stop_reason::cancelled || fitted.reason == em::stop_reason::stopped) {
        result.status = run_status::cancelled;
        result.report = "cancelled: " + done +
                        (run.folder.empty() ? "; nothing was saved, as no folder was given"
                                            : "; saved in " + run.folder.string() + ", run again with resume to go on");
    } else if (fitted.reason == em::stop_reason::rejected) {
        result.status = run_status::rejected;
        result.rejected_lap = dropped;
        result.report = "lap " + std::to_string(fitted.history.back().lap) + " went wrong: " + fitted.message + "; " +
                        done + ", the prior of the last good lap is kept";
    } else {
        result.report = "completed: " + done;
    }
    return result;
}

}  // namespace diem::prior
