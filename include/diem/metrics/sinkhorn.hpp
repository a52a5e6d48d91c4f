// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <concepts>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/backend/concept.hpp>
#include <diem/core/check.hpp>
#include <diem/metrics/detail/sinkhorn_kernel.hpp>

namespace diem::metrics {

struct sinkhorn_options {
    double regularization = 1e-3;  ///< of the entropy, in units of squared distance
    int iterations = 1024;         ///< at most
    double tolerance = 1e-3;       ///< on || P' 1 - 1/m ||_2
    int check_every = 10;          ///< iterations between tests of the tolerance, the first after iteration 0
    /// Where more than `regularization`: annealing. An iteration at this one, at `annealing` times it, ... comes before the
    /// iterations counted above, which then begin near their solution: without it a mass that must travel a distance d needs
    /// some d^2 / regularization of them.
    double start_regularization = 0;
    double annealing = 0.7;
};

struct transport_result {
    double cost = 0;            ///< <P, C>
    int iterations = 0;         ///< done
    double marginal_error = 0;  ///< || P' 1 - 1/m ||_2 where last tested
    bool converged = false;     ///< marginal_error < tolerance
};

namespace detail {

/// Points stored one coordinate after another, with their log weights, log scaling and the log-sum-exp it comes from.
template <class Real, Backend B>
struct cloud {
    batch<B, Real> points, scaling;
    batch<B, double> lse, log_weight;
    index_t count;

    /// `weights` (one per point, > 0 or 0, any sum) may be empty: equal ones.
    cloud(B& backend, const_view_t<B> x, const std::vector<double>& weights)
        : points(backend, padded(x.items()), x.features()), scaling(backend, padded(x.items()), 1),
          lse(backend, x.items(), 1), log_weight(backend, x.items(), 1), count(x.items()) {
        using T = scalar_t<B>;
        const auto dim = static_cast<int>(x.features());
        backend.launch(padded(count), dim, by_coordinate<Real, T>{count, padded(count), x.stride(), dim}, x.data(),
                       points.view().data());
        backend.fill(scaling.view(), log_of_nothing<Real>);
        backend.fill(scaling.view().feature_range(0, count), Real(0));
        backend.fill(lse.view(), std::numeric_limits<double>::quiet_NaN());
        if (weights.empty())
            backend.fill(log_weight.view(), -std::log(static_cast<double>(count)));
        else
            set_weights(backend, weights);
    }
    void update_scaling(B& backend) {
        backend.launch(count, 1, update_potential<Real>{}, log_weight.cview().data(), lse.cview().data(),
                       scaling.view().data());
    }
    /// The scaling f becomes factor f: the same potential reg f at another regularisation. What fills the last block stays.
    void rescale(B& backend, double factor) {
        backend.launch(count, 1, rescale_potential<Real>{factor}, log_weight.cview().data(), lse.view().data(),
                       scaling.view().data());
    }

private:
    void set_weights(B& backend, const std::vector<double>& weights) {
        check_size("transport", "weights", static_cast<index_t>(weights.size()), count);
        double sum = 0;
        for (const double w : weights) {
            check_value("transport", w >= 0 && std::isfinite(w), "a weight is negative or not finite");
            sum += w;
        }
        check_value("transport", sum > 0 && std::isfinite(sum), "the weights sum to zero, or to no finite number");
        std::vector<double> logs;
        std::vector<Real> start;  // a point of weight zero is never there
        for (const double w : weights) {
            logs.push_back(w > 0 ? std::log(w / sum) : double(log_of_nothing<Real>));
            start.push_back(w > 0 ? Real(0) : log_of_nothing<Real>);
        }
        backend.upload(host_view<const double>(logs.data(), count, 1), log_weight.view());
        backend.upload(host_view<const Real>(start.data(), count, 1), scaling.view().feature_range(0, count));
    }
};

/// of.lse[j] = log sum_i exp(over.scaling[i] - |over_i - of_j|^2 / reg).
template <class Real, Backend B>
sinkhorn_sizes<Real> sizes_of(const cloud<Real, B>& over, const cloud<Real, B>& of, double reg) {
    return {padded(over.count), of.count, padded(of.count), static_cast<int>(of.points.items()),
            static_cast<Real>(1 / reg)};
}
template <class Real, Backend B>
void update_lse(B& backend, const cloud<Real, B>& over, cloud<Real, B>& of, double reg) {
    const auto size = sizes_of(over, of, reg);
    backend.launch(size.tiles(), sinkhorn_tile * size.n_padded * (size.dim + 8), log_sum_exp<Real>{size},
                   over.points.view().data(), of.points.cview().data(), over.scaling.view().data(),
                   of.lse.view().data());
}

/// || exp(g + lse) - b ||_2: exp(g_j + lse_j) is column j's sum of the plan.
template <class Real, Backend B>
double marginal_error(B& backend, const cloud<Real, B>& v) {
    const auto lse = to_host(backend, v.lse);
    const auto g = to_host(backend, v.scaling);
    const auto log_weight = to_host(backend, v.log_weight);
    double sum = 0;
    for (std::size_t j = 0; j < lse.size(); ++j) {
        const double delta = std::exp(static_cast<double>(g[j]) + lse[j]) - std::exp(log_weight[j]);
        sum += delta * delta;
    }
    return std::sqrt(sum);
}

/// One iteration at each regularisation from the start's down to the last one above `regularization`; leaves a's potential.
template <class Real, Backend B>
void anneal(B& backend, cloud<Real, B>& a, cloud<Real, B>& b, const sinkhorn_options& o) {
    double before = 0;
    for (double reg = o.start_regularization; reg > o.regularization; reg *= o.annealing) {
        if (before > 0) {
            a.rescale(backend, before / reg);
            b.rescale(backend, before / reg);
        }
        update_lse(backend, a, b, reg);
        b.update_scaling(backend);
        update_lse(backend, b, a, reg);
        a.update_scaling(backend);
        before = reg;
    }
    if (before > 0) {
        a.rescale(backend, before / o.regularization);
        b.rescale(backend, before / o.regularization);
    }
}

inline void check_transport(std::string_view where, const sinkhorn_options& o) {
    check_positive(where, "regularization", o.regularization);
    check_value(where, o.iterations > 0, "iterations must be > 0");
    check_value(where, o.check_every > 0, "check_every must be > 0");
    check_value(where, o.tolerance >= 0, "tolerance must be >= 0");
    check_value(where, o.start_regularization >= 0 && std::isfinite(o.start_regularization),
                "start_regularization must be >= 0");
    check_value(where, o.annealing > 0 && o.annealing < 1, "annealing must lie in (0, 1)");
}

}  // namespace detail

/// Entropic optimal transport between the items of `u` (dim x n) with weights a and of `v` (dim x m) with weights b, squared
/// distances:
///
///     g_j = log b_j - lse_i(-C_ij / reg + f_i),   f_i = log a_i - lse_j(-C_ij / reg + g_j),   C_ij = |u_i - v_j|^2
///
/// from f = 0, in the log domain. After iterations 0, check_every, 2 check_every, ... it stops where ||P' 1 - b||_2 <
/// tolerance. `cost` is <P, C>; the entropy is not part of it. Weights may be zero, and need not sum to one; empty: equal.
///
/// C is never stored: memory is linear in n + m. The sums that a test needs are those of the next iteration. `Real` is the
/// type of distances and exponentials: float takes half the time, with a relative error of about 1e-7 max C / reg in each
/// P_ij. The result does not depend on the number of threads. value_error where a coordinate is not finite.
/// Source: Cuturi 2013; Peyre, Cuturi, "Computational optimal transport", 4.4.
template <std::floating_point Real = double, Backend B>
[[nodiscard]] transport_result transport(B& backend, const_view_t<B> u, const std::vector<double>& a_weights,
                                         const_view_t<B> v, const std::vector<double>& b_weights,
                                         const sinkhorn_options& options = {}) {
    detail::check_transport("transport", options);
    check_size("transport", "v.features()", v.features(), u.features());
    check_value("transport", u.size() > 0 && v.items() > 0,
                "u has " + std::to_string(u.items()) + " points, v " + std::to_string(v.items()) + ", of " +
                    std::to_string(u.features()) + " coordinates, expected at least one of each");
    const double reg = options.regularization;
    detail::cloud<Real, B> a(backend, u, a_weights), b(backend, v, b_weights);
    detail::anneal<Real>(backend, a, b, options);
    detail::update_lse(backend, a, b, reg);
    transport_result result;
    for (int k = 0; k < options.iterations && !result.converged; ++k) {
        b.update_scaling(backend);
        detail::update_lse(backend, b, a, reg);
        a.update_scaling(backend);
        result.iterations = k + 1;
        const bool test = k % options.check_every == 0;
        if (test || k + 1 < options.iterations) detail::update_lse(backend, a, b, reg);
        if (!test) continue;
        result.marginal_error = detail::marginal_error(backend, b);
        check_value("transport", std::isfinite(result.marginal_error), "coordinates are not finite, or too large");
        result.converged = result.marginal_error < options.tolerance;
    }
    const auto size = detail::sizes_of(a, b, reg);
    batch<B, double> parts(backend, size.tiles(), 1);
    backend.launch(size.tiles(), detail::sinkhorn_tile * size.n_padded * (size.dim + 8),
                   detail::transport_cost<Real>{size}, a.points.cview().data(), b.points.cview().data(),
                   a.scaling.cview().data(), b.scaling.cview().data(), parts.view().data());
    for (const double part : to_host(backend, parts)) result.cost += part;
    return result;
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

/// T(u, v) - (T(u, u) + T(v, v)) / 2, the usual debiased form (Feydy et al. 2019), of weighted points.
template <std::floating_point Real = double, Backend B>
[[nodiscard]] double symmetric_divergence(B& backend, const_view_t<B> u, const std::vector<double>& a,
                                          const_view_t<B> v, const std::vector<double>& b,
                                          const sinkhorn_options& options = {}) {
    return transport<Real>(backend, u, a, v, b, options).cost -
           0.5 * (transport<Real>(backend, u, a, u, a, options).cost +
                  transport<Real>(backend, v, b, v, b, options).cost);
}
/// With equal weights.
template <std::floating_point Real = double, Backend B>
[[nodiscard]] double symmetric_divergence(B& backend, const_view_t<B> u, const_view_t<B> v,
                                          const sinkhorn_options& options = {}) {
    return symmetric_divergence<Real>(backend, u, {}, v, {}, options);
}

}  // namespace diem::metrics
