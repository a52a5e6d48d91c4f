// SPDX-License-Identifier: Apache-2.0

// A prior of CIFAR-10 images from images of which 75 % of the pixels were deleted (all three channels of a pixel together):
// a Gaussian, then, where the configuration names a network, a diffusion prior by EM. With each, posterior samples of
// masked test images.

#include <exception>
#include <iostream>

#include <CLI/CLI.hpp>

#include <diem/core/check.hpp>

#include "cifar/program.hpp"
#include "support/cifar_files.hpp"
#include "support/place_options.hpp"

using namespace diem;

int main(int argc, char** argv) {
    cifar::program_options o;
    CLI::App app("Learns a prior of CIFAR-10 from masked images, and samples posteriors");
    app.add_option("--data", o.data, "folder of data_batch_1.bin .. 5 and test_batch.bin");
    app.add_option("--config", o.config, "JSON file, see examples/configs")->check(CLI::ExistingFile);
    app.add_option("--set", o.changes,
                   "KEY=VALUE: an entry instead of the configuration's, as em.posterior.solver=cg; repeatable");
    app.add_option("--classifier", o.classifier,
                   "of examples/classifier: also compares its features of samples and images")
        ->check(CLI::ExistingFile);
    app.add_option("--out", o.out, "folder for pictures, checkpoints and report.json")->capture_default_str();
    support::add_place_options(app, o.at);
    support::add_products_option(app, o.at);
    app.add_flag("--resume", o.resume, "go on from the checkpoint in --out, where there is one");
    app.add_flag("--plan", o.plan_only, "say what the diffusion prior will cost, and stop before it");
    app.add_flag("--smoke", o.smoke, "a small run that takes seconds; without --data on made-up images");
    CLI11_PARSE(app, argc, argv);
    try {
        auto s = support::read_cifar_settings(o.config, o.changes);
        if (o.smoke) {
            support::shrink(s);
            if (o.data.empty()) support::write_cifar_stand_in(o.data = o.out / "stand-in");
        }
        check_value("--classifier", o.classifier.empty() || s.evaluation.free_samples > 1,
                    "needs a configuration with \"free_samples\" of at least 2");
        if (o.data.empty()) throw value_error("--data is missing");
        support::choose(o.at);
        if constexpr (support::has_cuda)
            if (o.at.backend == "cuda") return cifar::run_on_cuda(s, o);
        return cifar::run_on_eigen(s, o);
    } catch (const std::exception& e) {
        std::cerr << "cifar: " << e.what() << '\n';
        return 1;
    }
}
