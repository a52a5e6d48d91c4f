// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <diem/linop/compose.hpp>
#include <diem/linop/covariance.hpp>
#include <diem/linop/dense.hpp>
#include <diem/linop/diagonal.hpp>
#include <diem/linop/identity.hpp>
#include <diem/solver/bicgstab.hpp>
#include <diem/solver/cg.hpp>
#include <diem/solver/dense_cholesky.hpp>
#include <diem/solver/gmres.hpp>

#include "support/operator_harness.hpp"

using namespace diem;
using namespace diem::test;
using solver::solver_options;
using solver::solver_status;

namespace {

enum class method { cg, gmres, fom, bicgstab };
const char* name(method m) {
    constexpr const char* names[] = {"cg", "gmres", "fom", "bicgstab"};
    return names[static_cast<int>(m)];
}

/// `problem`: the operator and, where there is one, the preconditioner.
template <Backend B, class... Problem>
auto solve_any(method which, B& b, const batch<B>& rhs, batch<B>& x, const solver_options& o,
               const Problem&... problem) {
    if (which == method::bicgstab) return solver::bicgstab<B>(b, problem..., rhs, x, o);
    if (which == method::fom) return solver::fom<B>(b, problem..., rhs, x, o);
    return solver::gmres<B>(b, problem..., rhs, x, o);
}
template <Backend B, class A>
auto solve(method which, B& b, const A& a, const batch<B>& rhs, batch<B>& x, const solver_options& o) {
    if constexpr (linop::SymmetricOperator<A, B>)
        if (which == method::cg) return solver::cg<B>(b, a, rhs, x, o);
    return solve_any<B>(which, b, rhs, x, o, a);
}
template <Backend B, class A, class P>
auto solve(method which, B& b, const A& a, const P& p, const batch<B>& rhs, batch<B>& x, const solver_options& o) {
    if constexpr (linop::SymmetricOperator<A, B>)
        if (which == method::cg) return solver::cg<B>(b, a, p, rhs, x, o);
    return solve_any<B>(which, b, rhs, x, o, a, p);
}

/// M_i = G_i G_i' / n + I, one per item; eigenvalues in about [1, 5].
template <Backend B>
batch<B> positive_definite(B& b, index_t n, index_t items, std::uint32_t step) {
    using T = scalar_t<B>;
    const auto g = random_batch(b, n * n, items, step);
    batch<B> m(b, n * n, items);
    b.gemm_batched(T(1) / static_cast<T>(n), as_matrices(g.cview(), n, n), op::none, as_matrices(g.cview(), n, n),
                   op::transpose, T(0), as_matrices(m.view(), n, n));
    for (index_t j = 0; j < n; ++j) {
        const auto entry = m.view().feature_range(j * (n + 1), 1);
        batch<B> one(b, 1, items);
        b.fill(one.view(), T(1));
        b.axpby(1.0, one.cview(), 1.0, entry);
    }
    return m;
}

/// ||b_i - M_i x_i|| / ||b_i||, the worst item.
template <Backend B, class A>
double worst_residual(B& b, const A& a, const batch<B>& rhs, const batch<B>& x) {
    batch<B> r(b, rhs.features(), rhs.items());
    a.apply(b, x.view(), r.view());
    b.axpby(1.0, rhs.view(), -1.0, r.view());
    batch<B, double> rr(b, rhs.items(), 1), bb(b, rhs.items(), 1);
    b.dot(r.cview(), r.cview(), rr.flat());
    b.dot(rhs.view(), rhs.view(), bb.flat());
    const auto top = to_host(b, rr), bottom = to_host(b, bb);
    double worst = 0;
    for (std::size_t i = 0; i < top.size(); ++i) {
        const double e = bottom[i] > 0 ? std::sqrt(top[i] / bottom[i]) : std::sqrt(top[i]);
        worst = e <= worst ? worst : e;
    }
    return worst;
}

template <class B>
double epsilon() {
    return static_cast<double>(std::numeric_limits<scalar_t<B>>::epsilon());
}
template <class T>
bool all_finite(const std::vector<T>& v) {
    for (const T e : v)
        if (!std::isfinite(e)) return false;
    return true;
}

/// q = M p and w = W p with W the first `rows` rows of 3 M.
template <Backend B>
struct with_byproduct {
    using operator_tag = linop::symmetric_tag;
    linop::dense<B> m;
    index_t rows() const { return m.rows(); }
    index_t cols() const { return m.cols(); }
    index_t items() const { return m.items(); }
    with_byproduct items(index_t first, index_t count) const { return {m.items(first, count)}; }
    void apply(B& b, const_view_t<B> x, view_t<B> y) const { m.apply(b, x, y); }
    void apply_adjoint(B& b, const_view_t<B> y, view_t<B> x) const { m.apply(b, y, x); }
    void apply_with_byproduct(B& b, const_view_t<B> p, view_t<B> q, view_t<B> w) const {
        m.apply(b, p, q);
        b.axpby(3.0, const_view_t<B>(q).feature_range(0, w.features()), 0.0, w);
    }
};

}  // namespace

TEMPLATE_TEST_CASE("solvers: positive definite systems", "[solver]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    B b = make_backend<B>();
    const index_t n = GENERATE(1, 2, 17), items = GENERATE(1, 5);
    const auto m = linop::assume_symmetric(linop::dense<B>::per_item(positive_definite(b, n, items, 1), n, n));
    const auto rhs = random_batch(b, n, items, 2);
    solver_options o;
    o.max_iterations = 2 * n + 4;
    o.relative_tolerance = 16 * epsilon<B>();
    o.record_history = true;
    for (const method which : {method::cg, method::gmres, method::fom, method::bicgstab}) {
        CAPTURE(name(which), n, items);
        batch<B> x(b, n, items);
        const auto result = solve(which, b, m, rhs, x, o);
        const auto report = result.to_host(b);
        CHECK(report.all(solver_status::converged));
        CHECK(worst_residual(b, m, rhs, x) <= 256 * epsilon<B>());
        CHECK(report.most_updates <= 2 * n + 2);
        CHECK(report.products <= (which == method::bicgstab ? 2 : 1) * report.most_updates + 1);  // the true residual
        for (const double norm : report.true_residual_norms) CHECK(norm <= 256 * epsilon<B>() * 10);
        // The history starts at ||b||, ends at the residual of x, repeated after the item's end.
        for (index_t i = 0; i < items; ++i) {
            const auto first = static_cast<std::size_t>(i * (o.max_iterations + 1));
            const auto u = static_cast<std::size_t>(report.updates[static_cast<std::size_t>(i)]);
            for (auto k = u; k <= static_cast<std::size_t>(o.max_iterations); ++k)
                CHECK(report.history[first + k] == report.residual_norms[static_cast<std::size_t>(i)]);
            CHECK(report.history[first] > report.history[first + u]);
        }
        // A preconditioner that is M itself inverted: one iteration.
        SECTION(name(which)) {
            const auto d = linop::diagonal_covariance<B>::per_item(b, random_positive(b, n, items, 3));
            const auto one_step = solve(which, b, d, linop::precision(d), rhs, x, o).to_host(b);
            CHECK(one_step.all(solver_status::converged));
            CHECK(one_step.most_updates <= 2);
            CHECK(worst_residual(b, d, rhs, x) <= 64 * epsilon<B>());
        }
    }
    batch<B> x(b, n, items);
    for (const index_t at_once : {index_t{0}, index_t{2}}) {
        const auto report = solver::dense_cholesky<B>(b, m, rhs, x, {at_once}).to_host(b);
        CHECK(report.all(solver_status::converged));
        CHECK(worst_residual(b, m, rhs, x) <= 64 * epsilon<B>());
        CHECK(report.worst_residual_norm <= 64 * epsilon<B>() * std::sqrt(static_cast<double>(n)) * 8);
    }
}

TEMPLATE_TEST_CASE("solvers: a matrix that is not symmetric", "[solver]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    B b = make_backend<B>();
    const index_t n = 20, items = 4;
    const auto skew = linop::dense<B>::per_item(random_batch(b, n * n, items, 11), n, n);
    const auto m = linop::sum(linop::scaling(n, 6), skew);
    const auto rhs = random_batch(b, n, items, 12);
    solver_options o;
    o.max_iterations = 60;
    o.relative_tolerance = 64 * epsilon<B>();
    for (const method which : {method::gmres, method::fom, method::bicgstab}) {
        CAPTURE(name(which));
        batch<B> x(b, n, items);
        const auto report = solve(which, b, m, rhs, x, o).to_host(b);
        CHECK(report.all(solver_status::converged));
        CHECK(worst_residual(b, m, rhs, x) <= 1024 * epsilon<B>());
        // Preconditioned from the right: the residual is that of M x = b.
        const auto again = solve(which, b, m, linop::scaling(n, 0.125), rhs, x, o).to_host(b);
        CHECK(again.all(solver_status::converged));
        CHECK(worst_residual(b, m, rhs, x) <= 1024 * epsilon<B>());
    }
}

TEMPLATE_TEST_CASE("solvers: every bad item gets its status, and no other item feels it", "[solver]",
                   DIEM_TEST_BACKENDS) {
    using B = TestType;
    using T = scalar_t<B>;
    B b = make_backend<B>();
    const T nan = std::numeric_limits<T>::quiet_NaN(), inf = std::numeric_limits<T>::infinity();
    const index_t n = 3, items = 8;
    // Diagonal matrices. 0, 7: good; 1: b = 0; 2: indefinite; 3: negative; 4: zero; 5: NaN in M; 6: infinity in b.
    const std::vector<T> d = {1, 2, 3, 1, 2, 3, -4, 1, 1, -1, -2, -3, 0, 0, 0, 1, nan, 1, 1, 2, 3, 3, 2, 1};
    const std::vector<T> r = {1, 1, 1, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, inf, 1, 1, 2, 3};
    const auto m = linop::diagonal<B>::per_item(to_backend<B, T>(b, d, n, items));
    const auto rhs = to_backend<B, T>(b, r, n, items);
    solver_options o;
    o.max_iterations = 12;
    o.relative_tolerance = 32 * epsilon<B>();
    o.record_history = true;
    const bool start = GENERATE(false, true);
    o.use_start_vector = start;
    o.check_every = GENERATE(0, 1, 5);
    for (const method which : {method::cg, method::gmres, method::fom, method::bicgstab}) {
        CAPTURE(name(which), start, o.check_every);
        batch<B> x(b, n, items);
        b.fill(x.view(), T(start ? 0.25 : nan));
        const auto report = solve(which, b, m, rhs, x, o).to_host(b);
        const auto x_host = to_host(b, x);
        CHECK(report.status[0] == solver_status::converged);
        CHECK(report.status[1] == solver_status::converged);
        CHECK(report.status[5] == solver_status::non_finite);
        CHECK(report.status[6] == solver_status::non_finite);
        CHECK(report.status[7] == solver_status::converged);
        if (which == method::cg) {
            CHECK(report.status[2] == solver_status::breakdown);
            CHECK(report.status[3] == solver_status::breakdown);
        } else {
            CHECK(report.status[2] == solver_status::converged);
            CHECK(report.status[3] == solver_status::converged);
        }
        CHECK(report.status[4] == solver_status::breakdown);
        CHECK(report.updates[1] == 0);
        CHECK(report.updates[4] == 0);
        CHECK(all_finite(x_host));
        for (std::size_t j = 0; j < 3; ++j) CHECK(x_host[3 + j] == T(0));
        // The good items: exactly what they are on their own.
        for (const index_t i : {0, 7}) {
            batch<B> alone(b, n, 1), its_rhs(b, n, 1);
            b.fill(alone.view(), T(0.25));
            b.copy(rhs.cview().item_range(i, 1), its_rhs.view());
            const auto own = solve(which, b, m.items(i, 1), its_rhs, alone, o).to_host(b);
            CHECK(own.updates[0] == report.updates[static_cast<std::size_t>(i)]);
            CHECK(to_host(b, alone) == to_host(b, x.cview().item_range(i, 1)));
            for (std::size_t j = 0; j < 3; ++j) {
                const auto k = static_cast<std::size_t>(i) * 3 + j;
                CHECK(std::abs(static_cast<double>(x_host[k] - r[k] / d[k])) <= 256 * epsilon<B>());
            }
        }
    }
    batch<B> x(b, n, items);
    const auto report = solver::dense_cholesky<B>(b, m, rhs, x).to_host(b);
    using enum solver_status;
    CHECK(report.status == std::vector<solver_status>{converged, converged, breakdown, breakdown, breakdown, non_finite,
                                                      non_finite, converged});
    CHECK(report.counts == std::array<index_t, solver::solver_statuses>{3, 0, 3, 2, 0});
    CHECK(all_finite(to_host(b, x)));
}

TEMPLATE_TEST_CASE("cg: the best iterate is returned where the curvature ends it", "[solver]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    using T = scalar_t<B>;
    B b = make_backend<B>();
    // Positive curvature at first, with a residual that grows; then breakdown. By hand: b = (1, 1, 1), M = diag(8, 1, -4):
    // p'Mp = 5, alpha = 3/5, r = (1 - 24/5, 2/5, 17/5), ||r||^2 = 26.16 > 3: the start stays the best.
    const auto m = linop::diagonal<B>::shared(to_backend<B, T>(b, {8, 1, -4}, 3, 1));
    const auto rhs = to_backend<B, T>(b, {1, 1, 1}, 3, 1);
    batch<B> x(b, 3, 1);
    solver_options o;
    o.max_iterations = 1;
    auto report = solver::cg<B>(b, m, rhs, x, o).to_host(b);
    CHECK(report.status[0] == solver_status::max_iterations);
    CHECK(std::abs(static_cast<double>(to_host(b, x)[0]) - 0.6) <= 4 * epsilon<B>());
    CHECK(std::abs(report.residual_norms[0] - std::sqrt(26.16)) <= 64 * epsilon<B>());
    o.max_iterations = 20;
    report = solver::cg<B>(b, m, rhs, x, o).to_host(b);
    REQUIRE(report.status[0] == solver_status::breakdown);
    CHECK(report.updates[0] >= 1);
    CHECK(to_host(b, x) == std::vector<T>{0, 0, 0});
    CHECK(std::abs(report.residual_norms[0] - std::sqrt(3.0)) <= 4 * epsilon<B>());
    // From the start (1, 2, 3) with the same residual: it comes back, with its by-product, W x = 3 M x.
    const with_byproduct<B> full{linop::dense<B>::shared(to_backend<B, T>(b, {8, 0, 0, 0, 1, 0, 0, 0, -4}, 3, 3))};
    x = to_backend<B, T>(b, {1, 2, 3}, 3, 1);
    batch<B> aux(b, 3, 1);
    o.use_start_vector = true;
    report = solver::cg_with_byproduct<B>(b, full, to_backend<B, T>(b, {9, 3, -11}, 3, 1), x, aux, o).to_host(b);
    REQUIRE(report.status[0] == solver_status::breakdown);
    CHECK(report.updates[0] >= 1);
    CHECK(to_host(b, x) == std::vector<T>{1, 2, 3});
    CHECK(to_host(b, aux) == std::vector<T>{24, 6, -36});
    o.use_start_vector = false;
    // A preconditioner that is not positive definite is a breakdown too.
    const auto good = linop::diagonal<B>::shared(to_backend<B, T>(b, {8, 1, 4}, 3, 1));
    report = solver::cg<B>(b, good, linop::scaling(3, -1), rhs, x, o).to_host(b);
    CHECK(report.status[0] == solver_status::breakdown);
    CHECK(report.updates[0] == 0);
}

TEMPLATE_TEST_CASE("cg, gmres: sums of by-products belong to x, whatever the status", "[solver]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    B b = make_backend<B>();
    const index_t n = 6, items = 3, rows = 4;
    auto matrices = positive_definite(b, n, items, 21);
    // The last item: indefinite, so that its best iterate counts.
    b.axpby(-3.0, matrices.cview().item_range(2, 1).feature_range(0, 1), 0.0,
            matrices.view().item_range(2, 1).feature_range(0, 1));
    const with_byproduct<B> m{linop::dense<B>::per_item(matrices, n, n)};
    const auto rhs = random_batch(b, n, items, 22);
    const auto half = linop::scaling(n, 0.5);
    for (const method which : {method::cg, method::gmres, method::fom})
        for (const bool start : {false, true})
            for (const bool preconditioned : {false, true})
                for (const index_t k : {0, 1, 2, 3, 6, 12}) {
                    CAPTURE(name(which), start, preconditioned, k);
                    solver_options o;
                    o.max_iterations = k;
                    o.relative_tolerance = 32 * epsilon<B>();
                    o.use_start_vector = start;
                    auto x = random_batch(b, n, items, 23);
                    batch<B> aux(b, rows, items), expected(b, n, items);
                    const auto report =
                        [&] {
                            if (which == method::fom)
                                return preconditioned ? solver::fom_with_byproduct<B>(b, m, half, rhs, x, aux, o)
                                                      : solver::fom_with_byproduct<B>(b, m, rhs, x, aux, o);
                            if (which == method::gmres)
                                return preconditioned ? solver::gmres_with_byproduct<B>(b, m, half, rhs, x, aux, o)
                                                      : solver::gmres_with_byproduct<B>(b, m, rhs, x, aux, o);
                            return preconditioned ? solver::cg_with_byproduct<B>(b, m, half, rhs, x, aux, o)
                                                  : solver::cg_with_byproduct<B>(b, m, rhs, x, aux, o);
                        }()
                            .to_host(b);
                    CHECK(report.products <= k + (start ? 1 : 0) + 1);
                    m.apply(b, x, expected);
                    b.axpby(0.0, expected.cview(), 3.0, expected.view());
                    const auto want = to_host(b, expected.cview().feature_range(0, rows));
                    CHECK(close(to_host(b, aux), want, 1 + largest(want), 512 * epsilon<B>()));
                    // The same x as without the by-product.
                    auto plain = random_batch(b, n, items, 23);
                    if (which == method::fom)
                        (void)(preconditioned ? solver::fom<B>(b, m, half, rhs, plain, o)
                                              : solver::fom<B>(b, m, rhs, plain, o));
                    else if (which == method::gmres)
                        (void)(preconditioned ? solver::gmres<B>(b, m, half, rhs, plain, o)
                                              : solver::gmres<B>(b, m, rhs, plain, o));
                    else
                        (void)(preconditioned ? solver::cg<B>(b, m, half, rhs, plain, o)
                                              : solver::cg<B>(b, m, rhs, plain, o));
                    CHECK(to_host(b, plain) == to_host(b, x));
                }
}

TEMPLATE_TEST_CASE("fom: cg's iterates, residuals orthogonal to the Krylov space, and never longer", "[solver]",
                   DIEM_TEST_BACKENDS) {
    using B = TestType;
    using T = scalar_t<B>;
    B b = make_backend<B>();
    const index_t n = 12, items = 4;
    const auto rhs = random_batch(b, n, items, 71);
    const auto g = random_batch(b, n * n, items, 72);
    const auto symmetric = linop::dense<B>::per_item(positive_definite(b, n, items, 73), n, n);
    const auto skew = linop::dense<B>::per_item(g, n, n);
    const auto positive = linop::sum(linop::scaling(n, 8), skew);
    for (const index_t k : {1, 2, 3, 5}) {
        CAPTURE(k);
        solver_options o;
        o.max_iterations = k;
        o.relative_tolerance = 0;
        batch<B> x(b, n, items), by_cg(b, n, items), r(b, n, items), power(b, n, items), next(b, n, items);
        (void)solve(method::fom, b, symmetric, rhs, x, o);
        (void)solve(method::cg, b, linop::assume_symmetric(symmetric), rhs, by_cg, o);
        CHECK(close(to_host(b, x), to_host(b, by_cg), largest(to_host(b, by_cg)), 512 * epsilon<B>()));

        (void)solve(method::fom, b, positive, rhs, x, o);
        positive.apply(b, x.view(), r.view());
        b.axpby(1.0, rhs.view(), -1.0, r.view());
        b.copy(rhs.cview(), power.view());
        batch<B, double> product(b, items, 1), rr(b, items, 1), pp(b, items, 1);
        for (index_t j = 0; j < k; ++j) {
            b.dot(r.cview(), power.cview(), product.flat());
            b.dot(r.cview(), r.cview(), rr.flat());
            b.dot(power.cview(), power.cview(), pp.flat());
            const auto cosine = to_host(b, product), left = to_host(b, rr), right = to_host(b, pp);
            // The residual's rounding errors are those of b.
            for (std::size_t i = 0; i < cosine.size(); ++i)
                CHECK(std::abs(cosine[i]) <= 256 * epsilon<B>() * std::sqrt(right[i]) * (1 + std::sqrt(left[i])));
            positive.apply(b, power.view(), next.view());
            std::swap(power, next);
        }
    }
    // Any matrix: the history is that of the residuals of the x it would return, and does not grow.
    solver_options o;
    o.relative_tolerance = 0;
    o.record_history = true;
    std::vector<double> before(static_cast<std::size_t>(items), std::numeric_limits<double>::infinity());
    for (index_t k = 0; k <= n / 2; ++k) {
        CAPTURE(k);
        o.max_iterations = k;
        batch<B> x(b, n, items), r(b, n, items);
        const auto report = solve(method::fom, b, skew, rhs, x, o).to_host(b);
        skew.apply(b, x.view(), r.view());
        b.axpby(1.0, rhs.view(), -1.0, r.view());
        batch<B, double> rr(b, items, 1);
        b.dot(r.cview(), r.cview(), rr.flat());
        const auto norms = to_host(b, rr);
        for (std::size_t i = 0; i < norms.size(); ++i) {
            const double norm = std::sqrt(norms[i]);
            CHECK(std::abs(report.residual_norms[i] - norm) <= 2048 * epsilon<B>() * norm);
            CHECK(report.history[i * static_cast<std::size_t>(k + 1) + static_cast<std::size_t>(k)] ==
                  report.residual_norms[i]);
            CHECK(report.residual_norms[i] <= before[i] * (1 + 2048 * epsilon<B>()));
            before[i] = report.residual_norms[i];
        }
    }
    // One column of cosine c: hardly positive, twice gmres's; negative, gmres's own.
    const auto turn =
        linop::dense<B>::per_item(to_backend<B, T>(b, {T(0.1), 1, -1, T(0.1), T(-0.1), 1, -1, T(-0.1)}, 4, 2), 2, 2);
    const auto unit = to_backend<B, T>(b, {1, 0, 1, 0}, 2, 2);
    o.max_iterations = 1;
    batch<B> x(b, 2, 2), least(b, 2, 2);
    const auto report = solve(method::fom, b, turn, unit, x, o).to_host(b);
    (void)solve(method::gmres, b, turn, unit, least, o);
    const auto ours = to_host(b, x), theirs = to_host(b, least);
    CHECK(std::abs(static_cast<double>(ours[0] - 2 * theirs[0])) <= 16 * epsilon<B>());
    CHECK(std::abs(report.residual_norms[0] - 1) <= 16 * epsilon<B>());
    CHECK(ours[2] == theirs[2]);
    CHECK(theirs[2] < 0);
}

TEST_CASE("fom: a step far shorter than cg's where M is ill-conditioned and right", "[solver]") {
    using B = main_backend<double>;
    B b = make_backend<B>();
    const auto m = linop::diagonal<B>::shared(to_backend<B, double>(b, {1e-4, 1}, 2, 1));
    const auto rhs = to_backend<B, double>(b, {1, 0.05}, 2, 1);
    batch<B> x(b, 2, 1);
    (void)solver::cg<B>(b, m, rhs, x, {.max_iterations = 1, .relative_tolerance = 0});
    CHECK(std::abs(to_host(b, x)[0] - 1.0025 / 0.0026) <= 1e-9);  // r'r / r'Mr
    (void)solver::fom<B>(b, m, rhs, x, {.max_iterations = 1, .relative_tolerance = 0});
    CHECK(std::abs(to_host(b, x)[0] - 2 * 0.0026 / (1e-8 + 0.0025)) <= 1e-9);  // twice r'Mr / |Mr|^2
}

namespace {
/// diag(m) >= floor I.
template <Backend B>
struct floored {
    using operator_tag = linop::symmetric_tag;
    linop::diagonal<B> m;
    double least;
    index_t rows() const { return m.rows(); }
    index_t cols() const { return m.cols(); }
    index_t items() const { return m.items(); }
    floored items(index_t first, index_t count) const { return {m.items(first, count), least}; }
    void apply(B& b, const_view_t<B> x, view_t<B> y) const { m.apply(b, x, y); }
    void apply_adjoint(B& b, const_view_t<B> y, view_t<B> x) const { m.apply(b, y, x); }
    void floor(B& b, const_view_t<B> p, vector_t<B, double> out) const {
        batch<B> n(b, p.features(), p.items());
        b.axpby(least, p, 0.0, n.view());
        b.dot(p, n.cview(), out);
    }
};
}  // namespace

TEMPLATE_TEST_CASE("solvers: no step along less curvature than the operator can have", "[solver]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    using T = scalar_t<B>;
    B b = make_backend<B>();
    static_assert(linop::FlooredOperator<floored<B>, B> && !linop::FlooredOperator<linop::diagonal<B>, B>);
    // M = N + V, N = 1e-4 I. Items 0, 1: V = diag(1, -0.99e-4), which is not positive, though M is: along (0, 1) the step
    // would be 1e6. Item 2: V = 0; item 3: V = diag(3e-4, 0), both as they may be.
    // gmres has no such rule: it takes any matrix for what it is.
    const std::vector<T> diagonal = {T(1.0001), T(1e-6), T(1.0001), T(1e-6), T(1e-4), T(1e-4), T(4e-4), T(1e-4)};
    const std::vector<T> right = {0, 1, 1, 0, 1, 1, 1, 1};
    const auto m = linop::diagonal<B>::per_item(to_backend<B, T>(b, diagonal, 2, 4));
    const auto rhs = to_backend<B, T>(b, right, 2, 4);
    const floored<B> with_floor{m, 1e-4};
    solver_options o;
    o.max_iterations = 4;
    o.relative_tolerance = 64 * epsilon<B>();
    o.record_history = true;
    const auto unit = linop::scaling(2, 1);
    for (const method which : {method::cg, method::fom, method::bicgstab})
        for (const bool preconditioned : {false, true}) {
            CAPTURE(name(which), preconditioned);
            batch<B> x(b, 2, 4);
            const auto run = [&](const auto& a) {
                return (preconditioned ? solve(which, b, a, unit, rhs, x, o) : solve(which, b, a, rhs, x, o))
                    .to_host(b);
            };
            const auto report = run(with_floor);
            const auto got = to_host(b, x);
            CHECK(report.status[0] == solver_status::breakdown);
            CHECK(report.updates[0] == 0);
            CHECK(report.residual_norms[0] == 1);
            CHECK(report.history[static_cast<std::size_t>(o.max_iterations)] == 1);
            CHECK(got[0] == T(0));
            CHECK(got[1] == T(0));
            for (const std::size_t i : {1U, 2U, 3U}) {
                CHECK(report.status[i] == solver_status::converged);
                for (const std::size_t j : {2 * i, 2 * i + 1})
                    CHECK(std::abs(static_cast<double>(got[j] * diagonal[j] - right[j])) <= 1024 * epsilon<B>());
            }
            (void)run(m);  // the rule is the floor's: without it the step is made
            CHECK(static_cast<double>(to_host(b, x)[1]) >= 0.99e6);
        }
    batch<B> x(b, 2, 4);
    CHECK(solver::gmres<B>(b, with_floor, rhs, x, o).to_host(b).status[0] == solver_status::converged);
}

TEST_CASE("solvers: a recursion that falls while the residual does not is reported", "[solver]") {
    // 1 + cosines of a smooth vector over 1e-6: float32 cannot solve it to 1e-9, and the recursion does not notice.
    using B = test::main_backend<float>;
    B b = make_backend<B>();
    const index_t n = 64;
    std::vector<float> entries(static_cast<std::size_t>(n * n));
    for (index_t j = 0; j < n; ++j)
        for (index_t i = 0; i < n; ++i)
            entries[static_cast<std::size_t>(j * n + i)] =
                static_cast<float>(std::exp(-0.005 * static_cast<double>((i - j) * (i - j))) + (i == j ? 1e-6 : 0));
    const auto m = linop::assume_symmetric(linop::dense<B>::shared(to_backend(b, entries, n, n)));
    const auto rhs = random_batch(b, n, 1, 91);
    solver_options o;
    o.max_iterations = 4000;
    o.relative_tolerance = 1e-6;
    batch<B> x(b, n, 1);
    auto report = solver::cg<B>(b, m, rhs, x, o).to_host(b);
    const double norm = worst_residual(b, m, rhs, x);
    CAPTURE(norm, report.residual_norms[0], report.true_residual_norms[0], report.updates[0]);
    REQUIRE(report.residual_norms[0] <= 1e-5);
    CHECK(report.status[0] == solver_status::stagnated);
    CHECK(solver::to_string(report.status[0]) == "stagnated");
    CHECK(report.count(solver_status::stagnated) == 1);
    CHECK(norm > 10 * o.relative_tolerance);
    // Not asked for: as the recursion says, one product less.
    const index_t products = report.products;
    o.verify = false;
    report = solver::cg<B>(b, m, rhs, x, o).to_host(b);
    CHECK(report.status[0] == solver_status::converged);
    CHECK(std::isnan(report.true_residual_norms[0]));
    CHECK(report.products == products - 1);
    // No tolerance: no product, whatever `verify` says.
    o = {.max_iterations = 3, .relative_tolerance = 0};
    CHECK(solver::cg<B>(b, m, rhs, x, o).to_host(b).products == 3);
}

TEMPLATE_TEST_CASE("solvers: start vectors", "[solver]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    using T = scalar_t<B>;
    B b = make_backend<B>();
    const index_t n = 9, items = 3;
    const auto m = linop::assume_symmetric(linop::dense<B>::per_item(positive_definite(b, n, items, 31), n, n));
    const auto truth = random_batch(b, n, items, 32);
    batch<B> rhs(b, n, items);
    m.apply(b, truth.view(), rhs.view());
    solver_options o;
    o.use_start_vector = true;
    o.max_iterations = 40;
    o.relative_tolerance = 64 * epsilon<B>();
    for (const method which : {method::cg, method::gmres, method::fom, method::bicgstab}) {
        CAPTURE(name(which));
        batch<B> x(b, n, items);
        b.copy(truth.view(), x.view());  // the solution: one product, no update
        auto report = solve(which, b, m, rhs, x, o).to_host(b);
        CHECK(report.all(solver_status::converged));
        CHECK(report.most_updates == 0);
        CHECK(report.products == 1);
        CHECK(to_host(b, x) == to_host(b, truth));
        x = random_batch(b, n, items, 33);
        report = solve(which, b, m, rhs, x, o).to_host(b);
        CHECK(report.all(solver_status::converged));
        CHECK(worst_residual(b, m, rhs, x) <= 1024 * epsilon<B>());
        // A start that is no number is replaced by zero and reported.
        b.fill(x.view().item_range(1, 1), std::numeric_limits<T>::quiet_NaN());
        report = solve(which, b, m, rhs, x, o).to_host(b);
        CHECK(report.status[1] == solver_status::non_finite);
        CHECK(report.count(solver_status::converged) == 2);
        CHECK(to_host(b, x.cview().item_range(1, 1)) == std::vector<T>(static_cast<std::size_t>(n), T(0)));
    }
}

TEMPLATE_TEST_CASE("solvers: sizes zero, views with gaps, wrong arguments", "[solver]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    using T = scalar_t<B>;
    B b = make_backend<B>();
    for (const auto& [n, items] : std::vector<std::pair<index_t, index_t>>{{0, 0}, {0, 2}, {3, 0}}) {
        batch<B> rhs(b, n, items), x(b, n, items);
        for (const method which : {method::cg, method::gmres, method::fom, method::bicgstab})
            CHECK(solve(which, b, linop::identity(n), rhs, x, {}).to_host(b).all(solver_status::converged));
        CHECK(solver::dense_cholesky<B>(b, linop::identity(n), rhs, x).to_host(b).all(solver_status::converged));
    }
    const index_t n = 5, items = 3;
    const auto m = linop::diagonal<B>::per_item(random_positive(b, n, items, 41));
    const auto rhs = random_batch(b, n, items, 42);
    batch<B> x(b, n, items), wide(b, n + 2, items);
    for (const method which : {method::cg, method::gmres, method::fom, method::bicgstab}) {
        CAPTURE(name(which));
        (void)solve(which, b, m, rhs, x, {});
        b.fill(wide.view(), T(9));
        const auto inside = wide.view().feature_range(1, n);
        if (which == method::cg) (void)solver::cg<B>(b, m, rhs, inside);
        if (which == method::gmres) (void)solver::gmres<B>(b, m, rhs, inside);
        if (which == method::fom) (void)solver::fom<B>(b, m, rhs, inside);
        if (which == method::bicgstab) (void)solver::bicgstab<B>(b, m, rhs, inside);
        CHECK(to_host(b, const_view_t<B>(inside)) == to_host(b, x));
        CHECK(largest(to_host(b, wide.cview().feature_range(0, 1))) == 9);
        CHECK(largest(to_host(b, wide.cview().feature_range(n + 1, 1))) == 9);

        batch<B> other(b, n + 1, items), fewer(b, n, items - 1);
        CHECK_THROWS_AS(solve(which, b, m, other, x, {}), shape_error);
        CHECK_THROWS_AS(solve(which, b, m, rhs, other, {}), shape_error);
        CHECK_THROWS_AS(solve(which, b, m, fewer, fewer, {}), shape_error);
        CHECK_THROWS_AS(solve(which, b, m, linop::identity(n + 1), rhs, x, {}), shape_error);
        solver_options o;
        o.max_iterations = -1;
        CHECK_THROWS_AS(solve(which, b, m, rhs, x, o), value_error);
        o.max_iterations = 1;
        o.relative_tolerance = std::numeric_limits<double>::quiet_NaN();
        CHECK_THROWS_AS(solve(which, b, m, rhs, x, o), value_error);
    }
}

TEST_CASE("solvers: the same for any number of threads, and no memory after the first solve", "[solver]") {
    const index_t n = 300, items = 40;
    std::vector<std::vector<float>> results;
    for (const int threads : {1, 2, 3}) {
        using B = test::main_backend<float>;
        B b = test::make_backend<B>(threads);
        const auto d = linop::diagonal<B>::per_item(random_positive(b, n, items, 51, 0.01, 3));
        const auto rhs = random_batch(b, n, items, 52);
        batch<B> x(b, n, items);
        solver_options o;
        o.max_iterations = 7;
        std::vector<float> all;
        for (const method which : {method::cg, method::gmres, method::fom, method::bicgstab}) {
            (void)solve(which, b, d, rhs, x, o);
            const auto before = b.memory().allocations();
            (void)solve(which, b, d, rhs, x, o);
            CHECK(b.memory().allocations() == before);
            const auto host = to_host(b, x);
            all.insert(all.end(), host.begin(), host.end());
        }
        results.push_back(all);
    }
    CHECK(results[0] == results[1]);
    CHECK(results[0] == results[2]);
}
