// SPDX-License-Identifier: Apache-2.0

// A prior of slices of the head from accelerated k-space alone: one coil, of which whole columns were measured. First a
// Gaussian, then, where the configuration names a network, a diffusion prior by EM. With each, held-out slices are restored.

#include <CLI/CLI.hpp>

#include <diem/core/check.hpp>

#include "mri/program.hpp"
#include "support/program.hpp"
#include "support/ranks.hpp"
#include "support/study_options.hpp"

int main(int argc, char** argv) {
    mri::program_options o;
    CLI::App app("Learns a prior of slices from accelerated k-space, and restores held-out ones");
    app.add_option("--data", o.data, "npy of slices, (n, height, width) of 8 bits")->check(CLI::ExistingFile);
    support::add_study_options(app, o, "mask.acceleration=8");
    return support::run_program(app, "mri", argc, argv, [&] {
        return support::on_ranks(o.at, [&] {
            auto s = mri::read_settings(o.config, o.changes);
            if (o.smoke) {
                mri::shrink(s);
                if (o.data.empty()) {
                    o.data = mri::write_stand_in(o.out / "stand-in.npy", s);
                    s.evaluation.first = s.observations;
                }
            }
            if (o.data.empty()) throw diem::value_error("--data is missing");
            support::choose(o.at);
            if constexpr (support::has_cuda)
                if (o.at.backend == "cuda") return mri::run_on_cuda(s, o);
            return mri::run_on_eigen(s, o);
        });
    });
}
