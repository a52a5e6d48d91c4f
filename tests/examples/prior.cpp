// SPDX-License-Identifier: Apache-2.0
#include <diem/algorithms.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "example.hpp"
#include "support/temporary_folder.hpp"

namespace {

/// Two hundred items of four numbers that vary together, of which the third is never seen, and options that take no time.
struct small_problem {
    backend b{1};
    diem::diffusion::gaussian<backend> gaussian{b, diem::to_backend(b, std::vector<float>{0, 0, 0, 0}, 4, 1),
                                                diem::to_backend(b, std::vector<float>{0.1F, 0.1F, 0.1F, 0.1F}, 4, 1),
                                                diem::to_backend(b, std::vector<float>{1, 1, 1, 1}, 4, 1)};
    diem::linop::mask<backend> a =
        diem::linop::mask<backend>::shared(diem::to_backend(b, std::vector<float>{1, 1, 0, 1}, 4, 1));
    diem::batch<backend> y{b, 4, 200}, truth{b, 4, 200};
    diem::nn::mlp_config network{.features = 4, .hidden = {8}, .embedding = 8};
    diem::prior::learn_options options;
    diem::posterior::observation<backend, diem::linop::mask<backend>, diem::linop::isotropic_covariance> observed =
        observe();
    small_problem() {
        options.gaussian.ppca.rank = 1;
        options.gaussian.fit.max_laps = 4;
        options.em.laps = 1;
        options.em.training.steps = 2;
        options.em.sampling.steps = 4;
    }

private:
    [[nodiscard]] diem::posterior::observation<backend, diem::linop::mask<backend>, diem::linop::isotropic_covariance>
    observe() {
        const diem::linop::isotropic_covariance noise(4, 0.01);
        gaussian.sample(b, {.seed = 1}, truth.view());
        diem::posterior::simulate(b, a, noise, truth.cview(), {.seed = 2}, y.view());
        return diem::posterior::observe(b, y.cview(), a, noise);
    }
};
bool is_finite(backend& b, const diem::batch<backend>& x) {
    const auto v = diem::to_host(b, x);
    return std::all_of(v.begin(), v.end(), [](float f) { return std::isfinite(f); });
}

}  // namespace

TEST_CASE("algorithms.hpp") {
    // [algorithms.hpp]
    // A program on one backend alone, here that of plain loops: diem/diem.hpp would add Eigen's.
    diem::reference_backend<double> b;
    const auto x = diem::to_backend(b, std::vector<double>{0, 0, 0, 0}, 2, 2);
    const auto y = diem::to_backend(b, std::vector<double>{0.4, 0.4, 0.04, 0.04}, 2, 2);
    const auto decibels = diem::metrics::psnr(b, x.cview(), y.cview(), 4);  // 20 and 40
    // [algorithms.hpp]
    CHECK(decibels[0] == about(20));
    CHECK(decibels[1] == about(40));
}

TEST_CASE_METHOD(small_problem, "prior/learn.hpp") {
    diem::prior::run<backend> run;
    // [prior/learn.hpp]
    const auto learned = diem::prior::learn(b, observed, diem::nn::mlp_config{4, {256, 256}, 64}, options, run);
    std::puts(learned.report.c_str());  // learned.prior; learned.status says whether it is whole
    // [prior/learn.hpp]
    CHECK(learned.status == diem::prior::run_status::completed);
    CHECK(learned.prior.has_network());
}

TEST_CASE_METHOD(small_problem, "prior/run.hpp") {
    // [prior/run.hpp]
    diem::prior::run<backend> run;
    run.on_progress = [](const diem::prior::progress& p) { std::printf("%ld of %ld\n", long(p.done), long(p.total)); };
    run.on_lap = [](const diem::prior::lap_diagnostics& lap, auto samples, const auto& /*prior*/) {
        std::printf("lap %ld: %ld samples\n", long(lap.lap), long(samples.items()));
    };
    const auto learned = diem::prior::learn(b, observed, network, options, run);
    // [prior/run.hpp]
    CHECK(learned.prior.laps() == 1);
}

TEST_CASE_METHOD(small_problem, "prior/learned.hpp") {
    const auto learned = diem::prior::learn(b, observed, network, options);
    const auto& prior = learned.prior;
    // [prior/learned.hpp]
    diem::batch<backend> drawn(b, prior.features(), 10), x_hat(b, prior.features(), 10);
    diem::prior::sample(b, prior, {.seed = 1}, drawn.view());  // x ~ p(x), by the prior's own sampler
    prior.denoise(b, drawn.cview(), 0.5, x_hat.view());        // E[x | x_t] at sigma = 0.5: it is a ScoreModel
    const auto* estimate = prior.estimate();                   // its Gaussian estimate, or null
    // [prior/learned.hpp]
    CHECK(is_finite(b, drawn));
    CHECK(is_finite(b, x_hat));
    CHECK(estimate != nullptr);
    const auto n = observed.items();
    // [several]
    auto how = prior.sample_options(b);
    how.sampling.samples_per_observation = 8;
    diem::batch<backend> x(b, prior.features(), 8 * n);  // sample s n + i belongs to observation i
    diem::posterior::sample_state state;
    diem::posterior::sample(b, prior, observed, how, {.seed = 1}, x.view(), state);
    // [several]
    CHECK(state.done == 8 * 200);
}

TEST_CASE("prior/at_size.hpp") {
    backend b(1);
    const diem::nn::unet_config config{
        .height = 8, .width = 8, .channels = 2, .hid_channels = {4}, .hid_blocks = {1}, .embedding = 8};
    diem::prior::learned<backend>::network_type network(b, diem::model::any_network<backend>(config));
    network.initialize(b, {.seed = 1});
    diem::batch<backend> mean(b, 128, 1);
    b.fill(mean.view(), 0.0F);
    const diem::prior::learned<backend> patches(std::move(network), {}, std::move(mean), std::nullopt);
    // [prior/at_size.hpp]
    const auto prior = diem::prior::at_size(b, patches, 20, 12);  // the same weights, on images of 20 x 12
    // [prior/at_size.hpp]
    CHECK(prior.features() == 20 * 12 * 2);
}

TEST_CASE_METHOD(small_problem, "prior/files.hpp") {
    const diem::test::temporary_folder out;
    auto learned = diem::prior::learn(b, observed, network, options);
    // [prior/files.hpp]
    learned.prior.notes["shape"] = {2, 2};  // what else is worth keeping
    diem::prior::save(out / "prior.safetensors", b, learned.prior);
    const auto read = diem::prior::load(out / "prior.safetensors", b);  // it knows its network, and how to draw
    // [prior/files.hpp]
    CHECK(read.has_network());
    CHECK(read.notes.at("shape").at(1) == 2);
}

TEST_CASE_METHOD(small_problem, "prior/held_out.hpp") {
    // [prior/held_out.hpp]
    const auto held = diem::prior::hold_out(b, observed, 0.1, {.seed = 1});  // a tenth of what y has of x
    const auto learned = diem::prior::learn(b, held.kept(), network, options);
    std::puts(diem::prior::predict_held_out(b, learned.prior, held, {.seed = 2}).words().c_str());
    // [prior/held_out.hpp]
    CHECK(learned.prior.has_network());
}

TEST_CASE_METHOD(small_problem, "prior/noise_level.hpp") {
    // [prior/noise_level.hpp]
    const auto noise = diem::prior::noise_level_of(b, gaussian, observed, {.seed = 1});
    if (noise.is_off()) std::puts(noise.words().c_str());  // "the data look as if sigma_y were 2.00 times as large"
    // [prior/noise_level.hpp]
    CHECK_FALSE(noise.is_off());
}

TEST_CASE_METHOD(small_problem, "prior: errors") {
    const diem::prior::run<backend> run;
    options.em.laps = -1;
    // [errors]
    try {
        const auto learned = diem::prior::learn(b, observed, network, options, run);
    } catch (const diem::value_error& e) {  // an option, a size or a number that cannot be: what() names the argument
        std::fprintf(stderr, "%s\n", e.what());
    } catch (const diem::error& e) {  // all others: shape_error, io_error (files), config_error (JSON, another run)
        std::fprintf(stderr, "%s\n", e.what());
    }
    // [errors]
    CHECK_THROWS_AS(diem::prior::learn(b, observed, network, options, run), diem::value_error);
}

TEST_CASE_METHOD(small_problem, "prior/diagnostics.hpp") {
    const auto learned = diem::prior::learn(b, observed, network, options);
    // [prior/diagnostics.hpp]
    for (const auto& lap : learned.prior.history)
        std::printf("lap %ld: residual %.2f, change %.3f, variance %.3f\n", long(lap.lap), lap.data_residual,
                    lap.change, lap.variance);
    // [prior/diagnostics.hpp]
    CHECK(learned.prior.history.size() == 1);
    CHECK(std::isfinite(learned.prior.history[0].data_residual));
}

TEST_CASE_METHOD(small_problem, "prior/diffusion_em.hpp") {
    // [prior/diffusion_em.hpp]
    // The second stage alone: from a Gaussian that there is already.
    const diem::model::any_network<backend> net(network);
    auto fitted = diem::prior::fit_diffusion(b, diem::prior::learned<backend>(b, gaussian), net, observed, options.em);
    // [prior/diffusion_em.hpp]
    CHECK(fitted.prior.has_network());
}

TEST_CASE_METHOD(small_problem, "prior/em_options.hpp") {
    // [prior/em_options.hpp]
    auto em = diem::prior::presets::paper_cifar();  // 32 laps of the paper's settings
    em.laps = 8;
    em.training.steps = 40000;
    em.outside = diem::prior::out_of_range::clip;
    diem::prior::check_em(em);  // throws where options contradict each other
    // [prior/em_options.hpp]
    CHECK(em.mmps.cov_x == diem::posterior::covariance::tweedie);
}

TEST_CASE_METHOD(small_problem, "prior/gaussian_mixture.hpp") {
    // [prior/gaussian_mixture.hpp]
    // A mixture by EM from a Gaussian; in a run of diffusion EM it is options.em.mixture.components.
    const auto mixture = diem::prior::fit_mixture(
        b, gaussian, observed, {.components = 2, .laps = 4}, 64, 1,
        [](diem::index_t lap, double evidence) { std::printf("lap %ld: log p(y) %.2f\n", long(lap), evidence); });
    const auto shares = diem::prior::responsibilities_of(b, *mixture, observed);  // p(k | y_i) at [2 i + k]
    // [prior/gaussian_mixture.hpp]
    CHECK(mixture->components() == 2);
    CHECK(shares.of[0] + shares.of[1] == Approx(1));

    // [prior/mixture_draws.hpp]
    const diem::prior::mixture_draws draws(b, *mixture, observed);
    diem::batch<backend> drawn(b, 4, observed.items());
    (void)draws(b, {.seed = 1}, drawn.view(), 64);  // x ~ p(x | y_i), 64 observations at once
    // [prior/mixture_draws.hpp]
    CHECK(is_finite(b, drawn));
}

TEST_CASE("prior/mixture_options.hpp") {
    // [prior/mixture_options.hpp]
    diem::prior::em_options options;
    options.mixture = {.components = 20, .laps = 8};  // the first lap draws under a mixture of 20 Gaussians
    // [prior/mixture_options.hpp]
    CHECK_NOTHROW(diem::prior::check_em(options));
}

TEST_CASE_METHOD(small_problem, "prior/exact_draws.hpp") {
    // [prior/exact_draws.hpp]
    // x ~ p(x | y) under a Gaussian prior, one for each observation, without a sampler.
    const diem::prior::exact_draws draws(b, gaussian, observed);
    diem::batch<backend> drawn(b, 4, observed.items());
    const auto result = draws(b, gaussian, {.seed = 1}, drawn.view(), 64);  // 64 observations at once
    // [prior/exact_draws.hpp]
    CHECK(draws.closed());
    CHECK(result.finished);
    CHECK(diem::to_host(b, drawn)[0] == Approx(diem::to_host(b, truth)[0]).margin(0.5));
}

TEST_CASE_METHOD(small_problem, "prior/from_gaussian.hpp") {
    const auto learned = diem::prior::learn(b, observed, network, options);
    const auto& prior = learned.prior;
    diem::batch<backend> x(b, 4, observed.items());
    // [prior/from_gaussian.hpp]
    // Without the steps that a Gaussian would make as well: in EM, options.em.start_at = sampling_start::gaussian.
    const auto how = diem::prior::from_gaussian(prior.sample_options(b), observed);
    diem::posterior::sample(b, prior, observed, how, {.seed = 1}, x.view());
    // [prior/from_gaussian.hpp]
    CHECK(is_finite(b, x));
    CHECK(how.start.draw);
}

TEST_CASE_METHOD(small_problem, "prior/gaussian_e_steps.hpp") {
    // [prior/gaussian_e_steps.hpp]
    const double evidence = diem::prior::log_evidence(b, gaussian, observed);  // sum of log p(y_i)
    diem::batch<backend> means(b, 4, observed.items());
    diem::prior::posterior_means(b, gaussian, observed, means.view());  // E[x | y_i]
    // [prior/gaussian_e_steps.hpp]
    CHECK(std::isfinite(evidence));
    CHECK(diem::to_host(b, means)[0] == Approx(diem::to_host(b, truth)[0]).margin(0.5));
}

TEST_CASE_METHOD(small_problem, "prior/gaussian_fit.hpp") {
    // [prior/gaussian_fit.hpp]
    const auto fitted = diem::prior::fit_gaussian(b, diem::prior::isotropic_gaussian(b, 4), observed,
                                                  {.fit = {.max_laps = 8}, .ppca = {.rank = 1}});
    const auto& laps = fitted.history;  // laps[k].objective: the log-evidence, which rises; fitted.prior: the Gaussian
    // [prior/gaussian_fit.hpp]
    CHECK(laps.size() == 8);
    CHECK(laps.back().objective > laps.front().objective);
    CHECK(fitted.prior.rank() == 1);
}

TEST_CASE_METHOD(small_problem, "prior/gaussian_innovation.hpp") {
    // [prior/gaussian_innovation.hpp]
    // The same draws by one solve each, for linear operators of any kind.
    diem::batch<backend> drawn(b, 4, observed.items());
    const auto statuses = diem::prior::draw_corrected(b, gaussian, observed, {.seed = 1}, drawn.view());
    // [prior/gaussian_innovation.hpp]
    REQUIRE(statuses);
    CHECK(statuses->at(static_cast<std::size_t>(diem::solver::solver_status::converged)) == 200);
    CHECK(diem::to_host(b, drawn)[0] == Approx(diem::to_host(b, truth)[0]).margin(0.5));
}

TEST_CASE("prior/gaussian_options.hpp") {
    // [prior/gaussian_options.hpp]
    // Images whose covariance is a spectrum: what no observation shows is filled in with the strength of other frequencies.
    const diem::prior::gaussian_fit_options spectrum{.fit = {.max_laps = 16},
                                                     .ppca = {.rank = 0, .rest = diem::train::rest::diagonal},
                                                     .basis = diem::prior::gaussian_basis::frequencies,
                                                     .height = 32,
                                                     .width = 32,
                                                     .channels = 1};
    // [prior/gaussian_options.hpp]
    REQUIRE(diem::prior::basis_of(spectrum, 1024));
    CHECK(diem::prior::basis_of(spectrum, 1024)->rows() == 1024);
}

TEST_CASE_METHOD(small_problem, "prior/guard.hpp") {
    // [prior/guard.hpp]
    options.em.guard.max_residual = 1e-9;  // no sample fits so well: the first lap is rejected
    const auto learned = diem::prior::learn(b, observed, network, options);
    // [prior/guard.hpp]
    CHECK(learned.status == diem::prior::run_status::rejected);
    CHECK_FALSE(learned.prior.has_network());
}

TEST_CASE_METHOD(small_problem, "prior/moments.hpp") {
    auto& x = truth;
    // [prior/moments.hpp]
    diem::prior::clip_samples(b, x.view(), -4, 4);                        // into the range of the data
    const auto moments = diem::prior::moments_of<backend>(b, x.cview());  // mean and deviation of each feature
    const double variance = diem::prior::variance_of(b, moments);         // mean over features
    // [prior/moments.hpp]
    CHECK(variance == Approx(1.1).epsilon(0.3));
}

TEST_CASE_METHOD(small_problem, "prior/observed_variance.hpp") {
    // [prior/observed_variance.hpp]
    const auto scale = diem::prior::observed_variance_of(b, observed);  // scale.of_x: near 1.1, from y alone
    // [prior/observed_variance.hpp]
    CHECK(scale.of_x == Approx(1.1).epsilon(0.3));
}

TEST_CASE_METHOD(small_problem, "prior/recoverability.hpp") {
    // [prior/recoverability.hpp]
    const auto seen = diem::prior::recoverability_of(b, a, 200);  // of the operator alone, before anything is learned
    if (seen.has_unseen()) std::puts(seen.words().c_str());  // the third of four numbers: the prior is a guess there
    // [prior/recoverability.hpp]
    CHECK(seen.unseen_values == 0.25);
}

TEST_CASE_METHOD(small_problem, "prior/run_folder.hpp") {
    const diem::test::temporary_folder out;
    diem::prior::run<backend> run;
    run.folder = out / "run";
    (void)diem::prior::learn(b, observed, network, options, run);
    // [prior/run_folder.hpp]
    for (const auto& file : diem::prior::run_files(out / "run")) std::puts(file.filename().c_str());
    const auto last = diem::prior::lap_file_name(0);  // prior_0.safetensors, of lap 0
    // [prior/run_folder.hpp]
    CHECK(diem::prior::run_files(out / "run").size() == 3);
    CHECK(std::filesystem::exists(out / ("run/" + last)));
}

TEST_CASE("prior/settings.hpp") {
    // [prior/settings.hpp]
    diem::prior::em_options em;
    diem::io::read_config({{{"laps", 4}, {"training", {{"steps", 100}}}}}, [&](diem::io::config_object& c) {
        diem::prior::read_settings(c, em);  // what is left out keeps its value
    });
    const auto written = diem::prior::settings_json(em);  // every entry
    // [prior/settings.hpp]
    CHECK(em.laps == 4);
    CHECK(em.training.steps == 100);
    CHECK(written.at("laps") == 4);
}

TEST_CASE_METHOD(small_problem, "prior/checkpoint.hpp") {
    const diem::test::temporary_folder out;
    // [prior/checkpoint.hpp]
    diem::prior::checkpoint_writer<backend> file({{"made", "by hand"}},
                                                 {{"kind", "example"}, {"step", 3}});  // config, state
    file.batch_as(b, "truth", truth.cview());
    file.write(out / "example.safetensors");
    diem::prior::checkpoint_reader<backend> in(out / "example.safetensors");  // compares hashes
    const auto step = in.state<diem::index_t>("step");
    in.batch_into(b, "truth", truth.view());
    in.finish();  // no other tensor is in it
    // [prior/checkpoint.hpp]
    CHECK(step == 3);
}

TEST_CASE_METHOD(small_problem, "prior/training_file.hpp") {
    const diem::test::temporary_folder out;
    diem::train::training_options how{.steps = 4, .batch = 20};
    diem::model::preconditioned<backend, diem::model::any_network<backend>> model(
        b, diem::model::any_network<backend>(network));
    model.initialize(b, {.seed = 1});
    auto state = diem::train::start_training(b, model, how, 1);
    (void)diem::train::fit_denoiser(b, model, truth.cview(), how, state);
    // [prior/training_file.hpp]
    diem::prior::save_training(out / "training.safetensors", b, model, model.table(), state);
    auto restored = diem::prior::load_training(out / "training.safetensors", b, model, model.table(), how);
    // [prior/training_file.hpp]
    CHECK(restored.adam.step() == 4);
}
