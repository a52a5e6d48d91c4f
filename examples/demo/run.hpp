// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/io/json.hpp>
#include <diem/io/npy.hpp>
#include <diem/io/png.hpp>
#include <diem/metrics/frechet.hpp>
#include <diem/model/preconditioned.hpp>
#include <diem/nn/mlp.hpp>
#include <diem/prior/diffusion_em.hpp>
#include <diem/prior/gaussian_fit.hpp>

#include "demo/program.hpp"
#include "support/diffusion_stage.hpp"
#include "support/image_grid.hpp"
#include "support/masked_images.hpp"
#include "support/progress.hpp"
#include "support/report.hpp"

namespace demo {

using namespace diem;
template <Backend B>
using gaussian = diffusion::gaussian<B>;
template <Backend B>
using network = model::preconditioned<B, nn::mlp<B>>;

template <Backend B>
struct digits {
    support::masked_images<B> train, held_out;
};

/// Pixels 0 .. 16 as data in [-2, 2].
template <Backend B>
digits<B> load_digits(B& b, const program_options& o) {
    const auto folder = std::filesystem::is_directory(o.data / "digits") ? o.data / "digits" : o.data;
    const auto pixels = io::load_npy<std::uint8_t>(folder / "digits_8x8.npy");
    if (pixels.shape.size() != 3 || pixels.shape[0] <= o.held_out)
        throw io_error((folder / "digits_8x8.npy").string() + ": shape " + io::to_string(pixels.shape) +
                       ", expected (more than " + std::to_string(o.held_out) + ", height, width)");
    const support::image_shape shape{pixels.shape[1], pixels.shape[2], 1};
    const index_t n = shape.height * shape.width, train = o.smoke ? 256 : pixels.shape[0] - o.held_out;
    std::vector<float> values(pixels.data.size());
    for (std::size_t k = 0; k < values.size(); ++k) values[k] = static_cast<float>(pixels.data[k]) / 4 - 2;
    const auto part = [&](index_t first, index_t count) {
        return to_backend(b, std::vector<float>(values.begin() + first * n, values.begin() + (first + count) * n), n,
                          count);
    };
    return {
        support::mask_images(b, part(0, train), shape, o.keep, o.sigma_y, o.seed, 0),
        support::mask_images(b, part(pixels.shape[0] - o.held_out, o.held_out), shape, o.keep, o.sigma_y, o.seed, 1)};
}

/// Shows progress, and keeps unconditional samples of the priors along the way: always the same random numbers.
template <Backend B>
struct gaussian_monitor {
    B& b;
    support::progress& bar;
    index_t laps;
    std::vector<support::image> rows{};

    void lap_start(index_t lap, const gaussian<B>& prior) {
        for (const index_t k : {index_t{0}, index_t{1}, index_t{2}, index_t{4}, index_t{8}, index_t{16}})
            if (lap == k && lap < laps) add(prior);
    }
    void lap_end(const em::lap_record& r, const prior::gaussian_moments<B>& s, const gaussian<B>&) const {
        bar.update(static_cast<long>(r.lap + 1),
                   "log p(y) " + support::number(r.objective / static_cast<double>(s.items), 3));
    }
    void add(const gaussian<B>& prior) {
        batch<B> x(b, prior.features(), 16);
        prior.sample(b, {.seed = 1, .lane = random_lane::prior_sample}, x.view());
        rows.push_back(support::picture_row(b, x.cview(), {8, 8, 1}, 4));
    }
};

template <Backend B>
em::fit_result<gaussian<B>> fit(B& b, const program_options& o, const digits<B>& data,
                                std::vector<support::image>& rows) {
    support::progress bar("Gaussian EM", static_cast<long>(o.gaussian_laps));
    gaussian_monitor<B> monitor{b, bar, o.gaussian_laps};
    auto result = prior::fit_gaussian(
        b, prior::isotropic_gaussian(b, data.train.truth.features()), data.train.observed(b),
        {.fit = {.max_laps = o.gaussian_laps},
         .ppca = {.rank = o.rank, .rest = o.rest == "diagonal" ? train::rest::diagonal : train::rest::isotropic},
         .seed = o.seed},
        monitor);
    bar.finish();
    monitor.add(result.prior);
    rows = std::move(monitor.rows);
    return result;
}

/// Unconditional samples of any prior, drawn by reversing the diffusion.
template <Backend B, class Model>
batch<B> unconditional(B& b, Model& model, const program_options& o, const_vector_t<B> mean, index_t count) {
    auto sampling = o.sampling;
    sampling.steps = o.free_steps;
    sampling.batch = count;
    return support::unconditional(b, model, sampling, mean, count, o.seed + 17);
}

struct stage_figures {
    std::string name;
    support::posterior_figures posterior;
    double frechet = 0;  ///< of unconditional samples to the held-out images, pixels in [0, 1]
};

/// Squared Frechet distance in pixel space, pixels scaled to [0, 1].
template <Backend B, Backend Wide>
double pixel_distance(B& b, Wide& wide, const_view_t<B> x, const_view_t<B> truth) {
    return metrics::frechet_distance(wide, b, x, truth) / 16;
}

/// Posterior samples of the held-out observations, and unconditional samples, with any prior: figures and pictures.
template <Backend B, Backend Wide, class Model>
stage_figures evaluate(B& b, Wide& wide, const std::string& name, Model& model, const gaussian<B>& estimate,
                       const_vector_t<B> mean, const posterior::mmps_options& mmps, const program_options& o,
                       const digits<B>& data) {
    auto sampling = o.sampling;
    sampling.sampler = o.judged_sampler.value_or(sampling.sampler);
    sampling.samples_per_observation = o.samples;
    batch<B> x;
    support::progress bar("posterior samples, " + name, static_cast<long>(o.held_out * o.samples));
    stage_figures figures{name, support::sample_held_out(b, model, data.held_out, &estimate, mmps, sampling, mean,
                                                         o.seed + 3, x, [&](index_t done, index_t) {
                                                             bar.update(static_cast<long>(done));
                                                             return true;
                                                         })};
    bar.finish();
    support::save_posterior_picture(b, o.out / ("posterior_" + name + ".png"), data.held_out, x.cview(), 16, 4);
    const auto free = unconditional(b, model, o, mean, o.free_samples);
    figures.frechet = pixel_distance(b, wide, free.cview(), data.held_out.truth.cview());
    const index_t shown = std::min<index_t>(64, free.items());
    const auto host = to_host(b, free.cview().item_range(0, shown));
    io::save_png(o.out / ("samples_" + name + ".png"),
                 support::image_grid<float>({host.data(), free.features(), shown}, data.train.shape,
                                            {.columns = 16, .scale = 4, .gap = 4}));
    return figures;
}

template <Backend B>
struct diffusion_stage {
    prior::em_result<B> result;
    posterior::mmps_options mmps;  ///< of the E-step
};

inline prior::em_options em_options_of(const program_options& o) {
    prior::em_options em;
    em.laps = o.laps;
    em.sampling = o.sampling;
    em.sampling.samples_per_observation = o.samples_per_observation;
    // Samples of the Gaussian prior: its Jacobian is exact, so that the solver may run to its tolerance.
    em.initial_mmps = posterior::mmps_options{.max_iterations = 64, .relative_tolerance = 1e-3};
    // With a Gaussian to precondition by, two iterations are nearly exact, see docs/stability.md.
    em.mmps.precondition = true;
    em.mmps.max_iterations = 2;
    em.gaussian_skip = true;
    em.refresh = {.mean = true, .estimate = true, .rank = o.rank};
    em.training.steps = o.training_steps;
    em.training.batch = 256;
    em.training.report_every = 50;
    em.training.rate = {.schedule = train::rate_schedule::linear, .initial = 1e-3, .final = 1e-5};
    em.training.adam.ema_decay = 0.99;
    em.seed = o.seed;
    em.folder = o.out / "checkpoint";
    em.keep_laps = false;
    em.resume = o.resume;
    return em;
}

/// The diffusion prior, by EM from the Gaussian one; `rows` receives unconditional samples along the laps.
template <Backend B>
diffusion_stage<B> fit_network(B& b, const program_options& o, const digits<B>& data, gaussian<B>& initial,
                               network<B>& model, std::vector<support::image>& rows) {
    const auto em = em_options_of(o);
    index_t next_row = 0;
    auto result = support::fit_diffusion_stage(
        b, model, data.train.observed(b), initial, em,
        [&](const prior::lap_diagnostics& d, const auto&, const auto& next) {
            if (d.lap < next_row && d.lap + 1 < o.laps) return;
            next_row = next_row == 0 ? 1 : 2 * next_row;
            prior::load_into(b, next, model);
            rows.push_back(
                support::picture_row(b, unconditional(b, model, o, next.mean.flat(), 16).cview(), data.train.shape, 4));
        });
    const auto mmps = prior::e_step_mmps(b, em, result.prior);
    return {std::move(result), mmps};
}

inline io::json json_of(const stage_figures& s) {
    const auto& d = s.posterior.diagnostics;
    return {{"stage", s.name},
            {"psnr_sample_db", s.posterior.sample},
            {"psnr_mean_db", s.posterior.mean},
            {"frechet_pixels", s.frechet},
            {"data_residual", s.posterior.residual},
            {"outside_share", d.outside_share},
            {"solver_shares", d.solver_shares},
            {"seconds", d.e_seconds}};
}

template <Backend B, Backend Wide>
int run(B& b, Wide& wide, const program_options& o) {
    const auto start = std::chrono::steady_clock::now();
    std::filesystem::create_directories(o.out);
    const digits<B> data = load_digits(b, o);
    std::cout << data.train.items() << " digits with " << support::number(100 * (1 - o.keep), 0)
              << " % of their pixels deleted, noise " << o.sigma_y << " in [-2, 2]; " << data.held_out.items()
              << " held out; " << support::describe(o.at, b.threads()) << '\n';

    // Figures that need no prior.
    const auto mean_value = support::observed_means(b, data.train);
    const double mean_fill =
        support::psnr(b, support::filled(b, data.held_out, mean_value), data.held_out.truth.cview());
    const double zero_fill = support::psnr(
        b, support::filled(b, data.held_out, std::vector<float>(mean_value.size(), 0.0F)), data.held_out.truth.cview());

    // Stage 1: the Gaussian prior.
    std::vector<support::image> along_laps;
    auto fitted = fit(b, o, data, along_laps);
    io::save_png(o.out / "laps_gaussian.png", support::stack(along_laps));
    // The exact Jacobian is symmetric: conjugate gradients run to their tolerance.
    std::vector<stage_figures> stages;
    stages.push_back(evaluate(b, wide, "gaussian", fitted.prior, fitted.prior, fitted.prior.mu(),
                              {.max_iterations = 64, .relative_tolerance = 1e-3}, o, data));
    batch<B> exact(b, data.held_out.truth.features(), data.held_out.items());
    prior::posterior_means(b, fitted.prior, data.held_out.observed(b), exact.view());
    const double exact_mean = support::psnr(b, exact, data.held_out.truth.cview());

    // Stage 2: the diffusion prior.
    io::json along = io::json::array();
    prior::em_status status = prior::em_status::completed;
    if (o.laps > 0) {
        network<B> model(b, nn::mlp<B>({data.train.truth.features(), {o.width, o.width, o.width}, 64, true}));
        model.initialize(b, {.seed = o.seed});
        along_laps.clear();
        auto learned = fit_network(b, o, data, fitted.prior, model, along_laps);
        status = learned.result.status;
        if (status == prior::em_status::cancelled) return 130;
        const auto& p = learned.result.prior;
        for (const auto& d : p.history) along.push_back(prior::to_json(d));
        if (!along_laps.empty()) io::save_png(o.out / "laps_diffusion.png", support::stack(along_laps));
        if (p.laps > 0)
            stages.push_back(evaluate(b, wide, "diffusion", model, *p.estimate, p.mean.flat(), learned.mmps, o, data));
    }

    // Figures.
    const auto per_item = [](double sum, const support::masked_images<B>& m) {
        return sum / static_cast<double>(m.items());
    };
    io::json evidence = io::json::array();
    for (const auto& r : fitted.history) evidence.push_back(per_item(r.objective, data.train));
    const double last = per_item(prior::log_evidence(b, fitted.prior, data.train.observed(b)), data.train);
    const double unseen = per_item(prior::log_evidence(b, fitted.prior, data.held_out.observed(b)), data.held_out);
    evidence.push_back(last);
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();

    std::cout << "\nlog p(y) per observation\n";
    std::vector<std::vector<std::string>> laps;
    for (std::size_t k = 0; k < evidence.size(); k = k < 4 ? k + 1 : k < 32 ? 2 * k : k + 16)
        laps.push_back({std::to_string(k), support::number(evidence[k].get<double>(), 3)});
    if (laps.back()[0] != std::to_string(fitted.laps))
        laps.push_back({std::to_string(fitted.laps), support::number(last, 3)});
    laps.push_back({"held out", support::number(unseen, 3)});
    support::print_table(std::cout, {"laps", "evidence"}, laps);

    std::cout << "\nPSNR of " << data.held_out.items() << " held-out digits, dB (range 4)\n";
    std::vector<std::vector<std::string>> psnr{{"deleted pixels zero", support::number(zero_fill)},
                                               {"deleted pixels at their mean", support::number(mean_fill)}};
    for (const auto& s : stages) {
        psnr.push_back({s.name + ": one posterior sample", support::number(s.posterior.sample)});
        psnr.push_back(
            {s.name + ": mean of " + std::to_string(o.samples) + " samples", support::number(s.posterior.mean)});
    }
    psnr.push_back({"gaussian: exact posterior mean", support::number(exact_mean)});
    support::print_table(std::cout, {"", "PSNR"}, psnr);

    std::cout << "\nSquared Frechet distance in pixel space of " << o.free_samples
              << " unconditional samples to the held-out digits\n";
    std::vector<std::vector<std::string>> distances;
    for (const auto& s : stages) distances.push_back({s.name, support::number(s.frechet, 3)});
    support::print_table(std::cout, {"", "distance"}, distances);

    io::json report{{"program", "demo"},
                    {"environment", support::environment()},
                    {"backend", o.at.backend},
                    {"threads", b.threads()},
                    {"products", o.at.products},
                    {"seed", o.seed},
                    {"train", data.train.items()},
                    {"held_out", data.held_out.items()},
                    {"keep", o.keep},
                    {"sigma_y", o.sigma_y},
                    {"rank", o.rank},
                    {"rest", o.rest},
                    {"gaussian_laps", fitted.laps},
                    {"laps", along},
                    {"status", prior::to_string(status)},
                    {"log_evidence_per_observation", evidence},
                    {"log_evidence_held_out", unseen},
                    {"psnr_zero_fill_db", zero_fill},
                    {"psnr_mean_fill_db", mean_fill},
                    {"psnr_exact_gaussian_mean_db", exact_mean},
                    {"stages", io::json::array()},
                    {"seconds", seconds}};
    for (const auto& s : stages) report["stages"].push_back(json_of(s));
    io::save_json(o.out / "report.json", report);
    std::cout << "\n"
              << support::number(seconds, 1) << " s. Pictures and report.json are in "
              << std::filesystem::absolute(o.out).string()
              << "\n  posterior_*.png  rows: observed, one sample, mean of " << o.samples
              << " samples, truth\n  samples_*.png    unconditional samples\n"
                 "  laps_*.png       unconditional samples along the laps, from the start to the end\n";
    return status == prior::em_status::completed ? 0 : 1;
}

}  // namespace demo
