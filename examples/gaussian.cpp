// SPDX-License-Identifier: Apache-2.0

// The whole idea on one page. A correlated Gaussian in five dimensions is never seen: each observation shows two numbers,
// random projections of one draw, with noise. EM recovers its mean and covariance.

#include <CLI/CLI.hpp>

#include "gaussian/program.hpp"
#include "support/option_ranges.hpp"
#include "support/place_options.hpp"
#include "support/program.hpp"

int main(int argc, char** argv) {
    toy::program_options o;
    CLI::App app("EM of a toy Gaussian from random projections");
    app.add_option("--items", o.items, "observations")->check(support::count_in(1));
    app.add_option("--laps", o.laps, "most EM iterations")->check(support::count_in(1, support::most_laps));
    support::add_place_options(app, o.at);
    app.add_option("--seed", o.seed, "of all random numbers")->check(support::any_seed());
    return support::run_program(app, "gaussian", argc, argv, [&] {
        support::choose(o.at);
        if constexpr (support::has_cuda)
            if (o.at.backend == "cuda") return toy::run_on_cuda(o);
        return toy::run_on_eigen(o);
    });
}
