// SPDX-License-Identifier: Apache-2.0

// How much the covariance V that stands for Cov[x | x_t] matters: posteriors q(x_t | y) with
// q(y | x_t) = N(y; A x_hat, Sigma_y + A V A') for each choice of V, against the exact p(x_t | y), over noise levels. The prior
// is a mixture on a random curve in R^3, so that all of them have closed forms. Figure 2 of arXiv 2405.13712.

#include <exception>
#include <filesystem>
#include <iostream>
#include <vector>

#include <CLI/CLI.hpp>

#include <diem/io/config.hpp>

#include "covariances/program.hpp"
#include "support/curve.hpp"
#include "support/place_options.hpp"

using namespace diem;
using covariances::settings;
namespace fs = std::filesystem;

namespace {

settings read_settings(const fs::path& path) {
    settings s;
    if (path.empty()) return s;
    io::read_config(io::load_config(path), [&](io::config_object& c) {
        c.ignore("comment");
        c.optional("seeds", s.seeds).at_least(1);
        c.optional("components", s.components).at_least(1);
        c.optional("thickness", s.thickness).above(0.0);
        c.optional("sigma_y", s.sigma_y).above(0.0);
        c.optional("sigmas", s.sigmas);
        for (const double sigma : s.sigmas)
            if (!(sigma > 0)) c.fail("sigmas", "expected numbers above 0");
        c.optional("points", s.points).at_least(2);
        c.object("sinkhorn", [&](io::config_object& o) {
            support::read_sinkhorn(o, s.sinkhorn);
            o.optional("scaled", s.scaled);
            o.optional("annealed", s.annealed);
            o.optional("annealing", s.sinkhorn.annealing).above(0.0).below(1.0);
        });
    });
    return s;
}

}  // namespace

int main(int argc, char** argv) {
    covariances::program_options o;
    fs::path config;
    index_t seeds = 0, points = 0;
    int iterations = 0;
    std::vector<double> sigmas;
    bool smoke = false;
    CLI::App app("Compares covariances for the likelihood of an observation given a noisy point");
    app.add_option("--config", config, "JSON file, see examples/configs")->check(CLI::ExistingFile);
    app.add_option("--out", o.out, "folder for report.json")->capture_default_str();
    app.add_option("--seeds", seeds, "instead of the configuration's");
    app.add_option("--points", points, "x_t of each posterior, instead of the configuration's")
        ->check(CLI::Range(2, 1 << 20));
    app.add_option("--sigmas", sigmas, "noise levels, instead of the configuration's")->check(CLI::PositiveNumber);
    app.add_option("--iterations", iterations, "of Sinkhorn, instead of the configuration's");
    support::add_place_options(app, o.at);
    app.add_flag("--resume", o.resume, "go on from the state in --out, where there is one");
    app.add_flag("--smoke", smoke, "a small run that takes seconds");
    CLI11_PARSE(app, argc, argv);
    try {
        settings s = read_settings(config);
        if (seeds > 0) s.seeds = seeds;
        if (points > 0) s.points = points;
        if (iterations > 0) s.sinkhorn.iterations = iterations;
        if (!sigmas.empty()) s.sigmas = sigmas;
        if (smoke) {
            s.seeds = 2;
            s.points = 64;
            s.components = 32;
            s.sigmas = {0.1, 1};
        }
        support::choose(o.at);
        if constexpr (support::has_cuda)
            if (o.at.backend == "cuda") return covariances::run_on_cuda(s, o);
        return covariances::run_on_eigen(s, o);
    } catch (const std::exception& e) {
        std::cerr << "covariances: " << e.what() << '\n';
        return 1;
    }
}
