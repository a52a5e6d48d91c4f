// SPDX-License-Identifier: Apache-2.0

// How much the covariance V that stands for Cov[x | x_t] matters: posteriors q(x_t | y) with
// q(y | x_t) = N(y; A x_hat, Sigma_y + A V A') for each choice of V, against the exact p(x_t | y), over noise levels. The prior
// is a mixture on a random curve in R^3, so that all of them have closed forms. Figure 2 of arXiv 2405.13712.

#include <algorithm>
#include <filesystem>
#include <vector>

#include <CLI/CLI.hpp>

#include <diem/io/config.hpp>

#include "covariances/program.hpp"
#include "support/curve.hpp"
#include "support/option_ranges.hpp"
#include "support/place_options.hpp"
#include "support/program.hpp"

using namespace diem;
using covariances::settings;
namespace fs = std::filesystem;

namespace {

settings read_settings(const fs::path& path) {
    settings s;
    if (path.empty()) return s;
    io::read_config(io::load_config(path), [&](io::config_object& c) {
        c.ignore("comment");
        c.optional("seeds", s.seeds).at_least(1).at_most(covariances::most_seeds);
        c.optional("components", s.components).at_least(1).at_most(covariances::most_points);
        const auto level = [](double v) { return v >= covariances::least_sigma && v <= covariances::most_sigma; };
        c.optional("thickness", s.thickness).satisfies(level(s.thickness), "a number from 1e-6 to 1e6");
        c.optional("sigma_y", s.sigma_y).satisfies(level(s.sigma_y), "a number from 1e-6 to 1e6");
        c.optional("sigmas", s.sigmas)
            .satisfies(
                !s.sigmas.empty() && s.sigmas.size() <= 1000 && std::all_of(s.sigmas.begin(), s.sigmas.end(), level),
                "1 to 1000 numbers from 1e-6 to 1e6");
        c.optional("points", s.points).at_least(2).at_most(covariances::most_points);
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
    index_t seeds = 0, points = 0;
    int iterations = 0;
    std::vector<double> sigmas;
    bool smoke = false;
    CLI::App app("Compares covariances for the likelihood of an observation given a noisy point");
    app.add_option("--config", o.config, "JSON file, see examples/configs")->check(CLI::ExistingFile);
    app.add_option("--out", o.out, "folder for report.json and report.html")->capture_default_str();
    app.add_option("--seeds", seeds, "instead of the configuration's")
        ->check(support::count_in(1, covariances::most_seeds));
    app.add_option("--points", points, "x_t of each posterior, instead of the configuration's")
        ->check(support::count_in(2, covariances::most_points));
    app.add_option("--sigmas", sigmas, "noise levels, instead of the configuration's")
        ->check(support::number_in(covariances::least_sigma, covariances::most_sigma));
    app.add_option("--iterations", iterations, "of Sinkhorn, instead of the configuration's")
        ->check(support::count_in(1, support::most_steps));
    support::add_place_options(app, o.at);
    app.add_flag("--resume", o.resume, "go on from the state in --out, where there is one");
    app.add_flag("--smoke", smoke, "a small run that takes seconds");
    return support::run_program(app, "covariances", argc, argv, [&] {
        settings s = read_settings(o.config);
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
    });
}
