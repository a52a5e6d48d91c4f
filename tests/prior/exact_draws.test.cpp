// SPDX-License-Identifier: Apache-2.0
// Draws of p(x | y) under a Gaussian prior, whatever A is.
#include <array>
#include <cmath>
#include <cstddef>
#include <numbers>
#include <vector>

#include <diem/linop/covariance.hpp>
#include <diem/linop/dense.hpp>
#include <diem/linop/mask.hpp>
#include <diem/posterior/observation.hpp>
#include <diem/prior/exact_draws.hpp>
#include <diem/prior/from_gaussian.hpp>
#include <diem/prior/gaussian_fit.hpp>
#include <diem/prior/observed_variance.hpp>

#include "support/backends.hpp"
#include "support/catch.hpp"
#include "support/compare.hpp"

using namespace diem;

namespace {

constexpr index_t features = 6;

/// N(1, 0.1 I + u u').
template <Backend B>
diffusion::gaussian<B> make_prior(B& b) {
    using T = scalar_t<B>;
    std::vector<T> u;
    for (index_t j = 0; j < features; ++j) u.push_back(static_cast<T>(1 + 0.25 * static_cast<double>(j)));
    return {b, to_backend(b, std::vector<T>(features, T(1)), features, 1),
            to_backend(b, std::vector<T>(features, T(0.1)), features, 1), to_backend(b, u, features, 1)};
}
const std::vector<double> seen{1, 0, 1, 1, 0, 0};

template <Backend B>
linop::mask<B> make_mask(B& b) {
    return linop::mask<B>::shared(to_backend(b, std::vector<scalar_t<B>>(seen.begin(), seen.end()), features, 1));
}
/// The same as a matrix, of which nobody says that it is diagonal.
template <Backend B>
linop::dense<B> make_matrix(B& b) {
    std::vector<scalar_t<B>> values(features * features);
    for (index_t j = 0; j < features; ++j)
        values[static_cast<std::size_t>(j * (features + 1))] =
            static_cast<scalar_t<B>>(seen[static_cast<std::size_t>(j)]);
    return linop::dense<B>::shared(to_backend(b, values, features, features));
}
/// Any operator, chosen when the program runs, that can say that it is a mask.
template <Backend B>
struct chosen_operator {
    using operator_tag = linop::linear_tag;
    linop::mask<B> inner;
    bool says_so = true;

    [[nodiscard]] const linop::mask<B>* as_mask() const { return says_so ? &inner : nullptr; }
    [[nodiscard]] index_t rows() const { return inner.rows(); }
    [[nodiscard]] index_t cols() const { return inner.cols(); }
    [[nodiscard]] index_t items() const { return inner.items(); }
    [[nodiscard]] chosen_operator items(index_t first, index_t count) const {
        return {inner.items(first, count), says_so};
    }
    void apply(B& b, const_view_t<B> x, view_t<B> y) const { inner.apply(b, x, y); }
    void apply_adjoint(B& b, const_view_t<B> y, view_t<B> x) const { inner.apply_adjoint(b, y, x); }
};

template <Backend B, class A>
auto draw(B& b, const A& a, const_view_t<B> y, view_t<B> x, index_t block = 128) {
    const auto observed = posterior::observe(b, y, a, linop::isotropic_covariance(y.features(), 0.04));
    const auto prior = make_prior(b);
    return prior::exact_draws(b, prior, observed)(b, prior, {.seed = 3}, x, block);
}

/// Mean and variance of each feature.
std::array<std::array<double, features>, 2> moments_of(const std::vector<double>& x) {
    const double n = static_cast<double>(x.size()) / features;
    std::array<std::array<double, features>, 2> m{};
    for (std::size_t k = 0; k < x.size(); ++k) m[0][k % features] += x[k] / n;
    for (std::size_t k = 0; k < x.size(); ++k) m[1][k % features] += std::pow(x[k] - m[0][k % features], 2) / n;
    return m;
}

}  // namespace

TEMPLATE_TEST_CASE("an operator that says it is a mask has a mask's closed form", "[prior]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    B b = test::make_backend<B>();
    const index_t n = 20;
    batch<B> y(b, features, n), closed(b, features, n), same(b, features, n), solved(b, features, n);
    b.fill_normal({.seed = 1}, y.view());
    const auto mask = make_mask(b);
    const auto first = draw(b, mask, y.cview(), closed.view());
    const auto second = draw(b, chosen_operator<B>{mask}, y.cview(), same.view());
    const auto third = draw(b, chosen_operator<B>{mask, false}, y.cview(), solved.view());
    CHECK(to_host(b, same) == to_host(b, closed));
    CHECK(std::isfinite(first.log_evidence));
    CHECK(second.log_evidence == first.log_evidence);
    CHECK(std::isnan(third.log_evidence));
    CHECK(third.statuses[static_cast<std::size_t>(solver::solver_status::converged)] == n);
}

TEST_CASE("draws have the posterior's moments, by a closed form and by solves", "[prior][statistics]") {
    using B = test::main_backend<double>;
    B b;
    const index_t n = 20000;
    batch<B> y(b, features, n), x(b, features, n), again(b, features, n);
    b.fill(y.view(), 0.7);
    draw(b, make_mask(b), y.cview(), x.view());
    const auto closed = moments_of(to_host(b, x));
    draw(b, make_matrix(b), y.cview(), x.view(), 777);
    draw(b, make_matrix(b), y.cview(), again.view(), 128);
    CHECK(test::relative_error(to_host(b, x), to_host(b, again)) <= 1e-12);
    const auto solved = moments_of(to_host(b, x));
    for (std::size_t j = 0; j < features; ++j) {  // five standard errors of a difference
        CHECK(std::abs(solved[0][j] - closed[0][j]) <= 5 * std::sqrt(2 * closed[1][j] / n));
        CHECK(std::abs(solved[1][j] - closed[1][j]) <= 5 * closed[1][j] * std::sqrt(4.0 / n));
    }
}

TEST_CASE("draws that take solves end between blocks", "[prior]") {
    using B = test::main_backend<float>;
    B b;
    const index_t n = 30;
    batch<B> y(b, features, n), x(b, features, n);
    b.fill(y.view(), 0.7F);
    const auto a = make_matrix(b);
    const auto observed = posterior::observe(b, y.cview(), a, linop::isotropic_covariance(features, 0.04));
    const auto prior = make_prior(b);
    const prior::exact_draws draws(b, prior, observed);
    CHECK_FALSE(draws.closed());
    int asked = 0;
    const auto result = draws(b, prior, {.seed = 3}, x.view(), 10, parallel::self{}, [&] { return ++asked < 2; });
    CHECK_FALSE(result.finished);
    CHECK(asked == 2);
    // What comes with the last block comes too late.
    CHECK(draws(b, prior, {.seed = 3}, x.view(), n, parallel::self{}, [] { return false; }).finished);
}

TEST_CASE("Gaussian EM by draws comes near the exact fit, also behind a matrix", "[prior][statistics]") {
    using B = test::main_backend<double>;
    B b;
    const index_t n = 800, rows = 4;
    batch<B> x(b, features, n), y(b, rows, n), a(b, rows * features, n);
    b.fill_normal({.seed = 21}, a.view());
    make_prior(b).sample(b, {.seed = 22}, x.view());
    const auto forward = linop::dense<B>::per_item(a.cview(), rows, features);
    const linop::isotropic_covariance noise(rows, 1e-2);
    posterior::simulate(b, forward, noise, x.cview(), {.seed = 23}, y.view());
    const auto observed = posterior::observe(b, y.cview(), forward, noise);
    prior::gaussian_fit_options o{.fit = {.max_laps = 12}, .ppca = {.rank = 1}};
    const auto start = prior::isotropic_gaussian(b, features);
    const auto exact = prior::fit_gaussian(b, start, observed, o);
    const double first = exact.history.front().objective, best = prior::log_evidence(b, exact.prior, observed);
    o.e_step = prior::gaussian_e_step::draws;
    const auto drawn = prior::fit_gaussian(b, start, observed, o);
    REQUIRE(drawn.laps == 12);
    CHECK(prior::log_evidence(b, drawn.prior, observed) >= best - 0.03 * (best - first));
}

TEST_CASE("the default E-step is exact: moments where they are cheap, else draws", "[prior]") {
    using prior::gaussian_basis;
    using prior::gaussian_e_step;
    const auto chosen = [](index_t d, index_t rows, bool elementwise, gaussian_basis basis = gaussian_basis::values) {
        return prior::choose_gaussian_e_step(d, rows, 256, elementwise, basis);
    };
    CHECK(chosen(1024, 1024, true) == gaussian_e_step::moments);
    CHECK(chosen(64, 64, false) == gaussian_e_step::moments);
    CHECK(chosen(64, 64, false, gaussian_basis::frequencies) == gaussian_e_step::draws);
    CHECK(chosen(1024, 1024, false) == gaussian_e_step::draws);
    CHECK(chosen(3072, 3072, true) == gaussian_e_step::draws);
}

TEST_CASE("smooth data behind a blur are not taken for wide", "[prior]") {
    using B = test::main_backend<double>;
    B b;
    // Circular blur (1, 2, 1) / 4 of 16 pixels, gain cos^2(k pi / 16) of frequency k; x has frequencies 0 and 1 alone.
    const index_t d = 16, n = 2000;
    std::vector<double> matrix(d * d), waves(d * 3);
    for (index_t j = 0; j < d; ++j) {
        for (const index_t shift : {index_t{0}, index_t{1}, d - 1})
            matrix[static_cast<std::size_t>((j + shift) % d + j * d)] = shift == 0 ? 0.5 : 0.25;
        const double angle = 2 * std::numbers::pi * static_cast<double>(j) / d;
        for (index_t k = 0; k < 3; ++k)
            waves[static_cast<std::size_t>(j + k * d)] = k == 0 ? 1 : k == 1 ? std::sin(angle) : std::cos(angle);
    }
    const diffusion::gaussian<B> truth(b, to_backend(b, std::vector<double>(d, 0.0), d, 1),
                                       to_backend(b, std::vector<double>(d, 0.0), d, 1), to_backend(b, waves, d, 3));
    const auto a = linop::dense<B>::shared(to_backend(b, matrix, d, d));
    const linop::isotropic_covariance noise(d, 1e-4);
    batch<B> x(b, d, n), y(b, d, n);
    truth.sample(b, {.seed = 1}, x.view());
    posterior::simulate(b, a, noise, x.cview(), {.seed = 2}, y.view());
    const auto found = prior::observed_variance_of(b, posterior::observe(b, y.cview(), a, noise));
    CHECK(std::abs(found.of_x - 2) <= 0.1 * 2);  // by the mean gain, 3/8, it would be 5
}

TEMPLATE_TEST_CASE("samples that begin with the Gaussian's draws make the last steps of the plan, and can be resumed",
                   "[prior]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    B b = test::make_backend<B>();
    const index_t n = 7;
    batch<B> y(b, features, n), all(b, features, 2 * n), again(b, features, 2 * n);
    b.fill_normal({.seed = 1}, y.view());
    const auto prior = make_prior(b);
    const auto mask = make_mask(b);
    const auto observed = posterior::observe(b, y.cview(), mask, linop::isotropic_covariance(features, 0.04));
    posterior::sample_options<B> how;
    how.sampling = {.steps = 20, .batch = 4, .samples_per_observation = 2, .sigma_min = 1e-2, .sigma_max = 1e2};
    how.mmps = {.cov_x = posterior::covariance::blended, .max_iterations = 3, .switch_sigma = 1.01};
    how.estimate = &prior;
    const auto from = prior::from_gaussian<B>(how, observed);
    const auto state = posterior::sample<B>(b, prior, observed, from, {.seed = 3}, all.view());
    CHECK(state.done == 2 * n);
    const auto at = diffusion::first_below(how.sampling, 1.01);
    CHECK(at.step == 10);
    CHECK(at.sigma == Approx(1));
    // Steps 10 to 19 and the last call, one solve of an item each.
    CHECK(std::accumulate(state.statuses.begin(), state.statuses.end(), 0.0) == 2 * n * 11);

    posterior::sample_state half;
    int batches = 0;
    const auto stop = [&](const auto&...) { return ++batches < 2; };
    CHECK_FALSE(posterior::sample<B>(b, prior, observed, from, {.seed = 3}, again.view(), half, stop));
    CHECK(posterior::sample<B>(b, prior, observed, from, {.seed = 3}, again.view(), half));
    CHECK(to_host(b, again) == to_host(b, all));

    // Behind an operator without a closed form each draw is a solve of its own.
    const auto dense = linop::dense<B>::shared([&] {
        batch<B> a(b, features, features);
        b.fill_normal({.seed = 4}, a.view());
        return a;
    }());
    const auto behind = posterior::observe(b, y.cview(), dense, linop::isotropic_covariance(features, 0.04));
    const auto solved =
        posterior::sample<B>(b, prior, behind, prior::from_gaussian<B>(how, behind), {.seed = 3}, all.view());
    CHECK(std::accumulate(solved.statuses.begin(), solved.statuses.end(), 0.0) == 2 * n * 12);

    auto other = how;
    other.mmps.cov_x = posterior::covariance::tweedie;
    CHECK_FALSE(prior::from_gaussian<B>(other, observed).start.draw);
    other = how;
    other.estimate = nullptr;
    CHECK_FALSE(prior::from_gaussian<B>(other, observed).start.draw);
}

TEST_CASE("samples that begin with the Gaussian's draws have the posterior's moments", "[prior][statistics]") {
    using B = test::main_backend<double>;
    B b;
    const index_t n = 20000;
    batch<B> y(b, features, n), x(b, features, n);
    b.fill(y.view(), 0.7);
    const auto prior = make_prior(b);
    draw(b, make_mask(b), y.cview(), x.view());
    const auto exact = moments_of(to_host(b, x));
    const auto check = [&](const auto& a) {
        const auto observed = posterior::observe(b, y.cview(), a, linop::isotropic_covariance(features, 0.04));
        posterior::sample_options<B> how;
        how.sampling = {.steps = 400, .batch = n, .sigma_min = 1e-2, .sigma_max = 1e2};
        how.mmps = {.cov_x = posterior::covariance::blended, .max_iterations = 6, .switch_sigma = 2};
        how.estimate = &prior;
        posterior::sample<B>(b, prior, observed, prior::from_gaussian<B>(how, observed), {.seed = 3}, x.view());
        const auto got = moments_of(to_host(b, x));
        // Five standard errors of a difference; the variance loses 2 % by the steps.
        for (std::size_t j = 0; j < features; ++j) {
            CHECK(std::abs(got[0][j] - exact[0][j]) <= 5 * std::sqrt(2 * exact[1][j] / n));
            CHECK(std::abs(got[1][j] / exact[1][j] - 1) <= 5 * std::sqrt(4.0 / n) + 0.02);
        }
    };
    check(make_mask(b));
    check(make_matrix(b));
}
