// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/em/fit.hpp>
#include <diem/prior/checkpoint.hpp>
#include <diem/prior/diffusion_prior.hpp>
#include <diem/prior/e_step.hpp>
#include <diem/prior/em_options.hpp>
#include <diem/prior/em_result.hpp>
#include <diem/train/ppca.hpp>

/// Learning a diffusion prior from observations alone, by expectation-maximisation.
namespace diem::prior {

/// How an E-step under `prior` solves: `initial_mmps` (where given) while no network is trained, else `mmps`, with the switch
/// of `blended` at switch_factor spreads of the estimate.
template <Backend B>
[[nodiscard]] posterior::mmps_options e_step_mmps(B& b, const em_options& options, const diffusion_prior<B>& prior) {
    auto mmps = prior.laps == 0 && options.initial_mmps ? *options.initial_mmps : options.mmps;
    if (mmps.cov_x == posterior::covariance::blended && options.switch_factor > 0 && prior.estimate)
        mmps.switch_sigma = options.switch_factor * spread_of(b, *prior.estimate);
    return mmps;
}

namespace detail {

template <Backend B>
struct em_samples {
    batch<B> x;
    lap_diagnostics diagnostics;
    bool usable = true;
};

/// The two steps and their monitor, for em::fit.
template <Backend B, class M, class Observation, class Initial, class Monitor>
class diffusion_em {
    using T = scalar_t<B>;

public:
    diffusion_em(B& b, M& model, const nn::parameter_table& table, const Observation& observed, Initial& initial,
                 const em_options& options, Monitor& monitor)
        : b_(b), model_(model), table_(table), observed_(observed), initial_(initial), options_(options),
          monitor_(monitor), timer_(options.save_every),
          fingerprint_(detail::fingerprint(options, observed.items(), model.features())) {
        options_.training.loss.sigma_min = options.sampling.sigma_min;
        options_.training.loss.sigma_max = options.sampling.sigma_max;
        check_value("prior::fit_diffusion", options.laps >= 0, "laps must be >= 0");
        check_sampling(options.sampling);
        train::check_training(options_.training);
    }

    /// The stored run where there is one to resume, else `start`.
    diffusion_prior<B> restore(diffusion_prior<B> start) {
        if (options_.folder.empty()) return start;
        std::filesystem::create_directories(options_.folder);
        if (!options_.resume || !std::filesystem::exists(run_path())) return start;
        checkpoint_reader<B> in(run_path());
        auto prior = get_prior(b_, in, table_);
        const auto run = in.template state<io::json>("run");
        std::string stage;
        try {
            check_fingerprint(run_path().string(), run.at("options"), fingerprint_);
            stage = run.at("stage").template get<std::string>();
            if (stage != "lap") e_state_ = e_step_state_from(run.at("e_step"));
        } catch (const io::json::exception& e) {
            in.fail(std::string("state \"run\": ") + e.what());
        }
        if (stage != "lap") {
            if (e_state_.done < 0 || e_state_.done > total()) in.fail("state \"e_step\": done is out of range");
            samples_ = batch<B>(b_, model_.features(), total());
            const auto drawn = in.batch_as("samples", model_.features(), e_state_.done);
            b_.upload(host_view<const T>(drawn.data(), model_.features(), e_state_.done),
                      samples_.view().item_range(0, e_state_.done));
        }
        if (stage == "training") training_ = get_training<B>(in, table_);
        in.finish();
        return prior;
    }

    em_samples<B> e_step(diffusion_prior<B>& prior, index_t lap) {
        if (samples_.features() == 0) {
            samples_ = batch<B>(b_, model_.features(), total());
            e_state_ = {};
        }
        const auto go_on = [&](const e_step_state& s) {
            tell({lap, true, s.done, total(), 0});
            const bool stop = cancelled();
            if (stop || timer_.due()) save_sampling(prior, lap);
            return !stop;
        };
        const bool network = prior.laps > 0;
        const auto mmps = e_step_mmps(b_, options_, prior);
        const auto draw = [&](auto& model) {
            return sample_posteriors<B>(b_, model, observed_, prior.estimate ? &*prior.estimate : nullptr, mmps,
                                        options_.sampling, options_.guard, prior.mean.flat(),
                                        lap_seed(options_.seed, lap, 1), samples_.view(), e_state_, go_on);
        };
        if (network) load_into(b_, prior, model_);
        const bool all = network ? draw(model_) : draw(initial_);
        em_samples<B> result{std::move(samples_), diagnostics_of(e_state_), all};
        samples_ = batch<B>();
        result.diagnostics.lap = lap;
        if (!all) return result;
        if (options_.clip_samples) clip_samples<B>(b_, result.x.view(), options_.guard.low, options_.guard.high);
        moments_ = moments_of<B>(b_, result.x.cview());
        result.diagnostics.change = change_of(b_, prior.moments, moments_);
        fault_ = e_step_fault(result.diagnostics, prior.history, options_.guard);
        result.usable = fault_.empty();
        return result;
    }

    diffusion_prior<B> m_step(em_samples<B>& samples, const diffusion_prior<B>& prior, index_t lap) {
        const auto start = std::chrono::steady_clock::now();
        if (!samples.usable) return prior.clone(b_);
        const auto& o = options_.training;
        auto state = begin_training(prior, lap);
        const double bound = options_.guard.max_loss_ratio * least_loss(prior.history);
        bool too_large = false;
        const auto callback = [&](const train::training_progress& p) {
            tell({lap, false, p.step, p.steps, p.recent_loss});
            too_large = p.step >= std::min<index_t>(100, p.steps) && !(p.recent_loss <= bound);
            const bool stop = cancelled();
            if (stop || timer_.due()) save_training_stage(prior, samples, state, lap);
            return !stop && !too_large;
        };
        const auto report = train::fit_denoiser<B>(b_, model_, samples.x.cview(), o, state, callback);
        auto& d = samples.diagnostics;
        d.loss = report.recent_loss;
        d.m_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        if (report.status == train::training_status::non_finite)
            fault_ = "loss or gradient not finite at step " + std::to_string(report.step);
        else if (too_large)
            fault_ = "loss " + shown(d.loss) + " at step " + std::to_string(report.step) + ", before at least " +
                     shown(least_loss(prior.history));
        else if (report.status == train::training_status::stopped)
            cancelled_ = true;
        if (!fault_.empty() || cancelled_) return prior.clone(b_);
        return next_prior(prior, samples, state);
    }

    em::decision lap_end(const em_samples<B>& samples, diffusion_prior<B>& next, index_t lap) {
        if (cancelled_ || !fault_.empty()) {
            rejected_ = samples.diagnostics;
            return em::decision::reject;
        }
        save(next, "lap", lap + 1, nullptr, nullptr);
        if (!options_.folder.empty() && options_.keep_laps)
            save_prior(options_.folder / ("prior_" + std::to_string(lap) + ".safetensors"), b_, table_, next,
                       options_.config);
        if constexpr (requires { monitor_.lap_end(samples.diagnostics, samples.x.cview(), next); })
            monitor_.lap_end(samples.diagnostics, samples.x.cview(), next);
        // A cancellation between two laps is noticed after the next lap's first batch, which is saved.
        return em::decision::go_on;
    }

    [[nodiscard]] const std::string& fault() const { return fault_; }
    [[nodiscard]] bool was_cancelled() const { return cancelled_; }
    [[nodiscard]] const lap_diagnostics& rejected() const { return rejected_; }

private:
    [[nodiscard]] index_t total() const { return observed_.items() * options_.sampling.samples_per_observation; }
    [[nodiscard]] std::filesystem::path run_path() const { return options_.folder / "run.safetensors"; }
    bool cancelled() {
        cancelled_ = cancelled_ || (options_.cancel != nullptr && options_.cancel->load());
        return cancelled_;
    }
    void tell(const em_progress& p) {
        if constexpr (requires { monitor_.progress(p); }) monitor_.progress(p);
    }

    train::training_state<B> begin_training(const diffusion_prior<B>& prior, index_t lap) {
        if (training_) {
            auto state = restore_training(b_, model_, *training_, options_.training);
            training_.reset();
            return state;
        }
        b_.copy(prior.weights.view(), as_batch(vector_t<B>(model_.mutable_parameters())));
        return train::start_training(b_, model_, options_.training, lap_seed(options_.seed, lap, 2));
    }

    diffusion_prior<B> next_prior(const diffusion_prior<B>& prior, const em_samples<B>& samples,
                                  train::training_state<B>& state) {
        auto next = prior.clone(b_);
        b_.copy(as_batch(const_vector_t<B>(std::as_const(model_).parameters())), next.weights.view());
        b_.copy(as_batch(const_vector_t<B>(state.adam.average())), next.average.view());
        const auto& r = options_.refresh;
        const index_t used = std::min(r.samples, samples.x.items());
        const auto x = samples.x.cview().item_range(0, used);
        if (r.estimate) {
            train::ppca_options ppca;
            ppca.rank = std::min(r.rank, x.features());
            auto fit = train::ppca(b_, x, ppca);
            if (r.mean) b_.copy(fit.mean.view(), next.mean.view());
            next.estimate.emplace(b_, std::move(fit.mean), std::move(fit.diagonal), std::move(fit.factor));
        } else if (r.mean) {
            next.mean = moments_of<B>(b_, x).mean;
        }
        next.moments = std::move(moments_);
        next.history.push_back(samples.diagnostics);
        ++next.laps;
        return next;
    }

    void save_sampling(const diffusion_prior<B>& prior, index_t lap) {
        const auto drawn = samples_.cview().item_range(0, e_state_.done);
        save(prior, "sampling", lap, &drawn, nullptr);
    }
    void save_training_stage(const diffusion_prior<B>& prior, const em_samples<B>& samples,
                             train::training_state<B>& state, index_t lap) {
        const auto drawn = samples.x.cview();
        save(prior, "training", lap, &drawn, &state);
    }
    void save(const diffusion_prior<B>& prior, const char* stage, index_t lap, const const_view_t<B>* drawn,
              train::training_state<B>* training) {
        if (options_.folder.empty()) return;
        auto state = prior_state(prior);
        state["run"] = {{"stage", stage}, {"lap", lap}, {"options", fingerprint_}};
        if (drawn) state["run"]["e_step"] = to_json(e_state_);
        if (training) state["training"] = training_counters(*training);
        checkpoint_writer<B> out(options_.config, state);
        put_prior(b_, out, table_, prior);
        if (drawn) out.batch_as(b_, "samples", *drawn);
        if (training) put_training<B>(b_, out, table_, std::as_const(model_).parameters(), *training);
        out.write(run_path());
    }

    B& b_;
    M& model_;
    const nn::parameter_table& table_;
    const Observation& observed_;
    Initial& initial_;
    em_options options_;
    Monitor& monitor_;
    interval_timer timer_;
    io::json fingerprint_;

    batch<B> samples_;  // of an E-step in progress, or restored
    e_step_state e_state_;
    std::optional<stored_training<T>> training_;  // restored
    sample_moments<B> moments_;
    std::string fault_;
    bool cancelled_ = false;
    lap_diagnostics rejected_;
};

}  // namespace detail

/// Diffusion EM. Lap k: a posterior sample (or several) of each observation by MMPS, with the averaged weights of the prior
/// as its denoiser, or with `initial` (any score model: the Gaussian fit, say) where the prior is untrained; then the start
/// mean is refreshed, and the network trained on the samples from the prior's last weights, with fresh optimiser and
/// average. `start` is `untrained_prior`, or any prior learned before. The model's weights are working memory; afterwards
/// they are the averaged weights of the result.
///
/// With `options.folder` the run is saved every `save_every` seconds, on cancellation and after each lap, in
/// run.safetensors; a resumed run goes on at the very batch or step, and its numbers are those of an uninterrupted one.
/// Throws io_error, config_error (resumed with other options), value_error.
template <Backend B, train::TrainableModel<B> M, class Observation, diffusion::ScoreModel<B> Initial,
          class Monitor = no_em_monitor>
[[nodiscard]] em_result<B> fit_diffusion(B& b, M& model, const nn::parameter_table& table, const Observation& observed,
                                         Initial& initial, diffusion_prior<B> start, const em_options& options,
                                         Monitor&& monitor = {}) {
    check_size("prior::fit_diffusion", "initial.features()", initial.features(), model.features());
    check_size("prior::fit_diffusion", "parameters", table.size(), std::as_const(model).parameters().size());
    using engine_type = detail::diffusion_em<B, M, Observation, Initial, std::remove_reference_t<Monitor>>;
    engine_type engine(b, model, table, observed, initial, options, monitor);
    auto prior = engine.restore(std::move(start));
    if (options.gaussian_skip && prior.laps == 0 && !prior.skip) {
        check_value("prior::fit_diffusion", prior.estimate.has_value(), "gaussian_skip needs a prior with an estimate");
        prior.skip = prior.estimate;
    }
    set_skip(b, prior, model);

    using samples_type = detail::em_samples<B>;
    const auto e_step = [&](diffusion_prior<B>& p, index_t lap) { return engine.e_step(p, lap); };
    const auto m_step = [&](samples_type& s, const diffusion_prior<B>& p, index_t lap) {
        return engine.m_step(s, p, lap);
    };
    struct monitor_type {
        engine_type& engine;
        em::decision lap_end(const em::lap_record& record, const samples_type& s, diffusion_prior<B>& next) {
            return engine.lap_end(s, next, record.lap);
        }
    } adapter{engine};
    em::fit_options laps;
    laps.first_lap = prior.laps;
    laps.max_laps = std::max<index_t>(0, options.laps - prior.laps);
    auto fitted = em::fit(std::move(prior), e_step, m_step, laps, adapter);

    em_result<B> result{std::move(fitted.prior), em_status::completed, {}, std::nullopt};
    const std::string done = std::to_string(result.prior.laps) + " of " + std::to_string(options.laps) + " laps done";
    if (engine.was_cancelled()) {
        result.status = em_status::cancelled;
        result.report =
            "cancelled: " + done +
            (options.folder.empty() ? "; nothing was saved, as no folder was given"
                                    : "; saved in " + options.folder.string() + ", run again with resume to go on");
    } else if (!engine.fault().empty()) {
        result.status = em_status::rejected;
        result.rejected_lap = engine.rejected();
        result.report = "lap " + std::to_string(engine.rejected().lap) + " went wrong: " + engine.fault() + "; " +
                        done + ", the prior of the last good lap is kept";
    } else {
        result.report = "completed: " + done;
    }
    load_into(b, result.prior, model);
    return result;
}

}  // namespace diem::prior
