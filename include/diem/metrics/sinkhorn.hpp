// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <concepts>
#include <cstddef>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/backend/concept.hpp>
#include <diem/core/check.hpp>
#include <diem/metrics/detail/sinkhorn_problems.hpp>

/// \file
/// Entropic optimal transport, and the Sinkhorn divergence.
/// \snippet tests/examples/metrics.cpp metrics/sinkhorn.hpp

namespace diem::metrics {

struct sinkhorn_options {
    double regularization = 1e-3;  ///< of the entropy, in units of squared distance
    int iterations = 1024;         ///< at most
    double tolerance = 1e-3;       ///< on || P' 1 - b ||_2
    double relative_tolerance =
        0.25;              ///< on the same, in units of || b ||_2; of m equal weights that is m^-1/2, so that
                           ///< it counts above (0.25 / tolerance)^2 points, where the other means nothing
    int check_every = 10;  ///< iterations between tests of the tolerance, the first after iteration 0
    /// Where more than `regularization`: annealing. An iteration at this one, at `annealing` times it, ... comes before the
    /// iterations counted above, which then begin near their solution: without it a mass that must travel a distance d needs
    /// some d^2 / regularization of them.
    double start_regularization = 0;
    double annealing = 0.7;
};

/// How a problem ended.
enum class transport_status : int {
    converged = 0,       ///< marginal_error below both tolerances
    max_iterations = 1,  ///< all iterations used
    non_finite = 2,      ///< a coordinate is not finite, or too large: the cost is NaN
    bad_weights = 3,     ///< a weight is negative or not finite, or all are zero: the cost is NaN
};

[[nodiscard]] constexpr std::string_view to_string(transport_status s) {
    constexpr std::string_view names[] = {"converged", "max_iterations", "non_finite", "bad_weights"};
    const auto k = static_cast<std::size_t>(s);
    return k < 4 ? names[k] : std::string_view("unknown");
}

struct transport_result {
    double cost = std::numeric_limits<double>::quiet_NaN();  ///< <P, C>
    /// <P, C> + reg KL(P | a b'), by its dual reg (sum_i a_i log(e^f_i / a_i) + sum_j b_j log(e^g_j / b_j)).
    double regularized_cost = std::numeric_limits<double>::quiet_NaN();
    int iterations = 0;         ///< done
    double marginal_error = 0;  ///< || P' 1 - b ||_2 where last tested
    transport_status status = transport_status::max_iterations;

    [[nodiscard]] bool converged() const { return status == transport_status::converged; }
};

namespace detail {

inline void check_transport(std::string_view where, const sinkhorn_options& o) {
    check_positive(where, "regularization", o.regularization);
    check_value(where, o.iterations > 0, "iterations must be > 0");
    check_value(where, o.check_every > 0, "check_every must be > 0");
    check_value(where, o.tolerance >= 0, "tolerance must be >= 0");
    check_value(where, o.relative_tolerance >= 0, "relative_tolerance must be >= 0");
    check_value(where, o.start_regularization >= 0 && std::isfinite(o.start_regularization),
                "start_regularization must be >= 0");
    check_value(where, o.annealing > 0 && o.annealing < 1, "annealing must lie in (0, 1)");
}

/// Sizes of `problems` pairs of clouds.
template <class P>
void check_clouds(std::string_view where, const batch_view<P>& u, const batch_view<P>& v, index_t problems) {
    check_size(where, "v.features()", v.features(), u.features());
    check_value(where, problems > 0, "problems is " + std::to_string(problems) + ", expected > 0");
    const std::string sizes = "u has " + std::to_string(u.items()) + " points, v " + std::to_string(v.items()) +
                              ", of " + std::to_string(u.features()) + " coordinates, expected ";
    check_value(where, u.size() > 0 && v.items() > 0, sizes + "at least one of each");
    if (u.items() % problems != 0 || v.items() % problems != 0)
        throw shape_error(std::string(where) + ": " + sizes + "as many in each of " + std::to_string(problems) +
                          " problems");
}

/// The result of a batch of one, or value_error where it has none.
inline transport_result only(const std::vector<transport_result>& results) {
    const auto status = results.front().status;
    check_value("transport", status != transport_status::non_finite, "coordinates are not finite, or too large");
    check_value("transport", status != transport_status::bad_weights,
                "weights are negative or not finite, or sum to zero");
    return results.front();
}

}  // namespace detail

/// Entropic optimal transport between the items of `u` (dim x n) with weights a and of `v` (dim x m) with weights b, squared
/// distances:
///
///     g_j = log b_j - lse_i(-C_ij / reg + f_i),   f_i = log a_i - lse_j(-C_ij / reg + g_j),   C_ij = |u_i - v_j|^2
///
/// from f = 0, in the log domain, for `problems` such pairs at once: u is dim x (problems n), v dim x (problems m), one
/// problem's points after another's, and so the weights. After iterations 0, check_every, 2 check_every, ... a problem stops
/// where ||P' 1 - b||_2 is below both tolerances; it then changes no more and costs nothing. `cost` is <P, C>, without the
/// entropy; `regularized_cost` has it. Weights may be zero, and need not sum to one; empty: equal.
///
/// C is never stored: memory is linear in n + m. The sums that a test needs are those of the next iteration. `Real` is the
/// type of distances and exponentials: float takes half the time, with a relative error of about 1e-7 max C / reg in each
/// P_ij. A problem's result depends neither on the other problems nor on the number of threads. A problem with coordinates or
/// weights that cannot be used has that as its status; shape_error where sizes do not agree.
/// Source: Cuturi 2013; Peyre, Cuturi, "Computational optimal transport", 4.4.
template <std::floating_point Real = double, Backend B>
[[nodiscard]] std::vector<transport_result> transports(B& backend, const_view_t<B> u,
                                                       const std::vector<double>& a_weights, const_view_t<B> v,
                                                       const std::vector<double>& b_weights, index_t problems,
                                                       const sinkhorn_options& options = {}) {
    detail::check_transport("transport", options);
    detail::check_clouds("transport", u, v, problems);
    const double reg = options.regularization;
    std::vector<transport_result> results(static_cast<std::size_t>(problems),
                                          {.status = transport_status::bad_weights});
    const auto at = [&](int problem) -> transport_result& { return results[static_cast<std::size_t>(problem)]; };
    detail::sinkhorn_problems<Real, B> all(backend, u, a_weights, v, b_weights, problems);
    for (const int p : all.active()) at(p).status = transport_status::max_iterations;
    const std::vector<double> norms = all.column_norms();

    all.anneal(options.start_regularization, options.annealing, reg);
    all.sum_columns(reg);
    for (int k = 0; k < options.iterations && !all.active().empty(); ++k) {
        all.scale_columns();
        all.sum_rows(reg);
        all.scale_rows();
        for (const int p : all.active()) at(p).iterations = k + 1;
        const bool test = k % options.check_every == 0;
        if (test || k + 1 < options.iterations) all.sum_columns(reg);
        if (!test) continue;
        const auto errors = all.marginal_errors();
        std::vector<int> running;
        for (const int p : all.active()) {
            auto& r = at(p);
            r.marginal_error = errors[static_cast<std::size_t>(p)];
            if (r.marginal_error < options.tolerance &&
                r.marginal_error < options.relative_tolerance * norms[static_cast<std::size_t>(p)])
                r.status = transport_status::converged;
            else if (!std::isfinite(r.marginal_error))
                r.status = transport_status::non_finite;
            else
                running.push_back(p);
        }
        all.keep(std::move(running));
    }

    std::vector<int> ended;
    for (int p = 0; p < static_cast<int>(problems); ++p)
        if (at(p).converged() || at(p).status == transport_status::max_iterations) ended.push_back(p);
    all.keep(std::move(ended));
    const auto costs = all.costs(reg), duals = all.duals(reg);
    for (const int p : all.active()) {
        const double cost = costs[static_cast<std::size_t>(p)];
        if (std::isfinite(cost)) {
            at(p).cost = cost;
            at(p).regularized_cost = duals[static_cast<std::size_t>(p)];
        } else {
            at(p).status = transport_status::non_finite;
        }
    }
    return results;
}

/// One problem. value_error where a coordinate is not finite, or the weights cannot be used.
template <std::floating_point Real = double, Backend B>
[[nodiscard]] transport_result transport(B& backend, const_view_t<B> u, const std::vector<double>& a_weights,
                                         const_view_t<B> v, const std::vector<double>& b_weights,
                                         const sinkhorn_options& options = {}) {
    return detail::only(transports<Real>(backend, u, a_weights, v, b_weights, 1, options));
}
/// With equal weights.
template <std::floating_point Real = double, Backend B>
[[nodiscard]] transport_result transport(B& backend, const_view_t<B> u, const_view_t<B> v,
                                         const sinkhorn_options& options = {}) {
    return transport<Real>(backend, u, {}, v, {}, options);
}

/// max(T(a, samples) - T(a, b), 1e-6): how far samples are from the truth, with that of a second, independent draw of the
/// truth taken off. All of dim x any number. The form used by the paper's manifold experiment.
template <std::floating_point Real = double, Backend B>
[[nodiscard]] double divergence(B& backend, const_view_t<B> truth_a, const_view_t<B> truth_b, const_view_t<B> samples,
                                const sinkhorn_options& options = {}) {
    const double difference = transport<Real>(backend, truth_a, samples, options).cost -
                              transport<Real>(backend, truth_a, truth_b, options).cost;
    return difference < 1e-6 ? 1e-6 : difference;
}

namespace detail {
template <std::floating_point Real, Backend B>
std::vector<double> debiased(B& backend, const_view_t<B> u, const std::vector<double>& a, const_view_t<B> v,
                             const std::vector<double>& b, index_t problems, const sinkhorn_options& options,
                             double transport_result::*cost) {
    const auto uv = transports<Real>(backend, u, a, v, b, problems, options),
               uu = transports<Real>(backend, u, a, u, a, problems, options),
               vv = transports<Real>(backend, v, b, v, b, problems, options);
    std::vector<double> out;
    for (std::size_t p = 0; p < uv.size(); ++p) out.push_back(uv[p].*cost - 0.5 * (uu[p].*cost + vv[p].*cost));
    return out;
}
inline double only_finite(const std::vector<double>& values) {
    check_value("symmetric_divergence", std::isfinite(values.front()),
                "coordinates are not finite, or too large, or weights are negative or sum to zero");
    return values.front();
}
}  // namespace detail

/// The Sinkhorn divergence (Feydy et al. 2019): R(u, v) - (R(u, u) + R(v, v)) / 2 of the regularized costs, of weighted points,
/// for each of `problems` pairs as in `transports`. At convergence it is >= 0, and 0 for equal clouds alone. NaN where a
/// transport has no cost.
template <std::floating_point Real = double, Backend B>
[[nodiscard]] std::vector<double> symmetric_divergences(B& backend, const_view_t<B> u, const std::vector<double>& a,
                                                        const_view_t<B> v, const std::vector<double>& b,
                                                        index_t problems, const sinkhorn_options& options = {}) {
    return detail::debiased<Real>(backend, u, a, v, b, problems, options, &transport_result::regularized_cost);
}
/// One pair. value_error where a coordinate is not finite, or the weights cannot be used.
template <std::floating_point Real = double, Backend B>
[[nodiscard]] double symmetric_divergence(B& backend, const_view_t<B> u, const std::vector<double>& a,
                                          const_view_t<B> v, const std::vector<double>& b,
                                          const sinkhorn_options& options = {}) {
    return detail::only_finite(symmetric_divergences<Real>(backend, u, a, v, b, 1, options));
}
/// With equal weights.
template <std::floating_point Real = double, Backend B>
[[nodiscard]] double symmetric_divergence(B& backend, const_view_t<B> u, const_view_t<B> v,
                                          const sinkhorn_options& options = {}) {
    return symmetric_divergence<Real>(backend, u, {}, v, {}, options);
}
/// The same difference of the costs <P, C>, without entropies, equal weights. Nothing says that it is >= 0.
template <std::floating_point Real = double, Backend B>
[[nodiscard]] double debiased_cost(B& backend, const_view_t<B> u, const_view_t<B> v,
                                   const sinkhorn_options& options = {}) {
    return detail::only_finite(detail::debiased<Real>(backend, u, {}, v, {}, 1, options, &transport_result::cost));
}

}  // namespace diem::metrics
