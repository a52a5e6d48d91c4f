// SPDX-License-Identifier: Apache-2.0

// A prior of CIFAR-10 images from images of which 75 % of the pixels were deleted (all three channels of a pixel together):
// a Gaussian, then, where the configuration names a network, a diffusion prior by EM. With each, posterior samples of
// masked test images.

#include <CLI/CLI.hpp>

#include <diem/core/check.hpp>

#include "cifar/program.hpp"
#include "support/cifar_files.hpp"
#include "support/program.hpp"
#include "support/ranks.hpp"
#include "support/study_options.hpp"

using namespace diem;

int main(int argc, char** argv) {
    cifar::program_options o;
    CLI::App app("Learns a prior of CIFAR-10 from masked images, and samples posteriors");
    app.add_option("--data", o.data, "folder of data_batch_1.bin .. 5 and test_batch.bin");
    app.add_option("--classifier", o.classifier,
                   "of examples/classifier: also compares its features of samples and images")
        ->check(CLI::ExistingFile);
    app.add_option("--inception", o.inception,
                   "weights of Inception-v3 (tools/convert_inception): also FID to the training images and Inception "
                   "score; the training images' features are kept in a file beside it")
        ->check(CLI::ExistingFile);
    support::add_study_options(app, o, "em.posterior.solver=cg");
    return support::run_program(app, "cifar", argc, argv, [&] {
        return support::on_ranks(o.at, [&] {
            auto s = support::read_cifar_settings(o.config, o.changes);
            if (o.smoke) {
                support::shrink(s);
                if (o.data.empty()) support::write_cifar_stand_in(o.data = o.out / "stand-in");
            }
            for (const auto& [option, file] : {std::pair("--classifier", o.classifier), {"--inception", o.inception}})
                check_value(option, file.empty() || s.evaluation.free_samples > 1,
                            "needs a configuration with \"free_samples\" of at least 2");
            if (o.data.empty()) throw value_error("--data is missing");
            support::choose(o.at);
            if constexpr (support::has_cuda)
                if (o.at.backend == "cuda") return cifar::run_on_cuda(s, o);
            return cifar::run_on_eigen(s, o);
        });
    });
}
