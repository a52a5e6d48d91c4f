// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include <Eigen/Dense>

#include <diem/linop/covariance.hpp>
#include <diem/linop/dense.hpp>
#include <diem/linop/diagonal.hpp>
#include <diem/linop/mask.hpp>
#include <diem/posterior/observation.hpp>
#include <diem/prior/gaussian_fit.hpp>

#include "support/backends.hpp"
#include "support/catch.hpp"
#include "support/compare.hpp"

using namespace diem;
using namespace diem::test;

namespace {

template <Backend B>
batch<B> from(B& b, const Eigen::MatrixXd& m) {
    std::vector<scalar_t<B>> host(static_cast<std::size_t>(m.size()));
    for (index_t k = 0; k < m.size(); ++k) host[static_cast<std::size_t>(k)] = static_cast<scalar_t<B>>(m.data()[k]);
    return to_backend(b, host, m.rows(), m.cols());
}
template <Backend B, class View>
Eigen::MatrixXd matrix(B& b, const View& v) {
    const auto host = to_host(b, v);
    Eigen::MatrixXd m(v.features(), v.items());
    for (index_t k = 0; k < m.size(); ++k) m.data()[k] = static_cast<double>(host[static_cast<std::size_t>(k)]);
    return m;
}
Eigen::MatrixXd normals(index_t rows, index_t cols, std::uint64_t seed) {
    Eigen::MatrixXd m(rows, cols);
    for (index_t i = 0; i < cols; ++i)
        for (index_t j = 0; j < rows; ++j)
            m(j, i) = normal<double>({.seed = seed}, static_cast<std::uint32_t>(i), static_cast<std::uint32_t>(j));
    return m;
}
// Rounded to float, so that every scalar type sees the same numbers.
Eigen::MatrixXd rounded(const Eigen::MatrixXd& m) { return m.cast<float>().cast<double>(); }

struct truth {
    Eigen::VectorXd mu, d;
    Eigen::MatrixXd u;
    [[nodiscard]] Eigen::MatrixXd covariance() const {
        Eigen::MatrixXd c = u * u.transpose();
        c.diagonal() += d;
        return c;
    }
};
truth make_truth(index_t n, index_t rank, double rest) {
    truth t{rounded(normals(n, 1, 1)), Eigen::VectorXd::Constant(n, rest), rounded(normals(n, rank, 2))};
    for (index_t k = 0; k < rank; ++k) t.u.col(k) *= std::pow(0.7, static_cast<double>(k));
    t.u = rounded(t.u);
    t.d = rounded(t.d);
    return t;
}
template <Backend B>
diffusion::gaussian<B> prior_of(B& b, const truth& t) {
    return {b, from(b, t.mu), from(b, t.d), from(b, t.u)};
}
template <Backend B>
Eigen::MatrixXd covariance(B& b, const diffusion::gaussian<B>& g) {
    const Eigen::MatrixXd u = matrix(b, g.u());
    Eigen::MatrixXd c = u * u.transpose();
    c.diagonal() += matrix(b, as_batch(g.d())).col(0);
    return c;
}

// The textbook formulas, densely, in double.
struct conditioned {
    Eigen::MatrixXd means, covariance_sum;
    double log_evidence = 0;
};
conditioned condition(const truth& t, const std::vector<Eigen::MatrixXd>& a, const Eigen::MatrixXd& noise,
                      const Eigen::MatrixXd& y) {
    const index_t n = t.mu.size();
    const Eigen::MatrixXd c = t.covariance();
    conditioned out{Eigen::MatrixXd(n, y.cols()), Eigen::MatrixXd::Zero(n, n), 0};
    for (index_t i = 0; i < y.cols(); ++i) {
        const Eigen::MatrixXd& m = a[static_cast<std::size_t>(i)];
        Eigen::MatrixXd s = m * c * m.transpose();
        s.diagonal() += noise.col(i);
        const Eigen::LDLT<Eigen::MatrixXd> ldlt(s);
        const Eigen::VectorXd r = y.col(i) - m * t.mu, v = ldlt.solve(r);
        out.means.col(i) = t.mu + c * m.transpose() * v;
        out.covariance_sum += c - c * m.transpose() * ldlt.solve(m * c);
        out.log_evidence -= 0.5 * (r.dot(v) + ldlt.vectorD().array().log().sum() +
                                   static_cast<double>(y.rows()) * std::log(2 * 3.14159265358979323846));
    }
    return out;
}
Eigen::MatrixXd moments_of(const conditioned& c) {
    const Eigen::MatrixXd centred = c.means.colwise() - c.means.rowwise().mean();
    return (c.covariance_sum + centred * centred.transpose()) / static_cast<double>(c.means.cols());
}

// Masked observations of draws of the truth.
template <Backend B>
struct masked_data {
    batch<B> y;
    linop::mask<B> a;
    linop::isotropic_covariance noise;
    masked_data(B& b, const truth& t, index_t items, double keep, double variance)
        : y(b, t.mu.size(), items), a(draw(b, t.mu.size(), items, keep)), noise(t.mu.size(), variance) {
        batch<B> x(b, t.mu.size(), items);
        prior_of(b, t).sample(b, {.seed = 11, .lane = random_lane::prior_sample}, x.view());
        posterior::simulate(b, a, noise, x.cview(), {.seed = 12, .lane = random_lane::observation}, y.view());
    }
    static linop::mask<B> draw(B& b, index_t n, index_t items, double keep) {
        batch<B> m(b, n, items);
        linop::draw_mask(b, {.seed = 13, .lane = random_lane::user}, keep, 1, m.view());
        return linop::mask<B>::per_item(std::move(m));
    }
    auto observed(B& b) { return posterior::observe(b, y.cview(), a, noise); }
};

void check_rising(const std::vector<em::lap_record>& history, double tolerance) {
    for (std::size_t k = 1; k < history.size(); ++k) {
        INFO("lap " << k << ": " << history[k - 1].objective << " -> " << history[k].objective);
        CHECK(history[k].objective >= history[k - 1].objective - tolerance * std::abs(history[k - 1].objective));
    }
}

}  // namespace

TEMPLATE_TEST_CASE("closed form: element-wise A agrees with the dense formulas", "", DIEM_TEST_BACKENDS) {
    using B = TestType;
    using T = scalar_t<B>;
    B b = make_backend<B>();
    const index_t n = 7, items = 9;
    for (const index_t rank : {0, 3}) {
        truth t = make_truth(n, rank, 0.3);
        t.d(2) = 0;  // a feature without a rest of its own
        if (rank == 0) t.d(2) = 0.1;
        Eigen::MatrixXd a = rounded(normals(n, items, 5)), noise(n, items), y = rounded(normals(n, items, 6));
        for (index_t k = 0; k < a.size(); ++k) {
            if (k % 3 == 0) a.data()[k] = 0;
            noise.data()[k] = 0.01 * static_cast<double>(1 + k % 5);
        }
        noise = rounded(noise);
        std::vector<Eigen::MatrixXd> matrices;
        for (index_t i = 0; i < items; ++i) matrices.emplace_back(a.col(i).asDiagonal());
        const auto expected = condition(t, matrices, noise, y);
        const auto prior = prior_of(b, t);
        const auto data = from(b, y);
        const auto observed = posterior::observe(b, data.cview(), linop::diagonal<B>::per_item(from(b, a)),
                                                 linop::diagonal_covariance<B>::per_item(b, from(b, noise)));
        for (const index_t block : {4, 100}) {
            batch<B> means(b, n, items);
            prior::posterior_means(b, prior, observed, means.view(), block);
            CHECK((matrix(b, means.cview()) - expected.means).norm() <= tolerance<T>(300) * expected.means.norm());
            const auto got = prior::exact_moments(b, prior, observed, block);
            const Eigen::MatrixXd c = moments_of(expected);
            CHECK((matrix(b, got.covariance.cview()) - c).norm() <= tolerance<T>(300) * c.norm());
            CHECK(std::abs(got.log_evidence - expected.log_evidence) <=
                  tolerance<T>(300) * std::abs(expected.log_evidence));
            CHECK(std::abs(prior::log_evidence(b, prior, observed, block) - got.log_evidence) <=
                  1e-9 * std::abs(got.log_evidence) + tolerance<T>(10));
        }
    }
}

TEMPLATE_TEST_CASE("closed form: dense A agrees with the dense formulas", "", DIEM_TEST_BACKENDS) {
    using B = TestType;
    using T = scalar_t<B>;
    B b = make_backend<B>();
    const index_t n = 6, rows = 4, items = 5;
    const truth t = make_truth(n, 2, 0.4);
    const Eigen::MatrixXd a = rounded(normals(rows * n, items, 5)), y = rounded(normals(rows, items, 6));
    const Eigen::MatrixXd noise = rounded(Eigen::MatrixXd::Constant(rows, items, 0.05));
    std::vector<Eigen::MatrixXd> matrices;
    for (index_t i = 0; i < items; ++i)
        matrices.emplace_back(Eigen::Map<const Eigen::MatrixXd>(a.col(i).data(), rows, n));
    const auto expected = condition(t, matrices, noise, y);
    const auto prior = prior_of(b, t);
    const auto data = from(b, y);
    const auto observed = posterior::observe(b, data.cview(), linop::dense<B>::per_item(from(b, a), rows, n),
                                             linop::isotropic_covariance(rows, noise(0, 0)));
    for (const index_t block : {2, 100}) {
        const auto got = prior::exact_moments(b, prior, observed, block);
        const Eigen::MatrixXd c = moments_of(expected);
        CHECK((matrix(b, got.covariance.cview()) - c).norm() <= tolerance<T>(1000) * c.norm());
        CHECK((matrix(b, got.mean.cview()) - expected.means.rowwise().mean()).norm() <= tolerance<T>(1000));
        CHECK(std::abs(got.log_evidence - expected.log_evidence) <=
              tolerance<T>(1000) * std::abs(expected.log_evidence));
    }
}

TEST_CASE("closed form: draws have the posterior's mean and covariance", "[statistics]") {
    using B = test::main_backend<double>;
    B b = test::make_backend<B>(2);
    const index_t n = 5, items = 40000;
    const truth t = make_truth(n, 2, 0.3);
    const auto prior = prior_of(b, t);
    const Eigen::MatrixXd y = rounded(normals(n, 1, 6)).replicate(1, items);
    Eigen::MatrixXd a = Eigen::MatrixXd::Ones(n, 1);
    a(1) = a(3) = 0;
    const auto data = from(b, y), values = from(b, a);
    const auto observed = posterior::observe(b, data.cview(), linop::mask<B>::shared(values.cview()),
                                             linop::isotropic_covariance(n, 0.04));
    const auto expected =
        condition(t, {Eigen::MatrixXd(a.col(0).asDiagonal())}, Eigen::MatrixXd::Constant(n, 1, 0.04), y.leftCols(1));
    batch<B> x(b, n, items), again(b, n, items);
    prior::draw_posteriors(b, prior, observed, {.seed = 3}, x.view(), 1000);
    prior::draw_posteriors(b, prior, observed, {.seed = 3}, again.view(), 777);
    CHECK(relative_error(to_host(b, x), to_host(b, again)) <= 1e-12);
    const Eigen::MatrixXd xs = matrix(b, x.cview());
    const Eigen::VectorXd mean = xs.rowwise().mean();
    const Eigen::MatrixXd centred = xs.colwise() - mean;
    const Eigen::MatrixXd c = centred * centred.transpose() / static_cast<double>(items);
    const Eigen::MatrixXd& truth_c = expected.covariance_sum;
    for (index_t j = 0; j < n; ++j) {  // five standard errors
        CHECK(std::abs(mean(j) - expected.means(j, 0)) <= 5 * std::sqrt(truth_c(j, j) / static_cast<double>(items)));
        for (index_t k = 0; k < n; ++k)
            CHECK(std::abs(c(j, k) - truth_c(j, k)) <=
                  5 * std::sqrt((truth_c(j, j) * truth_c(k, k) + truth_c(j, k) * truth_c(j, k)) /
                                static_cast<double>(items)));
    }
}

TEMPLATE_TEST_CASE("gaussian EM with the exact E-step never lowers the evidence", "", DIEM_TEST_BACKENDS) {
    using B = TestType;
    using T = scalar_t<B>;
    B b = make_backend<B>();
    const truth t = make_truth(8, 2, 0.1);
    masked_data<B> data(b, t, 150, 0.5, 0.01);
    for (const auto rest : {train::rest::isotropic, train::rest::diagonal}) {
        prior::gaussian_fit_options o{.fit = {.max_laps = 15}, .ppca = {.rank = 2, .rest = rest}, .batch = 64};
        const auto result = prior::fit_gaussian(b, prior::isotropic_gaussian(b, 8), data.observed(b), o);
        REQUIRE(result.history.size() == 15);
        check_rising(result.history, sizeof(T) == 4 ? 2e-6 : 1e-12);
        CHECK(result.history.back().objective > result.history.front().objective + 100);
        CHECK(result.prior.rank() == 2);
    }
}

TEST_CASE("gaussian EM recovers the truth", "[statistics]") {
    using B = test::main_backend<double>;
    B b = test::make_backend<B>(2);
    const truth t = make_truth(8, 2, 0.1);
    SECTION("masks") {
        masked_data<B> data(b, t, 6000, 0.6, 1e-4);
        const auto observed = data.observed(b);
        prior::gaussian_fit_options o{.fit = {.max_laps = 300, .tolerance = 1e-8}, .ppca = {.rank = 2}};
        const auto result = prior::fit_gaussian(b, prior::isotropic_gaussian(b, 8), observed, o);
        check_rising(result.history, 1e-12);
        CHECK(result.reason == em::stop_reason::converged);
        const Eigen::MatrixXd c = t.covariance();
        CHECK((covariance(b, result.prior) - c).norm() <= 0.08 * c.norm());
        CHECK((matrix(b, as_batch(result.prior.mu())).col(0) - t.mu).norm() <= 0.05 * t.mu.norm());
        // At the maximum the evidence is at least the truth's.
        CHECK(prior::log_evidence(b, result.prior, observed) >= prior::log_evidence(b, prior_of(b, t), observed));
    }
    SECTION("random projections, an isotropic rest of full rank") {
        const index_t n = 8, rows = 3, items = 4000;
        batch<B> x(b, n, items), y(b, rows, items), a(b, rows * n, items);
        b.fill_normal({.seed = 21}, a.view());
        prior_of(b, t).sample(b, {.seed = 22}, x.view());
        const auto forward = linop::dense<B>::per_item(a.cview(), rows, n);
        const linop::isotropic_covariance noise(rows, 1e-4);
        posterior::simulate(b, forward, noise, x.cview(), {.seed = 23}, y.view());
        const auto observed = posterior::observe(b, y.cview(), forward, noise);
        prior::gaussian_fit_options o{.fit = {.max_laps = 120}, .ppca = {.rank = 2}};
        const auto result = prior::fit_gaussian(b, prior::isotropic_gaussian(b, n), observed, o);
        check_rising(result.history, 1e-12);
        const Eigen::MatrixXd c = t.covariance();
        CHECK((covariance(b, result.prior) - c).norm() <= 0.1 * c.norm());
    }
}

TEST_CASE("gaussian EM by sampling comes near the exact fit", "[statistics]") {
    using B = test::main_backend<double>;
    B b = test::make_backend<B>(2);
    const truth t = make_truth(8, 2, 0.1);
    masked_data<B> data(b, t, 800, 0.6, 1e-2);
    const auto observed = data.observed(b);
    prior::gaussian_fit_options o{.fit = {.max_laps = 12}, .ppca = {.rank = 2}};
    const auto start = prior::isotropic_gaussian(b, 8);
    const auto exact = prior::fit_gaussian(b, start, observed, o);
    const double best = prior::log_evidence(b, exact.prior, observed);
    const double first = exact.history.front().objective;
    for (const auto step : {prior::gaussian_e_step::draws, prior::gaussian_e_step::diffusion}) {
        o.e_step = step;
        o.sampling.steps = 64;
        const auto sampled = prior::fit_gaussian(b, start, observed, o);
        INFO("E-step " << static_cast<int>(step));
        CHECK(prior::log_evidence(b, sampled.prior, observed) >= best - 0.03 * (best - first));
        CHECK(std::isfinite(sampled.history.back().objective));
    }
}

TEST_CASE("gaussian EM: refusals") {
    using B = test::main_backend<float>;
    B b = test::make_backend<B>(1);
    const truth t = make_truth(4, 1, 0.1);
    masked_data<B> data(b, t, 10, 0.5, 0.01);
    CHECK_THROWS_AS(prior::exact_moments(b, prior::isotropic_gaussian(b, 5), data.observed(b)), shape_error);
    CHECK_THROWS_AS(prior::log_evidence(b, prior::isotropic_gaussian(b, 4), data.observed(b), 0), value_error);
    batch<B> x(b, 4, 9);
    CHECK_THROWS_AS(prior::draw_posteriors(b, prior::isotropic_gaussian(b, 4), data.observed(b), {.seed = 1}, x.view()),
                    shape_error);
    auto bad = to_host(b, data.y);
    bad[3] = std::nanf("");
    data.y = to_backend(b, bad, 4, 10);
    prior::gaussian_fit_options o{.fit = {.max_laps = 2}, .ppca = {.rank = 2}};
    const auto result = prior::fit_gaussian(b, prior::isotropic_gaussian(b, 4), data.observed(b), o);
    CHECK(result.reason == em::stop_reason::non_finite);
    CHECK(result.laps == 0);
}
