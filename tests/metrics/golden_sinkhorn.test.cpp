// SPDX-License-Identifier: Apache-2.0
#include <diem/metrics/sinkhorn.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <string>
#include <tuple>
#include <vector>

#include "support/backends.hpp"
#include "support/catch.hpp"
#include "support/golden.hpp"

using namespace diem;
using namespace diem::metrics;

namespace {
template <class B>
batch<B> cloud_of(B& backend, test::golden_file& file, const std::string& name) {
    const auto x = file.input<scalar_t<B>>(name);
    return to_backend(backend, x.data, x.features(), x.items());
}
template <class B>
batch<B> normals(B& backend, index_t d, index_t n, std::uint32_t step) {
    batch<B> x(backend, d, n);
    backend.fill_normal({11, random_lane::user, step, 0}, x.view());
    return x;
}

/// The same iteration on a stored matrix, in long double.
transport_result plain_transport(const std::vector<double>& u, const std::vector<double>& v, index_t d,
                                 const sinkhorn_options& o, std::vector<double> wu = {}, std::vector<double> wv = {}) {
    const auto dim = static_cast<std::size_t>(d), n = u.size() / dim, m = v.size() / dim;
    if (wu.empty()) wu.assign(n, 1 / static_cast<double>(n));
    if (wv.empty()) wv.assign(m, 1 / static_cast<double>(m));
    std::vector<long double> c(n * m), f(n, 0), g(m, 0);
    for (std::size_t i = 0; i < n; ++i)
        for (std::size_t j = 0; j < m; ++j)
            for (std::size_t k = 0; k < dim; ++k) {
                const long double delta = static_cast<long double>(u[i * dim + k]) - v[j * dim + k];
                c[i * m + j] += delta * delta;
            }
    const long double reg = o.regularization;
    const auto plan = [&](std::size_t i, std::size_t j) { return std::exp(f[i] + g[j] - c[i * m + j] / reg); };
    const auto scale = [&](bool rows) {
        for (std::size_t a = 0; a < (rows ? n : m); ++a) {
            long double top = -std::numeric_limits<long double>::infinity(), sum = 0;
            const auto x = [&](std::size_t b) { return rows ? g[b] - c[a * m + b] / reg : f[b] - c[b * m + a] / reg; };
            for (std::size_t b = 0; b < (rows ? m : n); ++b) top = std::max(top, x(b));
            for (std::size_t b = 0; b < (rows ? m : n); ++b) sum += std::exp(x(b) - top);
            (rows ? f : g)[a] = std::log(static_cast<long double>((rows ? wu : wv)[a])) - top - std::log(sum);
        }
    };
    transport_result r;
    for (int k = 0; k < o.iterations && !r.converged(); ++k) {
        scale(false);
        scale(true);
        r.iterations = k + 1;
        if (k % o.check_every != 0) continue;
        long double error = 0;
        for (std::size_t j = 0; j < m; ++j) {
            long double sum = -static_cast<long double>(wv[j]);
            for (std::size_t i = 0; i < n; ++i) sum += plan(i, j);
            error += sum * sum;
        }
        r.marginal_error = static_cast<double>(std::sqrt(error));
        if (r.marginal_error < o.tolerance) r.status = transport_status::converged;
    }
    long double cost = 0;
    for (std::size_t i = 0; i < n; ++i)
        for (std::size_t j = 0; j < m; ++j) cost += plan(i, j) * c[i * m + j];
    r.cost = static_cast<double>(cost);
    return r;
}
}  // namespace

TEMPLATE_TEST_CASE("transport and divergences of the golden files", "", DIEM_TEST_BACKENDS) {
    auto backend = test::make_backend<TestType>(1);  // a launch is too small to share
    for (auto& file : test::golden_files("optimal_transport")) {
        // The tolerance of the iteration is not in the file: 1e-3 where it says how many were done, else to convergence.
        sinkhorn_options o;
        o.regularization = file.config().at("reg").get<double>();
        o.iterations = file.config().at("iterations").get<int>();
        o.tolerance = file.has_output("iterations") ? 1e-3 : 1e-14;
        const auto a = cloud_of(backend, file, "truth_a"), b = cloud_of(backend, file, "truth_b"),
                   s = cloud_of(backend, file, "samples");
        const auto run = [&](const batch<TestType>& u, const batch<TestType>& v) {
            return transport(backend, u.cview(), v.cview(), o);
        };
        const transport_result all[4] = {run(a, s), run(a, b), run(a, a), run(s, s)};
        std::vector<double> costs;
        std::vector<int> counts;
        for (const auto& r : all) {
            costs.push_back(r.cost);
            counts.push_back(r.iterations);
        }
        // In double whatever the backend's scalar: the points are float32.
        test::check_golden(file, "transport", costs);
        if (file.has_output("iterations")) test::check_golden(file, "iterations", counts);
        const std::vector<double> both = {divergence(backend, a.cview(), b.cview(), s.cview(), o),
                                          debiased_cost(backend, a.cview(), s.cview(), o)};
        test::check_golden(file, "divergence", both);
    }
}

TEMPLATE_TEST_CASE("float distances and exponentials keep the promised accuracy", "", test::main_backend<float>,
                   test::opaque_backend<float>) {
    auto backend = test::make_backend<TestType>();
    for (auto& file : test::golden_files("optimal_transport")) {
        sinkhorn_options o;
        o.regularization = file.config().at("reg").get<double>();
        o.iterations = 200;
        o.tolerance = 1e-3;
        const auto a = cloud_of(backend, file, "truth_a"), s = cloud_of(backend, file, "samples");
        const auto wide = transport(backend, a.cview(), s.cview(), o);
        const auto narrow = transport<float>(backend, a.cview(), s.cview(), o);
        const double bound = 1e-7 * 50 / o.regularization;  // no squared distance is above 50
        INFO(file.name() << ": " << narrow.cost << ", double " << wide.cost << ", bound " << bound);
        CHECK(narrow.iterations == wide.iterations);
        CHECK(std::abs(narrow.cost / wide.cost - 1) <= bound);
    }
}

TEMPLATE_TEST_CASE("transport against a stored matrix in long double", "", DIEM_TEST_BACKENDS) {
    auto backend = test::make_backend<TestType>();
    // More than one block, odd sizes, every way of taking the coordinates; a strided view.
    for (const index_t d : {1, 2, 4, 5, 6, 11}) {
        const index_t n = 131, m = 37;
        const auto u = normals(backend, d + 1, n, 0), v = normals(backend, d, m, 1);
        const auto part = u.cview().feature_range(1, d);
        sinkhorn_options o;
        o.regularization = 0.05;
        o.iterations = 23;
        o.tolerance = 1e-9;
        const auto widened = [](const auto& x) { return std::vector<double>(x.begin(), x.end()); };
        const auto expected = plain_transport(widened(to_host(backend, part)), widened(to_host(backend, v)), d, o);
        const auto got = transport(backend, part, v.cview(), o);
        INFO("d = " << d << ": " << got.cost << " expected " << expected.cost);
        CHECK(got.iterations == expected.iterations);
        CHECK(std::abs(got.cost / expected.cost - 1) <= 1e-11);
        CHECK(std::abs(got.marginal_error - expected.marginal_error) <= 1e-11);
    }
}

TEMPLATE_TEST_CASE("transport of weighted points", "", DIEM_TEST_BACKENDS) {
    auto backend = test::make_backend<TestType>();
    const index_t n = 61, m = 45, d = 3;
    const auto u = normals(backend, d, n, 7), v = normals(backend, d, m, 8);
    const auto widened = [](const auto& x) { return std::vector<double>(x.begin(), x.end()); };
    std::vector<double> a, b;
    for (index_t i = 0; i < n; ++i) a.push_back(static_cast<double>(i % 7 + 1));
    for (index_t i = 0; i < m; ++i) b.push_back(static_cast<double>(i % 4 + 1) / 8);
    const auto normalised = [](std::vector<double> w) {
        double sum = 0;
        for (const double x : w) sum += x;
        for (double& x : w) x /= sum;
        return w;
    };
    sinkhorn_options o;
    o.regularization = 0.05;
    o.iterations = 17;
    o.tolerance = 1e-9;
    const auto hu = widened(to_host(backend, u)), hv = widened(to_host(backend, v));
    const auto expected = plain_transport(hu, hv, d, o, normalised(a), normalised(b));
    const auto got = transport(backend, u.cview(), a, v.cview(), b, o);
    CHECK(got.iterations == expected.iterations);
    CHECK(std::abs(got.cost / expected.cost - 1) <= 1e-11);
    CHECK(std::abs(got.marginal_error - expected.marginal_error) <= 1e-11);

    // Equal weights are no weights; a point of weight zero is none.
    CHECK(transport(backend, u.cview(), std::vector<double>(61, 3.0), v.cview(), b, o).cost ==
          Approx(transport(backend, u.cview(), {}, v.cview(), b, o).cost).epsilon(1e-12));
    auto without = a;
    without.back() = 0;
    CHECK(transport(backend, u.cview(), without, v.cview(), b, o).cost ==
          Approx(transport(backend, u.cview().item_range(0, n - 1), {a.begin(), a.end() - 1}, v.cview(), b, o).cost)
              .epsilon(1e-12));
    CHECK(std::abs(symmetric_divergence(backend, u.cview(), a, u.cview(), a, o)) <= 1e-12);

    CHECK_THROWS_AS(transport(backend, u.cview(), b, v.cview(), b, o), shape_error);
    without.assign(61, 0.0);
    CHECK_THROWS_AS(transport(backend, u.cview(), without, v.cview(), b, o), value_error);
    without[3] = -1;
    CHECK_THROWS_AS(transport(backend, u.cview(), without, v.cview(), b, o), value_error);
}

TEMPLATE_TEST_CASE("annealing reaches the same plan in fewer iterations", "", DIEM_TEST_BACKENDS) {
    auto backend = test::make_backend<TestType>();
    using T = scalar_t<TestType>;
    // Two clusters at distance 2 whose masses differ between u and v: a tenth has to travel.
    const index_t n = 40;
    std::vector<T> left, right;
    for (index_t i = 0; i < n; ++i) {
        const T jitter = static_cast<T>(0.01 * static_cast<double>(i % 8));
        left.push_back(jitter + (i < 20 ? T(0) : T(2)));
        left.push_back(jitter);
        right.push_back(jitter + (i < 16 ? T(0) : T(2)));
        right.push_back(-jitter);
    }
    const auto u = to_backend(backend, left, 2, n), v = to_backend(backend, right, 2, n);
    sinkhorn_options slow;
    slow.regularization = 0.01;
    slow.iterations = 3000;
    slow.tolerance = 1e-4;
    sinkhorn_options fast = slow;
    fast.start_regularization = 4;
    fast.annealing = 0.9;
    const auto plain = transport(backend, u.cview(), v.cview(), slow);
    const auto annealed = transport(backend, u.cview(), v.cview(), fast);
    REQUIRE(plain.converged());
    REQUIRE(annealed.converged());
    INFO(plain.iterations << " iterations, annealed " << annealed.iterations);
    CHECK(annealed.iterations * 4 <= plain.iterations);
    CHECK(std::abs(annealed.cost / plain.cost - 1) <= 1e-2);
    CHECK(std::abs(plain.cost - 0.4) <= 0.05);  // a tenth of the mass over a squared distance of 4
}

TEST_CASE("transport of closed cases") {
    auto backend = test::make_backend<test::main_backend<double>>();
    const auto u = to_backend(backend, std::vector<double>{0, 0, 3, 4}, 2, 2);
    const auto one = to_backend(backend, std::vector<double>{3, 0}, 2, 1);
    // One target: the plan is given, whatever the regularisation.
    const auto r = transport(backend, u.cview(), one.cview());
    const double rounding = 4 * std::numeric_limits<double>::epsilon() * 16 / 1e-3;  // of the exponents C / reg
    CHECK(std::abs(r.cost / 12.5 - 1) <= rounding);
    CHECK(r.iterations == 1);
    CHECK(r.converged());
    // Little regularisation: points to themselves; much: every point to every point, mean cost 25 / 2.
    sinkhorn_options o;
    CHECK(transport(backend, u.cview(), u.cview(), o).cost <= 1e-12);
    o.regularization = 1e9;
    CHECK(std::abs(transport(backend, u.cview(), u.cview(), o).cost - 12.5) <= 1e-6);
    CHECK(divergence(backend, u.cview(), u.cview(), u.cview()) == 1e-6);
    CHECK(std::abs(symmetric_divergence(backend, u.cview(), u.cview())) <= 1e-12);
}

TEST_CASE("the regularized cost, and a divergence that is one") {
    auto backend = test::make_backend<test::main_backend<double>>();
    const auto u = to_backend(backend, std::vector<double>{0, 0, 3, 4}, 2, 2);
    const auto one = to_backend(backend, std::vector<double>{3, 0}, 2, 1);
    sinkhorn_options o;
    // P = a b', by force or by much regularization: KL = 0.
    const auto forced = transport(backend, u.cview(), one.cview());
    CHECK(std::abs(forced.regularized_cost / forced.cost - 1) <= 1e-9);
    o.regularization = 1e9;
    CHECK(std::abs(transport(backend, u.cview(), u.cview(), o).regularized_cost - 12.5) <= 1e-5);
    // Little of it: the plan is the diagonal, KL = log 2.
    o.regularization = 0.5;
    CHECK(std::abs(transport(backend, u.cview(), u.cview(), o).regularized_cost - 0.5 * std::log(2.0)) <= 1e-9);

    o.regularization = 1;
    o.iterations = 5000;
    o.tolerance = 1e-10;
    double least = 1;
    for (std::uint64_t seed = 0; seed < 60; ++seed) {
        const auto a = normals(backend, 1, 3, 2 * seed), b = normals(backend, 1, 3, 2 * seed + 1);
        least = std::min(least, symmetric_divergence(backend, a.cview(), b.cview(), o));
    }
    CHECK(least >= -1e-9);
    // Two points against one, by hand: the plans are a b' with the one and, on the two at distance 2, of mass p off the
    // diagonal, p / (1 - p) = e^-4. The difference of costs leaves the entropy out.
    const auto two = to_backend(backend, std::vector<double>{-1, 1}, 1, 2);
    const auto zero = to_backend(backend, std::vector<double>{0}, 1, 1);
    const double off = 1 / (1 + std::exp(4.0));
    const double entropy = off * std::log(2 * off) + (1 - off) * std::log(2 * (1 - off));
    CHECK(std::abs(debiased_cost(backend, two.cview(), zero.cview(), o) - (1 - 2 * off)) <= 1e-9);
    CHECK(std::abs(symmetric_divergence(backend, two.cview(), zero.cview(), o) - (1 - 2 * off - entropy / 2)) <= 1e-9);
}

TEST_CASE("an absolute tolerance does not pass many points at once") {
    auto backend = test::make_backend<test::main_backend<double>>();
    const index_t n = 400;  // || b ||_2 = 1 / 20
    const auto u = normals(backend, 2, n, 1), v = normals(backend, 2, n, 2);
    sinkhorn_options o;
    o.regularization = 0.1;
    o.tolerance = 0.1;
    const auto r = transport(backend, u.cview(), v.cview(), o);
    CHECK(r.converged());
    CHECK(r.marginal_error < 0.25 / 20);
    o.relative_tolerance = std::numeric_limits<double>::infinity();
    CHECK(transport(backend, u.cview(), v.cview(), o).iterations == 1);
    CHECK(r.iterations > 1);
}

#if !defined(DIEM_TEST_CUDA)
TEST_CASE("transport does not depend on the number of threads") {
    eigen_backend<float> one(1), three(3);
    sinkhorn_options o;
    o.regularization = 0.02;
    o.iterations = 12;
    const auto run = [&](eigen_backend<float>& backend) {
        const auto u = normals(backend, 5, 300, 2), v = normals(backend, 5, 257, 3);
        return transport<float>(backend, u.cview(), v.cview(), o).cost;
    };
    CHECK(run(one) == run(three));
    const auto run_batch = [&](eigen_backend<float>& backend) {
        const auto u = normals(backend, 3, 7 * 50, 2), v = normals(backend, 3, 7 * 33, 3);
        std::vector<double> costs;
        for (const auto& r : transports(backend, u.cview(), {}, v.cview(), {}, 7, o)) costs.push_back(r.cost);
        return costs;
    };
    CHECK(run_batch(one) == run_batch(three));
}
#endif

TEST_CASE("transport refuses what it cannot do") {
    auto backend = test::make_backend<test::opaque_backend<float>>();
    const auto u = normals(backend, 3, 8, 4), v = normals(backend, 2, 8, 5);
    CHECK_THROWS_AS(transport(backend, u.cview(), v.cview()), shape_error);
    CHECK_THROWS_AS(transport(backend, u.cview(), u.cview().item_range(0, 0)), value_error);
    sinkhorn_options o;
    o.regularization = 0;
    CHECK_THROWS_AS(transport(backend, u.cview(), u.cview(), o), value_error);
    o = {};
    o.iterations = 0;
    CHECK_THROWS_AS(transport(backend, u.cview(), u.cview(), o), value_error);
    auto bad = normals(backend, 3, 8, 6);
    backend.fill(bad.view().item_range(3, 1), std::numeric_limits<float>::quiet_NaN());
    CHECK_THROWS_AS(transport(backend, u.cview(), bad.cview()), value_error);
    CHECK_THROWS_AS(transport(backend, bad.cview(), u.cview()), value_error);
    CHECK_THROWS_AS(symmetric_divergence(backend, bad.cview(), u.cview()), value_error);
    backend.fill(bad.view().item_range(3, 1), std::numeric_limits<float>::infinity());
    CHECK_THROWS_AS(transport(backend, u.cview(), bad.cview()), value_error);
    CHECK_THROWS_AS(transport(backend, bad.cview(), u.cview()), value_error);

    CHECK_THROWS_AS(transports(backend, u.cview(), {}, u.cview(), {}, 0), value_error);
    CHECK_THROWS_AS(transports(backend, u.cview(), {}, u.cview(), {}, 3), shape_error);
    CHECK_THROWS_AS(transports(backend, u.cview(), {}, u.cview().item_range(0, 7), {}, 2), shape_error);
    CHECK_THROWS_AS(transports(backend, u.cview(), std::vector<double>(4, 1.0), u.cview(), {}, 2), shape_error);
    CHECK_THROWS_AS(transports(backend, u.cview(), {}, v.cview(), {}, 2), shape_error);
}

namespace {
/// Equal to the bit, NaN to NaN.
bool same(double a, double b) { return a == b || (std::isnan(a) && std::isnan(b)); }
bool same(const transport_result& a, const transport_result& b) {
    return same(a.cost, b.cost) && same(a.marginal_error, b.marginal_error) && a.iterations == b.iterations &&
           a.status == b.status;
}
}  // namespace

TEMPLATE_TEST_CASE("transports of a batch are those of its problems alone", "", DIEM_TEST_BACKENDS) {
    auto backend = test::make_backend<TestType>(1), threads = test::make_backend<TestType>(2);
    const index_t problems = 5;
    const auto sizes = GENERATE(table<index_t, index_t, index_t>({{1, 1, 3}, {1, 6, 2}, {131, 37, 3}, {37, 130, 7}}));
    const index_t n = std::get<0>(sizes), m = std::get<1>(sizes), d = std::get<2>(sizes);
    auto u = normals(backend, d + 1, problems * n, 20);
    const auto v = normals(backend, d, problems * m, 21);
    // Problems of different extents: they need different numbers of iterations.
    for (index_t p = 0; p < problems; ++p) {
        const auto part = u.view().item_range(p * n, n);
        backend.axpby(0.0, part, 0.2 + 0.3 * static_cast<double>(p), part);
    }
    const auto strided = u.cview().feature_range(1, d);
    std::vector<double> a, b;
    for (index_t i = 0; i < problems * n; ++i) a.push_back(static_cast<double>(i % 7 + 1));
    for (index_t i = 0; i < problems * m; ++i) b.push_back(static_cast<double>((i + 3) % 5 + 1) / 8);
    const auto of = [](const std::vector<double>& w, index_t p, index_t count) {
        return std::vector<double>(w.begin() + p * count, w.begin() + (p + 1) * count);
    };
    backend.synchronize();  // `threads` reads what `backend` wrote
    sinkhorn_options o;
    o.regularization = 0.3;
    o.iterations = 45;
    o.tolerance = 1e-5;
    o.check_every = 4;
    o.start_regularization = GENERATE(0.0, 2.0);

    const auto got = transports(threads, strided, a, v.cview(), b, problems, o);
    const auto debiased = symmetric_divergences(threads, strided, a, v.cview(), b, problems, o);
    const auto equal = transports<float>(threads, strided, {}, v.cview(), {}, problems, o);

    REQUIRE(got.size() == 5);
    for (index_t p = 0; p < problems; ++p) {
        const auto k = static_cast<std::size_t>(p);
        const auto up = strided.item_range(p * n, n), vp = v.cview().item_range(p * m, m);
        const auto alone = transport(backend, up, of(a, p, n), vp, of(b, p, m), o);
        INFO("n = " << n << ", m = " << m << ", problem " << p << ": " << got[k].cost << ", alone " << alone.cost);
        CHECK(same(got[k], alone));
        CHECK(debiased[k] == symmetric_divergence(backend, up, of(a, p, n), vp, of(b, p, m), o));
        CHECK(same(equal[k], transport<float>(backend, up, vp, o)));
    }
    if (n == 131 && o.start_regularization == 0) {
        const auto least = std::min_element(got.begin(), got.end(),
                                            [](const auto& x, const auto& y) { return x.iterations < y.iterations; });
        CHECK(least->iterations <
              std::max_element(
                  got.begin(), got.end(), [](const auto& x, const auto& y) { return x.iterations < y.iterations; })
                  ->iterations);
    }
}

TEMPLATE_TEST_CASE("a bad problem of a batch is that problem's status", "", DIEM_TEST_BACKENDS) {
    auto backend = test::make_backend<TestType>();
    using T = scalar_t<TestType>;
    const index_t problems = 6, n = 40, d = 3;
    auto u = normals(backend, d, problems * n, 30), v = normals(backend, d, problems * n, 31);
    std::vector<double> weights(static_cast<std::size_t>(problems * n), 1.0);
    sinkhorn_options o;
    o.regularization = 0.1;
    o.iterations = 30;
    const auto good = transports(backend, u.cview(), weights, v.cview(), {}, problems, o);
    backend.fill(u.view().item_range(1 * n + 7, 1), std::numeric_limits<T>::quiet_NaN());
    backend.fill(v.view().item_range(2 * n + 39, 1), std::numeric_limits<T>::infinity());
    weights[3 * n + 5] = -1;
    for (index_t i = 0; i < n; ++i) weights[static_cast<std::size_t>(4 * n + i)] = 0;
    const auto got = transports(backend, u.cview(), weights, v.cview(), {}, problems, o);
    const auto debiased = symmetric_divergences(backend, u.cview(), weights, v.cview(), {}, problems, o);
    const transport_status expected[] = {good[0].status,
                                         transport_status::non_finite,
                                         transport_status::non_finite,
                                         transport_status::bad_weights,
                                         transport_status::bad_weights,
                                         good[5].status};
    for (std::size_t p = 0; p < 6; ++p) {
        INFO("problem " << p << ": " << to_string(got[p].status) << ", cost " << got[p].cost);
        CHECK(got[p].status == expected[p]);
        CHECK(std::isnan(got[p].cost) == (p >= 1 && p <= 4));
        CHECK(std::isnan(debiased[p]) == (p >= 1 && p <= 4));
    }
    CHECK(same(got[0], good[0]));
    CHECK(same(got[5], good[5]));
}

TEMPLATE_TEST_CASE("bounded_exp is exp", "", float, double) {
    using T = TestType;
    using exponential = metrics::detail::bounded_exp<T>;
    const T low = exponential::lowest, high = exponential::highest;
    double worst = 0;
    for (int k = 0; k <= 20000; k += 4) {
        T x[4];
        long double exact[4];
        for (int l = 0; l < 4; ++l) {
            x[l] = low + (high - low) * static_cast<T>(k + l) / T(20003);
            exact[l] = std::exp(static_cast<long double>(x[l]));
        }
        exponential::template apply<4>(x);
        for (int l = 0; l < 4; ++l)
            worst = std::max(worst, static_cast<double>(std::abs(static_cast<long double>(x[l]) / exact[l] - 1)));
    }
    CHECK(worst <= 2 * static_cast<double>(std::numeric_limits<T>::epsilon()));
    T x[6] = {0, low, T(-1e30), high, T(1e30), std::numeric_limits<T>::quiet_NaN()};
    exponential::template apply<6>(x);
    CHECK(x[0] == 1);
    CHECK(x[2] == x[1]);
    CHECK(x[4] == x[3]);
    CHECK(std::isnan(x[5]));
}
