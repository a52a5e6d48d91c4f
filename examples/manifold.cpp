// SPDX-License-Identifier: Apache-2.0

// A prior of points on a curve in R^5 from two noisy projections of each point, in directions that are new for every
// point; no point is ever seen whole. The low-dimensional experiment of arXiv 2405.13712.

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include <diem/io/config.hpp>
#include <diem/model/config.hpp>

#include "manifold/program.hpp"
#include "support/curve.hpp"
#include "support/em_settings.hpp"
#include "support/option_ranges.hpp"
#include "support/place_options.hpp"
#include "support/program.hpp"

using namespace diem;
using manifold::settings;
namespace fs = std::filesystem;

namespace {

settings read_settings(const fs::path& path, const std::vector<std::string>& changes) {
    settings s;
    auto& em = s.em;
    em = prior::presets::paper_manifold();
    em.laps = 16;
    em.sampling.steps = 256;
    em.training.steps = 1000;
    em.initial_mmps.emplace(posterior::mmps_options{.max_iterations = 2, .relative_tolerance = 1e-3});
    s.gaussian.measure_evidence = false;
    io::read_config(support::config_with(path, changes), [&](io::config_object& c) {
        c.ignore("comment");
        c.optional("observations", s.observations).at_least(1).at_most(support::most_count);
        c.optional("rows", s.rows).at_least(1).at_most(1 << 20);
        c.optional("sigma_y", s.sigma_y).at_least(support::least_level).at_most(support::most_level);
        c.optional("alpha", s.alpha).above(0.0).at_most(1000.0);
        c.optional("epsilon", s.epsilon).above(0.0).below(1.0);
        support::read_network(c, "network", "an mlp", s.net);
        s.gaussian.ppca.rank = s.net.features;
        support::read_object(c, "gaussian", s.gaussian);
        em.initial_mmps->max_iterations = s.rows;
        support::read_object(c, "em", em, s.observations);
        c.object("evaluation", [&](io::config_object& o) {
            o.optional("samples", s.samples).at_least(2).at_most(1 << 20);
            support::read_sinkhorn(o, s.sinkhorn);
        });
        c.optional("seed", em.seed);
    });
    return s;
}

}  // namespace

int main(int argc, char** argv) {
    manifold::program_options o;
    std::vector<std::string> changes;
    bool smoke = false;
    CLI::App app("Learns a prior of points on a curve from random projections of them");
    app.add_option("--config", o.config, "JSON file, see examples/configs")->check(CLI::ExistingFile);
    app.add_option("--out", o.out, "folder for report.json, samples and the checkpoint")->capture_default_str();
    app.add_option("--set", changes,
                   "KEY=VALUE: an entry instead of the configuration's, as posterior.solver=cg; repeatable");
    support::add_place_options(app, o.at);
    support::add_products_option(app, o.at);
    app.add_flag("--resume", o.resume, "go on from the checkpoint in --out, where there is one");
    app.add_flag("--plan", o.plan_only, "say what the diffusion prior will cost, and stop before anything is learned");
    app.add_flag("--smoke", smoke, "a small run that takes seconds");
    return support::run_program(app, "manifold", argc, argv, [&] {
        settings s = read_settings(o.config, changes);
        if (smoke) {
            s.observations = s.samples = 128;
            s.net.hidden = {32, 32};
            s.em.laps = std::min<index_t>(s.em.laps, 2);
            s.em.sampling.steps = 8;
            s.em.training.steps = 20;
            s.em.training.batch = 64;
            s.em.training.adam.ema_decay = 0;
            s.em.guard.max_residual = 1e12;  // twenty steps teach little
            s.sinkhorn.iterations = 50;
        }
        support::choose(o.at);
        if constexpr (support::has_cuda)
            if (o.at.backend == "cuda") return manifold::run_on_cuda(s, o);
        return manifold::run_on_eigen(s, o);
    });
}
