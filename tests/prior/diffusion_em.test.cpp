// SPDX-License-Identifier: Apache-2.0
// Diffusion EM on a problem small enough for tests: a Gaussian mixture in four dimensions, half of it hidden.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <diem/diffusion/gaussian.hpp>
#include <diem/linop/covariance.hpp>
#include <diem/linop/mask.hpp>
#include <diem/model/preconditioned.hpp>
#include <diem/nn/mlp.hpp>
#include <diem/posterior/observation.hpp>
#include <diem/prior/diffusion_em.hpp>

#include "support/backends.hpp"
#include "support/catch.hpp"

using namespace diem;
namespace fs = std::filesystem;

namespace {

struct folder {
    folder() : path(fs::temp_directory_path() / ("diem-em-" + std::to_string(std::uintptr_t(this)))) {}
    ~folder() { fs::remove_all(path); }
    fs::path path;
};

/// x = +-(1, 1, -1, 0) + 0.2 z.
template <class T>
struct two_clusters {
    random_key key;
    DIEM_HOST_DEVICE void operator()(index_t i, T* x) const {
        const T sign = bernoulli(key, static_cast<std::uint32_t>(i), 0, 0.5) ? T(1) : T(-1);
        T* item = x + 4 * i;
        const T centre[4] = {1, 1, -1, 0};
        for (index_t j = 0; j < 4; ++j) item[j] = T(0.2) * item[j] + sign * centre[j];
    }
};

template <class B>
struct problem {
    using T = scalar_t<B>;
    using network = model::preconditioned<B, nn::mlp<B>>;
    static constexpr index_t items = 192;

    B b;
    batch<B> x{b, 4, items}, masks{b, 4, items}, y{b, 4, items};
    network net;
    diffusion::gaussian<B> gaussian;

    /// The Gaussian is N(0, I), or has a direction of its own.
    explicit problem(bool correlated = false)
        : net(b, nn::mlp<B>({.features = 4, .hidden = {32, 32}, .embedding = 8})),
          gaussian(b, to_backend(b, std::vector<T>(4, T(0)), 4, 1), to_backend(b, std::vector<T>(4, T(1)), 4, 1),
                   batch<B>(b, 4, 0)) {
        net.initialize(b, {.seed = 1});
        if (correlated) {
            batch<B> u(b, 4, 1);
            b.fill_normal({.seed = 7, .lane = random_lane::user}, u.view());
            gaussian = {b, to_backend(b, std::vector<T>(4, T(0.1)), 4, 1),
                        to_backend(b, std::vector<T>(4, T(0.5)), 4, 1), std::move(u)};
        }
        b.fill_normal({.seed = 2, .lane = random_lane::user}, x.view());
        b.launch(items, 16, two_clusters<T>{{.seed = 3, .lane = random_lane::user}}, x.view().data());
        linop::draw_mask<B>(b, {.seed = 4, .lane = random_lane::user}, 0.6, 1, masks.view());
        posterior::simulate<B>(b, linop::mask<B>::per_item(masks.view()), noise(), x.cview(), {.seed = 5, .lane = 4},
                               y.view());
    }
    static linop::isotropic_covariance noise() { return {4, 0.01}; }
    auto observed() { return posterior::observe(b, y.cview(), linop::mask<B>::per_item(masks.view()), noise()); }
    static prior::em_options options() {
        prior::em_options o;
        o.laps = 3;
        o.sampling = {.steps = 12, .batch = 40, .sigma_min = 1e-2, .sigma_max = 10};
        o.training.steps = 60;
        o.training.batch = 32;
        o.training.rate.initial = 3e-3;
        o.training.adam.ema_decay = 0.95;
        o.seed = 6;
        return o;
    }
    template <class Monitor = prior::no_em_monitor>
    auto fit(const prior::em_options& o, Monitor&& monitor = {}) {
        const auto seen = observed();
        return prior::fit_diffusion(b, net, net.table(), seen, gaussian, prior::untrained_prior<B>(b, net, gaussian), o,
                                    std::forward<Monitor>(monitor));
    }
};

template <class B>
void check_same(problem<B>& p, const prior::em_result<B>& a, const prior::em_result<B>& c) {
    CHECK(to_host(p.b, a.prior.weights) == to_host(p.b, c.prior.weights));
    CHECK(to_host(p.b, a.prior.average) == to_host(p.b, c.prior.average));
    CHECK(to_host(p.b, a.prior.mean) == to_host(p.b, c.prior.mean));
    REQUIRE(a.prior.history.size() == c.prior.history.size());
    for (std::size_t k = 0; k < a.prior.history.size(); ++k) {
        CHECK(a.prior.history[k].loss == c.prior.history[k].loss);
        CHECK(a.prior.history[k].data_residual == c.prior.history[k].data_residual);
        CHECK(a.prior.history[k].solver_shares == c.prior.history[k].solver_shares);
        const double change = a.prior.history[k].change;
        CHECK((change == c.prior.history[k].change || (k == 0 && std::isnan(change))));
    }
}

/// Cancels after so many progress calls.
struct stopper {
    std::atomic<bool>& flag;
    int left;
    void progress(const prior::em_progress&) {
        if (--left == 0) flag = true;
    }
};

}  // namespace

TEMPLATE_TEST_CASE("diffusion EM runs its laps and measures them", "", test::main_backend<float>,
                   test::opaque_backend<float>, reference_backend<double>) {
    problem<TestType> p;
    struct {
        std::vector<index_t> laps;
        void lap_end(const prior::lap_diagnostics& d, const_view_t<TestType> samples,
                     const prior::diffusion_prior<TestType>& next) {
            laps.push_back(d.lap);
            CHECK(samples.items() == problem<TestType>::items);
            CHECK(next.laps == d.lap + 1);
        }
    } monitor;
    const auto result = p.fit(p.options(), monitor);
    CHECK(result.status == prior::em_status::completed);
    CHECK(monitor.laps == std::vector<index_t>{0, 1, 2});
    REQUIRE(result.prior.history.size() == 3);
    CHECK(std::isnan(result.prior.history[0].change));
    for (const auto& d : result.prior.history) {
        CHECK(d.samples == 192);
        CHECK(d.data_residual <= 3);
        CHECK(d.outside_share <= 0.1);
        CHECK(d.non_finite_share == 0);
        CHECK(std::isfinite(d.loss));
        CHECK(std::abs(d.solver_shares[0] + d.solver_shares[1] + d.solver_shares[2] - 1) <= 1e-12);
    }
    CHECK(result.prior.history[2].change <= 1);
    CHECK(to_host(p.b, p.net.parameters()) == to_host(p.b, result.prior.average));  // ready for use
}

TEST_CASE("diffusion EM learns two clusters that no observation shows whole", "[statistics]") {
    problem<test::main_backend<float>> p;
    auto o = p.options();
    o.laps = 5;
    o.sampling.steps = 32;
    o.training.steps = 500;
    const auto result = p.fit(o);
    REQUIRE(result.status == prior::em_status::completed);
    // Samples of the prior: |x_0| is 1 at both clusters, while the Gaussian start, N(0, I), has mean 0.8 and a third below 0.43;
    // and x_0 x_1 > 0.
    batch<test::main_backend<float>> x(p.b, 4, 500);
    diffusion::sample(p.b, p.net, diffusion::ve_log_linear(1e-2, 10), diffusion::ddpm{},
                      diffusion::sample_options<test::main_backend<float>>{.steps = 64}, random_key{.seed = 8},
                      x.view());
    const auto values = to_host(p.b, x);
    int same_sign = 0, near_one = 0;
    for (std::size_t i = 0; i < 500; ++i) {
        same_sign += values[4 * i] * values[4 * i + 1] > 0 && values[4 * i] * values[4 * i + 2] < 0;
        near_one += std::abs(std::abs(values[4 * i]) - 1) <= 0.6;
    }
    CHECK(same_sign >= 400);
    CHECK(near_one >= 400);
}

// At the size of digits, where two and three iterations are steady too: docs/stability.md. Here they are not always.
TEST_CASE("twelve laps of the default hold; with more iterations they hold or are stopped", "[statistics]") {
    using B = test::main_backend<float>;
    for (const std::uint64_t seed : {0, 1, 2})
        for (const index_t iterations : {1, 2, 3}) {
            CAPTURE(seed, iterations);
            problem<B> p;
            p.net.initialize(p.b, {.seed = seed});
            auto o = p.options();
            o.laps = 12;
            o.mmps.max_iterations = iterations;
            o.refresh = {.mean = true, .estimate = true, .rank = 1};
            o.seed = seed;
            const auto result = p.fit(o);
            const auto& laps = result.prior.history;
            if (iterations == prior::em_options{}.mmps.max_iterations) {
                CHECK(result.status == prior::em_status::completed);
                REQUIRE(laps.size() == 12);
                CHECK(laps.back().loss <= laps.front().loss);
            } else if (result.status == prior::em_status::rejected) {
                CHECK(result.report.find("went wrong") != std::string::npos);
                REQUIRE(!laps.empty());
            }
            // What is kept is a good prior in either case.
            CHECK(laps.back().loss <= 1.5);
            CHECK((laps.size() == 1 || laps.back().change <= 1));
            CHECK(laps.back().data_residual <= 2);
            for (const float w : to_host(p.b, result.prior.average)) REQUIRE(std::isfinite(w));
        }
}

TEST_CASE("a diffusion EM that is cancelled anywhere and resumed equals one that is not, to the bit") {
    using B = test::main_backend<float>;
    const auto options = [](bool skip) {
        auto o = problem<B>::options();
        o.gaussian_skip = o.clip_samples = skip;
        o.guard.low = -2;
        return o;
    };
    problem<B> plain(true), skipping(true);
    const auto of_plain = plain.fit(options(false)), of_skipping = skipping.fit(options(true));
    CHECK(to_host(plain.b, of_plain.prior.weights) != to_host(plain.b, of_skipping.prior.weights));
    // 5 batches and 60 steps a lap: in the first E-step, between steps, in training, at the last step of a lap, later.
    for (const int when : {1, 4, 5, 6, 30, 65, 68, 71, 100, 194}) {
        const folder f;
        std::atomic<bool> cancel = false;
        const bool skip = when % 2 == 0;
        const auto& expected = skip ? of_skipping : of_plain;
        {
            problem<B> p(true);
            auto o = options(skip);
            o.folder = f.path;
            o.cancel = &cancel;
            const auto stopped = p.fit(o, stopper{cancel, when});
            CHECK(stopped.status == prior::em_status::cancelled);
            CHECK(stopped.report.find("resume") != std::string::npos);
        }
        problem<B> p(true);
        p.net.initialize(p.b, {.seed = 99});  // nothing must come from here
        auto o = options(skip);
        o.folder = f.path;
        o.resume = true;
        const auto resumed = p.fit(o);
        CHECK(resumed.status == prior::em_status::completed);
        check_same(p, resumed, expected);
        CHECK(fs::exists(f.path / "prior_2.safetensors"));
        const auto stored = prior::load_prior(f.path / "prior_2.safetensors", p.b, p.net.table());
        CHECK(stored.skip.has_value() == skip);
        check_same(p, {stored.clone(p.b), {}, {}, {}}, expected);
        // A model that loads it is that prior, whatever it was before.
        problem<B> other;
        const auto x = to_backend(p.b, std::vector<float>{1, -1, 0.5F, 2}, 4, 1);
        batch<B> y(p.b, 4, 1), z(p.b, 4, 1);
        other.net.set_skip(p.b, p.gaussian);
        prior::load_into(p.b, stored, other.net);
        other.net.denoise(p.b, x, 0.7, y);
        p.net.denoise(p.b, x, 0.7, z);
        CHECK(to_host(p.b, y) == to_host(p.b, z));
        // A run that is done stays done.
        check_same(p, p.fit(o), expected);
    }
}

TEST_CASE("a diffusion EM saves itself at intervals") {
    using B = test::main_backend<float>;
    problem<B> p;
    const folder f;
    auto o = p.options();
    o.folder = f.path;
    o.save_every = 0;  // at every batch and step
    o.keep_laps = false;
    const auto result = p.fit(o);
    CHECK(result.status == prior::em_status::completed);
    CHECK(fs::exists(f.path / "run.safetensors"));
    CHECK_FALSE(fs::exists(f.path / "prior_2.safetensors"));
    o.laps = 4;
    o.resume = true;
    CHECK(p.fit(o).prior.laps == 4);  // more laps later
}

TEST_CASE("a diffusion EM is not resumed with other options or another network") {
    using B = test::main_backend<float>;
    problem<B> p;
    const folder f;
    auto o = p.options();
    o.laps = 1;
    o.folder = f.path;
    const auto result = p.fit(o);
    o.resume = true;
    o.laps = 2;
    auto other = o;
    other.training.rate.initial = 1e-3;
    CHECK_THROWS_AS(p.fit(other), config_error);
    other = o;
    other.seed = 7;
    CHECK_THROWS_AS(p.fit(other), config_error);
    problem<B>::network wide(p.b, nn::mlp<B>({.features = 4, .hidden = {33, 32}, .embedding = 8}));
    wide.initialize(p.b, {.seed = 1});
    const auto seen = p.observed();
    CHECK_THROWS_AS(prior::fit_diffusion(p.b, wide, wide.table(), seen, p.gaussian,
                                         prior::untrained_prior<B>(p.b, wide, p.gaussian), o),
                    io_error);
    CHECK(p.fit(o).prior.laps == 2);
}

TEST_CASE("a lap that goes wrong is reported, and the last good prior kept") {
    using B = test::main_backend<float>;
    problem<B> p;
    auto o = p.options();
    SECTION("loss that explodes") {
        o.training.rate.initial = 1e3;
        o.guard.max_loss_ratio = 1;
        o.guard.max_outside_share = 1;
        o.guard.max_residual_ratio = 1e30;
        o.laps = 8;
    }
    SECTION("samples out of range") {
        o.guard.low = -0.5;
        o.guard.high = 0.5;
    }
    SECTION("data residual") {
        o.laps = 4;
        o.guard.max_residual_ratio = 1e-3;
    }
    SECTION("moments that jump") { o.guard.max_change = 1e-6; }
    SECTION("solves that break down") { o.guard.max_breakdown_share = -1; }
    const auto result = p.fit(o);
    CHECK(result.status == prior::em_status::rejected);
    CHECK(result.report.find("went wrong") != std::string::npos);
    REQUIRE(result.rejected_lap);
    CHECK(result.prior.laps == result.rejected_lap->lap);
    CHECK(result.prior.laps < o.laps);
    for (const float w : to_host(p.b, result.prior.average)) CHECK(std::isfinite(w));
}

TEST_CASE("several samples per observation, other samplers and covariances, refreshed estimate") {
    using B = test::main_backend<float>;
    problem<B> p;
    auto o = p.options();
    o.laps = 2;
    o.sampling.samples_per_observation = 2;
    o.sampling.sampler = prior::sampler_choice::predictor_corrector;
    o.mmps = prior::paper_mmps(2);
    o.refresh.estimate = true;
    o.refresh.rank = 2;
    const auto result = p.fit(o);
    REQUIRE(result.status == prior::em_status::completed);
    CHECK(result.prior.history[1].samples == 384);
    CHECK(result.prior.estimate->rank() == 2);
    CHECK(to_host(p.b, result.prior.estimate->mu()) == to_host(p.b, result.prior.mean));
    o.sampling.sampler = prior::sampler_choice::ddim;
    o.mmps.cov_x = posterior::covariance::gaussian;
    CHECK(p.fit(o).status == prior::em_status::completed);
}

TEST_CASE("a Gaussian skip connection needs an estimate") {
    using B = test::main_backend<float>;
    problem<B> p;
    auto o = p.options();
    o.gaussian_skip = true;
    const auto seen = p.observed();
    CHECK_THROWS_AS(
        prior::fit_diffusion(p.b, p.net, p.net.table(), seen, p.gaussian, prior::untrained_prior<B>(p.b, p.net), o),
        value_error);
}

TEMPLATE_TEST_CASE("clipped samples are those without, within the range, and what is learned from", "",
                   test::main_backend<float>, test::opaque_backend<float>) {
    using B = TestType;
    struct first_lap {
        B& b;
        std::vector<float> samples;
        void lap_end(const prior::lap_diagnostics&, const_view_t<B> x, const prior::diffusion_prior<B>&) {
            samples.resize(static_cast<std::size_t>(x.features() * x.items()));
            b.download(x, host_view<float>(samples.data(), x.features(), x.items()));
        }
    };
    problem<B> plain, clipped;
    auto o = plain.options();
    o.laps = 1;
    o.guard = {.low = -1.25, .high = 1, .max_outside_share = 1};
    first_lap of_plain{plain.b, {}}, of_clipped{clipped.b, {}};
    const auto without = plain.fit(o, of_plain);
    o.clip_samples = true;
    const auto with = clipped.fit(o, of_clipped);
    REQUIRE(of_plain.samples.size() == of_clipped.samples.size());
    std::size_t outside = 0;
    std::vector<double> mean(4);
    for (std::size_t k = 0; k < of_plain.samples.size(); ++k) {
        const float expected = std::min(std::max(of_plain.samples[k], -1.25F), 1.0F);
        REQUIRE(of_clipped.samples[k] == expected);
        outside += expected != of_plain.samples[k] ? 1 : 0;
        mean[k % 4] += static_cast<double>(expected) / problem<B>::items;
    }
    CHECK(outside > of_plain.samples.size() / 10);
    CHECK(with.prior.history[0].outside_share == without.prior.history[0].outside_share);
    CHECK(to_host(plain.b, without.prior.weights) != to_host(clipped.b, with.prior.weights));
    const auto learned = to_host(clipped.b, with.prior.mean);
    for (std::size_t j = 0; j < 4; ++j) CHECK(std::abs(learned[j] - mean[j]) <= 1e-5);
}

TEST_CASE("samples that are not finite are counted and replaced") {
    using B = test::main_backend<float>;
    problem<B> p;
    auto x = to_host(p.b, p.x);
    x[4 * 3] = std::numeric_limits<float>::quiet_NaN();
    x[4 * 7 + 2] = std::numeric_limits<float>::infinity();
    x[0] = std::numeric_limits<float>::quiet_NaN();
    p.b.upload(host_view<const float>(x.data(), 4, p.items), p.x.view());
    prior::e_step_state state;
    prior::detail::examine<B>(p.b, p.observed(), {}, p.x.view(), state);
    CHECK(state.non_finite == 3);
    CHECK(std::isfinite(state.residual));
    const auto repaired = to_host(p.b, p.x);
    for (const float v : repaired) CHECK(std::isfinite(v));
    CHECK(repaired[4 * 3] == repaired[4 * 2]);
    CHECK(repaired[0] == repaired[4]);
}
