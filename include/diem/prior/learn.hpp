// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <filesystem>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/core/check.hpp>
#include <diem/model/any_network.hpp>
#include <diem/model/config.hpp>
#include <diem/prior/diffusion_em.hpp>
#include <diem/prior/files.hpp>
#include <diem/prior/gaussian_fit.hpp>
#include <diem/prior/learned.hpp>
#include <diem/prior/observed_variance.hpp>
#include <diem/prior/recoverability.hpp>
#include <diem/prior/run.hpp>
#include <diem/prior/run_folder.hpp>
#include <diem/testing/adjoint.hpp>

/// \file
/// From observations to a prior in one call.
/// \snippet tests/examples/prior.cpp prior/learn.hpp

namespace diem::prior {

struct learn_options {
    gaussian_fit_options gaussian{};
    em_options em{};  ///< seed: of both stages
    recoverability_options recoverability{};
};

namespace detail {

/// Laps of Gaussian EM seen by a run, and kept in gaussian.safetensors with what must be the same when it is resumed.
template <Backend B, class Net>
class gaussian_run {
public:
    template <class Observation>
    gaussian_run(B& b, const run<B, Net>& run, const gaussian_fit_options& o, const Observation& observed)
        : b_(b), run_(run), options_(o), timer_(run.save_every) {
        if (!run.folder.empty() || run.ranks.size() > 1) {
            settings_ = settings_json(o);
            settings_.erase("laps");
            settings_["seed"] = o.seed;
            settings_.update(describe_data(b, observed));
            check_ranks(run, settings_);
        }
        if (run.folder.empty()) settings_ = {};
        begin_in_folder(run, true);
    }
    [[nodiscard]] std::filesystem::path path() const { return run_.folder / gaussian_file_name; }

    /// Where to begin: `start`, or the stored lap.
    diffusion::gaussian<B> restore(diffusion::gaussian<B> start) {
        if (run_.folder.empty() || !run_.resume || !std::filesystem::exists(path())) return start;
        auto stored = load<B, Net>(path(), b_);
        const io::json none = io::json::object();
        check_same_run(path().string(), stored.notes.value("settings", none), settings_);
        try {
            laps_ = stored.notes.at("laps").template get<index_t>();
            for (const auto& e : stored.notes.at("log_evidence"))
                evidence_.push_back(e.is_null() ? std::numeric_limits<double>::quiet_NaN() : e.template get<double>());
        } catch (const io::json::exception& e) {
            throw io_error(path().string() + ": notes: " + e.what());
        }
        if (laps_ < 0) throw io_error(path().string() + ": notes: laps is negative");
        return *stored.estimate();
    }
    [[nodiscard]] index_t laps() const { return laps_; }

    template <class Samples>
    em::verdict lap_end(const em::lap_record& record, const Samples& s, const diffusion::gaussian<B>& next) {
        laps_ = record.lap + 1;
        evidence_.push_back(s.log_evidence);
        run_.tell({progress::stage_type::gaussian, record.lap, laps_, options_.fit.max_laps, s.log_evidence});
        const bool stop = run_.cancelled() && laps_ < options_.fit.max_laps;
        if (stop || timer_.due() || laps_ == options_.fit.max_laps) {
            save(next);
            timer_.restart();
        }
        return stop ? em::verdict{em::decision::stop, "cancelled"} : em::verdict{};
    }
    void save(const diffusion::gaussian<B>& g) const {
        if (!run_.writes()) return;
        learned<B, Net> prior(b_, g);
        prior.notes = notes();
        prior::save(path(), b_, prior);
    }
    /// {"laps", "settings", "log_evidence"}: of all observations, of the prior each lap began with; null: not measured.
    [[nodiscard]] io::json notes() const {
        io::json evidence = io::json::array();
        for (const double e : evidence_) evidence.push_back(std::isfinite(e) ? io::json(e) : io::json(nullptr));
        return {{"laps", laps_}, {"settings", settings_}, {"log_evidence", evidence}};
    }

private:
    B& b_;
    const run<B, Net>& run_;
    const gaussian_fit_options& options_;
    interval_timer timer_;
    io::json settings_;
    index_t laps_ = 0;
    std::vector<double> evidence_;
};

}  // namespace detail

/// The first stage as a run: a Gaussian prior from N(0, start_variance I), or, where the data's variance is beyond a factor of
/// ten from 1, times their variance (EM from far too wide a start would need many laps); kept with its laps, told of, cancelled and resumed. Its notes hold
/// "laps" and "log_evidence" along them. Throws value_error where the adjoint of A is none, io_error for a folder that holds
/// a run already.
template <Backend B, class Net = model::any_network<B>, class Observation>
[[nodiscard]] learn_result<B, Net> learn_gaussian(B& b, const Observation& observed, gaussian_fit_options options,
                                                  const run<B, Net>& run = {}) {
    options.ppca.rank = std::min(options.ppca.rank, observed.forward_operator().cols());
    options.e_step = chosen_e_step(options, observed);
    testing::require_adjoint(b, observed.forward_operator(), {.seed = options.seed}, "prior::learn_gaussian: A");
    const auto energy = observed_variance_of(b, observed);
    const double seen = std::max(energy.of_x, 1e-3 * energy.with_noise);
    check_value("prior::learn_gaussian", std::isfinite(seen), "y is not finite, or A is zero and shows nothing of x");
    detail::gaussian_run<B, Net> laps(b, run, options, observed);
    const double scale = seen == 0 || (seen > 0.1 && seen < 10) ? 1 : seen;
    const double variance = options.start_variance > 0 ? options.start_variance * scale : scale;
    options.ppca.least_rest *= std::min(scale, 1.0);
    const index_t features = observed.forward_operator().cols();
    auto start = laps.restore(isotropic_gaussian(b, features, variance, basis_of(options, features)));
    run.ranks.barrier("all ranks having read the checkpoint");
    auto rest = options;
    rest.fit.first_lap = laps.laps();
    rest.fit.max_laps = std::max<index_t>(0, options.fit.max_laps - laps.laps());
    auto fitted = fit_gaussian(b, std::move(start), observed, rest, laps, run);
    const bool cancelled = laps.laps() < options.fit.max_laps && run.cancelled();
    if (cancelled) laps.save(fitted.prior);
    learn_result<B, Net> result{learned<B, Net>(b, std::move(fitted.prior))};
    result.prior.notes = laps.notes();
    result.status = cancelled ? run_status::cancelled : run_status::completed;
    const auto done =
        std::to_string(laps.laps()) + " of " + std::to_string(options.fit.max_laps) + " Gaussian laps done";
    result.report = cancelled ? "cancelled: " + done : "completed: " + done;
    return result;
}

/// Learns a prior p(x) from observations y = A x + e alone: first a Gaussian by its own EM, then, where there is a network,
/// a diffusion prior by `fit_diffusion`. Without one the Gaussian is the result.
/// Where the operators never show a value or direction of x the prior is a guess: `run.on_recoverability` is told before
/// the first lap, and the report says so. Throws value_error (options), io_error and config_error (the run's files).
template <Backend B, class Observation>
[[nodiscard]] learn_result<B> learn(B& b, const Observation& observed,
                                    const std::optional<model::network_config>& network, learn_options options = {},
                                    const run<B>& run = {}) {
    std::optional<model::any_network<B>> net;
    if (network) {  // before the first stage: sizes and options that do not fit are found now
        net.emplace(*network);
        check_em(options.em);
        check_size("prior::learn", "network features", net->features(), observed.forward_operator().cols());
        check_mixture(options.em.mixture, net->features(), observations_in_lap(options.em, observed.items()),
                      options.gaussian.basis);
    }
    options.gaussian.seed = options.em.seed;
    auto seen = recoverability_of(b, observed.forward_operator(), observed.items(), options.recoverability);
    if (run.on_recoverability) run.on_recoverability(seen);
    if (options.gaussian.start_variance == 0) options.gaussian.start_variance = seen.start_variance();
    auto result = learn_gaussian(b, observed, options.gaussian, run);
    if (net && result.status == run_status::completed)
        result = fit_diffusion(b, std::move(result.prior), *net, observed, options.em, run);
    if (seen.has_unseen()) result.report += "; " + seen.words();
    result.recoverable = std::move(seen);
    return result;
}

}  // namespace diem::prior
