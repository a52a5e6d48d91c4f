// SPDX-License-Identifier: Apache-2.0

// A prior of CIFAR-10 images from images of which 75 % of the pixels were deleted (all three channels of a pixel together):
// the initial, Gaussian stage of the paper. Then posterior samples of masked test images.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include <diem/backend/eigen.hpp>
#include <diem/io/cifar.hpp>
#include <diem/io/config.hpp>
#include <diem/io/json.hpp>
#include <diem/prior/gaussian_fit.hpp>

#include "support/image_grid.hpp"
#include "support/masked_images.hpp"
#include "support/progress.hpp"
#include "support/report.hpp"

using namespace diem;
using support::backend_type;
using support::images;
using gaussian = diffusion::gaussian<backend_type>;

namespace {

const support::image_shape shape{32, 32, 3};

/// Units: sigma_y and the noise levels are standard deviations in data units, images lie in [-2, 2).
struct settings {
    index_t observations = 4096;
    double keep = 0.25, sigma_y = 1e-3;
    index_t rank = 64, laps = 16;
    prior::gaussian_e_step e_step = prior::gaussian_e_step::draws;
    index_t batch = 256;  ///< observations at once in exact draws
    prior::sampling_options sampling{.sampler = prior::sampler_choice::ddim, .steps = 64, .batch = 128};
    posterior::mmps_options mmps{.max_iterations = 256, .relative_tolerance = 1e-3, .precondition = true};
    index_t test_images = 64, samples = 4;
    std::uint64_t seed = 0;
};

template <class E>
void read_choice(io::config_object& c, const std::string& key, E& target,
                 const std::vector<std::pair<std::string, E>>& all) {
    std::vector<std::string> names;
    std::string name;
    for (const auto& [n, value] : all) {
        names.push_back(n);
        if (value == target) name = n;
    }
    c.optional(key, name).one_of(names);
    for (const auto& [n, value] : all)
        if (n == name) target = value;
}

settings read_settings(const std::filesystem::path& path) {
    settings s;
    if (path.empty()) return s;
    io::read_config(io::load_config(path), [&](io::config_object& c) {
        c.ignore("comment");
        c.optional("observations", s.observations).at_least(1);
        c.optional("keep", s.keep).above(0.0).at_most(1.0);
        c.optional("sigma_y", s.sigma_y).above(0.0);
        c.optional("rank", s.rank).at_least(0).at_most(3072);
        c.optional("laps", s.laps).at_least(0);
        c.optional("batch", s.batch).at_least(1);
        c.optional("seed", s.seed);
        read_choice(c, "e_step", s.e_step,
                    {{"draws", prior::gaussian_e_step::draws}, {"diffusion", prior::gaussian_e_step::diffusion}});
        c.object("sampler", [&](io::config_object& o) {
            read_choice(o, "name", s.sampling.sampler,
                        {{"ddpm", prior::sampler_choice::ddpm},
                         {"ddim", prior::sampler_choice::ddim},
                         {"predictor_corrector", prior::sampler_choice::predictor_corrector}});
            o.optional("steps", s.sampling.steps).at_least(1);
            o.optional("batch", s.sampling.batch).at_least(1);
            o.optional("sigma_min", s.sampling.sigma_min).above(0.0);
            o.optional("sigma_max", s.sampling.sigma_max).above(s.sampling.sigma_min);
        });
        c.object("solver", [&](io::config_object& o) {
            o.optional("max_iterations", s.mmps.max_iterations).at_least(0);
            o.optional("relative_tolerance", s.mmps.relative_tolerance).at_least(0.0);
            o.optional("precondition", s.mmps.precondition);
        });
        c.object("evaluation", [&](io::config_object& o) {
            o.optional("images", s.test_images).at_least(16).at_most(10000);
            o.optional("samples", s.samples).at_least(1);
        });
    });
    return s;
}

images load(backend_type& b, const std::vector<std::filesystem::path>& files, index_t limit) {
    const auto data = io::load_cifar10<float>(files, limit);
    if (data.images.shape[0] < limit)
        throw io_error("only " + std::to_string(data.images.shape[0]) + " images in " +
                       files.front().parent_path().string() + ", " + std::to_string(limit) + " asked for");
    return to_backend(b, data.images.data, 3072, data.images.shape[0]);
}

struct lap_monitor {
    support::progress& bar;
    index_t items;

    void e_step_end(const em::lap_record& r, const prior::gaussian_samples<backend_type>&, const gaussian&) const {
        bar.update(static_cast<long>(r.lap),
                   "log p(y) " + support::number(r.objective / static_cast<double>(items), 1));
    }
    void lap_end(const em::lap_record& r, const prior::gaussian_samples<backend_type>&, const gaussian&) const {
        bar.update(static_cast<long>(r.lap + 1),
                   "log p(y) " + support::number(r.objective / static_cast<double>(items), 1));
    }
};

/// Unconditional samples of the prior, the same random numbers each time.
support::image picture_of(backend_type& b, const gaussian& prior, index_t count) {
    images x(b, prior.features(), count);
    prior.sample(b, {.seed = 1, .lane = random_lane::prior_sample}, x.view());
    return support::picture_row(b, x.cview(), shape, 2);
}

void run(const std::filesystem::path& data, const std::filesystem::path& out, const settings& s, int threads) {
    const auto start = std::chrono::steady_clock::now();
    std::filesystem::create_directories(out);
    backend_type b(threads);
    const auto train = support::mask_images(b, load(b, io::cifar10_train_files(data), s.observations), shape, s.keep,
                                            s.sigma_y, s.seed, 0);
    const auto test = support::mask_images(b, load(b, io::cifar10_test_files(data), s.test_images), shape, s.keep,
                                           s.sigma_y, s.seed, 1);
    std::cout << train.items() << " images with " << support::number(100 * (1 - s.keep), 0)
              << " % of their pixels deleted, noise " << s.sigma_y << " in [-2, 2]; rank " << s.rank << ", " << s.laps
              << " laps; " << b.threads() << " threads\n";

    const auto means = support::observed_means(b, train);
    const double mean_fill = support::psnr(b, support::filled(b, test, means), test.truth.cview());
    const double zero_fill =
        support::psnr(b, support::filled(b, test, std::vector<float>(means.size(), 0.0F)), test.truth.cview());

    // The Gaussian prior.
    support::progress bar("Gaussian EM", static_cast<long>(s.laps));
    lap_monitor monitor{bar, train.items()};
    prior::gaussian_fit_options options{.fit = {.max_laps = s.laps}, .e_step = s.e_step, .ppca = {.rank = s.rank}};
    options.batch = s.batch;
    options.sampling = s.sampling;
    options.mmps = s.mmps;
    options.seed = s.seed;
    auto fitted = prior::fit_gaussian(b, prior::isotropic_gaussian(b, train.truth.features()), train.observed(b),
                                      options, monitor);
    bar.finish();
    const double fit_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    io::save_png(out / "samples_gaussian.png", picture_of(b, fitted.prior, 16));

    // Posterior samples of test images.
    auto sampling = s.sampling;
    sampling.sampler = prior::sampler_choice::ddpm;
    sampling.samples_per_observation = s.samples;
    images x;
    support::progress sampled("posterior samples", static_cast<long>(test.items() * s.samples));
    const auto figures = support::sample_held_out(b, fitted.prior, test, &fitted.prior, s.mmps, sampling,
                                                  fitted.prior.mu(), s.seed + 3, x, [&](index_t done, index_t) {
                                                      sampled.update(static_cast<long>(done));
                                                      return true;
                                                  });
    sampled.finish();
    images exact(b, test.truth.features(), test.items());
    prior::posterior_means(b, fitted.prior, test.observed(b), exact.view());
    const double exact_mean = support::psnr(b, exact, test.truth.cview());
    support::save_posterior_picture(b, out / "posterior_gaussian.png", test, x.cview(), 16, 2);

    // Figures.
    io::json evidence = io::json::array();
    std::vector<std::vector<std::string>> laps;
    for (const auto& r : fitted.history) {
        const double each = r.objective / static_cast<double>(train.items());
        evidence.push_back(each);
        laps.push_back({std::to_string(r.lap), support::number(each, 2), support::number(r.e_seconds, 1),
                        support::number(r.m_seconds, 1)});
    }
    const double unseen = prior::log_evidence(b, fitted.prior, test.observed(b)) / static_cast<double>(test.items());
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    std::cout << "\nlog p(y) per observation, of the prior each lap began with\n";
    support::print_table(std::cout, {"lap", "evidence", "E-step s", "M-step s"}, laps);
    std::cout << "test images, after the last lap: " << support::number(unseen, 2) << "\n\nPSNR of " << test.items()
              << " test images, dB (range 4)\n";
    support::print_table(std::cout, {"", "PSNR"},
                         {{"deleted pixels zero", support::number(zero_fill)},
                          {"deleted pixels at their mean", support::number(mean_fill)},
                          {"one posterior sample", support::number(figures.sample)},
                          {"mean of " + std::to_string(s.samples) + " samples", support::number(figures.mean)},
                          {"exact posterior mean", support::number(exact_mean)}});
    io::save_json(out / "report.json", {{"program", "cifar"},
                                        {"environment", support::environment()},
                                        {"threads", b.threads()},
                                        {"seed", s.seed},
                                        {"observations", train.items()},
                                        {"test_images", test.items()},
                                        {"keep", s.keep},
                                        {"sigma_y", s.sigma_y},
                                        {"rank", s.rank},
                                        {"laps", fitted.laps},
                                        {"log_evidence_per_observation", evidence},
                                        {"log_evidence_test", unseen},
                                        {"psnr_zero_fill_db", zero_fill},
                                        {"psnr_mean_fill_db", mean_fill},
                                        {"psnr_sample_db", figures.sample},
                                        {"psnr_mean_db", figures.mean},
                                        {"psnr_exact_mean_db", exact_mean},
                                        {"data_residual", figures.residual},
                                        {"fit_seconds", fit_seconds},
                                        {"seconds", seconds}});
    std::cout << "\n"
              << support::number(seconds, 1) << " s, " << support::number(fit_seconds, 1)
              << " s of them for the prior. Pictures and report.json are in " << std::filesystem::absolute(out).string()
              << "\n  posterior_gaussian.png  rows: observed, one sample, mean of the samples, truth\n"
                 "  samples_gaussian.png    unconditional samples\n";
}

/// Writes small files in CIFAR's layout (colour gradients), for the smoke run.
void write_stand_in(const std::filesystem::path& folder) {
    std::filesystem::create_directories(folder);
    auto files = io::cifar10_train_files(folder);
    files.push_back(io::cifar10_test_files(folder).front());
    std::uint32_t number = 0;
    for (const auto& path : files) {
        std::string bytes;
        for (int i = 0; i < 32; ++i, ++number) {
            bytes.push_back(static_cast<char>(i % 10));
            for (std::uint32_t c = 0; c < 3; ++c)
                for (int p = 0; p < 1024; ++p)
                    bytes.push_back(static_cast<char>(
                        static_cast<int>(127 + 60 * normal<double>({.seed = 5}, number, c) +
                                         2 * normal<double>({.seed = 6}, number, c) * (p % 32 - 16))));
        }
        io::write_atomically(path, std::as_bytes(std::span(bytes)));
    }
}

}  // namespace

int main(int argc, char** argv) {
    std::filesystem::path data, out = "cifar", config;
    int threads = 0;
    bool smoke = false;
    CLI::App app("Learns a Gaussian prior of CIFAR-10 from masked images, and samples posteriors");
    app.add_option("--data", data, "folder of data_batch_1.bin .. 5 and test_batch.bin");
    app.add_option("--config", config, "JSON file, see examples/configs")->check(CLI::ExistingFile);
    app.add_option("--out", out, "folder for pictures and report.json")->capture_default_str();
    app.add_option("--threads", threads, "0: one per core")->capture_default_str();
    app.add_flag("--smoke", smoke, "a small run that takes seconds; without --data on made-up images");
    CLI11_PARSE(app, argc, argv);
    try {
        settings s = read_settings(config);
        if (smoke) {
            s.observations = std::min<index_t>(s.observations, 64);
            s.rank = std::min<index_t>(s.rank, 8);
            s.laps = std::min<index_t>(s.laps, 2);
            s.test_images = 16;
            s.samples = 1;
            s.sampling.steps = std::min<index_t>(s.sampling.steps, 6);
            if (data.empty()) write_stand_in(data = out / "stand-in");
        }
        if (data.empty()) throw value_error("--data is missing");
        run(data, out, s, threads);
    } catch (const std::exception& e) {
        std::cerr << "cifar: " << e.what() << '\n';
        return 1;
    }
    return 0;
}
