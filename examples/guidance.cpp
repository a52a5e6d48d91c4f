// SPDX-License-Identifier: Apache-2.0

// Posterior samples by MMPS and by the methods it is compared with: DPS, PiGDM, TMPD, DiffPIR. Of CIFAR-10 images that were
// seen in part, with a prior that cifar learned from clean ones, and of priors whose posterior is known.

#include <algorithm>

#include <CLI/CLI.hpp>

#include <diem/core/check.hpp>
#include <diem/io/config.hpp>

#include "guidance/program.hpp"
#include "support/cifar_files.hpp"
#include "support/em_settings.hpp"
#include "support/option_ranges.hpp"
#include "support/place_options.hpp"
#include "support/program.hpp"

using namespace diem;
using guidance::settings;

namespace {

guidance::problem_settings read_problem(io::config_object& c) {
    guidance::problem_settings p;
    c.required("type", p.type).one_of({"box", "random", "motion", "super_resolution"});
    c.required("sigma_y", p.sigma_y).at_least(support::least_level).at_most(support::most_level);
    c.optional("size", p.size).at_least(1).at_most(32);
    c.optional("keep", p.keep).above(0.0).at_most(1.0);
    return p;
}

settings read_settings(const std::filesystem::path& path, const std::vector<std::string>& changes) {
    settings s;
    const auto numbers = [](io::config_object& c, const char* key, std::vector<index_t>& v) {
        c.optional(key, v).satisfies(!v.empty() && v.size() <= 100 && *std::min_element(v.begin(), v.end()) > 0 &&
                                         *std::max_element(v.begin(), v.end()) <= support::most_steps,
                                     "1 to 100 numbers from 1 to " + std::to_string(support::most_steps));
    };
    const auto source = support::config_with(path, changes);
    io::read_config(source, [&](io::config_object& c) {
        c.ignore("comment");
        c.optional("images", s.images).at_least(2).at_most(10000);
        c.optional("pictures", s.pictures).at_least(1).at_most(1000);
        numbers(c, "steps", s.steps);
        numbers(c, "mmps_iterations", s.mmps_iterations);
        c.optional("sigma_min", s.sigma_min).at_least(support::least_level).at_most(support::most_level);
        c.optional("sigma_max", s.sigma_max).above(s.sigma_min).at_most(support::most_level);
        c.optional("zeta", s.zeta).at_least(0.0).at_most(support::most_level);
        c.optional("lambda", s.lambda).at_least(support::least_level).at_most(support::most_level);
        c.optional("iterations", s.iterations).at_least(1).at_most(support::most_steps);
        io::json problems;
        c.optional("problems", problems);
        if (!problems.is_null()) {
            if (!problems.is_array() || problems.empty() || problems.size() > 100)
                c.fail("problems", "expected a list of 1 to 100 problems");
            s.problems.clear();
            for (std::size_t k = 0; k < problems.size(); ++k) {
                io::config_object one(problems[k], source.where, "problems[" + std::to_string(k) + "]");
                s.problems.push_back(read_problem(one));
                one.finish();
            }
        }
        c.object("exact", [&](io::config_object& e) {
            e.optional("seeds", s.exact.seeds).at_least(1).at_most(support::most_samples);
            e.optional("samples", s.exact.samples).at_least(2).at_most(1 << 20);
            numbers(e, "steps", s.exact.steps);
        });
        c.optional("seed", s.seed);
    });
    return s;
}

void shrink(settings& s) {
    s.images = s.pictures = 2;
    s.steps = {2, 3};
    s.mmps_iterations = {1};
    s.exact.seeds = 1;
    s.exact.samples = 32;
    s.exact.steps = {4};
}

}  // namespace

int main(int argc, char** argv) {
    guidance::program_options o;
    std::vector<std::string> changes;
    bool smoke = false;
    CLI::App app("Compares MMPS with other methods of guidance, on images and where the posterior is known");
    app.add_option("--data", o.data, "folder of test_batch.bin of CIFAR-10");
    app.add_option("--prior", o.prior,
                   "of cifar, as cifar10_clean.json learns it; without it, only known posteriors are compared")
        ->check(CLI::ExistingFile);
    app.add_option("--classifier", o.classifier, "of examples/classifier: also compares its features")
        ->check(CLI::ExistingFile);
    app.add_option("--config", o.config, "JSON file, see examples/configs")->check(CLI::ExistingFile);
    app.add_option("--set", changes, "KEY=VALUE: an entry instead of the configuration's, as images=8; repeatable");
    app.add_option("--out", o.out, "folder for report.json and pictures")->capture_default_str();
    support::add_place_options(app, o.at);
    support::add_products_option(app, o.at);
    app.add_flag("--resume", o.resume, "go on from the report in --out, where there is one");
    app.add_flag("--smoke", smoke, "a small run that takes seconds; without --data on made-up images");
    return support::run_program(app, "guidance", argc, argv, [&] {
        auto s = read_settings(o.config, changes);
        if (smoke) {
            shrink(s);
            if (o.data.empty() && !o.prior.empty()) support::write_cifar_stand_in(o.data = o.out / "stand-in");
        }
        if (!o.prior.empty() && o.data.empty()) throw value_error("--data is missing");
        support::choose(o.at);
        if constexpr (support::has_cuda)
            if (o.at.backend == "cuda") return guidance::run_on_cuda(s, o);
        return guidance::run_on_eigen(s, o);
    });
}
