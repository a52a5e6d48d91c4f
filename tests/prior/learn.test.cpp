// SPDX-License-Identifier: Apache-2.0
// From observations to a prior, to a file, to samples: what a user does.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <numbers>
#include <string>
#include <vector>

#include <diem/linop/convolution.hpp>
#include <diem/linop/covariance.hpp>
#include <diem/linop/lambda.hpp>
#include <diem/linop/mask.hpp>
#include <diem/posterior/sample.hpp>
#include <diem/prior/learn.hpp>

#include "support/backends.hpp"
#include "support/catch.hpp"
#include "support/message.hpp"
#include "support/temporary_folder.hpp"

using namespace diem;

namespace {

/// Points of N(0, 0.04 I + u u'), u = (1, 1, -1, 0.5), of which two thirds of the values are seen.
template <class B>
struct problem {
    using T = scalar_t<B>;
    static constexpr index_t items = 600;
    B b;
    batch<B> x{b, 4, items}, masks{b, 4, items}, y{b, 4, items};

    problem() {
        const diffusion::gaussian<B> truth(b, to_backend(b, std::vector<T>(4, T(0)), 4, 1),
                                           to_backend(b, std::vector<T>(4, T(0.04)), 4, 1),
                                           to_backend(b, std::vector<T>{1, 1, -1, T(0.5)}, 4, 1));
        truth.sample(b, {.seed = 1}, x.view());
        linop::draw_mask<B>(b, {.seed = 2, .lane = random_lane::user}, 0.67, 1, masks.view());
        posterior::simulate<B>(b, mask(), noise(), x.cview(), {.seed = 3, .lane = random_lane::user}, y.view());
    }
    [[nodiscard]] linop::mask<B> mask() const { return linop::mask<B>::per_item(masks.view()); }
    static linop::isotropic_covariance noise() { return {4, 0.01}; }
    auto observed() { return posterior::observe(b, y.cview(), mask(), noise()); }
    static prior::learn_options options() {
        prior::learn_options o;
        o.gaussian.fit.max_laps = 12;
        o.gaussian.ppca.rank = 1;
        o.em.laps = 2;
        o.em.sampling.steps = 24;
        o.em.sampling.batch = 200;
        o.em.refresh.rank = 1;
        o.em.training.steps = 120;
        o.em.training.batch = 64;
        return o;
    }
};
const nn::mlp_config network{4, {32, 32}, 16, true};

template <class B>
std::vector<scalar_t<B>> posterior_samples(B& b, const prior::learned<B>& p, problem<B>& data) {
    batch<B> x(b, 4, problem<B>::items);
    const auto state = posterior::sample(b, p, data.observed(), random_key{.seed = 9}, x.view());
    CHECK(state.done == problem<B>::items);
    CHECK(state.non_finite == 0);
    CHECK(state.data_residual() <= 1);  // hidden values count as fitted
    return to_host(b, x);
}

}  // namespace

TEMPLATE_TEST_CASE("a Gaussian is learned, and samples as its closed form says", "", test::main_backend<float>,
                   test::opaque_backend<float>) {
    using B = TestType;
    problem<B> p;
    const auto learned = prior::learn(p.b, p.observed(), std::nullopt, p.options());
    CHECK(learned.status == prior::run_status::completed);
    const auto& prior = learned.prior;
    CHECK_FALSE(prior.has_network());
    CHECK_THROWS_AS(prior.network(), value_error);
    // tr Sigma = 3.25 + 0.16; its standard error is 3.25 sqrt(2 / 600 / 0.67).
    CHECK(std::abs(diffusion::trace_of(p.b, *prior.estimate()) - 3.41) <= 4 * 3.25 * std::sqrt(2 / 400.0));
    // Samples by MMPS against exact means: their difference has the posterior's variance, which is below the prior's.
    const auto x = posterior_samples(p.b, prior, p);
    batch<B> means(p.b, 4, p.items);
    prior::posterior_means(p.b, *prior.estimate(), p.observed(), means.view());
    const auto m = to_host(p.b, means), truth = to_host(p.b, p.x);
    double sampled = 0, exact = 0;
    for (std::size_t k = 0; k < m.size(); ++k) {
        sampled += std::pow(static_cast<double>(x[k] - m[k]), 2);
        exact += std::pow(static_cast<double>(truth[k] - m[k]), 2);
    }
    CHECK(std::abs(sampled / exact - 1) <= 0.2);  // both are the posterior variance, by 600 draws
}

TEST_CASE("a network is learned, saved, loaded and sampled: the same numbers") {
    using B = test::main_backend<float>;
    problem<B> p;
    const test::temporary_folder folder;
    std::vector<prior::progress::stage_type> stages;
    prior::run<B> run;
    run.folder = folder / "run";
    std::vector<prior::recoverability> told;
    run.on_recoverability = [&](const prior::recoverability& r) {
        CHECK(stages.empty());  // before the first lap
        told.push_back(r);
    };
    run.on_progress = [&](const prior::progress& at) {
        CHECK((at.done > 0 && at.done <= at.total));
        if (stages.empty() || stages.back() != at.stage) stages.push_back(at.stage);
    };
    const auto learned = prior::learn(p.b, p.observed(), network, p.options(), run);
    REQUIRE(learned.status == prior::run_status::completed);
    using stage = prior::progress::stage_type;
    REQUIRE(told.size() == 1);
    CHECK(told[0].unseen_values == 0);
    CHECK(learned.recoverable->seen == told[0].seen);
    CHECK(learned.report == "completed: 2 of 2 laps done");
    CHECK(stages == std::vector{stage::gaussian, stage::sampling, stage::training, stage::sampling, stage::training});
    CHECK(learned.prior.laps() == 2);

    prior::save(folder / "prior.safetensors", p.b, learned.prior);
    const auto loaded = prior::load<B>(folder / "prior.safetensors", p.b);
    CHECK(loaded.drawing.sampling.steps == 24);
    CHECK(posterior_samples(p.b, loaded, p) == posterior_samples(p.b, learned.prior, p));
    batch<B> free(p.b, 4, 50), again(p.b, 4, 50);
    prior::sample(p.b, learned.prior, {.seed = 4}, free.view());
    prior::sample(p.b, loaded, {.seed = 4}, again.view());
    CHECK(to_host(p.b, free) == to_host(p.b, again));
    // The run's own file is that prior, too.
    const auto of_run = prior::load<B>(folder / "run" / "run.safetensors", p.b);
    CHECK(posterior_samples(p.b, of_run, p) == posterior_samples(p.b, learned.prior, p));
}

TEST_CASE("a run that is cancelled in any stage goes on to the same prior") {
    using B = test::main_backend<float>;
    std::vector<float> expected;
    {
        problem<B> p;
        const auto whole = prior::learn(p.b, p.observed(), network, p.options());
        expected = to_host(p.b, whole.prior.last_weights());
    }
    for (const int when : {1, 5, 13, 17}) {  // 12 laps of the Gaussian, then batches and reported steps
        CAPTURE(when);
        problem<B> p;
        const test::temporary_folder folder;
        std::atomic<bool> cancel = false;
        int left = when;
        prior::run<B> run;
        run.folder = folder / "run";
        run.cancel = &cancel;
        run.on_progress = [&](const prior::progress&) {
            if (--left == 0) cancel = true;
        };
        const auto stopped = prior::learn(p.b, p.observed(), network, p.options(), run);
        CHECK(stopped.status == prior::run_status::cancelled);
        cancel = false;
        run.resume = true;
        const auto resumed = prior::learn(p.b, p.observed(), network, p.options(), run);
        REQUIRE(resumed.status == prior::run_status::completed);
        CHECK(to_host(p.b, resumed.prior.last_weights()) == expected);
    }
}

TEST_CASE("a folder that holds a run is refused by name, gone on with, or cleared of that run alone") {
    using B = test::main_backend<float>;
    problem<B> p;
    const test::temporary_folder folder;
    namespace fs = std::filesystem;
    auto o = p.options();
    prior::run<B> run;
    run.folder = folder / "run";
    const auto files = [&] {
        std::vector<std::string> names;
        for (const auto& e : fs::directory_iterator(run.folder)) names.push_back(e.path().filename().string());
        std::sort(names.begin(), names.end());
        return names;
    };
    const auto refused = [&](auto&& learn, const std::string& name) {
        const auto before = files();
        const auto text = test::message_of<io_error>(learn);
        CHECK(text.find(run.folder.string() + ": holds a run already (" + name + ")") != std::string::npos);
        CHECK(files() == before);
    };
    const auto gaussian = [&] { return prior::learn_gaussian<B>(p.b, p.observed(), o.gaussian, run); };
    const auto all = [&] { return prior::learn(p.b, p.observed(), network, o, run); };
    o.gaussian.fit.max_laps = 1;
    const auto first = gaussian();
    refused(gaussian, "gaussian.safetensors");
    refused(all, "gaussian.safetensors");
    run.overwrite = true;
    CHECK(all().prior.laps() == 2);
    std::ofstream(run.folder / "prior_notes.safetensors") << "mine";
    CHECK(files() == std::vector<std::string>{"gaussian.safetensors", "prior_0.safetensors", "prior_1.safetensors",
                                              "prior_notes.safetensors", "run.safetensors"});
    run.overwrite = false;
    refused(all, "gaussian.safetensors");
    // The second stage by itself does not mind a Gaussian, but a run of its own kind.
    const model::any_network<B> net(network);
    const auto second = [&] {
        return prior::fit_diffusion(p.b, prior::learned<B>(p.b, *first.prior.estimate()), net, p.observed(), o.em, run);
    };
    refused(second, "prior_0.safetensors");
    for (const auto* name : {"run.safetensors", "prior_0.safetensors", "prior_1.safetensors"})
        fs::remove(run.folder / name);
    CHECK(second().prior.laps() == 2);
    run.overwrite = true;
    (void)gaussian();  // nothing of a longer run stays beside the new one, and what is not the run's does
    CHECK(files() == std::vector<std::string>{"gaussian.safetensors", "prior_notes.safetensors"});
    run.resume = true;
    CHECK_THROWS_AS(gaussian(), value_error);
}

TEST_CASE("values that no observation shows are named before anything is learned, and in the report") {
    using B = test::main_backend<float>;
    problem<B> p;
    auto masks = to_host(p.b, p.masks);
    for (std::size_t i = 2; i < masks.size(); i += 4) masks[i] = 0;
    const auto hidden = to_backend(p.b, masks, 4, p.items);
    const auto observed = posterior::observe(p.b, p.y.cview(), linop::mask<B>::per_item(hidden.view()), p.noise());
    std::string words;
    prior::run<B> run;
    run.on_recoverability = [&](const prior::recoverability& r) { words = r.words(); };
    const auto learned = prior::learn(p.b, observed, std::nullopt, p.options(), run);
    CHECK(words == "25 % of the values of x were never seen: the prior is a guess there");
    CHECK(learned.report == "completed: 12 of 12 Gaussian laps done; " + words);
}

TEST_CASE("an adjoint that is none is found before anything is learned") {
    using B = test::main_backend<float>;
    problem<B> p;
    const auto half = linop::make_operator(
        4, 4, linop::any_items, [](B& b, const_view_t<B> x, view_t<B> y) { b.axpby(0.5, x, 0.0, y); },
        [](B& b, const_view_t<B> y, view_t<B> x) { b.axpby(-2.5, y, 0.0, x); });
    const auto observed = posterior::observe(p.b, p.y.cview(), half, p.noise());
    CHECK_THROWS_AS(prior::learn(p.b, observed, network, p.options()), value_error);
}

TEST_CASE("the spread of x is told from y, whatever noise is hidden or kept where a mask hides x") {
    using B = test::main_backend<float>;
    B b;
    const index_t d = 16, n = 1000;
    const double variance = 4, noise = 4;
    batch<B> x(b, d, n), masks(b, d, n), y(b, d, n), cleared(b, d, n);
    b.fill_normal({.seed = 1, .lane = random_lane::user}, x.view());
    b.axpby(0.0, x.cview(), std::sqrt(variance), x.view());
    linop::draw_mask<B>(b, {.seed = 2, .lane = random_lane::user}, 0.25, 1, masks.view());
    const auto mask = linop::mask<B>::per_item(masks.view());
    const linop::isotropic_covariance cov(d, noise);
    posterior::simulate<B>(b, mask, cov, x.cview(), {.seed = 3, .lane = random_lane::user}, y.view());
    mask.apply(b, y.cview(), cleared.view());
    // Of m = 4000 seen values: standard errors sqrt(2 / m) of y's power, the noise's and the operator's.
    const double error = 5 * std::sqrt(2 / 4000.0) * (2 * variance + 2 * noise);
    double before = 0;
    for (const auto* data : {&y, &cleared}) {
        const auto found = prior::observed_variance_of(b, posterior::observe(b, data->view(), mask, cov));
        CHECK(std::abs(found.of_x - variance) <= error);
        CHECK(std::abs(found.with_noise - variance - noise) <= error);
        if (before > 0) CHECK(found.of_x == before);
        before = found.of_x;
    }
    const auto small =
        prior::observed_variance_of(b, posterior::observe(b, y.cview(), mask, linop::isotropic_covariance(d, 100)));
    CHECK(small.of_x == 0);  // the noise has more power than y
}

TEST_CASE("posterior samples keep the variance that no observation shows, from whatever sigma_max they start") {
    using B = test::main_backend<float>;
    B b;
    const index_t d = 8, n = 2000;
    const double spread = 891;  // 29 % of 3072 features' variance in one direction, as brightness has in images
    const std::vector<float> u(d, static_cast<float>(std::sqrt(spread / d)));
    const diffusion::gaussian<B> prior(b, to_backend(b, std::vector<float>(d, 2.0F), d, 1),
                                       to_backend(b, std::vector<float>(d, 0.7F), d, 1), to_backend(b, u, d, 1));
    const auto hidden = linop::mask<B>::shared(to_backend(b, std::vector<float>(d, 0.0F), d, 1));
    batch<B> y(b, d, n), x(b, d, n);
    b.fill(y.view(), 0.0F);
    const auto observed = posterior::observe(b, y.cview(), hidden, linop::isotropic_covariance(d, 0.01));
    posterior::sample_options<B> how;
    how.sampling = {
        .sampler = diffusion::sampler_choice::dpm_2m_sde, .steps = 256, .batch = n, .sigma_min = 5e-3, .sigma_max = 20};
    how.estimate = &prior;
    (void)posterior::sample(b, prior, observed, how, random_key{.seed = 7}, x.view());
    const auto values = to_host(b, x);
    double sum = 0, squares = 0;
    for (std::size_t i = 0; i < values.size(); i += d) {
        double along = 0;
        for (std::size_t j = 0; j < d; ++j)
            along += static_cast<double>(values[i + j]) / std::sqrt(static_cast<double>(d));
        sum += along / n;
        squares += along * along / n;
    }
    const double truth = spread + 0.7, mean = 2 * std::sqrt(static_cast<double>(d));
    CHECK(std::abs(sum - mean) <= 5 * std::sqrt(truth / n));
    // Without the covariance 0.52 of it is left: 1 - (l / (l + sigma_max^2))^2.
    CHECK(std::abs((squares - sum * sum) / truth - 1) <= 5 * std::sqrt(2.0 / n));
}

TEST_CASE("data of any scale are learned at their scale") {
    using B = test::main_backend<float>;
    for (const double scale : {1e-3, 1.0, 300.0}) {
        CAPTURE(scale);
        problem<B> p;
        p.b.axpby(0.0, p.y.cview(), scale, p.y.view());
        const linop::isotropic_covariance noise(4, 0.01 * scale * scale);
        const auto observed = posterior::observe(p.b, p.y.cview(), p.mask(), noise);
        const auto learned = prior::learn(p.b, observed, std::nullopt, p.options());
        const double trace = diffusion::trace_of(p.b, *learned.prior.estimate()) / (scale * scale);
        CHECK(std::abs(trace - 3.41) <= 4 * 3.25 * std::sqrt(2 / 400.0));
    }
    problem<B> p;
    const auto nothing = linop::make_operator(
        4, 4, linop::any_items, [](B& b, const_view_t<B>, view_t<B> y) { b.fill(y, 0.0F); },
        [](B& b, const_view_t<B>, view_t<B> x) { b.fill(x, 0.0F); });
    CHECK_THROWS_AS(prior::learn(p.b, posterior::observe(p.b, p.y.cview(), nothing, p.noise()), std::nullopt),
                    value_error);
}

TEST_CASE("directions that a blur never shows are not filled with noise, and the default laps hold", "[statistics]") {
    using B = test::main_backend<float>;
    B b;
    // Circular blur (1, 2, 1) / 4 of 8 pixels: alternating values have no image. x: a constant and a slow wave.
    const index_t d = 8, n = 512;
    std::vector<float> waves;
    for (const double turns : {0.0, 1.0})
        for (index_t j = 0; j < d; ++j)
            waves.push_back(
                static_cast<float>(1.4 * std::cos(turns * 2 * std::numbers::pi * static_cast<double>(j) / d)));
    const diffusion::gaussian<B> truth(b, to_backend(b, std::vector<float>(d, 0.0F), d, 1),
                                       to_backend(b, std::vector<float>(d, 0.01F), d, 1), to_backend(b, waves, d, 2));
    const auto kernel = to_backend(b, std::vector<float>{0.25F, 0.5F, 0.25F}, 3, 1);
    const auto blur = linop::convolution<B>::shared(b, {1, d, 1}, kernel.cview(), 1, 3, linop::border::circular);
    const linop::isotropic_covariance noise(d, 0.01);
    batch<B> x(b, d, n), y(b, d, n);
    truth.sample(b, {.seed = 1}, x.view());
    posterior::simulate(b, blur, noise, x.cview(), {.seed = 2}, y.view());
    prior::learn_options o;
    o.em.laps = 2;
    o.em.training.steps = 200;
    const auto learned =
        prior::learn(b, posterior::observe(b, y.cview(), blur, noise), nn::mlp_config{d, {32, 32}, 16, true}, o);
    CHECK(learned.report.find("completed") == 0);
    CHECK(learned.report.find("directions of x were never seen") != std::string::npos);
    CHECK(learned.prior.drawing.mmps.max_iterations == posterior::by_operator);
    CHECK(learned.prior.history.back().data_residual <= 1.2);
    // Along (1, -1, 1, ...) / sqrt(8), of the Gaussian stage: 0.01 in truth.
    const auto gaussian = prior::learn(b, posterior::observe(b, y.cview(), blur, noise), std::nullopt, o);
    const auto& estimate = *gaussian.prior.estimate();
    const auto u = to_host(b, estimate.u());
    double along = static_cast<double>(to_host(b, estimate.d())[0]);
    for (index_t k = 0; k < estimate.rank(); ++k) {
        double dot = 0;
        for (index_t j = 0; j < d; ++j)
            dot += static_cast<double>(u[static_cast<std::size_t>(j + k * d)]) * (j % 2 == 0 ? 1 : -1);
        along += dot * dot / d;
    }
    CHECK(along <= 0.11);
}
