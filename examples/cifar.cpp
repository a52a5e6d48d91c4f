// SPDX-License-Identifier: Apache-2.0

// A prior of CIFAR-10 images from images of which 75 % of the pixels were deleted (all three channels of a pixel together):
// a Gaussian, then, where the configuration names a network, a diffusion prior by EM. With each, posterior samples of
// masked test images.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <iostream>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include <diem/backend/eigen.hpp>
#include <diem/io/cifar.hpp>
#include <diem/io/json.hpp>
#include <diem/model/config.hpp>
#include <diem/model/preconditioned.hpp>
#include <diem/prior/diffusion_em.hpp>

#include "support/cifar_files.hpp"
#include "support/cifar_settings.hpp"
#include "support/diffusion_stage.hpp"
#include "support/gaussian_stage.hpp"
#include "support/image_batches.hpp"
#include "support/image_grid.hpp"
#include "support/masked_images.hpp"
#include "support/plan.hpp"
#include "support/progress.hpp"
#include "support/report.hpp"
#include "support/sample_figures.hpp"

using namespace diem;
using support::backend_type;
using support::cifar_settings;
using support::images;
using gaussian = diffusion::gaussian<backend_type>;
using network = model::preconditioned<backend_type, nn::unet<backend_type>>;
namespace fs = std::filesystem;

namespace {

const support::image_shape shape{32, 32, 3};

struct program_options {
    fs::path data, out = "out/cifar", config, classifier;
    std::optional<double> keep;             ///< instead of the configuration's
    std::optional<std::string> covariance;  ///< of the E-step with the network, likewise
    int threads = 0;
    bool resume = false, plan_only = false, smoke = false;
};

/// Where unconditional samples are compared with test images.
using real_images = std::optional<support::sample_figures>;

/// Figures and pictures of one prior.
template <class Model>
io::json evaluate(backend_type& b, const std::string& name, Model& model, const gaussian& estimate,
                  const_vector_t<backend_type> mean, const posterior::mmps_options& mmps,
                  prior::sampling_options sampling, const cifar_settings& s, const support::masked_images& test,
                  real_images& real, const fs::path& out) {
    sampling.sampler = prior::sampler_choice::ddpm;
    sampling.samples_per_observation = s.evaluation.samples;
    images x;
    support::progress bar("posterior samples, " + name, static_cast<long>(test.items() * s.evaluation.samples));
    const auto figures = support::sample_held_out(b, model, test, &estimate, mmps, sampling, mean, s.seed + 3, x,
                                                  [&](index_t done, index_t) {
                                                      bar.update(static_cast<long>(done));
                                                      return true;
                                                  });
    bar.finish();
    support::save_posterior_picture(b, out / ("posterior_" + name + ".png"), test, x.cview(),
                                    std::min(s.evaluation.pictures, test.items()), 2);
    const index_t count = std::max(s.evaluation.free_samples, s.evaluation.pictures);
    const auto free = support::unconditional(b, model, sampling, mean, count);
    io::save_png(out / ("samples_" + name + ".png"),
                 support::picture_row(b, free.cview().item_range(0, s.evaluation.pictures), shape, 2));
    io::json figure{{"stage", name},
                    {"psnr_sample_db", figures.sample},
                    {"psnr_mean_db", figures.mean},
                    {"data_residual", figures.residual},
                    {"outside_share", figures.diagnostics.outside_share},
                    {"solver_shares", figures.diagnostics.solver_shares},
                    {"seconds", figures.diagnostics.e_seconds}};
    if (real) figure.update((*real)(b, free.cview()));
    return figure;
}

struct diffusion_outcome {
    prior::em_status status = prior::em_status::completed;
    io::json laps = io::json::array();
};

/// The diffusion prior, by EM from the Gaussian one. Its figures are added to `stages`.
diffusion_outcome run_diffusion(backend_type& b, const cifar_settings& s, const program_options& o,
                                const support::masked_images& train, gaussian& initial,
                                const support::masked_images& test, real_images& real, io::json& stages) {
    network model(b, nn::unet<backend_type>(*s.network));
    model.initialize(b, {.seed = s.seed});
    support::print_plan(std::cout, support::plan_em(b, model, s.em, s.observations), s.em);
    if (o.plan_only) return {};

    auto em = s.em;
    em.folder = o.out / "checkpoint";
    em.resume = o.resume;
    em.config = model::to_json(*s.network);
    // One file per lap, so that a resumed run still has the rows before it.
    const auto result = support::fit_diffusion_stage(
        b, model, train.observed(b), initial, em, [&](const prior::lap_diagnostics& d, const auto&, const auto& next) {
            prior::load_into(b, next, model);
            const auto free = support::unconditional(b, model, em.sampling, next.mean.flat(), s.evaluation.pictures);
            io::save_png(o.out / ("lap_" + std::to_string(d.lap) + ".png"),
                         support::picture_row(b, free.cview(), shape, 2));
        });
    diffusion_outcome outcome{result.status};
    for (const auto& d : result.prior.history) outcome.laps.push_back(prior::to_json(d));
    if (result.status == prior::em_status::cancelled || result.prior.laps == 0) return outcome;
    const auto mmps = prior::e_step_mmps(b, em, result.prior);
    stages.push_back(evaluate(b, "diffusion", model, *result.prior.estimate, result.prior.mean.flat(), mmps,
                              em.sampling, s, test, real, o.out));
    return outcome;
}

int run(const cifar_settings& s, const program_options& o) {
    const auto start = std::chrono::steady_clock::now();
    const auto elapsed = [&] {
        return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    };
    fs::create_directories(o.out);
    backend_type b(o.threads);
    const auto masked = [&](const std::vector<fs::path>& files, index_t count, std::uint32_t purpose) {
        return support::mask_images(b, support::load_cifar(b, files, count).x, shape, s.keep, s.sigma_y, s.seed,
                                    purpose);
    };
    const auto train = masked(io::cifar10_train_files(o.data), s.observations, 0);
    const auto test = masked(io::cifar10_test_files(o.data), s.evaluation.images, 1);
    real_images real;
    if (const index_t count = s.evaluation.free_samples; count > 1)
        real.emplace(b,
                     support::load_cifar(b, io::cifar10_test_files(o.data), std::max(s.evaluation.images, 4 * count)).x,
                     o.classifier);
    std::cout << train.items() << " images with " << support::number(100 * (1 - s.keep), 0)
              << " % of their pixels deleted, noise " << s.sigma_y << " in [-2, 2]; Gaussian of rank "
              << s.gaussian.rank << " from " << s.gaussian.observations << " of them in " << s.gaussian.laps
              << " laps; " << b.threads() << " threads" << std::endl;

    const auto means = support::observed_means(b, train);
    const double mean_fill = support::psnr(b, support::filled(b, test, means), test.truth.cview());
    const double zero_fill =
        support::psnr(b, support::filled(b, test, std::vector<float>(means.size(), 0.0F)), test.truth.cview());

    auto fitted =
        support::fit_gaussian_stage(b, s.gaussian, train.observed(b).items(0, s.gaussian.observations), s.seed);
    const double fit_seconds = elapsed();
    io::json stages = io::json::array();
    stages.push_back(evaluate(b, "gaussian", fitted.prior, fitted.prior, fitted.prior.mu(), s.gaussian.mmps,
                              s.gaussian.sampling, s, test, real, o.out));
    images exact(b, test.truth.features(), test.items());
    prior::posterior_means(b, fitted.prior, test.observed(b), exact.view());
    const double exact_mean = support::psnr(b, exact, test.truth.cview());

    const double unseen = prior::log_evidence(b, fitted.prior, test.observed(b)) / static_cast<double>(test.items());
    support::print_evidence(std::cout, fitted.history, s.gaussian.observations);
    std::cout << "test images, after the last lap: " << support::number(unseen, 2) << "\n" << std::endl;

    diffusion_outcome outcome;
    if (s.network) outcome = run_diffusion(b, s, o, train, fitted.prior, test, real, stages);
    if (o.plan_only) return 0;
    if (outcome.status == prior::em_status::cancelled) return 130;

    std::cout << "\nPSNR of " << test.items() << " test images, dB (range 4)\n";
    std::vector<std::vector<std::string>> rows{{"deleted pixels zero", support::number(zero_fill)},
                                               {"deleted pixels at their mean", support::number(mean_fill)},
                                               {"gaussian: exact posterior mean", support::number(exact_mean)}};
    for (const auto& stage : stages) {
        const auto name = stage["stage"].get<std::string>();
        rows.push_back({name + ": one posterior sample", support::number(stage["psnr_sample_db"].get<double>())});
        rows.push_back({name + ": mean of " + std::to_string(s.evaluation.samples) + " samples",
                        support::number(stage["psnr_mean_db"].get<double>())});
        for (const auto& [key, title] : support::sample_figure_names)
            if (stage.contains(key))
                rows.push_back({name + ": " + title, support::number(stage[key].get<double>(), 3)});
    }
    support::print_table(std::cout, {"", "PSNR"}, rows);
    const double seconds = elapsed();
    io::save_json(o.out / "report.json",
                  {{"program", "cifar"},
                   {"environment", support::environment()},
                   {"threads", b.threads()},
                   {"seed", s.seed},
                   {"observations", train.items()},
                   {"test_images", test.items()},
                   {"keep", s.keep},
                   {"sigma_y", s.sigma_y},
                   {"rank", s.gaussian.rank},
                   {"gaussian_observations", s.gaussian.observations},
                   {"gaussian_laps", fitted.laps},
                   {"log_evidence_per_observation", support::evidence_of(fitted.history, s.gaussian.observations)},
                   {"log_evidence_test", unseen},
                   {"psnr_zero_fill_db", zero_fill},
                   {"psnr_mean_fill_db", mean_fill},
                   {"psnr_exact_gaussian_mean_db", exact_mean},
                   {"stages", stages},
                   {"laps", outcome.laps},
                   {"status", prior::to_string(outcome.status)},
                   {"gaussian_seconds", fit_seconds},
                   {"seconds", seconds}});
    std::cout << "\n"
              << support::number(seconds, 1) << " s, " << support::number(fit_seconds, 1)
              << " s of them for the Gaussian prior. Pictures and report.json are in " << fs::absolute(o.out).string()
              << "\n  posterior_*.png  rows: observed, one sample, mean of the samples, truth\n"
                 "  samples_*.png    unconditional samples\n"
                 "  lap_*.png        unconditional samples after that lap of the diffusion prior\n";
    return outcome.status == prior::em_status::completed ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
    program_options o;
    CLI::App app("Learns a prior of CIFAR-10 from masked images, and samples posteriors");
    app.add_option("--data", o.data, "folder of data_batch_1.bin .. 5 and test_batch.bin");
    app.add_option("--config", o.config, "JSON file, see examples/configs")->check(CLI::ExistingFile);
    app.add_option("--keep", o.keep, "share of the pixels observed, instead of the configuration's");
    app.add_option("--covariance", o.covariance, "of the network's E-step, instead of the configuration's");
    app.add_option("--classifier", o.classifier,
                   "of examples/classifier: also compares its features of samples and images")
        ->check(CLI::ExistingFile);
    app.add_option("--out", o.out, "folder for pictures, checkpoints and report.json")->capture_default_str();
    app.add_option("--threads", o.threads, "0: one per core")->capture_default_str();
    app.add_flag("--resume", o.resume, "go on from the checkpoint in --out, where there is one");
    app.add_flag("--plan", o.plan_only, "say what the diffusion prior will cost, and stop before it");
    app.add_flag("--smoke", o.smoke, "a small run that takes seconds; without --data on made-up images");
    CLI11_PARSE(app, argc, argv);
    try {
        auto s = support::read_cifar_settings(o.config);
        if (o.keep) {
            check_value("--keep", *o.keep > 0 && *o.keep <= 1, "expected a share above 0, at most 1");
            s.keep = *o.keep;
        }
        if (o.covariance) s.em.mmps.cov_x = posterior::covariance_from(*o.covariance);
        if (o.smoke) {
            support::shrink(s);
            if (o.data.empty()) support::write_cifar_stand_in(o.data = o.out / "stand-in");
        }
        check_value("--classifier", o.classifier.empty() || s.evaluation.free_samples > 1,
                    "needs a configuration with \"free_samples\" of at least 2");
        if (o.data.empty()) throw value_error("--data is missing");
        return run(s, o);
    } catch (const std::exception& e) {
        std::cerr << "cifar: " << e.what() << '\n';
        return 1;
    }
}
