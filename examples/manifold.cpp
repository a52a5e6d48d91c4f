// SPDX-License-Identifier: Apache-2.0

// A prior of points on a curve in R^5 from two noisy projections of each point, in directions that are new for every
// point; no point is ever seen whole. The low-dimensional experiment of arXiv 2405.13712.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <iostream>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include <diem/backend/eigen.hpp>
#include <diem/io/config.hpp>
#include <diem/io/json.hpp>
#include <diem/io/npy.hpp>
#include <diem/linop/covariance.hpp>
#include <diem/linop/dense.hpp>
#include <diem/metrics/psnr.hpp>
#include <diem/metrics/sinkhorn.hpp>
#include <diem/model/config.hpp>
#include <diem/model/preconditioned.hpp>
#include <diem/posterior/observation.hpp>
#include <diem/prior/diffusion_em.hpp>
#include <diem/prior/gaussian_fit.hpp>

#include "support/curve.hpp"
#include "support/em_monitor.hpp"
#include "support/em_settings.hpp"
#include "support/interrupt.hpp"
#include "support/progress.hpp"
#include "support/report.hpp"

using namespace diem;
using backend_type = eigen_backend<float>;
using points = batch<backend_type>;
using gaussian = diffusion::gaussian<backend_type>;
using network = model::preconditioned<backend_type, nn::mlp<backend_type>>;
namespace fs = std::filesystem;

namespace {

/// Units: sigma_y and the noise levels are standard deviations in data units, points lie in [-2, 2]^features.
struct settings {
    index_t observations = 4096, rows = 2;
    double sigma_y = 1e-2, alpha = 3, epsilon = 1e-3;
    nn::mlp_config net = model::presets::manifold_mlp();
    index_t gaussian_laps = 16;
    prior::gaussian_e_step gaussian_e_step = prior::gaussian_e_step::moments;
    prior::em_options em{};
    index_t samples = 4096;  ///< compared with as many points of the truth
    metrics::sinkhorn_options sinkhorn{};
};

settings read_settings(const fs::path& path) {
    settings s;
    auto& em = s.em;
    em.laps = 16;
    em.refresh.mean = false;
    em.sampling = {.sampler = prior::sampler_choice::predictor_corrector, .steps = 256, .sigma_max = 10};
    em.training.batch = 1024;
    em.training.rate = {.schedule = train::rate_schedule::linear, .initial = 1e-3, .final = 1e-6};
    em.training.adam.ema_decay = 0;
    if (path.empty()) return s;
    io::read_config(io::load_config(path), [&](io::config_object& c) {
        c.ignore("comment");
        c.optional("observations", s.observations).at_least(1);
        c.optional("rows", s.rows).at_least(1);
        c.optional("sigma_y", s.sigma_y).above(0.0);
        c.optional("alpha", s.alpha).above(0.0);
        c.optional("epsilon", s.epsilon).above(0.0).below(1.0);
        support::read_network(c, "network", "an mlp", s.net);
        c.object("gaussian", [&](io::config_object& o) {
            o.optional("laps", s.gaussian_laps).at_least(0);
            support::read_choice(
                o, "e_step", s.gaussian_e_step,
                {{"moments", prior::gaussian_e_step::moments}, {"diffusion", prior::gaussian_e_step::diffusion}});
        });
        c.optional("laps", em.laps).at_least(0);
        c.optional("switch_factor", em.switch_factor).at_least(0.0);
        support::read_sampler(c, "sampler", em.sampling);
        support::read_posterior(c, "posterior", em.mmps);
        support::read_training(c, "training", em.training, s.observations);
        c.object("evaluation", [&](io::config_object& o) {
            o.optional("samples", s.samples).at_least(2);
            support::read_sinkhorn(o, s.sinkhorn);
        });
        c.optional("seed", em.seed);
    });
    return s;
}

/// What is observed, and points of the truth for the figures only: other ones than those observed.
struct problem {
    points x, matrices, y, truth_a, truth_b;
    linop::dense<backend_type> a;
    linop::isotropic_covariance noise;

    problem(backend_type& b, const settings& s)
        : problem(b, s, support::curve(s.net.features, s.em.seed, s.alpha, s.epsilon)) {}
    [[nodiscard]] auto observed(backend_type& b) const { return posterior::observe(b, y.cview(), a, noise); }

private:
    problem(backend_type& b, const settings& s, const support::curve& c)
        : x(support::batch_of(b, c.points(s.observations, s.em.seed, 0), c.features())),
          matrices(support::batch_of(b, support::random_projections(s.rows, c.features(), s.observations, s.em.seed),
                                     s.rows * c.features())),
          y(b, s.rows, s.observations), truth_a(support::batch_of(b, c.points(s.samples, s.em.seed, 1), c.features())),
          truth_b(support::batch_of(b, c.points(s.samples, s.em.seed, 2), c.features())),
          a(linop::dense<backend_type>::per_item(matrices.view(), s.rows, c.features())),
          noise(s.rows, s.sigma_y * s.sigma_y) {
        posterior::simulate<backend_type>(b, a, noise, x.cview(), {.seed = s.em.seed, .lane = random_lane::observation},
                                          y.view());
    }
};

/// Compares samples with the truth, keeps them for the plots, and the figures in laps.json for a resumed run.
class evaluation {
public:
    evaluation(backend_type& b, const settings& s, const problem& data, fs::path out)
        : b_(b), s_(s), data_(data), out_(std::move(out)),
          self_(metrics::transport(b, data.truth_a.cview(), data.truth_b.cview(), s.sinkhorn).cost) {
        save(data.truth_a.cview(), "truth.npy");
    }
    /// max(T(a, x) - T(a, b), 1e-6) of the first samples, those beyond (-3, 3) left out as in the paper's code.
    [[nodiscard]] double divergence(const_view_t<backend_type> x) const {
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
    [[nodiscard]] double error(const_view_t<backend_type> x) const {
        const auto errors = metrics::mean_squared_error(b_, x, data_.x.cview());
        double sum = 0;
        for (const double e : errors) sum += e;
        return std::sqrt(sum / static_cast<double>(errors.size()) * static_cast<double>(x.features()));
    }
    /// Posterior samples under the prior that `lap` laps made.
    void add(const prior::lap_diagnostics& d, const_view_t<backend_type> x) {
        io::json entry = prior::to_json(d);
        entry["divergence"] = divergence(x);
        entry["distance_to_observed_point"] = error(x);
        entry["samples_file"] = "samples_" + std::to_string(d.lap) + ".npy";
        save(x, entry["samples_file"].get<std::string>());
        laps_.erase(std::remove_if(laps_.begin(), laps_.end(), [&](const io::json& e) { return e["lap"] >= d.lap; }),
                    laps_.end());
        laps_.push_back(entry);
        io::save_json(out_ / "laps.json", {{"laps", laps_}});
    }
    /// Figures of the laps before a resume.
    void restore(index_t laps) {
        if (!fs::exists(out_ / "laps.json")) return;
        const auto stored = io::load_json(out_ / "laps.json");
        for (const auto& entry : stored.at("laps"))
            if (entry.at("lap").get<index_t>() < laps) laps_.push_back(entry);
    }
    void save(const_view_t<backend_type> x, const std::string& name) const {
        const auto part = x.item_range(0, std::min(x.items(), s_.samples));
        const auto values = to_host(b_, part);
        io::save_npy(out_ / name, {part.items(), part.features()}, std::span<const float>(values));
    }
    [[nodiscard]] const std::vector<io::json>& laps() const { return laps_; }
    [[nodiscard]] double self() const { return self_; }

private:
    backend_type& b_;
    const settings& s_;
    const problem& data_;
    fs::path out_;
    double self_;
    std::vector<io::json> laps_;
};

template <class Model>
points unconditional(backend_type& b, Model& model, const settings& s, const_vector_t<backend_type> mean) {
    points x(b, model.features(), s.samples);
    prior::sample_prior<backend_type>(b, model, s.em.sampling, mean, {.seed = s.em.seed + 17}, x.view());
    return x;
}

int run(const settings& given, const fs::path& out, int threads, bool resume) {
    const auto start = std::chrono::steady_clock::now();
    settings s = given;
    backend_type b(threads);
    fs::create_directories(out);
    support::catch_interrupts();
    const problem data(b, s);
    std::cout << s.observations << " points of a curve in R^" << s.net.features << ", of each " << s.rows
              << " projections with noise " << s.sigma_y << "; " << s.em.laps << " laps, covariance "
              << to_string(s.em.mmps.cov_x) << ", " << to_string(s.em.mmps.solver) << " of at most "
              << s.em.mmps.max_iterations << " iterations; " << b.threads() << " threads" << std::endl;

    // The Gaussian stage.
    prior::gaussian_fit_options options{
        .fit = {.max_laps = s.gaussian_laps}, .e_step = s.gaussian_e_step, .ppca = {.rank = s.net.features}};
    options.sampling = {
        .sampler = prior::sampler_choice::ddim, .steps = 256, .batch = 1024, .sigma_max = s.em.sampling.sigma_max};
    options.measure_evidence = false;
    options.seed = s.em.seed;
    auto initial =
        prior::fit_gaussian(b, prior::isotropic_gaussian(b, s.net.features), data.observed(b), options).prior;
    points free(b, s.net.features, s.samples);
    initial.sample(b, {.seed = s.em.seed + 17, .lane = random_lane::prior_sample}, free.view());
    evaluation eval(b, s, data, out);
    const double gaussian_prior = eval.divergence(free.cview());
    eval.save(free.cview(), "prior_gaussian.npy");
    std::cout << "Gaussian stage: divergence of its prior " << gaussian_prior
              << ", of two draws of the truth (T(a, b)) " << eval.self() << std::endl;

    // The laps.
    network model(b, nn::mlp<backend_type>(s.net));
    model.initialize(b, {.seed = s.em.seed});
    std::atomic<bool> cancel = false;
    s.em.initial_mmps = posterior::mmps_options{.max_iterations = s.rows, .relative_tolerance = 1e-3};
    s.em.folder = out / "checkpoint";
    s.em.resume = resume;
    s.em.keep_laps = false;
    s.em.config = model::to_json(s.net);
    s.em.cancel = &cancel;
    if (resume) eval.restore(s.em.laps);
    support::em_monitor watch(cancel, [&](const prior::lap_diagnostics& d, const_view_t<backend_type> x, const auto&) {
        eval.add(d, x);
        std::cout << "  divergence of its samples " << eval.laps().back()["divergence"] << std::endl;
    });
    const auto observed = data.observed(b);
    auto result = prior::fit_diffusion(b, model, model.table(), observed, initial,
                                       prior::untrained_prior<backend_type>(b, model, initial), s.em, watch);
    std::cout << result.report << '\n';
    if (result.status == prior::em_status::cancelled) return 130;

    // Posterior samples under the last prior, and samples of the prior itself.
    const auto& last = result.prior;
    points x(b, s.net.features, s.observations);
    prior::e_step_state state;
    const auto mmps = prior::e_step_mmps(b, s.em, last);
    support::progress bar("samples under the last prior", static_cast<long>(s.observations));
    const auto draw = [&](auto& m) {
        return prior::sample_posteriors(b, m, observed, &*last.estimate, mmps, s.em.sampling, s.em.guard,
                                        last.mean.flat(), prior::detail::lap_seed(s.em.seed, last.laps, 1), x.view(),
                                        state, [&](const prior::e_step_state& e) {
                                            bar.update(static_cast<long>(e.done));
                                            return !support::interrupted();
                                        });
    };
    if (!(last.laps > 0 ? draw(model) : draw(initial))) return 130;
    bar.finish();
    auto d = prior::diagnostics_of(state);
    d.lap = last.laps;
    eval.add(d, x.cview());
    double network_prior = gaussian_prior;
    if (last.laps > 0) {
        free = unconditional(b, model, s, last.mean.flat());
        network_prior = eval.divergence(free.cview());
        eval.save(free.cview(), "prior_network.npy");
    }

    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    const double first = eval.laps().front()["divergence"], end = eval.laps().back()["divergence"];
    std::vector<std::vector<std::string>> rows;
    for (const auto& e : eval.laps())
        rows.push_back({std::to_string(e["lap"].get<index_t>()),
                        support::number(1e3 * e["divergence"].get<double>(), 3),
                        support::number(e["distance_to_observed_point"].get<double>(), 3),
                        support::number(e["data_residual"].get<double>())});
    std::cout << "\nPosterior samples under the prior after so many laps\n";
    support::print_table(std::cout, {"laps", "1000 x divergence", "distance to the point", "data residual"}, rows);
    std::cout << "1000 x divergence of the priors' own samples: Gaussian " << support::number(1e3 * gaussian_prior, 3)
              << ", network " << support::number(1e3 * network_prior, 3) << '\n';
    io::save_json(out / "report.json", {{"program", "manifold"},
                                        {"environment", support::environment()},
                                        {"threads", b.threads()},
                                        {"seed", s.em.seed},
                                        {"observations", s.observations},
                                        {"features", s.net.features},
                                        {"rows", s.rows},
                                        {"sigma_y", s.sigma_y},
                                        {"gaussian_laps", s.gaussian_laps},
                                        {"laps", last.laps},
                                        {"covariance", to_string(s.em.mmps.cov_x)},
                                        {"solver", to_string(s.em.mmps.solver)},
                                        {"max_iterations", s.em.mmps.max_iterations},
                                        {"sampler_steps", s.em.sampling.steps},
                                        {"training_steps", s.em.training.steps},
                                        {"training_batch", s.em.training.batch},
                                        {"evaluation_samples", s.samples},
                                        {"status", prior::to_string(result.status)},
                                        {"message", result.report},
                                        {"transport_between_truths", eval.self()},
                                        {"divergence_gaussian_prior", gaussian_prior},
                                        {"divergence_network_prior", network_prior},
                                        {"divergence_first", first},
                                        {"divergence_last", end},
                                        {"along_laps", eval.laps()},
                                        {"truth_file", "truth.npy"},
                                        {"seconds", seconds}});
    std::cout << '\n'
              << support::number(seconds, 1) << " s. report.json and the samples are in " << fs::absolute(out).string()
              << '\n';
    return result.status == prior::em_status::rejected ? 1 : 0;
}

}  // namespace

int main(int argc, char** argv) {
    fs::path out = "out/manifold", config;
    std::string covariance;
    int threads = 0;
    bool smoke = false, resume = false;
    std::optional<std::uint64_t> seed;
    std::optional<index_t> laps;
    CLI::App app("Learns a prior of points on a curve from random projections of them");
    app.add_option("--config", config, "JSON file, see examples/configs")->check(CLI::ExistingFile);
    app.add_option("--out", out, "folder for report.json, samples and the checkpoint")->capture_default_str();
    app.add_option("--covariance", covariance, "instead of the configuration's: tweedie, gaussian_heuristic, ...");
    app.add_option("--laps", laps, "instead of the configuration's");
    app.add_option("--seed", seed, "instead of the configuration's");
    app.add_option("--threads", threads, "0: one per core")->capture_default_str();
    app.add_flag("--resume", resume, "go on from the checkpoint in --out, where there is one");
    app.add_flag("--smoke", smoke, "a small run that takes seconds");
    CLI11_PARSE(app, argc, argv);
    try {
        settings s = read_settings(config);
        if (!covariance.empty()) s.em.mmps.cov_x = posterior::covariance_from(covariance);
        if (laps) s.em.laps = *laps;
        if (seed) s.em.seed = *seed;
        if (smoke) {
            s.observations = s.samples = 128;
            s.net.hidden = {32, 32};
            s.em.laps = std::min<index_t>(s.em.laps, 2);
            s.em.sampling.steps = 8;
            s.em.training.steps = 20;
            s.em.training.batch = 64;
            s.sinkhorn.iterations = 50;
        }
        return run(s, out, threads, resume);
    } catch (const std::exception& e) {
        std::cerr << "manifold: " << e.what() << '\n';
        return 1;
    }
}
