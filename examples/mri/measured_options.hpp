// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include <diem/core/view.hpp>

#include "support/option_ranges.hpp"

/// A measured slice: a prior of complex patches is learned from pictures of slices, and restores it.
namespace measured {

struct prior_settings {
    std::vector<std::string> slices;   ///< npy files of bytes, (n, height, width)
    std::vector<double> pixels;        ///< of each: pixels of the picture for one of the measurement
    std::vector<double> shares;        ///< of each: share of the patches
    std::vector<diem::index_t> first;  ///< of each: how many slices are used, from the first on
    std::string samples;               ///< npy file of posterior samples to learn from as well
    double sample_share = 0.5;
    std::string start;  ///< a prior to go on from
    std::string out = "prior.safetensors";
    diem::index_t size = 64, patches = 16384, steps = 4000, batch = 16;
    std::vector<diem::index_t> channels{48, 96, 128};
    double rate = 1e-3, texture = 0;
    std::uint64_t seed = 0;
    int threads = 0;
};

struct restore_settings {
    std::string kspace, prior, out = "out/mri_measured";
    std::vector<std::string> beside;      ///< npy files of complex images to show beside
    std::vector<std::uint32_t> seeds{0};  ///< of the positions that are hidden
    diem::index_t centre = 24, samples = 16, batch = 4, steps = 24, iterations = 2;
    double noise = 0.93, level = 1.6, sigma_min = 0.05, sigma_max = 1, lambda = 0.02;
    std::uint64_t seed = 1;
    int threads = 0;
};

inline void add_options(CLI::App& app, prior_settings& s) {
    app.add_option("--slices", s.slices, "npy files of bytes, (slices, height, width)");
    app.add_option("--pixels", s.pixels, "of each file: pixels of its pictures for one of the measurement")
        ->check(support::number_in(1e-3, 1e3));
    app.add_option("--shares", s.shares, "of each file: its share of the patches")->check(support::number_in(0, 1e6));
    app.add_option("--first", s.first, "of each file: how many slices are used")->check(support::count_in(1));
    app.add_option("--samples", s.samples, "samples.npy of a restoration, to learn from as well");
    app.add_option("--sample-share", s.sample_share, "share of the patches that are cut from them")
        ->check(support::number_in(0, 1))
        ->capture_default_str();
    app.add_option("--start", s.start, "prior to go on from")->check(CLI::ExistingFile);
    app.add_option("--out", s.out, "file of the prior")->capture_default_str();
    app.add_option("--size", s.size, "side of a patch")->check(support::count_in(8, 1024))->capture_default_str();
    app.add_option("--patches", s.patches, "patches in all")->check(support::count_in(1))->capture_default_str();
    app.add_option("--steps", s.steps, "of training")->check(support::count_in(1))->capture_default_str();
    app.add_option("--batch", s.batch, "patches of a step")->check(support::count_in(1))->capture_default_str();
    app.add_option("--channels", s.channels, "of the network's levels")
        ->check(support::count_in(1, 1 << 16))
        ->capture_default_str();
    app.add_option("--rate", s.rate, "of learning, at first")
        ->check(support::number_in(1e-15, 1e3))
        ->capture_default_str();
    app.add_option("--texture", s.texture, "noise added to a patch, at most; 1 is half of a bright pixel")
        ->check(support::number_in(0, 1e3))
        ->capture_default_str();
    app.add_option("--seed", s.seed, "of all random numbers")->check(support::any_seed())->capture_default_str();
    app.add_option("--threads", s.threads, "0: as many as the process may use")->check(support::count_in(0, 1024));
}

inline void add_options(CLI::App& app, restore_settings& s) {
    const auto level = support::number_in(support::least_level, support::most_level);
    app.add_option("--kspace", s.kspace, "npy file, complex (coils, height, width), zero where nothing was measured");
    app.add_option("--prior", s.prior, "file of the prior")->check(CLI::ExistingFile);
    app.add_option("--out", s.out, "folder for pictures, samples, report.json and report.html")->capture_default_str();
    app.add_option("--beside", s.beside, "npy files of complex images, to be shown beside")->check(CLI::ExistingFile);
    app.add_option("--seeds", s.seeds, "each hides another tenth of the measurement")->capture_default_str();
    app.add_option("--centre", s.centre, "side of the fully measured square")
        ->check(support::count_in(1, 1024))
        ->capture_default_str();
    app.add_option("--samples", s.samples, "posterior samples, at least 2")
        ->check(support::count_in(2, 4096))
        ->capture_default_str();
    app.add_option("--batch", s.batch, "samples at once")->check(support::count_in(1))->capture_default_str();
    app.add_option("--steps", s.steps, "of the sampler")
        ->check(support::count_in(1, support::most_steps))
        ->capture_default_str();
    app.add_option("--iterations", s.iterations, "of the solver")
        ->check(support::count_in(1, support::most_steps))
        ->capture_default_str();
    app.add_option("--noise", s.noise, "standard deviation of the noise, in units of the estimate, an upper bound")
        ->check(level)
        ->capture_default_str();
    app.add_option("--level", s.level, "to which the image's 99 % quantile is brought for the prior")
        ->check(level)
        ->capture_default_str();
    app.add_option("--sigma-min", s.sigma_min, "last noise level of the sampler")->check(level)->capture_default_str();
    app.add_option("--sigma-max", s.sigma_max, "first noise level of the sampler, around CG-SENSE")
        ->check(level)
        ->capture_default_str();
    app.add_option("--lambda", s.lambda, "of CG-SENSE")
        ->check(support::number_in(0, support::most_level))
        ->capture_default_str();
    app.add_option("--seed", s.seed, "of the samples")->check(support::any_seed())->capture_default_str();
    app.add_option("--threads", s.threads, "0: as many as the process may use")->check(support::count_in(0, 1024));
}

/// Returns the exit status. Throw what the library throws.
int learn_prior(const prior_settings& s);
int restore(const restore_settings& s);
/// Both at a size of seconds, on made-up slices, in the folder.
int smoke(const std::string& folder, int threads);

}  // namespace measured
