// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/backend/functors.hpp>
#include <diem/core/check.hpp>
#include <diem/core/random.hpp>
#include <diem/diffusion/gaussian.hpp>
#include <diem/linop/low_rank.hpp>
#include <diem/parallel/buffers.hpp>
#include <diem/parallel/communicator.hpp>
#include <diem/posterior/in_basis.hpp>
#include <diem/posterior/observation.hpp>
#include <diem/posterior/tally.hpp>
#include <diem/posterior/tight_frame.hpp>
#include <diem/solver/cg.hpp>

/// \file
/// The covariance of observations under a Gaussian prior, as an operator: for linear operators of any kind.
/// \snippet tests/examples/prior.cpp prior/gaussian_innovation.hpp

namespace diem::prior {

namespace detail {

/// Sigma_x v of a Gaussian.
template <Backend B>
void apply_covariance(B& b, const diffusion::gaussian<B>& g, const_view_t<B> v, view_t<B> w) {
    batch<B> z(b, v.features(), v.items());
    b.copy(v, z.view());
    if (g.basis()) g.basis()->apply(b, z.cview(), z.view());
    b.map(functors::product{}, w, z.cview(), per_feature{g.d()});
    linop::add_low_rank(b, 1, g.u(), z.cview(), w);
    if (g.basis()) g.basis()->apply_adjoint(b, const_view_t<B>(w), w);
}

/// M = s^2 Sigma_y + A Sigma_x A'.
template <Backend B, class Observation>
struct scaled_innovation {
    using operator_tag = linop::symmetric_tag;
    const diffusion::gaussian<B>& prior;
    const Observation& observed;
    double variance;  ///< s^2

    [[nodiscard]] index_t rows() const { return observed.y().features(); }
    [[nodiscard]] index_t cols() const { return rows(); }
    [[nodiscard]] index_t items() const { return observed.items(); }
    [[nodiscard]] scaled_innovation items(index_t, index_t) const { return *this; }  // only the whole
    void apply(B& b, const_view_t<B> p, view_t<B> q) const {
        const auto& a = observed.forward_operator();
        batch<B> u(b, a.cols(), p.items()), w(b, a.cols(), p.items()), noise(b, rows(), p.items());
        a.apply_adjoint(b, p, u.view());
        apply_covariance(b, prior, u.cview(), w.view());
        a.apply(b, w.cview(), q);
        observed.noise().apply(b, p, noise.view());
        b.axpby(variance, noise.cview(), 1.0, q);
    }
    void apply_adjoint(B& b, const_view_t<B> p, view_t<B> q) const { apply(b, p, q); }
};

/// A (Sigma_x + level I)^-1 A', Sigma_x of a Gaussian in a basis: close to M^-1 on what A shows where Sigma_x is a wide spectrum, all
/// of which A mixes.
template <Backend B, class A>
struct spectrum_preconditioner {
    using operator_tag = linop::symmetric_tag;
    const A& a;
    const linop::image_basis& basis;
    linop::low_rank_innovation<B> innovation;  // of the coefficients

    spectrum_preconditioner(B& b, const A& forward, const diffusion::gaussian<B>& g, double level)
        : a(forward), basis(*g.basis()), innovation(b, g.features(), g.rank(), 1, false) {
        innovation.factor(b, {}, level, {}, g.d(), g.u());
    }
    [[nodiscard]] index_t rows() const { return a.rows(); }
    [[nodiscard]] index_t cols() const { return rows(); }
    [[nodiscard]] index_t items() const { return a.items(); }
    [[nodiscard]] const spectrum_preconditioner& items(index_t, index_t) const { return *this; }  // only the whole
    void apply(B& b, const_view_t<B> p, view_t<B> q) const {
        batch<B> u(b, a.cols(), p.items()), w(b, a.cols(), p.items());
        a.apply_adjoint(b, p, u.view());
        basis.apply(b, u.cview(), u.view());
        innovation.solve(b, u.cview(), w.view());
        basis.apply_adjoint(b, w.cview(), w.view());
        a.apply(b, w.cview(), q);
    }
    void apply_adjoint(B& b, const_view_t<B> p, view_t<B> q) const { apply(b, p, q); }
};

/// A A' = c on what A shows, one c for all items, and noise of one variance: what that preconditioner is for.
struct tight_observation {
    double c, variance;
};
template <Backend B, class Observation>
std::optional<tight_observation> as_tight(B& b, const diffusion::gaussian<B>& prior, const Observation& observed) {
    if (!prior.basis()) return std::nullopt;
    const auto frame = posterior::tight_frame(b, observed, 1e-8);
    if (!frame || !(frame->most - frame->least <= 1e-4 * frame->most)) return std::nullopt;
    const auto variance = posterior::common_variance_of(b, observed.noise());
    if (!variance) return std::nullopt;
    return tight_observation{frame->most, *variance};
}
/// r becomes the part of it that A shows, A A'r / c.
template <Backend B, class A>
void project(B& b, const A& a, double c, view_t<B> r) {
    batch<B> u(b, a.cols(), r.items());
    a.apply_adjoint(b, const_view_t<B>(r), u.view());
    a.apply(b, u.cview(), r);
    b.axpby(0.0, const_view_t<B>(r), 1 / c, r);
}
/// M v = r by conjugate gradients. With `tight`, preconditioned: then r must be what A shows.
template <Backend B, class Observation>
solver::solver_result<B> solve(B& b, const scaled_innovation<B, Observation>& m,
                               const std::optional<tight_observation>& tight, const batch<B>& r, view_t<B> v,
                               const solver::cg_options& o) {
    if (!tight) return solver::cg(b, m, r.view(), v, o);
    const double level = m.variance * tight->variance / tight->c;
    return solver::cg(b, m, spectrum_preconditioner(b, m.observed.forward_operator(), m.prior, level), r.view(), v, o);
}

/// Adds Sigma_x A' M^-1 r to x; r is overwritten. Counts how the solves ended.
template <Backend B, class Observation, class Counts>
void correct(B& b, const diffusion::gaussian<B>& prior, const Observation& part, batch<B>& r, view_t<B> x,
             Counts& counts) {
    const auto& a = part.forward_operator();
    batch<B> v(b, r.features(), x.items()), u(b, x.features(), x.items()), w(b, x.features(), x.items());
    const auto tight = as_tight(b, prior, part);
    // Beside what A shows r is noise alone, which A' does not see; the preconditioner is 0 there.
    if (tight) project(b, a, tight->c, r.view());
    const auto solved = solve(b, scaled_innovation<B, Observation>{prior, part, 1}, tight, r, v.view(),
                              {.max_iterations = 500, .relative_tolerance = 1e-5, .verify = false});
    for (const int s : to_host(b, solved.status())) counts[static_cast<std::size_t>(s)] += 1;
    a.apply_adjoint(b, v.cview(), u.view());
    apply_covariance(b, prior, u.cview(), w.view());
    b.axpby(1.0, w.cview(), 1.0, x);
}

}  // namespace detail

/// Solves by `solver::solver_status`.
using corrected_counts = decltype(posterior::solver_counts::status);

/// Asked on all ranks alike after each round of draws whether to make the next.
struct always_go_on {
    constexpr bool operator()() const { return true; }
};

/// One draw from p(x | y) of each observation, x: features x items: a draw of the prior and of the noise, corrected by what is
/// observed,
///
///     x = x_0 + Sigma_x A' M^-1 (y - A x_0 - e_0),  M = Sigma_y + A Sigma_x A',
///
/// with one solve by conjugate gradients, to a relative residual of 1e-5: preconditioned where the prior's variances are those of
/// a basis, A is a tight frame (a mask) and the noise of one variance. Where A is element-wise and there is no basis,
/// `draw_posteriors` is exact.
/// `block`: observations at once; `ranks` share them, and all get all draws. Returns how the solves ended; nothing where
/// `go_on()`, asked after each block, said no.
/// Source: Hoffman, Ribak, "Constrained realizations of Gaussian fields", 1991.
template <Backend B, class Observation, parallel::Communicator C = parallel::self, class GoOn = always_go_on>
std::optional<corrected_counts> draw_corrected(B& b, const diffusion::gaussian<B>& prior, const Observation& observed,
                                               const random_key& key, view_t<B> x, index_t block = 128,
                                               const C& ranks = {}, const GoOn& go_on = {}) {
    check_size("prior::draw_corrected", "A.cols()", observed.forward_operator().cols(), prior.features());
    check_shape("prior::draw_corrected", "x", x, prior.features(), observed.items());
    check_value("prior::draw_corrected", block > 0, "block must be > 0");
    const index_t rows = observed.y().features(), n = observed.items();
    std::vector<index_t> sizes(static_cast<std::size_t>(ranks.size()), static_cast<index_t>(solver::solver_statuses));
    corrected_counts all{};
    for (index_t done = 0; done < n;) {
        const auto round = parallel::next_round(ranks, done, n, block);
        corrected_counts own{};
        if (const index_t count = round.count; count > 0) {
            const auto part = observed.items(round.begin, count);
            const auto mine = key.skip_items(static_cast<std::uint32_t>(round.begin));
            const view_t<B> to = x.item_range(round.begin, count);
            batch<B> r(b, rows, count), e(b, rows, count);
            prior.sample(b, mine.with_lane(random_lane::prior_sample), to);
            part.forward_operator().apply(b, const_view_t<B>(to), r.view());
            part.noise().sample(b, mine.with_lane(random_lane::user + 1), e.view());
            b.axpby(1.0, e.cview(), 1.0, r.view());
            b.axpby(1.0, part.y(), -1.0, r.view());
            detail::correct(b, prior, part, r, to, own);
        }
        parallel::all_gather_items(ranks, b, x.item_range(round.first, round.end - round.first), round.counts,
                                   "draws of the Gaussian's posterior");
        const auto each = parallel::all_gather<double>(ranks, own, sizes, "how their solves ended");
        for (std::size_t k = 0; k < each.size(); ++k) all[k % own.size()] += each[k];
        done = round.end;
        if (!go_on() && done < n) return std::nullopt;
    }
    return all;
}

/// The mean E[x | y] of each observation, x: features x items, by the same solves: mu + Sigma_x A' M^-1 (y - A mu). Returns how
/// they ended.
template <Backend B, class Observation>
corrected_counts corrected_means(B& b, const diffusion::gaussian<B>& prior, const Observation& observed, view_t<B> x,
                                 index_t block = 128) {
    check_size("prior::corrected_means", "A.cols()", observed.forward_operator().cols(), prior.features());
    check_shape("prior::corrected_means", "x", x, prior.features(), observed.items());
    check_value("prior::corrected_means", block > 0, "block must be > 0");
    corrected_counts counts{};
    for (index_t first = 0; first < observed.items(); first += block) {
        const auto part = observed.items(first, std::min(block, observed.items() - first));
        const view_t<B> to = x.item_range(first, part.items());
        batch<B> r(b, observed.y().features(), part.items());
        b.map(functors::assign{}, to, per_feature{prior.mu()});
        part.forward_operator().apply(b, const_view_t<B>(to), r.view());
        b.axpby(1.0, part.y(), -1.0, r.view());
        detail::correct(b, prior, part, r, to, counts);
    }
    return counts;
}

}  // namespace diem::prior
