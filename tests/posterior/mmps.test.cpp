// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include <diem/diffusion/gaussian.hpp>
#include <diem/diffusion/sampler.hpp>
#include <diem/diffusion/schedule.hpp>
#include <diem/linop/compose.hpp>
#include <diem/linop/covariance.hpp>
#include <diem/linop/dense.hpp>
#include <diem/linop/diagonal.hpp>
#include <diem/linop/hartley.hpp>
#include <diem/linop/identity.hpp>
#include <diem/linop/mask.hpp>
#include <diem/linop/subsample.hpp>
#include <diem/posterior/mmps.hpp>
#include <diem/testing/counting.hpp>

#include "support/backends.hpp"
#include "support/catch.hpp"
#include "support/compare.hpp"

using namespace diem;
using posterior::covariance;
using posterior::mmps_options;
using posterior::solver_choice;
using test::relative_error;
using test::tolerance;

namespace {

/// A Gaussian prior of D features and rank r, and masked observations of draws from it.
template <class B>
struct problem {
    using T = typename B::scalar;
    index_t features, items;
    diffusion::gaussian<B> prior;
    batch<B> mask, x, y, x_t;
    double sigma;

    problem(B& b, index_t d, index_t r, index_t n, double level, std::uint64_t seed = 5)
        : features(d), items(n), prior(make_prior(b, d, r)), mask(b, d, n), x(b, d, n), y(b, d, n), x_t(b, d, n),
          sigma(level) {
        std::vector<T> keep(static_cast<std::size_t>(d * n));
        for (index_t i = 0; i < n; ++i)
            for (index_t j = 0; j < d; ++j)
                keep[static_cast<std::size_t>(i * d + j)] =
                    bernoulli({seed, random_lane::user, 0, 0}, static_cast<std::uint32_t>(i),
                              static_cast<std::uint32_t>(j), 0.5)
                        ? T(1)
                        : T(0);
        b.upload(host_view<const T>(keep.data(), d, n), mask.view());
        prior.sample(b, {seed, random_lane::prior_sample, 0, 0}, x.view());
        posterior::simulate(b, forward(), noise(), x.cview(), {seed, random_lane::observation, 0, 0}, y.view());
        b.fill_normal({seed, random_lane::user, 1, 0}, x_t.view());
        b.axpby(1.0, x.cview(), sigma, x_t.view());
    }
    static diffusion::gaussian<B> make_prior(B& b, index_t d, index_t r) {
        batch<B> mu(b, d, 1), diagonal(b, d, 1), u(b, d, r);
        b.fill_normal({1, 0, 0, 0}, mu.view());
        b.fill_uniform({1, 0, 1, 0}, diagonal.view());
        b.fill_normal({1, 0, 2, 0}, u.view());
        return {b, std::move(mu), std::move(diagonal), std::move(u)};
    }
    [[nodiscard]] linop::mask<B> forward() const { return linop::mask<B>::per_item(mask.view()); }
    [[nodiscard]] auto noise() const { return linop::isotropic_covariance(features, 0.01); }
    [[nodiscard]] auto observation(B& b) const { return posterior::observe(b, y.cview(), forward(), noise()); }
    [[nodiscard]] std::vector<T> run(B& b, const mmps_options& options) {
        posterior::mmps p(b, prior, observation(b), options, &prior);
        batch<B> out(b, features, items);
        p.denoise(b, x_t.cview(), sigma, out.view());
        return to_host(b, out);
    }
};

}  // namespace

TEMPLATE_TEST_CASE("one step with m iterations costs one forward and m VJPs", "[posterior]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    B b = test::make_backend<B>();
    problem<B> p(b, 12, 3, 4, 1.0);
    batch<B> out(b, 12, 4);
    const auto cost = [&](const mmps_options& o) {
        testing::counting_model model(p.prior);
        posterior::mmps posterior(b, model, p.observation(b), o, &p.prior);
        posterior.denoise(b, p.x_t.cview(), p.sigma, out.view());
        return model.counts;
    };
    for (const int m : {0, 1, 2, 3, 5}) {
        CHECK(cost({.max_iterations = m}) == testing::pass_counts{0, 1, m, 0});
        for (const solver_choice solver : {solver_choice::gmres, solver_choice::fom})
            CHECK(cost({.solver = solver, .max_iterations = m}) == testing::pass_counts{0, 1, m, 0});
        CHECK(cost({.cov_x = covariance::isotropic, .max_iterations = m}) == testing::pass_counts{0, 1, 1, 0});
        CHECK(cost({.cov_x = covariance::gaussian, .max_iterations = m}) == testing::pass_counts{1, 0, 0, 0});
        CHECK(cost({.cov_x = covariance::blended, .max_iterations = m, .switch_sigma = 0.5}) ==
              testing::pass_counts{1, 0, 0, 0});
        CHECK(cost({.cov_x = covariance::blended, .max_iterations = m, .switch_sigma = 2}) ==
              testing::pass_counts{0, 1, m, 0});
    }
}

TEMPLATE_TEST_CASE("iterations follow from what the operator shows", "[posterior]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    using T = typename B::scalar;
    B b = test::make_backend<B>();
    const index_t d = 12;
    problem<B> p(b, d, 3, 4, 1.0);
    CHECK(posterior::iterations_for(b, p.observation(b)) == 1);
    CHECK(p.run(b, {.max_iterations = posterior::by_operator}) == p.run(b, {.max_iterations = 1}));
    const auto of = [&](const auto& a) {
        return posterior::iterations_for(b,
                                         posterior::observe(b, p.y.cview(), a, linop::isotropic_covariance(d, 0.01)));
    };
    CHECK(of(linop::compose(linop::identity(d), p.forward())) == 1);
    std::vector<T> gains(static_cast<std::size_t>(d), T(2));
    CHECK(of(linop::diagonal<B>::shared(to_backend(b, gains, d, 1))) == 1);
    gains.back() = T(0.2);
    CHECK(of(linop::diagonal<B>::shared(to_backend(b, gains, d, 1))) == 4);
}

TEMPLATE_TEST_CASE("the running sum equals the explicit form", "[posterior]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    B b = test::make_backend<B>();
    for (const double sigma : {0.03, 1.0, 20.0}) {
        problem<B> p(b, 20, 4, 5, sigma);
        // Few iterations: the three ways to apply V differ by rounding, which cg amplifies from step to step.
        for (const int m : {0, 1, 2, 3}) {
            const auto running = p.run(b, {.max_iterations = m});
            // The same V in M, the correction by its own VJP at the end.
            const auto explicit_form = p.run(b, {.cov_x = covariance::gaussian_heuristic, .max_iterations = m});
            CHECK(test::worst_item_error(running, explicit_form, 20) <= tolerance<typename B::scalar>(4000));
            const auto estimate = p.run(b, {.cov_x = covariance::gaussian, .max_iterations = m});
            CHECK(test::worst_item_error(running, estimate, 20) <= tolerance<typename B::scalar>(4000));
        }
    }
}

TEMPLATE_TEST_CASE("solvers agree, and the preconditioner needs one or two iterations", "[posterior]",
                   test::main_backend<double>, test::opaque_backend<double>) {
    using B = TestType;
    B b = test::make_backend<B>();
    for (const double sigma : {0.01, 1.0, 100.0}) {
        problem<B> p(b, 24, 5, 6, sigma);
        const double rtol = 1e-10;
        const auto exact = p.run(b, {.max_iterations = 200, .relative_tolerance = rtol});
        for (const solver_choice solver : {solver_choice::gmres, solver_choice::fom})
            CHECK(relative_error(p.run(b, {.solver = solver, .max_iterations = 60, .relative_tolerance = rtol}),
                                 exact) <= 1e-7);
        // Items that are done stay as they are, whether the host asks or not.
        for (const index_t every : {0, 7})
            CHECK(p.run(b, {.max_iterations = 200, .relative_tolerance = rtol, .check_every = every}) == exact);
        CHECK(relative_error(
                  p.run(b, {.solver = solver_choice::bicgstab, .max_iterations = 200, .relative_tolerance = rtol}),
                  exact) <= 1e-7);
        posterior::mmps slow(b, p.prior, p.observation(b), {.max_iterations = 200, .relative_tolerance = rtol});
        batch<B> out(b, 24, 6);
        slow.denoise(b, p.x_t.cview(), p.sigma, out.view());
        const auto without = slow.last_solve().to_host(b);
        for (const solver_choice solver : {solver_choice::cg, solver_choice::gmres, solver_choice::fom}) {
            posterior::mmps quick(
                b, p.prior, p.observation(b),
                {.solver = solver, .max_iterations = 200, .relative_tolerance = rtol, .precondition = true}, &p.prior);
            quick.denoise(b, p.x_t.cview(), p.sigma, out.view());
            CHECK(relative_error(to_host(b, out), exact) <= 1e-7);
            const auto report = quick.last_solve().to_host(b);
            CHECK(report.all(solver::solver_status::converged));
            CHECK(report.most_updates <= 2);
            CHECK(without.most_updates > report.most_updates);
        }
    }
}

TEMPLATE_TEST_CASE("solves to convergence where V is Gaussian need no more passes, behind any operator", "[posterior]",
                   DIEM_TEST_BACKENDS) {
    using B = TestType;
    B b = test::make_backend<B>();
    problem<B> p(b, 24, 5, 6, 10);
    const mmps_options many{.cov_x = covariance::gaussian, .max_iterations = 200, .relative_tolerance = 1e-6};
    const auto exact = p.run(b, many);
    for (const covariance c : {covariance::gaussian, covariance::blended})
        for (const solver_choice solver : {solver_choice::fom, solver_choice::bicgstab}) {
            const auto got = p.run(b, {.cov_x = c, .solver = solver, .switch_sigma = 9, .converge_gaussian = true});
            CHECK(relative_error(got, exact) <= 1e-4);
        }
    // Below the switch nothing changes.
    const mmps_options below{.cov_x = covariance::blended, .solver = solver_choice::fom, .switch_sigma = 11};
    auto same = below;
    same.converge_gaussian = true;
    CHECK(p.run(b, below) == p.run(b, same));
    // Behind an operator that is not element-wise there is no preconditioner.
    batch<B> matrix(b, 10, 24), y(b, 10, 6);
    b.fill_normal({2, 0, 5, 0}, matrix.view());
    b.fill_normal({2, 0, 6, 0}, y.view());
    const auto observed =
        posterior::observe(b, y.cview(), linop::dense<B>::shared(matrix.view()), linop::isotropic_covariance(10, 0.01));
    const auto by = [&](const auto& o, const auto& estimate, const auto& of) {
        posterior::mmps m(b, p.prior, of, o, &estimate);
        batch<B> out(b, 24, 6);
        m.denoise(b, p.x_t.cview(), p.sigma, out.view());
        return to_host(b, out);
    };
    const mmps_options one{.cov_x = covariance::gaussian, .max_iterations = 0};
    auto converged = one;
    converged.converge_gaussian = true;
    CHECK(relative_error(by(converged, p.prior, observed), by(many, p.prior, observed)) <= 1e-3);
    CHECK(relative_error(by(one, p.prior, observed), by(many, p.prior, observed)) > 1e-2);
    // Nor is there with an estimate in a basis, or a sigma for each item.
    batch<B> mu(b, 24, 1), spectrum(b, 24, 1);
    b.fill_uniform({1, 0, 7, 0}, spectrum.view());
    b.fill(mu.view(), typename B::scalar(0));
    const diffusion::gaussian<B> in_basis(b, std::move(mu), std::move(spectrum), batch<B>(b, 24, 0),
                                          linop::hartley(4, 6));
    const auto masked = p.observation(b);
    CHECK(relative_error(by(converged, in_basis, masked), by(many, in_basis, masked)) <= 1e-3);
    CHECK_THROWS_AS(by(mmps_options{.precondition = true}, in_basis, masked), value_error);
    batch<B> sigmas(b, 6, 1), out(b, 24, 6);
    b.fill(sigmas.view(), typename B::scalar(10));
    posterior::mmps m(b, p.prior, masked, converged, &p.prior);
    m.denoise(b, p.x_t.cview(), const_vector_t<B>(sigmas.flat()), out.view());
    CHECK(relative_error(to_host(b, out), exact) <= 1e-3);
}

TEMPLATE_TEST_CASE("covariances that stand for themselves", "[posterior]", test::main_backend<double>) {
    using B = TestType;
    B b = test::make_backend<B>();
    // For x ~ N(0, I), (I + sigma^-2 I)^-1 is the covariance; and no V leaves v = Sigma_y^-1 r.
    const index_t d = 6, n = 3;
    batch<B> mu(b, d, 1), one(b, d, 1), none(b, d, 0), x_t(b, d, n), y(b, d, n), out(b, d, n);
    b.fill(mu.view(), 0.0);
    b.fill(one.view(), 1.0);
    diffusion::gaussian<B> prior(b, std::move(mu), std::move(one), std::move(none));
    b.fill_normal({1, 2, 3, 0}, x_t.view());
    b.fill_normal({1, 2, 4, 0}, y.view());
    const double s2 = 4.0, n2 = 0.25;
    const auto xs = to_host(b, x_t), ys = to_host(b, y);
    const auto expect = [&](covariance c, auto in_m) {
        posterior::mmps p(b, prior,
                          posterior::observe(b, y.cview(), linop::identity(d), linop::isotropic_covariance(d, n2)),
                          {.cov_x = c, .max_iterations = 3, .relative_tolerance = 1e-12}, &prior);
        p.denoise(b, x_t.cview(), 2.0, out.view());
        const auto got = to_host(b, out);
        std::vector<double> expected;
        const double v = s2 / (1 + s2);
        for (std::size_t k = 0; k < xs.size(); ++k) {
            const double x_hat = xs[k] * v / s2;
            expected.push_back(x_hat + v * (ys[k] - x_hat) / (n2 + in_m));
        }
        CHECK(relative_error(got, expected) <= 1e-12);
    };
    expect(covariance::tweedie, s2 / (1 + s2));
    expect(covariance::unit_prior, s2 / (1 + s2));
    expect(covariance::isotropic, s2);
    expect(covariance::none, 0.0);
}

TEMPLATE_TEST_CASE("a bad item is its own status and touches no other", "[posterior]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    using T = typename B::scalar;
    B b = test::make_backend<B>();
    problem<B> p(b, 10, 2, 4, 0.5);
    const auto good = p.run(b, {.max_iterations = 3});
    b.fill(p.y.view().item_range(2, 1), std::numeric_limits<T>::quiet_NaN());
    posterior::mmps posterior(b, p.prior, p.observation(b), {.max_iterations = 3});
    batch<B> out(b, 10, 4);
    posterior.denoise(b, p.x_t.cview(), p.sigma, out.view());
    const auto got = to_host(b, out);
    for (std::size_t k = 0; k < got.size(); ++k) {
        CHECK(std::isfinite(got[k]));
        if (k / 10 != 2) CHECK(got[k] == good[k]);
    }
    const auto counts = posterior.tally().read(b);
    CHECK(counts.solves == 4);
    CHECK(counts.status[static_cast<std::size_t>(solver::solver_status::non_finite)] == 1);
    CHECK(counts.mean_updates() == 9.0 / 4);
}

namespace {
/// x_hat = 0, and the Jacobian diag(j) for sigma = 1: V = diag(j), whatever that is.
template <class B>
struct diagonal_model {
    using score_model_tag = diffusion::score_model_tag;
    linop::diagonal<B> j;
    struct linearization {
        batch<B> zero;
        linop::diagonal<B> j;
        [[nodiscard]] const_view_t<B> mean() const { return zero.view(); }
        [[nodiscard]] const linop::diagonal<B>& jacobian() const { return j; }
    };
    [[nodiscard]] index_t features() const { return j.rows(); }
    void denoise(B& b, const_view_t<B>, diffusion::noise_level<B>, view_t<B> y) { b.fill(y, scalar_t<B>(0)); }
    linearization linearize(B& b, const_view_t<B> x, diffusion::noise_level<B>) {
        batch<B> zero(b, x.features(), x.items());
        b.fill(zero.view(), scalar_t<B>(0));
        return {std::move(zero), j};
    }
};
}  // namespace

TEMPLATE_TEST_CASE("a V that is not positive does not drive the sample from the data", "[posterior]",
                   DIEM_TEST_BACKENDS) {
    using B = TestType;
    using T = typename B::scalar;
    B b = test::make_backend<B>();
    // M = diag(1.0001, 1e-6) is positive; V = diag(1, -0.99e-4) is not. Solving M v = (0, 1) would give a correction of -99.
    diagonal_model<B> model{linop::diagonal<B>::shared(to_backend<B, T>(b, {1, T(-0.99e-4)}, 2, 1))};
    const auto y = to_backend<B, T>(b, {0, 1}, 2, 1);
    batch<B> x_t(b, 2, 1), out(b, 2, 1), noise(b, 2, 1);
    b.fill(x_t.view(), T(0));
    b.fill(noise.view(), T(1e-4));
    for (const solver_choice solver : {solver_choice::cg, solver_choice::fom, solver_choice::bicgstab})
        for (const index_t iterations : {1, 2, 5}) {
            CAPTURE(to_string(solver), iterations);
            const auto check = [&](const auto& covariance_of_noise) {
                posterior::mmps p(b, model, posterior::observe(b, y.cview(), linop::identity(2), covariance_of_noise),
                                  {.solver = solver, .max_iterations = iterations, .relative_tolerance = 1e-3});
                p.denoise(b, x_t.cview(), 1.0, out.view());
                const auto x = to_host(b, out);
                CHECK(std::hypot(double(x[0]), 1 - double(x[1])) <= 1);
                CHECK(p.tally().read(b).share(solver::solver_status::breakdown) == 1);
            };
            check(linop::isotropic_covariance(2, 1e-4));
            check(linop::diagonal_covariance<B>::shared(b, noise.view()));
        }
}

TEMPLATE_TEST_CASE("one sigma per item equals one by one; slices equal the whole", "[posterior]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    using T = typename B::scalar;
    B b = test::make_backend<B>();
    problem<B> p(b, 14, 3, 5, 1.0);
    const std::vector<T> levels = {T(0.01), T(0.5), T(0.5), T(3), T(50)};
    auto sigma = to_backend(b, levels, 5, 1);
    for (const covariance c :
         {covariance::tweedie, covariance::gaussian, covariance::unit_prior, covariance::gaussian_heuristic}) {
        const mmps_options o{.cov_x = c, .max_iterations = 2};
        posterior::mmps whole(b, p.prior, p.observation(b), o, &p.prior);
        batch<B> out(b, 14, 5), one(b, 14, 1);
        whole.denoise(b, p.x_t.cview(), const_vector_t<B>(sigma.cview().data(), 5), out.view());
        const auto all = to_host(b, out);
        for (index_t i = 0; i < 5; ++i) {
            posterior::mmps part(b, p.prior, p.observation(b).items(i, 1), o, &p.prior);
            part.denoise(b, p.x_t.cview().item_range(i, 1), double(levels[std::size_t(i)]), one.view());
            const auto single = to_host(b, one);
            const std::vector<T> expected(all.begin() + i * 14, all.begin() + (i + 1) * 14);
            CHECK(relative_error(single, expected) <= tolerance<T>(200));
        }
    }
}

TEMPLATE_TEST_CASE("blocks of items give the same results and reports", "[posterior]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    B b = test::make_backend<B>();
    problem<B> p(b, 12, 3, 7, 0.7);
    const auto run = [&](index_t block) {
        posterior::mmps posterior(b, p.prior, p.observation(b), {.max_iterations = 2, .block_items = block});
        batch<B> out(b, 12, 7);
        posterior.denoise(b, p.x_t.cview(), p.sigma, out.view());
        const auto report = posterior.last_solve().to_host(b);
        CHECK(report.status.size() == 7);
        CHECK(posterior.tally().read(b).solves == 7);
        auto values = to_host(b, out);
        for (const double norm : report.residual_norms) values.push_back(static_cast<typename B::scalar>(norm));
        return values;
    };
    const auto whole = run(7);
    for (const index_t block : {1, 3}) CHECK(relative_error(run(block), whole) <= tolerance<typename B::scalar>(50));
}

TEMPLATE_TEST_CASE("policies known at compile time give what the options give", "[posterior]",
                   test::main_backend<float>, test::opaque_backend<double>) {
    using B = TestType;
    B b = test::make_backend<B>();
    problem<B> p(b, 12, 3, 5, 0.8);
    const auto& estimate = p.prior;
    const auto same = [&](const auto& cov_x, const auto& solver, const mmps_options& options) {
        posterior::mmps fixed(b, p.prior, p.observation(b), cov_x, solver);
        batch<B> out(b, 12, 5);
        fixed.denoise(b, p.x_t.cview(), p.sigma, out.view());
        CHECK(to_host(b, out) == p.run(b, options));
    };
    using posterior::cg, posterior::fom, posterior::gmres, posterior::preconditioned;
    same(posterior::tweedie{}, cg<>{.iterations = 1}, {});
    same(posterior::tweedie{}, cg<>{.iterations = 9, .tolerance = 1e-3},
         {.max_iterations = 9, .relative_tolerance = 1e-3});
    same(posterior::tweedie{}, fom{2, preconditioned{estimate}},
         {.solver = solver_choice::fom, .max_iterations = 2, .precondition = true});
    same(posterior::tweedie{}, posterior::bicgstab{2}, {.solver = solver_choice::bicgstab, .max_iterations = 2});
    same(posterior::isotropic{}, cg{2}, {.cov_x = covariance::isotropic, .max_iterations = 2});
    same(posterior::unit_prior{}, gmres{2},
         {.cov_x = covariance::unit_prior, .solver = solver_choice::gmres, .max_iterations = 2});
    same(posterior::none{}, cg{2}, {.cov_x = covariance::none, .max_iterations = 2});
    same(posterior::gaussian_covariance{estimate}, cg{2}, {.cov_x = covariance::gaussian, .max_iterations = 2});
    same(posterior::gaussian_heuristic{estimate}, cg{2},
         {.cov_x = covariance::gaussian_heuristic, .max_iterations = 2});
    for (const double at : {0.5, 2.0})
        same(posterior::blended{estimate, at}, fom{1},
             {.cov_x = covariance::blended, .solver = solver_choice::fom, .switch_sigma = at});
}

namespace {
template <class B, class Observation, class C, class S>
concept Combines = requires(B& b, diffusion::gaussian<B>& model, Observation o, const C& c, const S& s) {
    posterior::mmps(b, model, o, c, s);
};
}  // namespace

TEST_CASE("policies that cannot work together do not compile", "[posterior]") {
    using B = test::main_backend<float>;
    using other = test::main_backend<double>;
    using masked = posterior::observation<B, linop::mask<B>, linop::isotropic_covariance>;
    using sampled = posterior::observation<B, linop::subsample, linop::isotropic_covariance>;
    using posterior::preconditioned, posterior::tweedie, posterior::cg, posterior::fom;
    STATIC_REQUIRE(Combines<B, masked, tweedie, cg<>>);
    STATIC_REQUIRE(Combines<B, masked, posterior::blended<B>, fom<preconditioned<B>>>);
    STATIC_REQUIRE(Combines<B, sampled, tweedie, fom<>>);
    // The preconditioner: an A that is not element-wise, another backend's estimate, a solver that takes none.
    STATIC_REQUIRE(!Combines<B, sampled, tweedie, fom<preconditioned<B>>>);
    STATIC_REQUIRE(!Combines<B, masked, tweedie, cg<preconditioned<other>>>);
    STATIC_REQUIRE(!Combines<B, masked, tweedie, preconditioned<B>>);
    // Covariances: of another backend; a solver in the place of a covariance, and the other way round.
    STATIC_REQUIRE(!Combines<B, masked, posterior::gaussian_covariance<other>, cg<>>);
    STATIC_REQUIRE(!Combines<B, masked, cg<>, tweedie>);
    STATIC_REQUIRE(!Combines<B, masked, tweedie, tweedie>);
    STATIC_REQUIRE(!Combines<B, masked, mmps_options, cg<>>);
}

TEST_CASE("a warmed-up step allocates nothing", "[posterior]") {
    using B = test::main_backend<float>;
    B b = test::make_backend<B>(2);
    problem<B> p(b, 64, 8, 16, 1.0);
    posterior::mmps posterior(b, p.prior, p.observation(b), {.max_iterations = 3});
    batch<B> out(b, 64, 16);
    for (const double sigma : {2.0, 1.5}) posterior.denoise(b, p.x_t.cview(), sigma, out.view());
    const auto before = b.memory().allocations();
    for (const double sigma : {1.0, 0.5, 0.1}) posterior.denoise(b, p.x_t.cview(), sigma, out.view());
    CHECK(b.memory().allocations() == before);
}

TEST_CASE("mmps refuses what does not fit", "[posterior]") {
    using B = test::main_backend<float>;
    B b = test::make_backend<B>(1);
    problem<B> p(b, 8, 2, 3, 1.0), other(b, 9, 2, 3, 1.0);
    CHECK_THROWS_AS(posterior::mmps(b, other.prior, p.observation(b)), shape_error);
    CHECK_THROWS_AS(posterior::mmps(b, p.prior, p.observation(b), {.cov_x = covariance::blended}), value_error);
    CHECK_THROWS_AS(posterior::mmps(b, p.prior, p.observation(b), {.precondition = true}), value_error);
    CHECK_THROWS_AS(posterior::mmps(b, p.prior, p.observation(b), {.max_iterations = -2}), value_error);
    CHECK_THROWS_AS(posterior::mmps(b, p.prior, p.observation(b), {.check_every = -1}), value_error);
    CHECK_THROWS_AS(posterior::observe(b, p.y.cview().item_range(0, 2), p.forward(), p.noise()), shape_error);
    posterior::mmps posterior(b, p.prior, p.observation(b));
    batch<B> out(b, 8, 2);
    CHECK_THROWS_AS(posterior.denoise(b, p.x_t.cview(), 1.0, out.view()), shape_error);
    CHECK(posterior::covariance_from("blended") == covariance::blended);
    CHECK_THROWS_WITH(posterior::solver_from("lu"), Catch::Contains("cg, gmres, fom, bicgstab"));
}

TEST_CASE("results do not depend on the number of threads, nor on the blocks that these take", "[posterior]") {
    using B = test::main_backend<float>;
    const auto run = [](int threads, index_t block, covariance cov_x, bool precondition) {
        B b = test::make_backend<B>(threads);
        problem<B> p(b, 83, 21, 29, 0.7);
        posterior::mmps posterior(
            b, p.prior, p.observation(b),
            {.cov_x = cov_x, .max_iterations = 3, .block_items = block, .precondition = precondition}, &p.prior);
        batch<B> out(b, 83, 29);
        posterior.denoise(b, p.x_t.cview(), p.sigma, out.view());
        auto values = to_host(b, out);
        for (const double norm : posterior.last_solve().to_host(b).residual_norms)
            values.push_back(static_cast<float>(norm));
        return values;
    };
    for (const covariance c : {covariance::tweedie, covariance::gaussian, covariance::gaussian_heuristic})
        for (const bool precondition : {false, true}) {
            const auto expected = run(1, 5, c, precondition);
            CHECK(run(2, 5, c, precondition) == expected);
            CHECK(run(3, 5, c, precondition) == expected);
            CHECK(relative_error(run(2, 29, c, precondition), expected) <= tolerance<float>(50));
        }
}
