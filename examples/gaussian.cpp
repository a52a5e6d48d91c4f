// SPDX-License-Identifier: Apache-2.0

// The whole idea on one page. A correlated Gaussian in five dimensions is never seen: each observation shows two numbers,
// random projections of one draw, with noise. EM recovers its mean and covariance.

#include <exception>
#include <iostream>

#include <CLI/CLI.hpp>

#include "gaussian/program.hpp"
#include "support/backend_choice.hpp"

int main(int argc, char** argv) {
    toy::program_options o;
    CLI::App app("EM of a toy Gaussian from random projections");
    app.add_option("--items", o.items, "observations")->check(CLI::PositiveNumber);
    app.add_option("--laps", o.laps, "most EM iterations")->check(CLI::PositiveNumber);
    support::add_backend_option(app, o.backend);
    app.add_option("--threads", o.threads, "of the Eigen backend; 0: one per core");
    app.add_option("--seed", o.seed, "of all random numbers");
    CLI11_PARSE(app, argc, argv);
    try {
        o.backend = support::choose_backend(o.backend);
        if constexpr (support::has_cuda)
            if (o.backend == "cuda") return toy::run_on_cuda(o);
        return toy::run_on_eigen(o);
    } catch (const std::exception& e) {
        std::cerr << "gaussian: " << e.what() << '\n';
        return 1;
    }
}
