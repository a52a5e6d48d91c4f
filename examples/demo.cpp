// SPDX-License-Identifier: Apache-2.0

// A prior of handwritten digits from images of which 75 % of the pixels were deleted; not one whole image is used: first a
// Gaussian, then a diffusion prior. With each, posterior samples of observations that were held out.

#include <algorithm>

#include <CLI/CLI.hpp>

#include "demo/program.hpp"
#include "support/em_settings.hpp"
#include "support/option_ranges.hpp"
#include "support/place_options.hpp"
#include "support/program.hpp"

int main(int argc, char** argv) {
    demo::program_options o;
    CLI::App app("Learns a prior of handwritten digits from masked images, and samples posteriors");
    app.add_option("--data", o.data, "folder of digits/digits_8x8.npy")->capture_default_str();
    app.add_option("--out", o.out, "folder for pictures and report.json")->capture_default_str();
    app.add_option("--keep", o.keep, "share of the pixels that are observed")
        ->check(support::number_in(0.01, 1))
        ->capture_default_str();
    app.add_option("--gaussian-laps", o.gaussian_laps, "EM iterations of the Gaussian prior")
        ->check(support::count_in(1, support::most_laps))
        ->capture_default_str();
    app.add_option("--components", o.components,
                   "of the mixture of Gaussians that its first lap draws from; 1: the Gaussian itself")
        ->check(support::count_in(1, 1000))
        ->capture_default_str();
    app.add_option("--laps", o.laps, "EM iterations of the diffusion prior; 0: the Gaussian prior alone")
        ->check(support::count_in(0, support::most_laps))
        ->capture_default_str();
    app.add_option("--sampler", o.sampling.sampler, "of the E-step and of all posterior samples")
        ->transform(CLI::CheckedTransformer(support::sampler_names))
        ->default_str("dpm_solver_2m_sde");
    app.add_option("--judged-sampler", o.judged_sampler, "another one for the posterior samples of held-out digits")
        ->transform(CLI::CheckedTransformer(support::sampler_names));
    app.add_option("--steps", o.sampling.steps, "of that sampler")
        ->check(support::count_in(1, support::most_steps))
        ->capture_default_str();
    app.add_option("--free-steps", o.free_steps, "of the sampler for unconditional samples")
        ->check(support::count_in(1, support::most_steps))
        ->capture_default_str();
    app.add_option("--rank", o.rank, "of its covariance")->check(support::count_in(0, 64))->capture_default_str();
    app.add_option("--rest", o.rest, "what stands beside the low rank")
        ->check(CLI::IsMember({"isotropic", "diagonal"}))
        ->capture_default_str();
    app.add_option("--seed", o.seed, "of all random numbers")->check(support::any_seed())->capture_default_str();
    support::add_place_options(app, o.at);
    support::add_products_option(app, o.at);
    app.add_flag("--resume", o.resume, "go on from the checkpoint in --out, where there is one");
    app.add_flag("--plan", o.plan_only, "say what the diffusion prior will cost, and stop before anything is learned");
    app.add_flag("--smoke", o.smoke, "a small run that takes a second or two");
    return support::run_program(app, "demo", argc, argv, [&] {
        if (o.smoke) {
            o.gaussian_laps = std::min<diem::index_t>(o.gaussian_laps, 3);
            o.components = std::min<diem::index_t>(o.components, 4);
            o.laps = std::min<diem::index_t>(o.laps, 2);
            o.width = 32;
            o.training_steps = 200;
            o.samples_per_observation = 1;
            o.held_out = 32;
            o.samples = 2;
            o.free_samples = 32;
            o.free_steps = 8;
            o.sampling.steps = 8;
        }
        support::choose(o.at);
        if constexpr (support::has_cuda)
            if (o.at.backend == "cuda") return demo::run_on_cuda(o);
        return demo::run_on_eigen(o);
    });
}
