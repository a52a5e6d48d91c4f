// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <vector>

#include <Eigen/Dense>

#include <diem/diffusion/gaussian.hpp>
#include <diem/diffusion/sampler.hpp>
#include <diem/diffusion/schedule.hpp>
#include <diem/diffusion/score_model.hpp>
#include <diem/linop/covariance.hpp>
#include <diem/linop/dense.hpp>
#include <diem/posterior/diffpir.hpp>
#include <diem/posterior/dps.hpp>
#include <diem/posterior/mmps.hpp>
#include <diem/posterior/pigdm.hpp>
#include <diem/posterior/tmpd.hpp>
#include <diem/testing/counting.hpp>

#include "support/compare.hpp"
#include "support/operator_harness.hpp"

using namespace diem;
using namespace diem::test;

namespace {

using matrix = Eigen::MatrixXd;

/// x ~ N(mu, Sigma), y = A x + e in six dimensions, as batches and as matrices.
template <class B>
struct problem {
    using T = typename B::scalar;
    static constexpr index_t n = 6, m = 4;
    index_t items;
    double sigma, variance = 0.04;
    diffusion::gaussian<B> prior;
    batch<B> a, y, x_t;

    /// `rank` 0: a diagonal Sigma; `unit`: the identity.
    problem(B& b, index_t rank, double level, index_t count, bool unit = false)
        : items(count), sigma(level),
          prior(b, random_batch(b, n, 1, 1), unit ? ones(b) : random_positive(b, n, 1, 2), random_batch(b, n, rank, 3)),
          a(random_batch(b, m, n, 4)), y(random_batch(b, m, count, 5)), x_t(random_batch(b, n, count, 6)) {
        b.axpby(0.0, x_t.cview(), std::sqrt(1 + sigma * sigma), x_t.view());
    }
    static batch<B> ones(B& b) {
        batch<B> one(b, n, 1);
        b.fill(one.view(), T(1));
        return one;
    }
    auto observation(B& b) const {
        return posterior::observe(b, y.cview(), linop::dense<B>::shared(a.cview()),
                                  linop::isotropic_covariance(m, variance));
    }
    static matrix host(B& b, const_view_t<B> v) {
        const auto values = to_host(b, v);
        return Eigen::Map<const Eigen::Matrix<T, -1, -1>>(values.data(), v.features(), v.items())
            .template cast<double>();
    }
    /// Everything that the formulas name.
    struct closed_form {
        matrix a, y, x_t, mean, sigma_x, j, r;
    };
    closed_form exact(B& b) {
        const auto vector = [&](const_vector_t<B> v) { return host(b, as_batch(v)); };
        closed_form f;
        const matrix u = host(b, prior.u()), mu = vector(prior.mu()), d = vector(prior.d());
        f.a = host(b, a.cview());
        f.y = host(b, y.cview());
        f.x_t = host(b, x_t.cview());
        f.sigma_x = matrix(d.asDiagonal()) + u * u.transpose();
        f.j = f.sigma_x * (f.sigma_x + sigma * sigma * matrix::Identity(n, n)).inverse();
        f.mean = (f.j * (f.x_t.colwise() - mu.col(0))).colwise() + mu.col(0);
        f.r = f.y - f.a * f.mean;
        return f;
    }
    /// (Sigma_y + A V A')^-1 r
    matrix solved(const closed_form& f, const matrix& v) const {
        return (variance * matrix::Identity(m, m) + f.a * v * f.a.transpose()).inverse() * f.r;
    }
    /// E[x | x_t, y]
    matrix posterior_mean(const closed_form& f) const {
        const matrix v = sigma * sigma * f.j;
        return f.mean + v * f.a.transpose() * solved(f, v);
    }
    template <class Method>
    matrix denoised(B& b, Method&& method) const {
        batch<B> out(b, n, items);
        method.denoise(b, x_t.cview(), sigma, out.view());
        return host(b, out.cview());
    }
};

double apart(const matrix& a, const matrix& b) { return (a - b).cwiseAbs().maxCoeff() / b.cwiseAbs().maxCoeff(); }

}  // namespace

TEMPLATE_TEST_CASE("each guidance method is its formula", "[posterior]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    using T = scalar_t<B>;
    B b = make_backend<B>();
    problem<B> p(b, 2, GENERATE(0.1, 1.0, 10.0), 3);
    const auto f = p.exact(b);
    const double s2 = p.sigma * p.sigma;
    const matrix one = matrix::Identity(p.n, p.n);
    // Condition numbers of M are below 1e4 here.
    const double bound = 1e4 * static_cast<double>(std::numeric_limits<T>::epsilon());

    const matrix pigdm = f.mean + s2 * f.j * f.a.transpose() * p.solved(f, s2 / (1 + s2) * one);
    CHECK(apart(p.denoised(b, posterior::pigdm(b, p.prior, p.observation(b))), pigdm) <= bound);

    const matrix rows = matrix((s2 * f.j.rowwise().sum()).asDiagonal());
    const matrix tmpd = f.mean + s2 * f.j * f.a.transpose() * p.solved(f, rows);
    CHECK(apart(p.denoised(b, posterior::tmpd(b, p.prior, p.observation(b))), tmpd) <= bound);

    // The minimum in the words of the paper.
    const double lambda = 3;
    const matrix diffpir = (f.a.transpose() * f.a / p.variance + lambda / s2 * one).inverse() *
                           (f.a.transpose() * f.y / p.variance + lambda / s2 * f.mean);
    CHECK(apart(p.denoised(b, posterior::diffpir(b, p.prior, p.observation(b), {.lambda = lambda})), diffpir) <= bound);

    matrix dps = f.mean;
    for (index_t i = 0; i < p.items; ++i)
        dps.col(i) += 0.7 / 0.25 * (1 + s2) * f.j * f.a.transpose() * f.r.col(i) / f.r.col(i).norm();
    CHECK(apart(p.denoised(b, posterior::dps(b, p.prior, p.observation(b), {.zeta = 0.7, .tau = 0.25})), dps) <= bound);
}

TEMPLATE_TEST_CASE("which method has the exact posterior mean of a Gaussian, and when", "[posterior]",
                   DIEM_TEST_BACKENDS) {
    using B = TestType;
    using T = scalar_t<B>;
    B b = make_backend<B>();
    const double bound = 1e4 * static_cast<double>(std::numeric_limits<T>::epsilon());
    const double sigma = GENERATE(0.1, 1.0, 10.0);
    {
        problem<B> p(b, 0, sigma, 3, true);  // Sigma = I
        const auto exact = p.posterior_mean(p.exact(b));
        CHECK(apart(p.denoised(b, posterior::pigdm(b, p.prior, p.observation(b))), exact) <= bound);
        CHECK(apart(p.denoised(b, posterior::tmpd(b, p.prior, p.observation(b))), exact) <= bound);
    }
    {
        problem<B> p(b, 0, sigma, 3);  // Sigma diagonal
        const auto exact = p.posterior_mean(p.exact(b));
        CHECK(apart(p.denoised(b, posterior::tmpd(b, p.prior, p.observation(b))), exact) <= bound);
    }
    {
        problem<B> p(b, 2, sigma, 3);  // any Sigma: mmps alone
        const auto exact = p.posterior_mean(p.exact(b));
        const double mmps =
            apart(p.denoised(b, posterior::mmps(b, p.prior, p.observation(b),
                                                {.solver = posterior::solver_choice::gmres, .max_iterations = 5})),
                  exact);
        CHECK(mmps <= bound);
        CHECK(apart(p.denoised(b, posterior::pigdm(b, p.prior, p.observation(b))), exact) > 10 * mmps);
        CHECK(apart(p.denoised(b, posterior::tmpd(b, p.prior, p.observation(b))), exact) > 10 * mmps);
        CHECK(apart(p.denoised(b, posterior::diffpir(b, p.prior, p.observation(b))), exact) > 10 * mmps);
        CHECK(apart(p.denoised(b, posterior::dps(b, p.prior, p.observation(b))), exact) > 10 * mmps);
    }
}

TEMPLATE_TEST_CASE("network passes of each guidance method", "[posterior]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    B b = make_backend<B>();
    problem<B> p(b, 2, 1.0, 3);
    testing::counting_model model(p.prior);
    using counts = testing::pass_counts;
    const auto passes = [&](auto method) {
        model.counts = {};
        (void)p.denoised(b, method);
        return model.counts;
    };
    CHECK(passes(posterior::dps(b, model, p.observation(b))) == counts{0, 1, 1});
    CHECK(passes(posterior::pigdm(b, model, p.observation(b))) == counts{0, 1, 1});
    CHECK(passes(posterior::tmpd(b, model, p.observation(b))) == counts{0, 1, 2});
    CHECK(passes(posterior::diffpir(b, model, p.observation(b))) == counts{1, 0, 0});
    CHECK(passes(posterior::mmps(b, model, p.observation(b), {.max_iterations = 3})) == counts{0, 1, 3});
}

namespace {

/// Samples against N(E[x | y], Cov[x | y]) in each direction, in standard errors: means of count samples deviate by
/// sqrt(C_jj / count), variances by C_jj sqrt(2 / count).
template <class B, class Method>
void check_moments(B& b, problem<B>& p, Method& method) {
    const auto f = p.exact(b);
    const index_t n = p.n, count = p.items;
    const matrix gain = f.sigma_x * f.a.transpose() *
                        (p.variance * matrix::Identity(p.m, p.m) + f.a * f.sigma_x * f.a.transpose()).inverse();
    const matrix mu = p.host(b, as_batch(p.prior.mu()));
    const Eigen::VectorXd mean = mu.col(0) + gain * (f.y.col(0) - f.a * mu.col(0));
    const matrix cov = f.sigma_x - gain * f.a * f.sigma_x;
    batch<B> x(b, n, count);
    diffusion::sample(b, method, diffusion::ve_log_linear(1e-3, 50.0), diffusion::dpm_solver_2m_sde{}, {.steps = 256},
                      random_key{.seed = 11}, x.view());
    const matrix xs = p.host(b, x.cview());
    const Eigen::VectorXd got = xs.rowwise().mean();
    const matrix centred = xs.colwise() - got;
    const matrix covariance = centred * centred.transpose() / static_cast<double>(count);
    for (index_t j = 0; j < n; ++j) {
        CHECK(std::abs(got(j) - mean(j)) <= 5 * std::sqrt(cov(j, j) / static_cast<double>(count)));
        // 2 %: what 256 steps leave
        CHECK(std::abs(covariance(j, j) / cov(j, j) - 1) <= 0.02 + 5 * std::sqrt(2 / static_cast<double>(count)));
    }
}
template <class B>
void same_observation(B& b, problem<B>& p) {
    for (index_t i = 1; i < p.items; ++i) b.copy(p.y.cview().item_range(0, 1), p.y.view().item_range(i, 1));
}

}  // namespace

TEST_CASE("samples of the exact cases have the moments of the posterior", "[posterior][statistics]") {
    using B = main_backend<double>;
    B b = make_backend<B>();
    SECTION("pigdm, x ~ N(mu, I)") {
        problem<B> p(b, 0, 1.0, 2000, true);
        same_observation(b, p);
        posterior::pigdm method(b, p.prior, p.observation(b));
        check_moments(b, p, method);
    }
    SECTION("tmpd, diagonal covariance") {
        problem<B> p(b, 0, 1.0, 2000);
        same_observation(b, p);
        posterior::tmpd method(b, p.prior, p.observation(b));
        check_moments(b, p, method);
    }
    SECTION("mmps through a model of two functions") {
        problem<B> p(b, 2, 1.0, 2000);
        same_observation(b, p);
        auto model = diffusion::score_model(
            p.n, [&](B& on, const_view_t<B> x, double sigma, view_t<B> out) { p.prior.denoise(on, x, sigma, out); },
            [&](B& on, const_view_t<B> x, double sigma, const_view_t<B> v, view_t<B> w) {
                p.prior.linearize(on, x, sigma).jacobian().apply_adjoint(on, v, w);
            });
        posterior::mmps method(b, model, p.observation(b), {.max_iterations = 4});
        check_moments(b, p, method);
    }
}

TEST_CASE("DPS with dps_tau and ddpm is the published step", "[posterior]") {
    using B = main_backend<double>;
    B b = make_backend<B>();
    problem<B> p(b, 2, 10.0, 3);
    const index_t steps = 16;
    const double low = 0.01, high = 10, next = high * std::pow(low / high, 1.0 / steps);
    const posterior::dps_options options{.zeta = 0.3, .tau = posterior::dps_tau(low, high, steps)};
    posterior::dps method(b, p.prior, p.observation(b), options);
    const diffusion::step_info info{0, high, next};
    const diffusion::random_noise noise{random_key{.seed = 4}};
    batch<B> guided(b, p.n, p.items), plain(b, p.n, p.items);
    b.copy(p.x_t.cview(), guided.view());
    b.copy(p.x_t.cview(), plain.view());
    diffusion::ddpm{}.step(b, method, info, noise, guided.view());
    diffusion::ddpm{}.step(b, p.prior, info, noise, plain.view());
    const auto f = p.exact(b);
    matrix expected = p.host(b, plain.cview());
    for (index_t i = 0; i < p.items; ++i)
        expected.col(i) += 0.3 * (1 + high * high) * f.j * f.a.transpose() * f.r.col(i) / f.r.col(i).norm();
    CHECK(apart(p.host(b, guided.cview()), expected) <= 1e-11);
}

TEST_CASE("DiffPIR's sampler: without zeta it is DDIM, with it the noise is as published", "[posterior]") {
    using B = main_backend<double>;
    B b = make_backend<B>();
    problem<B> p(b, 2, 2.0, 3);
    posterior::diffpir method(b, p.prior, p.observation(b));
    const diffusion::step_info info{3, 2.0, 0.5};
    const diffusion::random_noise noise{random_key{.seed = 4}};
    const auto step = [&](const auto& scheme) {
        batch<B> x(b, p.n, p.items);
        b.copy(p.x_t.cview(), x.view());
        scheme.step(b, method, info, noise, x.view());
        return p.host(b, x.cview());
    };
    CHECK(apart(step(posterior::diffpir_step{0}), step(diffusion::ddim{})) <= 1e-14);
    batch<B> z(b, p.n, p.items);
    noise.draw(b, random_lane::sampler_noise, 3, z.view());
    const matrix x_hat = p.denoised(b, method);
    const matrix expected = x_hat + 0.5 * (std::sqrt(0.7) * (p.host(b, p.x_t.cview()) - x_hat) / 2.0 +
                                           std::sqrt(0.3) * p.host(b, z.cview()));
    CHECK(apart(step(posterior::diffpir_step{0.3}), expected) <= 1e-13);
}

TEST_CASE("guidance methods refuse what they cannot take", "[posterior]") {
    using B = main_backend<double>;
    B b = make_backend<B>();
    problem<B> p(b, 2, 1.0, 3);
    CHECK_THROWS_AS(posterior::dps(b, p.prior, p.observation(b), {.zeta = -1}), value_error);
    CHECK_THROWS_AS(posterior::dps(b, p.prior, p.observation(b), {.tau = 0}), value_error);
    CHECK_THROWS_AS(posterior::diffpir(b, p.prior, p.observation(b), {.lambda = 0}), value_error);
    CHECK_THROWS_AS(posterior::tmpd(b, p.prior, p.observation(b), {.iterations = -1}), value_error);
    posterior::pigdm method(b, p.prior, p.observation(b));
    batch<B> wrong(b, p.n, 2), out(b, p.n, 3);
    CHECK_THROWS_AS(method.denoise(b, wrong.cview(), 1.0, out.view()), shape_error);
    CHECK_THROWS_AS(method.denoise(b, p.x_t.cview(), 1.0, wrong.view()), shape_error);
    // Levels per item: as the same level for all.
    batch<B> levels(b, 3, 1);
    b.fill(levels.view(), 1.0);
    const auto one = p.denoised(b, method);
    method.denoise(b, p.x_t.cview(), const_vector_t<B>(levels.flat()), out.view());
    CHECK(apart(p.host(b, out.cview()), one) <= 1e-13);
    posterior::dps needs_one(b, p.prior, p.observation(b));
    CHECK_THROWS_AS(needs_one.denoise(b, p.x_t.cview(), const_vector_t<B>(levels.flat()), out.view()), value_error);
}
