// SPDX-License-Identifier: Apache-2.0
#include <diem/diffusion/gaussian.hpp>
#include <diem/diffusion/sampler.hpp>
#include <diem/diffusion/schedule.hpp>
#include <diem/linop/convolution.hpp>
#include <diem/linop/covariance.hpp>
#include <diem/linop/mask.hpp>
#include <diem/linop/nonlinear_image.hpp>
#include <diem/posterior/any_policies.hpp>
#include <diem/posterior/diffpir.hpp>
#include <diem/posterior/dps.hpp>
#include <diem/posterior/gaussian_conditional.hpp>
#include <diem/posterior/gaussian_dense.hpp>
#include <diem/posterior/guidance.hpp>
#include <diem/posterior/in_basis.hpp>
#include <diem/posterior/innovation.hpp>
#include <diem/posterior/mmps.hpp>
#include <diem/posterior/observation.hpp>
#include <diem/posterior/options.hpp>
#include <diem/posterior/pigdm.hpp>
#include <diem/posterior/policies.hpp>
#include <diem/posterior/preconditioner.hpp>
#include <diem/posterior/sample.hpp>
#include <diem/posterior/tally.hpp>
#include <diem/posterior/tight_frame.hpp>
#include <diem/posterior/tmpd.hpp>

#include <cmath>
#include <cstddef>
#include <utility>

#include "example.hpp"

namespace {

// [euler]
struct euler {
    template <diem::Backend B, class M, class N>
    void step(B& b, M& model, diem::diffusion::step_info at, const N& /*noise*/, diem::view_t<B> x) const {
        diem::batch<B> x_hat(b, x.features(), x.items());
        model.denoise(b, x, at.sigma_t, x_hat.view());
        const double tau = 1 - at.sigma_s / at.sigma_t;  // x += tau (x_hat - x)
        b.axpby(tau, x_hat.cview(), 1 - tau, x);
    }
};
// [euler]

/// Two numbers with prior N(0, I), of which the first was measured to be 1, with noise of variance 1/4: its posterior is
/// N(0.8, 0.2), that of the second N(0, 1). The same 400 times.
struct two_numbers {
    backend b{1};
    diem::diffusion::gaussian<backend> prior{b, diem::to_backend(b, std::vector<float>{0, 0}, 2, 1),
                                             diem::to_backend(b, std::vector<float>{1, 1}, 2, 1),
                                             diem::batch<backend>(b, 2, 0)};
    diem::linop::mask<backend> first =
        diem::linop::mask<backend>::shared(diem::to_backend(b, std::vector<float>{1, 0}, 2, 1));
    diem::batch<backend> y{b, 2, 400}, x{b, 2, 400};
    two_numbers() {
        b.fill(y.view(), 0.0F);
        b.fill(y.view().feature_range(0, 1), 1.0F);
    }
    [[nodiscard]] auto observe() {
        return diem::posterior::observe(b, y.cview(), first, diem::linop::isotropic_covariance(2, 0.25));
    }
    [[nodiscard]] double mean(std::size_t feature) {
        const auto v = diem::to_host(b, x);
        double sum = 0;
        for (std::size_t i = feature; i < v.size(); i += 2) sum += double(v[i]);
        return 2 * sum / double(v.size());
    }
    [[nodiscard]] double variance(std::size_t feature) {
        const auto v = diem::to_host(b, x);
        const double m = mean(feature);
        double sum = 0;
        for (std::size_t i = feature; i < v.size(); i += 2) sum += (double(v[i]) - m) * (double(v[i]) - m);
        return 2 * sum / double(v.size());
    }
    void check_first() {
        CHECK(mean(0) == Approx(0.8).margin(0.1));
        CHECK(variance(0) == Approx(0.2).margin(0.06));
    }
};

}  // namespace

TEST_CASE_METHOD(two_numbers, "posterior/observation.hpp") {
    // [posterior/observation.hpp]
    diem::batch<backend> truth(b, 4, 30), seen(b, 4, 30);  // simulated here; a measurement is `seen` already
    b.fill_normal({.seed = 1}, truth.view());
    const auto mask = diem::linop::mask<backend>::shared(diem::to_backend(b, std::vector<float>{1, 1, 0, 1}, 4, 1));
    const diem::linop::isotropic_covariance noise(4, 0.01);
    diem::posterior::simulate(b, mask, noise, truth.cview(), {.seed = 2}, seen.view());
    const auto observed = diem::posterior::observe(b, seen.cview(), mask, noise);
    // [posterior/observation.hpp]
    CHECK(observed.items() == 30);
    CHECK(diem::to_host(b, seen)[0] == Approx(diem::to_host(b, truth)[0]).margin(0.5));
}

TEST_CASE_METHOD(two_numbers, "posterior/mmps.hpp") {
    const auto observed = observe();
    // [posterior/mmps.hpp]
    diem::posterior::mmps posterior(b, prior, observed);  // any ScoreModel and an observation: E[x | x_t, y]
    diem::diffusion::sample(b, posterior, diem::diffusion::ve_log_linear(1e-3, 1e2), diem::diffusion::ddpm{},
                            {.steps = 128}, diem::random_key{.seed = 1}, x.view());
    // [posterior/mmps.hpp]
    check_first();
    CHECK(mean(1) == Approx(0).margin(0.15));
}

TEST_CASE_METHOD(two_numbers, "posterior: a sampler of one's own") {
    const auto observed = observe();
    // [own_sampler]
    diem::posterior::mmps posterior(b, prior, observed);
    diem::diffusion::sample(b, posterior, diem::diffusion::ve_log_linear(5e-3, 20), euler{}, {.steps = 128},
                            diem::random_key{.seed = 3}, x.view());
    // [own_sampler]
    check_first();
}

TEST_CASE_METHOD(two_numbers, "posterior/policies.hpp") {
    auto& model = prior;
    const auto& estimate = prior;
    const auto observation = observe();
    // [posterior/policies.hpp]
    namespace posterior = diem::posterior;
    posterior::mmps(b, model, observation, posterior::tweedie{}, posterior::cg<>{.iterations = 1});
    posterior::mmps(b, model, observation, posterior::blended{estimate, 3.0}, posterior::fom{2});
    posterior::mmps by_estimate(b, model, observation, posterior::tweedie{},
                                posterior::fom{2, posterior::preconditioned{estimate}});
    // [posterior/policies.hpp]
    b.fill(x.view(), 1.0F);
    diem::batch<backend> x_hat(b, 2, 400);
    by_estimate.denoise(b, x.cview(), 1.0, x_hat.view());
    CHECK(diem::to_host(b, x_hat)[0] == about(0.5 + 0.5 / 0.75 * 0.5));  // x_hat + V (V + 1 / 4)^-1 (1 - x_hat)
}

TEST_CASE_METHOD(two_numbers, "posterior/options.hpp") {
    const auto observed = observe();
    // [posterior/options.hpp]
    // The same choices when the program runs, here from their names.
    diem::posterior::mmps posterior(b, prior, observed,
                                    {.cov_x = diem::posterior::covariance_from("tweedie"),
                                     .solver = diem::posterior::solver_from("gmres"),
                                     .max_iterations = 3,
                                     .relative_tolerance = 1e-3});
    // [posterior/options.hpp]
    b.fill(x.view(), 1.0F);
    diem::batch<backend> x_hat(b, 2, 400);
    posterior.denoise(b, x.cview(), 1.0, x_hat.view());
    CHECK(diem::to_host(b, x_hat)[0] == about(0.5 + 0.5 / 0.75 * 0.5));
}

TEST_CASE_METHOD(two_numbers, "posterior/any_policies.hpp") {
    const auto observed = observe();
    // [posterior/any_policies.hpp]
    const auto iterations = diem::posterior::iterations_for(b, observed);  // 1 of a mask, 4 of a blur
    const auto how = diem::posterior::settled(b, {.max_iterations = diem::posterior::by_operator}, observed);
    // [posterior/any_policies.hpp]
    CHECK(iterations == 1);
    CHECK(how.max_iterations == 1);
}

TEST_CASE_METHOD(two_numbers, "posterior/tight_frame.hpp") {
    const auto observed = observe();
    // [posterior/tight_frame.hpp]
    const auto c = diem::posterior::tight_frame(b, observed);  // from 1 to 1 of masks, none of a blur
    // [posterior/tight_frame.hpp]
    REQUIRE(c);
    CHECK(c->least == about(1));
    CHECK(c->most == about(1));
}

TEST_CASE_METHOD(two_numbers, "posterior/sample.hpp") {
    const auto observed = observe();
    // [posterior/sample.hpp]
    diem::posterior::sample_options<backend> how;  // of a learned prior: prior.sample_options(b)
    how.sampling.steps = 128;
    how.estimate = &prior;
    const auto state = diem::posterior::sample(b, prior, observed, how, {.seed = 1}, x.view());
    const double residual = state.data_residual();  // near 1 where samples fit the data; hidden entries count as fitted
    // [posterior/sample.hpp]
    check_first();
    CHECK(residual > 0.2);
    CHECK(residual < 1);
}

TEST_CASE_METHOD(two_numbers, "posterior/tally.hpp") {
    const auto observed = observe();
    diem::posterior::mmps posterior(b, prior, observed, {.max_iterations = 4, .relative_tolerance = 1e-4});
    // [posterior/tally.hpp]
    diem::diffusion::sample(b, posterior, diem::diffusion::ve_log_linear{}, diem::diffusion::ddim{}, {.steps = 16},
                            diem::random_key{.seed = 1}, x.view());
    const auto solves = posterior.tally().read(b);  // of all items at all steps
    const double good = solves.share(diem::solver::solver_status::converged);
    // [posterior/tally.hpp]
    CHECK(good == 1);
    CHECK(solves.solves == 400 * 17);
}

TEST_CASE_METHOD(two_numbers, "posterior/gaussian_conditional.hpp") {
    const auto observed = observe();
    // [posterior/gaussian_conditional.hpp]
    // p(x | y) of a Gaussian prior behind a mask: mean, evidence and draws, all exact.
    diem::posterior::elementwise_conditional<backend> conditional(b, prior);
    diem::batch<backend> mean(b, 2, observed.items());
    diem::batch<backend, double> log_evidence(b, observed.items(), 1);
    conditional.condition(b, observed, 0, mean.view(), log_evidence.flat());
    conditional.draw(b, {.seed = 1}, mean.cview(), x.view());
    // [posterior/gaussian_conditional.hpp]
    CHECK(diem::to_host(b, mean)[0] == about(0.8));
    check_first();
}

TEST_CASE_METHOD(two_numbers, "posterior/gaussian_dense.hpp") {
    const auto observed = observe();
    // [posterior/gaussian_dense.hpp]
    // The same for any linear operator of few rows, by matrices.
    diem::posterior::dense_conditional<backend> conditional(b, prior);
    diem::batch<backend> mean(b, 2, observed.items());
    diem::batch<backend, double> log_evidence(b, observed.items(), 1);
    conditional.condition(b, observed, 0, mean.view(), log_evidence.flat());
    // [posterior/gaussian_dense.hpp]
    CHECK(diem::to_host(b, mean)[0] == about(0.8));
    const double pi = 3.141592653589793;  // y = (1, 0) of N(0, diag(1.25, 0.25))
    CHECK(diem::to_host(b, log_evidence)[0] ==
          about(-0.5 * (1 / 1.25 + std::log(2 * pi * 1.25) + std::log(2 * pi * 0.25))));
}

TEST_CASE_METHOD(two_numbers, "posterior/guidance.hpp") {
    const auto observed = observe();
    // [posterior/guidance.hpp]
    // Any of the methods in the place of another: each is a denoiser.
    const auto draw = [&](auto&& method, std::uint64_t seed) {
        diem::diffusion::sample(b, method, diem::diffusion::ve_log_linear{}, diem::diffusion::ddim{}, {.steps = 32},
                                diem::random_key{.seed = seed}, x.view());
    };
    draw(diem::posterior::pigdm(b, prior, observed), 1);
    draw(diem::posterior::tmpd(b, prior, observed), 2);
    // [posterior/guidance.hpp]
    CHECK(mean(0) == Approx(0.8).margin(0.1));
}

TEST_CASE_METHOD(two_numbers, "posterior/dps.hpp") {
    const auto observed = observe();
    // [posterior/dps.hpp]
    const double tau = diem::posterior::dps_tau(0.01, 50, 256);
    diem::posterior::dps posterior(b, prior, observed, {.zeta = 0.1, .tau = tau});
    diem::diffusion::sample(b, posterior, diem::diffusion::ve_log_linear(0.01, 50), diem::diffusion::ddpm{},
                            {.steps = 256, .final_denoise = false}, diem::random_key{.seed = 1}, x.view());
    // [posterior/dps.hpp]
    CHECK(mean(0) > 0.4);  // drawn to the measurement; DPS does not know how exact that is
    CHECK(mean(1) == Approx(0).margin(0.15));
}

TEST_CASE_METHOD(two_numbers, "posterior/pigdm.hpp") {
    const auto observed = observe();
    // [posterior/pigdm.hpp]
    diem::posterior::pigdm posterior(b, prior, observed, {.iterations = 2});  // exact of N(0, I), as here
    diem::diffusion::sample(b, posterior, diem::diffusion::ve_log_linear{}, diem::diffusion::ddpm{}, {.steps = 128},
                            diem::random_key{.seed = 1}, x.view());
    // [posterior/pigdm.hpp]
    check_first();
}

TEST_CASE_METHOD(two_numbers, "posterior/tmpd.hpp") {
    const auto observed = observe();
    // [posterior/tmpd.hpp]
    diem::posterior::tmpd posterior(b, prior, observed, {.iterations = 2});  // exact where J is diagonal
    diem::diffusion::sample(b, posterior, diem::diffusion::ve_log_linear{}, diem::diffusion::ddpm{}, {.steps = 128},
                            diem::random_key{.seed = 1}, x.view());
    // [posterior/tmpd.hpp]
    check_first();
}

TEST_CASE_METHOD(two_numbers, "posterior/diffpir.hpp") {
    const auto observed = observe();
    // [posterior/diffpir.hpp]
    diem::posterior::diffpir posterior(b, prior, observed, {.lambda = 8});  // no derivative of the prior is made
    diem::diffusion::sample(b, posterior, diem::diffusion::ve_log_linear{}, diem::posterior::diffpir_step{.zeta = 0.3},
                            {.steps = 64}, diem::random_key{.seed = 1}, x.view());
    // [posterior/diffpir.hpp]
    CHECK(mean(0) > 0.4);
    CHECK(mean(0) < 1.1);
}

TEST_CASE_METHOD(two_numbers, "posterior/innovation.hpp") {
    // [posterior/innovation.hpp]
    // M = Sigma_y + A V A' for V = 3 I, as an operator: 1/4 + 3 in the row that is seen, 1/4 in the other.
    const diem::linop::isotropic_covariance noise(2, 0.25);
    const auto v = [](backend& on, auto p, auto q) { on.axpby(3.0, p, 0.0, q); };
    const diem::posterior::innovation<backend, decltype(first), decltype(noise), decltype(v)> m(first, noise, v, 1);
    const auto p = diem::to_backend(b, std::vector<float>{4, 4}, 2, 1);
    diem::batch<backend> q(b, 2, 1), w(b, 2, 1);
    m.apply_with_byproduct(b, p.cview(), q.view(), w.view());  // q = M p: 13, 1; w = V A'p: 12, 0
    // [posterior/innovation.hpp]
    CHECK(diem::to_host(b, q) == std::vector<float>{13, 1});
    CHECK(diem::to_host(b, w) == std::vector<float>{12, 0});
}

TEST_CASE_METHOD(two_numbers, "posterior/preconditioner.hpp") {
    // [posterior/preconditioner.hpp]
    // M^-1 under the Gaussian prior at sigma = 1, where V = I / 2: 1 / (1/4 + 1/2) in the row that is seen.
    const diem::posterior::gaussian_preconditioner<backend> p(b, first, diem::linop::isotropic_covariance(2, 0.25),
                                                              prior.harmonic(b, 1.0), 1);
    const auto r = diem::to_backend(b, std::vector<float>{3, 1}, 2, 1);
    diem::batch<backend> z(b, 2, 1);
    p.apply(b, r.cview(), z.view());  // 4, 4
    // [posterior/preconditioner.hpp]
    CHECK(diem::to_host(b, z)[0] == about(4));
    CHECK(diem::to_host(b, z)[1] == about(4));
}

TEST_CASE_METHOD(two_numbers, "posterior/in_basis.hpp") {
    // [posterior/in_basis.hpp]
    // A circular blur is diagonal in the frequencies of an image: there p(z | y) has the closed form of a mask.
    const auto k = diem::to_backend(b, std::vector<float>{0.25F, 0.5F, 0.25F}, 3, 1);
    const auto blur =
        diem::linop::convolution<backend>::shared(b, {8, 8, 1}, k.cview(), 1, 3, diem::linop::border::circular);
    diem::batch<backend> seen(b, 64, 5);
    b.fill_normal({.seed = 1}, seen.view());
    const auto observed = diem::posterior::observe(b, seen.cview(), blur, diem::linop::isotropic_covariance(64, 0.01));
    const auto of_coefficients =
        diem::posterior::basis_observation<backend>::make(b, observed, diem::linop::hartley(8, 8));  // or none
    // [posterior/in_basis.hpp]
    REQUIRE(of_coefficients);
    CHECK(of_coefficients->observed(b).items() == 5);
}

TEST_CASE("posterior: measurements that are not linear") {
    backend b(1);
    diem::diffusion::gaussian<backend> prior(b, diem::to_backend(b, std::vector<float>(768, 0), 768, 1),
                                             diem::to_backend(b, std::vector<float>(768, 1), 768, 1),
                                             diem::batch<backend>(b, 768, 0));
    diem::batch<backend> y(b, 3 * 1024, 2), x(b, 768, 2);
    b.fill(y.view(), 0.5F);
    diem::posterior::sample_options<backend> options;
    options.sampling.steps = 8;
    // [nonlinear]
    const diem::linop::image_extent image{16, 16, 3};
    const auto f = diem::linop::fourier_magnitudes(b, image, 32, 32);  // or linop::jpeg, linop::clipping
    const auto observed = diem::posterior::observe(b, y.cview(), f, diem::linop::isotropic_covariance(f.rows(), 0.01));
    diem::posterior::sample(b, prior, observed, options, {.seed = 1}, x.view());  // options.mmps: tweedie
    // [nonlinear]
    CHECK(std::isfinite(diem::to_host(b, x)[0]));
}
