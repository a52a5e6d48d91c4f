// SPDX-License-Identifier: Apache-2.0

// A slice measured by a scanner with several coils: posterior samples with a prior of complex patches, judged by measured
// frequencies that were hidden.

#include "mri/measured_options.hpp"
#include "support/program.hpp"

int main(int argc, char** argv) {
    measured::prior_settings prior;
    measured::restore_settings restoration;
    std::string folder = "out/mri_measured_smoke";
    CLI::App app("Restores a slice measured with several coils");
    app.require_subcommand(1);
    app.fallthrough();  // its commands take --quiet, too
    auto& learn = *app.add_subcommand("prior", "learns a prior of complex patches from pictures of slices");
    auto& restore = *app.add_subcommand("restore", "posterior samples of a measured slice");
    auto& smoke = *app.add_subcommand("smoke", "both on made-up slices, in seconds");
    measured::add_options(learn, prior);
    measured::add_options(restore, restoration);
    smoke.add_option("--out", folder, "folder for what it makes")->capture_default_str();
    return support::run_program(app, "mri_measured", argc, argv, [&] {
        if (smoke) return measured::smoke(folder, 0);
        return learn ? measured::learn_prior(prior) : measured::restore(restoration);
    });
}
