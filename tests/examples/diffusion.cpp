// SPDX-License-Identifier: Apache-2.0
#include <diem/diffusion/concept.hpp>
#include <diem/diffusion/gaussian.hpp>
#include <diem/diffusion/harmonic.hpp>
#include <diem/diffusion/mixture.hpp>
#include <diem/diffusion/mixture_parameters.hpp>
#include <diem/diffusion/noise.hpp>
#include <diem/diffusion/sampler.hpp>
#include <diem/diffusion/sampling.hpp>
#include <diem/diffusion/schedule.hpp>
#include <diem/diffusion/score_model.hpp>

#include <cmath>
#include <cstddef>

#include "example.hpp"

namespace {

/// N(mean, variance I) of two numbers.
diem::diffusion::gaussian<backend> simple_gaussian(backend& b, float mean, float variance) {
    return {b, diem::to_backend(b, std::vector<float>{mean, mean}, 2, 1),
            diem::to_backend(b, std::vector<float>{variance, variance}, 2, 1), diem::batch<backend>(b, 2, 0)};
}

struct sample_figures {
    double mean = 0, variance = 0;
};
sample_figures figures_of(const std::vector<float>& x) {
    sample_figures f;
    for (const float v : x) f.mean += double(v) / double(x.size());
    for (const float v : x) f.variance += (double(v) - f.mean) * (double(v) - f.mean) / double(x.size());
    return f;
}

// [diffusion/concept.hpp]
/// E[x | x_t] of x ~ N(0, I) in one dimension or many: the shortest denoiser.
struct unit_denoiser {
    using score_model_tag = diem::diffusion::score_model_tag;
    using common_sigma_tag = diem::diffusion::common_sigma_tag;  // one noise level for all items
    diem::index_t size;
    [[nodiscard]] diem::index_t features() const { return size; }
    void denoise(backend& b, diem::const_view_t<backend> x_t, diem::diffusion::noise_level<backend> sigma,
                 diem::view_t<backend> x_hat) const {
        b.axpby(1 / (1 + sigma.common() * sigma.common()), x_t, 0.0, x_hat);
    }
};
static_assert(diem::diffusion::Denoiser<unit_denoiser, backend>);
// [diffusion/concept.hpp]

/// Ancestral: from sigma_t to sigma_s along the posterior of x_s given x_t and x_hat.
struct ancestral {
    template <diem::Backend B, class M, class N>
    // [diffusion/noise.hpp]
    void step(B& b, M& model, diem::diffusion::step_info at, const N& noise, diem::view_t<B> x) const {
        diem::batch<B> x_hat(b, x.features(), x.items()), z(b, x.features(), x.items());
        model.denoise(b, x, at.sigma_t, x_hat.view());
        noise.draw(b, diem::random_lane::sampler_noise, at.index, z.view());
        const double v = at.sigma_t * at.sigma_t - at.sigma_s * at.sigma_s, tau = v / (at.sigma_t * at.sigma_t);
        b.axpby(tau, x_hat.cview(), 1 - tau, x);
        b.axpby(std::sqrt(v) * at.sigma_s / at.sigma_t, z.cview(), 1.0, x);
    }
    // [diffusion/noise.hpp]
};

}  // namespace

TEST_CASE("diffusion/concept.hpp") {
    backend b(1);
    unit_denoiser model{3};
    diem::batch<backend> x(b, 3, 400);
    diem::diffusion::sample(b, model, diem::diffusion::ve_log_linear(1e-2, 50), diem::diffusion::ddim{}, {.steps = 64},
                            diem::random_key{.seed = 1}, x.view());
    CHECK(figures_of(diem::to_host(b, x)).variance == Approx(1).epsilon(0.15));
}

TEST_CASE("diffusion/gaussian.hpp") {
    backend b(1);
    // [diffusion/gaussian.hpp]
    // N(mu, diag(d) + u u') of two numbers that vary together.
    const diem::diffusion::gaussian<backend> prior(b, diem::to_backend(b, std::vector<float>{1, 1}, 2, 1),
                                                   diem::to_backend(b, std::vector<float>{0.1F, 0.1F}, 2, 1),
                                                   diem::to_backend(b, std::vector<float>{1, 1}, 2, 1));
    diem::batch<backend> x(b, 2, 1000), x_hat(b, 2, 1000);
    prior.sample(b, {.seed = 1}, x.view());          // direct draws
    prior.denoise(b, x.cview(), 0.5, x_hat.view());  // E[x | x_t] at sigma = 0.5
    // [diffusion/gaussian.hpp]
    CHECK(figures_of(diem::to_host(b, x)).mean == Approx(1).margin(0.1));
    CHECK(figures_of(diem::to_host(b, x)).variance == Approx(1.1).epsilon(0.15));
    CHECK(figures_of(diem::to_host(b, x_hat)).variance < 1.1);
}

TEST_CASE("diffusion/harmonic.hpp") {
    backend b(1);
    const auto prior = simple_gaussian(b, 0, 4);
    // [diffusion/harmonic.hpp]
    const auto v = prior.harmonic(b, 2.0);  // Cov[x | x_t] at sigma = 2 of a prior N(0, 4 I): (1 / 4 + 1 / 4)^-1 = 2
    const auto x = diem::to_backend(b, std::vector<float>{1, 3}, 2, 1);
    diem::batch<backend> y(b, 2, 1);
    v.apply(b, x.cview(), y.view());  // 2, 6
    // [diffusion/harmonic.hpp]
    CHECK(diem::to_host(b, y)[1] == about(6));
}

TEST_CASE("diffusion/mixture_parameters.hpp") {
    // [diffusion/mixture_parameters.hpp]
    // Two modes of one number, at -1 and 1, and what is left of them once y = x + e was seen to be 1.
    const diem::diffusion::mixture_parameters prior{
        .features = 1, .weight = {0.5, 0.5}, .mean = {-1, 1}, .cov = {0.01, 0.01}};
    const auto posterior = diem::diffusion::mixture_posterior(prior, {1}, {0.25}, {1});  // A = 1, variance 0.25
    // [diffusion/mixture_parameters.hpp]
    CHECK(posterior.weight[1] > 0.99);
    CHECK(diem::diffusion::mixture_moments(prior).cov[0] == about(1.01));
}

TEST_CASE("diffusion/mixture.hpp") {
    backend b(1);
    // [diffusion/mixture.hpp]
    diem::diffusion::mixture<backend> prior(b, {.features = 1, .weight = {1, 3}, .mean = {-1, 1}, .cov = {0.01, 0.01}});
    diem::batch<backend> x(b, 1, 1000);
    prior.sample(b, {.seed = 1}, x.view());  // a quarter of them near -1
    // [diffusion/mixture.hpp]
    CHECK(figures_of(diem::to_host(b, x)).mean == Approx(0.5).margin(0.1));
}

TEST_CASE("diffusion/noise.hpp") {
    backend b(1);
    auto model = simple_gaussian(b, 0, 1);
    diem::batch<backend> x(b, 2, 400);
    diem::diffusion::sample(b, model, diem::diffusion::ve_log_linear(1e-2, 50), ancestral{}, {.steps = 64},
                            diem::random_key{.seed = 1}, x.view());
    CHECK(figures_of(diem::to_host(b, x)).variance == Approx(1).epsilon(0.2));
}

TEST_CASE("diffusion/sampler.hpp") {
    backend b(1);
    auto model = simple_gaussian(b, 1, 0.25F);
    // [diffusion/sampler.hpp]
    // Of any denoiser: a Gaussian, a network, posterior::mmps of a prior and an observation.
    diem::batch<backend> x(b, 2, 500);
    diem::diffusion::sample(b, model, diem::diffusion::ve_log_linear(1e-3, 1e2), diem::diffusion::heun{}, {.steps = 32},
                            diem::random_key{.seed = 1}, x.view());
    // [diffusion/sampler.hpp]
    const auto f = figures_of(diem::to_host(b, x));
    CHECK(f.mean == Approx(1).margin(0.05));
    CHECK(f.variance == Approx(0.25).epsilon(0.15));
}

TEST_CASE("diffusion/sampling.hpp") {
    backend b(1);
    auto model = simple_gaussian(b, 1, 0.25F);
    // [diffusion/sampling.hpp]
    // Sampler and schedule chosen when the program runs, 200 items at once.
    const diem::diffusion::sampling_options how{.sampler = diem::diffusion::sampler_choice::dpm_2m_sde,
                                                .schedule = diem::diffusion::schedule_choice::edm,
                                                .steps = 32,
                                                .batch = 200};
    diem::batch<backend> x(b, 2, 500);
    const bool all = diem::diffusion::sample(b, model, how, {}, {.seed = 1}, x.view());  // false where cancelled
    // [diffusion/sampling.hpp]
    CHECK(all);
    CHECK(figures_of(diem::to_host(b, x)).mean == Approx(1).margin(0.1));
}

TEST_CASE("diffusion/schedule.hpp") {
    // [diffusion/schedule.hpp]
    const diem::diffusion::ve_log_linear schedule(0.01, 100);
    const double middle = schedule.sigma(0.5);                             // 1: even steps of log sigma
    const double start = schedule.sigma(diem::diffusion::time_at(0, 32));  // 100: of 32 steps, where the first begins
    const diem::diffusion::vp_cosine preserving(0.01, 100);
    const double one = std::hypot(preserving.alpha(0.3), preserving.beta(0.3));  // 1: variance preserving
    // [diffusion/schedule.hpp]
    CHECK(middle == about(1));
    CHECK(start == about(100));
    CHECK(one == about(1));
}

TEST_CASE("diffusion/score_model.hpp") {
    backend b(1);
    // [diffusion/score_model.hpp]
    // A prior of two functions, here of N(0, I): in the place of 1 / (1 + sigma^2) stands a network of one's own.
    auto prior = diem::diffusion::score_model(
        2,
        [](backend& on, diem::const_view_t<backend> x_t, double sigma, diem::view_t<backend> x_hat) {
            on.axpby(1 / (1 + sigma * sigma), x_t, 0.0, x_hat);
        },
        [](backend& on, diem::const_view_t<backend> /*x_t*/, double sigma, diem::const_view_t<backend> v,
           diem::view_t<backend> w) { on.axpby(1 / (1 + sigma * sigma), v, 0.0, w); });  // w = J'v
    // [diffusion/score_model.hpp]
    const auto x_t = diem::to_backend(b, std::vector<float>{2, 4}, 2, 1);
    const auto at = prior.linearize(b, x_t.cview(), 1.0);
    CHECK(diem::to_host(b, at.mean()) == std::vector<float>{1, 2});
}
