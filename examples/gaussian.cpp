// SPDX-License-Identifier: Apache-2.0

// The whole idea on one page. A correlated Gaussian in five dimensions is never seen: each observation shows two numbers,
// random projections of one draw, with noise. EM recovers its mean and covariance.

#include <exception>
#include <iostream>

#include <CLI/CLI.hpp>

#include "gaussian/program.hpp"
#include "support/place_options.hpp"

int main(int argc, char** argv) {
    toy::program_options o;
    CLI::App app("EM of a toy Gaussian from random projections");
    app.add_option("--items", o.items, "observations")->check(CLI::PositiveNumber);
    app.add_option("--laps", o.laps, "most EM iterations")->check(CLI::PositiveNumber);
    support::add_place_options(app, o.at);
    app.add_option("--seed", o.seed, "of all random numbers");
    CLI11_PARSE(app, argc, argv);
    try {
        support::choose(o.at);
        if constexpr (support::has_cuda)
            if (o.at.backend == "cuda") return toy::run_on_cuda(o);
        return toy::run_on_eigen(o);
    } catch (const std::exception& e) {
        std::cerr << "gaussian: " << e.what() << '\n';
        return 1;
    }
}
