// SPDX-License-Identifier: Apache-2.0

// Gaussians whose variances are of coefficients in a basis: against the same covariance as a matrix.
#include <cmath>
#include <optional>
#include <vector>

#include <Eigen/Dense>

#include <diem/linop/convolution.hpp>
#include <diem/linop/covariance.hpp>
#include <diem/linop/identity.hpp>
#include <diem/linop/image_basis.hpp>
#include <diem/linop/mask.hpp>
#include <diem/linop/mri.hpp>
#include <diem/posterior/gaussian_conditional.hpp>
#include <diem/posterior/in_basis.hpp>
#include <diem/posterior/mmps.hpp>
#include <diem/posterior/preconditioner.hpp>
#include <diem/prior/exact_draws.hpp>
#include <diem/prior/files.hpp>
#include <diem/prior/gaussian_innovation.hpp>
#include <diem/prior/learn.hpp>

#include "support/backends.hpp"
#include "support/catch.hpp"
#include "support/compare.hpp"
#include "support/message.hpp"
#include "support/temporary_folder.hpp"

using namespace diem;
using namespace diem::test;

namespace {

constexpr index_t height = 4, width = 6, channels = 1, n = height * width * channels, rank = 2;

template <Backend B>
Eigen::MatrixXd matrix(B& b, const_view_t<B> v) {
    const auto host = to_host(b, v);
    Eigen::MatrixXd m(v.features(), v.items());
    for (index_t k = 0; k < m.size(); ++k) m.data()[k] = static_cast<double>(host[static_cast<std::size_t>(k)]);
    return m;
}
template <Backend B>
batch<B> random(B& b, index_t features, index_t items, std::uint64_t seed) {
    batch<B> x(b, features, items);
    b.fill_normal({.seed = seed}, x.view());
    return x;
}
/// Variances of coefficients from 0 to 4, a factor of rank 2.
template <Backend B>
diffusion::gaussian<B> make_prior(B& b,
                                  std::optional<linop::image_basis> basis = linop::hartley(height, width, channels)) {
    auto d = random(b, n, 1, 2);
    b.map(functors::product{}, d.view(), d.cview(), d.cview());
    return {b, random(b, n, 1, 1), std::move(d), random(b, n, rank, 3), std::move(basis)};
}
/// The matrix of each item.
template <Backend B, class A>
std::vector<Eigen::MatrixXd> dense_each(B& b, const A& a, index_t items) {
    std::vector<Eigen::MatrixXd> out(std::size_t(items), Eigen::MatrixXd(a.rows(), a.cols()));
    batch<B> unit(b, a.cols(), items), column(b, a.rows(), items);
    for (index_t j = 0; j < a.cols(); ++j) {
        b.fill(unit.view(), scalar_t<B>(0));
        b.fill(unit.view().feature_range(j, 1), scalar_t<B>(1));
        a.apply(b, unit.cview(), column.view());
        const auto m = matrix<B>(b, column.cview());
        for (index_t i = 0; i < items; ++i) out[std::size_t(i)].col(j) = m.col(i);
    }
    return out;
}
template <Backend B>
Eigen::MatrixXd dense(B& b, const linop::image_basis& h) {
    return dense_each(b, h, 1).front();
}
/// Sigma = H'(diag(d) + u u') H.
template <Backend B>
Eigen::MatrixXd covariance(B& b, const diffusion::gaussian<B>& g) {
    const Eigen::MatrixXd u = matrix<B>(b, g.u()), h = dense(b, *g.basis());
    const Eigen::VectorXd d = matrix<B>(b, as_batch(g.d()));
    return h.transpose() * (u * u.transpose() + Eigen::MatrixXd(d.asDiagonal())) * h;
}
double distance(const Eigen::MatrixXd& a, const Eigen::MatrixXd& b) { return (a - b).norm() / (1 + b.norm()); }

/// Of one coil: the columns that each of `items` images was seen at.
template <Backend B>
linop::mri<B> columns(B& b, index_t items, double share = 0.5) {
    batch<B> mask(b, width, items);
    linop::draw_mask(b, random_key{5}, share, 1, mask.view());
    return {b, height, width, linop::common_or_each<B>::per_item(std::move(mask))};
}

}  // namespace

TEMPLATE_TEST_CASE("a Gaussian in a basis denoises, draws and has the density of its covariance", "",
                   DIEM_TEST_BACKENDS) {
    using B = TestType;
    using T = scalar_t<B>;
    auto b = make_backend<B>();
    const auto g = GENERATE(false, true) ? make_prior(b, linop::cosine(2, 4, 3)) : make_prior(b);
    const Eigen::MatrixXd sigma = covariance(b, g);
    const Eigen::VectorXd mu = matrix<B>(b, as_batch(g.mu()));
    CHECK(distance(mu, matrix<B>(b, random(b, n, 1, 1).cview())) == 0);
    const double level = GENERATE(0.1, 3.0);
    // Of T, and of the reference's solve in float64: its condition is at most tr Sigma / level^2 + 1.
    const double bound = tolerance<T>(256) + 1e-16 * double(n) * (1 + sigma.trace() / (level * level));
    const auto x = random(b, n, 3, 4), v = random(b, n, 3, 5);
    const Eigen::MatrixXd total = sigma + level * level * Eigen::MatrixXd::Identity(n, n),
                          gain = total.ldlt().solve(sigma).transpose();
    const Eigen::MatrixXd hx = matrix<B>(b, x.cview()), expected = (gain * (hx.colwise() - mu)).colwise() + mu;
    batch<B> out(b, n, 3);
    g.denoise(b, x.cview(), level, out.view());
    CHECK(distance(matrix<B>(b, out.cview()), expected) <= bound);
    const auto linear = g.linearize(b, x.cview(), level);
    CHECK(distance(matrix<B>(b, linear.mean()), expected) <= bound);
    linear.jacobian().apply(b, v.cview(), out.view());
    CHECK(distance(matrix<B>(b, out.cview()), gain * matrix<B>(b, v.cview())) <= bound);
    linear.jacobian().apply_covariance(b, v.cview(), out.view());
    CHECK(distance(matrix<B>(b, out.cview()), level * level * gain * matrix<B>(b, v.cview())) <= bound);

    batch<B, double> logs(b, 3, 1);
    g.log_density(b, x.cview(), level, logs.flat());
    const auto log_p = to_host(b, logs);
    const double constant = -0.5 * (double(n) * std::log(2 * std::acos(-1.0)) + std::log(total.determinant()));
    for (index_t i = 0; i < 3; ++i) {
        const Eigen::VectorXd r = hx.col(i) - mu;
        CHECK(std::abs(log_p[std::size_t(i)] - (constant - 0.5 * r.dot(total.ldlt().solve(r)))) <=
              bound * (1 + std::abs(constant) + r.squaredNorm() / level / level));
    }

    // Draws: the sample covariance is within five standard errors, also with noise added by `color`.
    const index_t many = 20000;
    batch<B> drawn(b, n, many), z = random(b, rank, many, 8);
    g.sample(b, {.seed = 7}, drawn.view());
    const auto covers = [&](const Eigen::MatrixXd& s) {
        const Eigen::MatrixXd r = matrix<B>(b, drawn.cview()).colwise() - mu;
        const Eigen::MatrixXd c = r * r.transpose() / double(many);
        for (index_t j = 0; j < n; ++j)
            for (index_t k = 0; k < n; ++k)
                if (!(std::abs(c(j, k) - s(j, k)) <=
                      5 * std::sqrt((s(j, j) * s(k, k) + s(j, k) * s(j, k)) / double(many))))
                    return false;
        return true;
    };
    CHECK(covers(sigma));
    b.fill_normal({.seed = 9}, drawn.view());
    g.color(b, level, z.cview(), drawn.view());
    CHECK(covers(total));
}

TEMPLATE_TEST_CASE("what is known of coefficients gives the posterior of x", "", DIEM_TEST_BACKENDS) {
    using B = TestType;
    using T = scalar_t<B>;
    auto b = make_backend<B>();
    const index_t items = 3;
    const auto g = make_prior(b);
    const auto check = [&](const auto& a) {
        const linop::isotropic_covariance noise(a.rows(), 0.04);
        const auto x = random(b, n, items, 4);
        batch<B> y(b, a.rows(), items);
        posterior::simulate(b, a, noise, x.cview(), {.seed = 6}, y.view());
        const auto observed = posterior::observe(b, y.cview(), a, noise);
        const auto seen = posterior::basis_observation<B>::make(b, observed, *g.basis());
        REQUIRE(seen);
        const auto coefficients = g.coefficients(b);
        posterior::elementwise_conditional<B> conditional(b, coefficients);
        batch<B> mean(b, n, items);
        batch<B, double> logs(b, items, 1);
        conditional.condition(b, seen->observed(b), 0, mean.view(), logs.flat());
        g.basis()->apply_adjoint(b, mean.cview(), mean.view());
        const Eigen::MatrixXd sigma = covariance(b, g), hy = matrix<B>(b, y.cview()), got = matrix<B>(b, mean.cview());
        const Eigen::VectorXd mu = matrix<B>(b, as_batch(g.mu()));
        const auto each = dense_each(b, a, items);
        for (index_t i = 0; i < items; ++i) {
            const Eigen::MatrixXd& ai = each[std::size_t(i)];
            const Eigen::MatrixXd s =
                ai * sigma * ai.transpose() + 0.04 * Eigen::MatrixXd::Identity(a.rows(), a.rows());
            const Eigen::VectorXd expected = mu + sigma * ai.transpose() * s.ldlt().solve(hy.col(i) - ai * mu);
            CHECK(distance(got.col(i), expected) <= tolerance<T>(2048));
        }
    };
    SECTION("Fourier samples of one coil, by columns") { check(columns(b, items)); }
    SECTION("a circular blur") {
        batch<B> kernel(b, 9, 1);
        b.fill_uniform({.seed = 11}, kernel.view());
        check(
            linop::convolution<B>::shared(b, {height, width, channels}, kernel.cview(), 3, 3, linop::border::circular));
    }
    SECTION("everything, with noise, is of one coefficient each in any basis") {
        const auto cosines = make_prior(b, linop::cosine(2, 4, 3));
        const auto x = random(b, n, items, 4);
        batch<B> drawn(b, n, items), means(b, n, items);
        const linop::isotropic_covariance noise(n, 1e-4);
        const auto observed = posterior::observe(b, x.cview(), linop::identity(n), noise);
        const prior::exact_draws<B, decltype(observed)> draws(b, cosines, observed);
        REQUIRE(draws.in_basis());
        posterior::sample_state state;
        REQUIRE(prior::sample_exactly(
            b, cosines, observed, 7, drawn.view(), state, 2, [](const auto&, const auto&) { return true; },
            prior::always_go_on{}));
        prior::corrected_means(b, cosines, observed, means.view());
        // Of the mean, sd 0.01 at most in each coefficient, and so in each pixel.
        CHECK((matrix<B>(b, drawn.cview()) - matrix<B>(b, means.cview())).cwiseAbs().maxCoeff() <= 0.06);
    }
    SECTION("deleted pixels are not of one coefficient each") {
        batch<B> mask(b, n, items);
        linop::draw_mask(b, random_key{5}, 0.5, 1, mask.view());
        const auto y = random(b, n, items, 4);
        CHECK_FALSE(posterior::basis_observation<B>::make(
            b,
            posterior::observe(b, y.cview(), linop::mask<B>::per_item(std::move(mask)),
                               linop::isotropic_covariance(n, 0.04)),
            *g.basis()));
    }
}

TEMPLATE_TEST_CASE("draws and means behind a mask under a spectrum are those of its covariance", "",
                   DIEM_TEST_BACKENDS) {
    using B = TestType;
    using T = scalar_t<B>;
    auto b = make_backend<B>();
    const index_t items = 2000;
    const auto g = GENERATE(false, true) ? make_prior(b, linop::cosine(2, 4, 3)) : make_prior(b);
    const Eigen::MatrixXd sigma = covariance(b, g);
    const Eigen::VectorXd mu = matrix<B>(b, as_batch(g.mu()));
    batch<B> mask(b, n, 1), x = random(b, n, 1, 4), once(b, n, 1), y(b, n, items);
    linop::draw_mask(b, random_key{5}, 0.5, 1, mask.view());
    const double variance = 0.01;
    const auto a = linop::mask<B>::shared(std::move(mask));
    const linop::isotropic_covariance noise(n, variance);
    posterior::simulate(b, a, noise, x.cview(), {.seed = 6}, once.view());
    b.map(functors::assign{}, y.view(), per_feature{std::as_const(once).flat()});
    const Eigen::MatrixXd am = dense_each(b, a, 1).front();
    const Eigen::MatrixXd s = am * sigma * am.transpose() + variance * Eigen::MatrixXd::Identity(n, n);
    const Eigen::MatrixXd gain = s.ldlt().solve(am * sigma).transpose();
    const Eigen::VectorXd mean = mu + gain * (Eigen::VectorXd(matrix<B>(b, once.cview())) - am * mu);
    const Eigen::MatrixXd left = sigma - gain * am * sigma;

    batch<B> means(b, n, 3), drawn(b, n, items);
    prior::corrected_means(b, g, posterior::observe(b, y.cview().item_range(0, 3), a, noise), means.view(), 2);
    const Eigen::MatrixXd got = matrix<B>(b, means.cview());
    for (index_t i = 0; i < 3; ++i) CHECK(distance(got.col(i), mean) <= tolerance<T>(4096) + 1e-5);
    const auto observed = posterior::observe(b, y.cview(), a, noise);
    const auto statuses = prior::draw_corrected(b, g, observed, {.seed = 7}, drawn.view());
    REQUIRE(statuses);
    CHECK(statuses->at(std::size_t(solver::solver_status::converged)) == items);
    const Eigen::MatrixXd r = matrix<B>(b, drawn.cview()).colwise() - mean;
    const Eigen::MatrixXd spread = r * r.transpose() / double(items);
    for (index_t j = 0; j < n; ++j) {
        CHECK(std::abs(r.row(j).mean()) <= 5 * std::sqrt(left(j, j) / double(items)));
        for (index_t k = 0; k <= j; ++k)
            CHECK(std::abs(spread(j, k) - left(j, k)) <=
                  5 * std::sqrt((left(j, j) * left(k, k) + left(j, k) * left(j, k)) / double(items)));
    }
}

TEMPLATE_TEST_CASE("a frame is tight by all of its items", "", DIEM_TEST_BACKENDS) {
    using B = TestType;
    using T = scalar_t<B>;
    auto b = make_backend<B>();
    const index_t items = 6;
    const auto y = random(b, n, items, 4);
    const linop::isotropic_covariance noise(n, 0.04);
    std::vector<T> gains(std::size_t(n * items), T(2));
    const auto of = [&] {
        return posterior::observe(b, y.cview(), linop::diagonal<B>::per_item(to_backend(b, gains, n, items)), noise);
    };
    const auto g = make_prior(b, linop::cosine(2, 4, 3));
    auto tight = prior::detail::as_tight(b, g, of());
    REQUIRE(tight);
    CHECK(tight->c == Approx(4));
    CHECK(tight->variance == Approx(0.04));
    CHECK_FALSE(prior::detail::as_tight(b, g.coefficients(b), of()));  // there is no basis
    for (index_t j = 0; j < n; ++j) gains[std::size_t(j)] = 0;         // an item that shows nothing does not count
    CHECK(posterior::tight_frame(b, of())->least == Approx(4));
    for (index_t j = 0; j < n; ++j) gains[std::size_t(5 * n + j)] = 3;  // another constant: not one preconditioner
    const auto frame = posterior::tight_frame(b, of());
    REQUIRE(frame);
    CHECK(frame->most == Approx(9));
    CHECK_FALSE(prior::detail::as_tight(b, g, of()));
    gains[std::size_t(5 * n)] = T(0.1);  // one weak row of the last item
    CHECK_FALSE(posterior::tight_frame(b, of(), 1e-8));
    // Such draws are those of the covariance all the same: by plain conjugate gradients.
    batch<B> means(b, n, items);
    const auto observed = of();
    prior::corrected_means(b, g, observed, means.view());
    const Eigen::MatrixXd sigma = covariance(b, g), hy = matrix<B>(b, y.cview()), got = matrix<B>(b, means.cview());
    const Eigen::VectorXd mu = matrix<B>(b, as_batch(g.mu()));
    const auto each = dense_each(b, observed.forward_operator(), items);
    for (index_t i = 0; i < items; ++i) {
        const Eigen::MatrixXd& a = each[std::size_t(i)];
        const Eigen::MatrixXd s = a * sigma * a.transpose() + 0.04 * Eigen::MatrixXd::Identity(n, n);
        CHECK(distance(got.col(i), mu + sigma * a.transpose() * s.ldlt().solve(hy.col(i) - a * mu)) <=
              tolerance<T>(2048) + 1e-4);
    }
}

TEMPLATE_TEST_CASE("solves behind a mask converge whatever the spectrum", "", eigen_backend<float>) {
    // Variances from 1e3 to 5e-4 and noise of 1e-6: 168 iterations, without the preconditioner 1138, where it may make 500.
    using B = TestType;
    auto b = make_backend<B>();
    const index_t side = 16, items = 8, size = 3 * side * side;
    std::vector<float> spectrum;
    for (index_t v = 0; v < side; ++v)
        for (index_t u = 0; u < side; ++u)
            for (index_t c = 0; c < 3; ++c)
                spectrum.push_back(float(1e3 * std::pow(1.0 + double(u * u + v * v), -2) / double(1 + 9 * c)));
    batch<B> mu(b, size, 1), bits(b, size, items), x(b, size, items), y(b, size, items);
    b.fill(mu.view(), 0.5F);
    const diffusion::gaussian<B> g(b, std::move(mu), to_backend(b, spectrum, size, 1), batch<B>(b, size, 0),
                                   linop::cosine(side, side, 3));
    g.sample(b, {.seed = 1}, x.view());
    linop::draw_mask(b, random_key{2}, 0.5, 3, bits.view());
    const auto a = linop::mask<B>::per_item(std::move(bits));
    const linop::isotropic_covariance noise(size, 1e-6);
    posterior::simulate(b, a, noise, x.cview(), {.seed = 3}, y.view());
    const auto statuses =
        prior::draw_corrected(b, g, posterior::observe(b, y.cview(), a, noise), {.seed = 4}, x.view());
    REQUIRE(statuses);
    CHECK(statuses->at(std::size_t(solver::solver_status::converged)) == items);
}

TEMPLATE_TEST_CASE("EM finds the spectrum of a stationary field from columns of k-space", "", DIEM_TEST_BACKENDS) {
    using B = TestType;
    auto b = make_backend<B>();
    const index_t items = 1000;
    const linop::hartley basis(height, width);
    std::vector<scalar_t<B>> spectrum;
    for (index_t v = 0; v < height; ++v)
        for (index_t u = 0; u < width; ++u)
            spectrum.push_back(scalar_t<B>(4.0 / double(1 + (v - 2) * (v - 2) + (u - 3) * (u - 3))));
    batch<B> mu(b, n, 1);
    b.fill(mu.view(), scalar_t<B>(0.5));
    const diffusion::gaussian<B> truth(b, std::move(mu), to_backend(b, spectrum, n, 1), batch<B>(b, n, 0), basis);
    batch<B> x(b, n, items), y(b, 2 * n, items);
    truth.sample(b, {.seed = 1}, x.view());
    const auto a = columns(b, items);
    const linop::isotropic_covariance noise(2 * n, 1e-4);
    posterior::simulate(b, a, noise, x.cview(), {.seed = 2}, y.view());
    const auto observed = posterior::observe(b, y.cview(), a, noise);

    prior::gaussian_fit_options o{.fit = {.max_laps = 40}, .e_step = prior::gaussian_e_step::draws};
    o.ppca = {.rank = 0, .rest = train::rest::diagonal};
    o.basis = prior::gaussian_basis::frequencies;
    CHECK(message_of<value_error>([&] { (void)prior::learn_gaussian(b, observed, o); }).find("height") !=
          std::string::npos);
    o.height = height, o.width = width, o.channels = 2;
    CHECK_THROWS_AS(prior::learn_gaussian(b, observed, o), shape_error);
    o.channels = 1;
    const auto learned = prior::learn_gaussian(b, observed, o);
    const auto& g = *learned.prior.estimate();
    REQUIRE(g.basis());
    // A column is seen by itself or by its mirror image, that is in at least half of the items; the draws of the others double the
    // variance of what is left to chance at most.
    const auto d = to_host(b, g.d());
    for (std::size_t k = 0; k < d.size(); ++k)
        CHECK(std::abs(double(d[k]) - double(spectrum[k])) <=
              5 * double(spectrum[k]) * std::sqrt(2 * 2 / (0.5 * items)));
    o.e_step = prior::gaussian_e_step::moments;
    CHECK_THROWS_AS(prior::learn_gaussian(b, observed, o), value_error);
}

TEMPLATE_TEST_CASE("EM finds the variances of cosines from deleted pixels", "", eigen_backend<float>) {
    using B = TestType;
    auto b = make_backend<B>();
    const index_t items = 2000;
    std::vector<float> spectrum;
    for (index_t k = 0; k < n; ++k) spectrum.push_back(k == 0 ? 8.0F : k == 1 ? 4.0F : k == 3 ? 2.0F : 0.2F);
    batch<B> mu(b, n, 1), bits(b, n, items), x(b, n, items), y(b, n, items);
    b.fill_normal({.seed = 3}, mu.view());
    const auto mean = to_host(b, mu);
    const diffusion::gaussian<B> truth(b, std::move(mu), to_backend(b, spectrum, n, 1), batch<B>(b, n, 0),
                                       linop::cosine(2, 4, 3));
    truth.sample(b, {.seed = 1}, x.view());
    linop::draw_mask(b, random_key{2}, 0.75, 1, bits.view());
    const auto a = linop::mask<B>::per_item(std::move(bits));
    const linop::isotropic_covariance noise(n, 1e-4);
    posterior::simulate(b, a, noise, x.cview(), {.seed = 2}, y.view());
    prior::gaussian_fit_options o{.fit = {.max_laps = 30}, .e_step = prior::gaussian_e_step::draws};
    o.ppca = {.rank = 0, .rest = train::rest::diagonal};
    o.basis = prior::gaussian_basis::cosines;
    o.height = 2, o.width = 4, o.channels = 3;
    const auto learned = prior::learn_gaussian(b, posterior::observe(b, y.cview(), a, noise), o);
    const auto& g = *learned.prior.estimate();
    REQUIRE(g.basis());
    REQUIRE(g.basis()->of_kind() == linop::image_basis::kind::cosine);
    // Half of the information at least is seen; draws double the variance of the rest at most.
    const auto d = to_host(b, g.d()), m = to_host(b, as_batch(g.mu()));
    for (std::size_t k = 0; k < d.size(); ++k) {
        CHECK(std::abs(double(d[k]) - double(spectrum[k])) <=
              5 * double(spectrum[k]) * std::sqrt(2 * 2 / (0.5 * items)));
        CHECK(std::abs(double(m[k]) - double(mean[k])) <= 5 * std::sqrt(8.0 * 2 / (0.5 * items)));
    }
}

TEST_CASE("a Gaussian in a basis comes back from its file; what works on values refuses it") {
    using B = eigen_backend<float>;
    B b(1);
    const temporary_folder folder;
    const auto path = folder / "g.safetensors";
    const auto g = make_prior(b);
    prior::save(path, b, prior::learned<B>(b, g));
    const auto back = prior::load(path, b);
    const auto& h = *back.estimate();
    REQUIRE(h.basis());
    CHECK(h.basis()->height() == height);
    CHECK(h.basis()->width() == width);
    CHECK(h.basis()->channels() == channels);
    CHECK(h.basis()->of_kind() == linop::image_basis::kind::hartley);
    CHECK(to_host(b, h.mu()) == to_host(b, g.mu()));
    CHECK(to_host(b, h.d()) == to_host(b, g.d()));
    CHECK(to_host(b, h.u()) == to_host(b, g.u()));
    prior::save(path, b, prior::learned<B>(b, make_prior(b, linop::cosine(2, 4, 3))));
    const auto cosines = prior::load(path, b).estimate()->basis();
    REQUIRE(cosines);
    CHECK(cosines->of_kind() == linop::image_basis::kind::cosine);
    CHECK(cosines->height() == 2);
    CHECK(cosines->width() == 4);
    CHECK(cosines->channels() == 3);
    CHECK_THROWS_AS(linop::hartley(index_t{1} << 40, index_t{1} << 40), shape_error);
    CHECK_THROWS_AS(linop::cosine(index_t{1} << 40, index_t{1} << 40), shape_error);
    CHECK_THROWS_AS(posterior::elementwise_conditional<B>(b, g), value_error);
    CHECK_THROWS_AS(posterior::dense_conditional<B>(b, g), value_error);
    const linop::isotropic_covariance noise(n, 0.1);
    CHECK_THROWS_AS(posterior::gaussian_preconditioner<B>(b, noise, noise, g.harmonic(b, 1.0), 2), value_error);
    CHECK_THROWS_AS(
        diffusion::gaussian<B>(b, random(b, n, 1, 1), random(b, n, 1, 2), batch<B>(b, n, 0), linop::hartley(3, 3)),
        error);
}
