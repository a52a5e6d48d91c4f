// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/backend/functors.hpp>
#include <diem/core/check.hpp>
#include <diem/core/random.hpp>
#include <diem/diffusion/gaussian.hpp>
#include <diem/posterior/observation.hpp>
#include <diem/prior/gaussian_innovation.hpp>
#include <diem/prior/observed_variance.hpp>
#include <diem/solver/cg.hpp>

/// \file
/// How large the noise is, against what was said of it.
/// \snippet tests/examples/prior.cpp prior/noise_level.hpp

namespace diem::prior {

/// The noise looks like s^2 Sigma_y, of which Sigma_y was given.
struct noise_level {
    double factor =
        std::numeric_limits<double>::quiet_NaN();  ///< s, should the prior's covariance be right; NaN: not found
    double error = std::numeric_limits<double>::infinity();  ///< standard error of log s
    /// Of the measurements, the share that noise explains and x does not, tr(Sigma_y M^-1) / rows: where it is small there is
    /// nothing to tell the noise by.
    double share = 0;
    /// s is this at most, whatever the prior is, and the standard error of its logarithm.
    double most = std::numeric_limits<double>::infinity(), most_error = std::numeric_limits<double>::infinity();

    /// Whether s is known to within about a fifth.
    [[nodiscard]] bool known() const { return std::isfinite(factor) && share >= 0.01 && error <= 0.2; }
    /// Beyond 1.4, or at most 0.7, by more than three standard errors.
    [[nodiscard]] bool is_larger() const { return known() && factor > 1.4 && std::log(factor) > 3 * error; }
    [[nodiscard]] bool is_smaller() const { return most < 0.7 && -std::log(most) > 3 * most_error; }
    [[nodiscard]] bool is_off() const { return is_larger() || is_smaller(); }
    /// One line for people.
    [[nodiscard]] std::string words() const {
        char text[96];
        std::snprintf(text, sizeof text, "the data look as if sigma_y were %s%.2f times as large",
                      is_smaller() ? "at most " : "", is_smaller() ? most : factor);
        if (is_off()) return text;
        if (!known()) return "the data do not tell how large the noise is";
        return factor < 0.7 ? "sigma_y may be smaller than it was given, the data do not tell"
                            : "nothing in the data speaks against sigma_y";
    }
};

namespace detail {

/// What the rows of least variance say, of which all is noise at most: chosen by one half of the observations, a twentieth of
/// those that at least ten of them show, and measured by the other half. y and `seen` (0: not reached): rows x n, `unit`: the
/// noise's variances. Lowers `found.most`.
template <class T>
void bound_by_rows(const std::vector<T>& y, const std::vector<T>& seen, const std::vector<T>& unit, index_t rows,
                   noise_level& found) {
    const std::size_t d = static_cast<std::size_t>(rows), n = y.size() / d;
    struct moments {
        double count = 0, mean = 0, squares = 0;
        void add(double v) {
            const double off = v - mean;
            mean += off / ++count;
            squares += off * (v - mean);
        }
    };
    std::vector<moments> halves[2] = {std::vector<moments>(d), std::vector<moments>(d)};
    for (std::size_t i = 0; i < n; ++i)
        for (std::size_t k = 0; k < d; ++k)
            if (const std::size_t at = i * d + k; seen[at] != T(0))
                halves[i % 2][k].add(static_cast<double>(y[at]) / std::sqrt(static_cast<double>(unit[at])));
    std::vector<std::pair<double, std::size_t>> least;
    for (std::size_t k = 0; k < d; ++k)
        if (const auto& m = halves[0][k]; m.count >= 10 && halves[1][k].count >= 10)
            least.emplace_back(m.squares / (m.count - 1), k);
    if (least.empty()) return;
    const std::size_t chosen = std::max<std::size_t>(least.size() / 20, 1);
    std::partial_sort(least.begin(), least.begin() + static_cast<std::ptrdiff_t>(chosen), least.end());
    double squares = 0, freedom = 0;
    for (std::size_t k = 0; k < chosen; ++k) {
        const auto& m = halves[1][least[k].second];
        squares += m.squares;
        freedom += m.count - 1;
    }
    if (const double bound = std::sqrt(squares / freedom); bound < found.most) {
        found.most = bound;
        found.most_error = std::sqrt(0.5 / freedom);
    }
}

}  // namespace detail

/// By maximum likelihood of s under y ~ N(A mu, M), M = s^2 Sigma_y + A Sigma_x A': at the maximum r'M^-1 Sigma_y M^-1 r, with
/// r = y - A mu, is tr(Sigma_y M^-1) summed over the observations, and s^2 <- s^2 times their ratio goes there. M is solved by
/// conjugate gradients, the trace is e'M^-1 e of drawn noise e. The error is that of the score, with its own variance over the
/// observations, so that y need not be Gaussian; moments are what is asked of the prior.
///
/// The bound needs no prior that is right: E r'P r >= s^2 tr(P Sigma_y) for every P >= 0, of which P = M^-1 Sigma_y M^-1 is one and
/// each row by itself another (`most` is the least of these). So noise that was given too large shows where some part of A x
/// varies little: dark borders, high frequencies. Noise that was given too small shows where the operator tells it from x
/// (several rows of one direction, a blur, coils) or the prior is known from elsewhere. Behind a mask, or orthonormal rows, a
/// prior learned with that sigma_y has taken what is missing for a part of x that is white, which explains y as well: s is 1.
///
/// `items`: observations, the first ones; fewer where they are large. Throws shape_error.
template <Backend B, class Observation>
[[nodiscard]] noise_level noise_level_of(B& b, const diffusion::gaussian<B>& prior, const Observation& all,
                                         const random_key& key, index_t items = 256) {
    using T = scalar_t<B>;
    const index_t rows = all.y().features(), features = prior.features();
    check_size("prior::noise_level_of", "A.cols()", all.forward_operator().cols(), features);
    const index_t affordable = std::max<index_t>(16, (index_t{1} << 18) / std::max(rows, features));
    const index_t n = std::min({items, all.items(), affordable});
    noise_level found;
    if (n == 0) return found;
    const auto observed = all.items(0, n);
    const auto& a = observed.forward_operator();
    batch<B> z(b, features, n), image(b, rows, n), r(b, rows, n), e(b, rows, n), w(b, rows, n), weighted(b, rows, n);
    const auto clear = [&](batch<B>& v) {
        b.launch(n, rows, detail::clear_unreached<T>{rows}, image.cview().data(), v.view().data());
    };
    // r = y - A mu and e ~ N(0, Sigma_y), where A reaches.
    b.map(functors::assign{}, z.view(), per_feature{prior.mu()});
    a.apply(b, z.cview(), r.view());
    b.axpby(1.0, observed.y(), -1.0, r.view());
    observed.noise().sample(b, key.with_lane(random_lane::user), e.view());
    b.fill_normal(key.with_lane(random_lane::user + 1), z.view());
    a.apply(b, z.cview(), image.view());
    clear(r);
    clear(e);
    double reached = 0;
    for (const T v : to_host(b, image)) reached += v != T(0) ? 1 : 0;
    if (reached == 0) return found;
    b.fill(w.view(), T(1));
    observed.noise().apply(b, w.cview(), weighted.view());
    detail::bound_by_rows(to_host(b, observed.y()), to_host(b, image), to_host(b, weighted), rows, found);

    batch<B, double> dots(b, n, 1);
    const auto products = [&](const_view_t<B> u, const_view_t<B> v) {
        b.dot(u, v, dots.flat());
        return to_host(b, dots);
    };
    auto tight = detail::as_tight(b, prior, observed);
    if (tight) {  // what A does not show tells the noise, where y has it
        b.copy(e.cview(), w.view());
        detail::project(b, a, tight->c, w.view());
        b.axpby(-1.0, e.cview(), 1.0, w.view());
        const auto beside = products(w.cview(), w.cview()), all_of_it = products(e.cview(), e.cview());
        if (!(std::accumulate(beside.begin(), beside.end(), 0.0) <=
              1e-8 * std::accumulate(all_of_it.begin(), all_of_it.end(), 0.0)))
            tight.reset();
    }
    double variance = 1;
    for (int round = 0; round < 8; ++round) {
        const detail::scaled_innovation<B, decltype(observed)> m{prior, observed, variance};
        const solver::cg_options how{.max_iterations = 150, .relative_tolerance = 1e-3, .verify = false};
        (void)detail::solve(b, m, tight, r, w.view(), how);
        observed.noise().apply(b, w.cview(), weighted.view());
        const auto quadratic = products(w.cview(), weighted.cview());
        (void)detail::solve(b, m, tight, e, w.view(), how);
        const auto trace = products(e.cview(), w.cview());
        observed.noise().apply(b, w.cview(), weighted.view());
        const auto information = products(w.cview(), weighted.cview());
        double q = 0, t = 0, i = 0, score = 0, spread = 0;
        for (std::size_t k = 0; k < trace.size(); ++k) {
            q += quadratic[k];
            t += trace[k];
            i += information[k];
            score += (quadratic[k] - trace[k]) * (quadratic[k] - trace[k]);
        }
        for (std::size_t k = 0; k < trace.size(); ++k) spread += std::pow(quadratic[k] - q / i * information[k], 2);
        if (!(q > 0 && t > 0 && i > 0 && std::isfinite(q / t))) return found;
        const double ratio = q / t;
        found.factor = std::sqrt(variance);
        found.share = variance * t / reached;
        // log s^2 changes by score / (s^2 information), s by half of it.
        found.error = 0.5 * std::sqrt(score) / (variance * i);
        if (const double bound = std::sqrt(q / i); bound < found.most) {
            found.most = bound;
            found.most_error = 0.5 * std::sqrt(spread) / q;
        }
        if (std::abs(std::log(ratio)) < 0.02 || variance * ratio < 1e-8 || variance * ratio > 1e8) break;
        variance *= ratio;
    }
    return found;
}

}  // namespace diem::prior
