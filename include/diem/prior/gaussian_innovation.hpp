// SPDX-License-Identifier: Apache-2.0
#pragma once

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
#include <diem/posterior/observation.hpp>
#include <diem/posterior/tally.hpp>
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
    if (g.basis()) g.basis()->apply(b, const_view_t<B>(w), w);
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
/// with one solve by conjugate gradients, to a relative residual of 1e-5. Where A is element-wise, `draw_posteriors` is exact.
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
            batch<B> r(b, rows, count), w(b, rows, count), u(b, x.features(), count), v(b, x.features(), count);
            prior.sample(b, mine.with_lane(random_lane::prior_sample), to);
            part.forward_operator().apply(b, const_view_t<B>(to), r.view());
            part.noise().sample(b, mine.with_lane(random_lane::user + 1), w.view());
            b.axpby(1.0, w.cview(), 1.0, r.view());
            b.axpby(1.0, part.y(), -1.0, r.view());
            const detail::scaled_innovation<B, decltype(part)> m{prior, part, 1};
            const auto solved = solver::cg(b, m, r.cview(), w.view(),
                                           {.max_iterations = 500, .relative_tolerance = 1e-5, .verify = false});
            for (const int s : to_host(b, solved.status())) own[static_cast<std::size_t>(s)] += 1;
            part.forward_operator().apply_adjoint(b, w.cview(), u.view());
            detail::apply_covariance(b, prior, u.cview(), v.view());
            b.axpby(1.0, v.cview(), 1.0, to);
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

}  // namespace diem::prior
