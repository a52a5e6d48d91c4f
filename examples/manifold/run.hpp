// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <iostream>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/io/json.hpp>
#include <diem/io/npy.hpp>
#include <diem/linop/covariance.hpp>
#include <diem/linop/dense.hpp>
#include <diem/metrics/psnr.hpp>
#include <diem/metrics/sinkhorn.hpp>
#include <diem/model/config.hpp>
#include <diem/nn/mlp.hpp>
#include <diem/posterior/observation.hpp>
#include <diem/prior/learn.hpp>

#include "manifold/program.hpp"
#include "support/curve.hpp"
#include "support/html_report.hpp"
#include "support/interrupt.hpp"
#include "support/lap_log.hpp"
#include "support/outputs.hpp"
#include "support/plan.hpp"
#include "support/progress.hpp"
#include "support/report.hpp"
#include "support/watched_run.hpp"

namespace manifold {

using namespace diem;

/// What is observed, and points of the truth for the figures only: other ones than those observed.
template <Backend B>
struct problem {
    batch<B> x, matrices, y, truth_a, truth_b;
    linop::dense<B> a;
    linop::isotropic_covariance noise;

    problem(B& b, const settings& s) : problem(b, s, support::curve(s.net.features, s.em.seed, s.alpha, s.epsilon)) {}
    [[nodiscard]] auto observed(B& b) const { return posterior::observe(b, y.cview(), a, noise); }

private:
    problem(B& b, const settings& s, const support::curve& c)
        : x(support::batch_of(b, c.points(s.observations, s.em.seed, 0), c.features())),
          matrices(support::batch_of(b, support::random_projections(s.rows, c.features(), s.observations, s.em.seed),
                                     s.rows * c.features())),
          y(b, s.rows, s.observations), truth_a(support::batch_of(b, c.points(s.samples, s.em.seed, 1), c.features())),
          truth_b(support::batch_of(b, c.points(s.samples, s.em.seed, 2), c.features())),
          a(linop::dense<B>::per_item(matrices.view(), s.rows, c.features())), noise(s.rows, s.sigma_y * s.sigma_y) {
        posterior::simulate<B>(b, a, noise, x.cview(), {.seed = s.em.seed, .lane = random_lane::observation}, y.view());
    }
};

/// Compares samples with the truth, keeps them for the plots, and the figures in laps.json for a resumed run.
template <Backend B>
class evaluation {
public:
    evaluation(B& b, const settings& s, const problem<B>& data, std::filesystem::path out)
        : b_(b), s_(s), data_(data), out_(std::move(out)),
          self_(metrics::transport(b, data.truth_a.cview(), data.truth_b.cview(), s.sinkhorn).cost),
          laps_(out_ / "laps.json") {
        save(data.truth_a.cview(), "truth.npy");
    }
    /// max(T(a, x) - T(a, b), 1e-6) of the first samples, those beyond (-3, 3) left out as in the paper's code.
    [[nodiscard]] double divergence(const_view_t<B> x) const {
        const auto values = to_host(b_, x.item_range(0, std::min(x.items(), s_.samples)));
        const auto d = static_cast<std::size_t>(x.features());
        std::vector<float> kept;
        for (std::size_t i = 0; i < values.size(); i += d)
            if (std::all_of(values.begin() + static_cast<std::ptrdiff_t>(i),
                            values.begin() + static_cast<std::ptrdiff_t>(i + d),
                            [](float v) { return v > -3 && v < 3; }))
                kept.insert(kept.end(), values.begin() + static_cast<std::ptrdiff_t>(i),
                            values.begin() + static_cast<std::ptrdiff_t>(i + d));
        if (kept.empty()) return std::numeric_limits<double>::infinity();
        const auto samples = to_backend(b_, kept, x.features(), static_cast<index_t>(kept.size() / d));
        return std::max(metrics::transport(b_, data_.truth_a.cview(), samples.cview(), s_.sinkhorn).cost - self_, 1e-6);
    }
    /// Root mean square distance of each posterior sample to the point that was observed.
    [[nodiscard]] double error(const_view_t<B> x) const {
        if (x.items() != data_.x.items()) return std::numeric_limits<double>::quiet_NaN();  // some were removed
        const auto errors = metrics::mean_squared_error(b_, x, data_.x.cview());
        double sum = 0;
        for (const double e : errors) sum += e;
        return std::sqrt(sum / static_cast<double>(errors.size()) * static_cast<double>(x.features()));
    }
    /// Posterior samples under the prior that `lap` laps made.
    void add(const prior::lap_diagnostics& d, const_view_t<B> x) {
        io::json entry = prior::to_json(d);
        entry["divergence"] = divergence(x);
        const double distance = error(x);
        entry["distance_to_observed_point"] = std::isfinite(distance) ? io::json(distance) : io::json(nullptr);
        entry["samples_file"] = "samples_" + std::to_string(d.lap) + ".npy";
        save(x, entry["samples_file"].get<std::string>());
        laps_.add(std::move(entry));
    }
    /// Figures of the laps before a resume.
    void restore(index_t laps) { laps_.restore(laps); }
    void save(const_view_t<B> x, const std::string& name) const {
        const auto part = x.item_range(0, std::min(x.items(), s_.samples));
        const auto values = to_host(b_, part);
        io::save_npy(out_ / name, {part.items(), part.features()}, std::span<const float>(values));
    }
    [[nodiscard]] const std::vector<io::json>& laps() const { return laps_.entries(); }
    [[nodiscard]] double self() const { return self_; }

private:
    B& b_;
    const settings& s_;
    const problem<B>& data_;
    std::filesystem::path out_;
    double self_;
    support::lap_log laps_;
};

template <Backend B>
int run(B& b, const settings& s, const program_options& o) {
    using network = nn::mlp<B>;
    using prior_type = prior::learned<B, network>;
    const problem<B> data(b, s);
    const auto observed = data.observed(b);
    std::cout << s.observations << " points of a curve in R^" << s.net.features << ", of each " << s.rows
              << " projections with noise " << s.sigma_y << "; " << s.em.laps << " laps, covariance "
              << to_string(s.em.mmps.cov_x) << ", " << to_string(s.em.mmps.solver) << " of at most "
              << s.em.mmps.max_iterations << " iterations; " << support::describe(o.at, b.threads()) << std::endl;
    const auto cost = support::say_plan(std::cout, b, network(s.net), s.em, observed, s.observations);
    if (o.plan_only) return 0;

    support::run_report page(o.out, {{"program", "manifold"},
                                     {"backend", o.at.backend},
                                     {"threads", b.threads()},
                                     {"products", o.at.products},
                                     {"seed", s.em.seed},
                                     {"observations", s.observations},
                                     {"features", s.net.features},
                                     {"rows", s.rows},
                                     {"operator", "random projections"},
                                     {"sigma_y", s.sigma_y},
                                     {"gaussian_laps", s.gaussian.fit.max_laps},
                                     {"em", prior::settings_json(s.em)},
                                     {"covariance", to_string(s.em.mmps.cov_x)},
                                     {"solver", to_string(s.em.mmps.solver)},
                                     {"max_iterations", s.em.mmps.max_iterations},
                                     {"sampler_steps", s.em.sampling.steps},
                                     {"training_steps", s.em.training.steps},
                                     {"training_batch", s.em.training.batch},
                                     {"evaluation_samples", s.samples},
                                     {"truth_file", "truth.npy"}});
    auto& report = page.json();
    std::optional<evaluation<B>> eval;
    const auto save = [&](const std::string& status) {  // as the run goes on, too
        if (eval) report["along_laps"] = eval->laps();
        page.save(status);
    };
    const auto cancelled = [&] {
        save("cancelled");
        return support::interrupt_status();
    };
    support::outputs files("--out", o.out);
    files.reads("--config", o.config).writes({"report.json", "report.html", "laps.json", "truth.npy"});
    files.prepare();
    support::catch_interrupts();
    save("running");
    support::watched_run<B, network> watch(
        s.observations, support::run_clock(s.em.laps, cost.sampling_seconds(), cost.training_seconds()),
        [&](const prior::lap_diagnostics& d, const_view_t<B> x, const prior_type&) {
            eval->add(d, x);
            save("running");
            std::cout << "  divergence of its samples " << eval->laps().back()["divergence"] << std::endl;
        },
        s.em.observations_per_lap);
    auto& run = watch.run();
    run.folder = o.out / "checkpoint";
    run.resume = o.resume;
    run.overwrite = !o.resume;
    run.keep_laps = false;

    // The Gaussian stage.
    auto options = s.gaussian;
    options.seed = s.em.seed;
    auto initial = prior::learn_gaussian(b, observed, options, run);
    if (initial.status == prior::run_status::cancelled) return cancelled();
    batch<B> free(b, s.net.features, s.samples);
    prior::sample(b, initial.prior, {.seed = s.em.seed + 17}, free.view());
    eval.emplace(b, s, data, o.out);
    const double gaussian_prior = eval->divergence(free.cview());
    eval->save(free.cview(), "prior_gaussian.npy");
    std::cout << "Gaussian stage: divergence of its prior " << gaussian_prior
              << ", of two draws of the truth (T(a, b)) " << eval->self() << std::endl;

    // The laps.
    if (o.resume) eval->restore(s.em.laps);
    auto result = prior::fit_diffusion(b, std::move(initial.prior), network(s.net), observed, s.em, run);
    std::cout << result.report << '\n';
    report["message"] = result.report;
    if (result.status == prior::run_status::cancelled) return cancelled();

    // Posterior samples under the last prior, and samples of the prior itself.
    const auto& last = result.prior;
    batch<B> x(b, s.net.features, s.observations);
    posterior::sample_state state;
    support::progress bar("samples under the last prior", static_cast<long>(s.observations));
    auto how = last.sample_options(b);
    if (!last.has_network()) how.mmps = *s.em.initial_mmps;
    const random_key key{.seed = prior::lap_seed(s.em.seed, last.laps(), 1)};
    if (!posterior::sample<B>(b, last, observed, how, key, x.view(), state, [&](const auto& drawn, const auto&) {
            bar.update(static_cast<long>(drawn.done));
            return !support::interrupted();
        }))
        return cancelled();
    bar.finish();
    if (s.em.outside == prior::out_of_range::remove) x = prior::remove_outside<B>(b, x.cview(), s.em.low, s.em.high);
    auto d = prior::diagnostics_of(state);
    d.lap = last.laps();
    d.removed = d.samples - x.items();
    eval->add(d, x.cview());
    double network_prior = gaussian_prior;
    if (last.has_network()) {
        prior::sample(b, last, {.seed = s.em.seed + 17}, free.view());
        network_prior = eval->divergence(free.cview());
        eval->save(free.cview(), "prior_network.npy");
    }

    const double first = eval->laps().front()["divergence"], end = eval->laps().back()["divergence"];
    std::vector<std::vector<std::string>> rows;
    for (const auto& e : eval->laps())
        rows.push_back({std::to_string(e["lap"].template get<index_t>()),
                        support::number(1e3 * e["divergence"].template get<double>(), 3),
                        e["distance_to_observed_point"].is_null()
                            ? "-"
                            : support::number(e["distance_to_observed_point"].template get<double>(), 3),
                        support::number(e["data_residual"].template get<double>())});
    std::cout << "\nPosterior samples under the prior after so many laps\n";
    support::print_table(std::cout, {"laps", "1000 x divergence", "distance to the point", "data residual"}, rows);
    std::cout << "1000 x divergence of the priors' own samples: Gaussian " << support::number(1e3 * gaussian_prior, 3)
              << ", network " << support::number(1e3 * network_prior, 3) << '\n';
    report.update({{"laps", last.laps()},
                   {"transport_between_truths", eval->self()},
                   {"divergence_gaussian_prior", gaussian_prior},
                   {"divergence_network_prior", network_prior},
                   {"divergence_first", first},
                   {"divergence_last", end}});
    save(prior::to_string(result.status));
    page.warn("manifold");
    std::cout << '\n'
              << support::number(report["seconds"].get<double>(), 1)
              << " s. report.json, report.html and the samples are in " << std::filesystem::absolute(o.out).string()
              << '\n';
    return result.status == prior::run_status::rejected ? 1 : 0;
}

}  // namespace manifold
