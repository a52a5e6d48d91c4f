// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstddef>
#include <limits>
#include <numeric>
#include <utility>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/backend/concept.hpp>
#include <diem/backend/team.hpp>
#include <diem/core/check.hpp>
#include <diem/metrics/detail/sinkhorn_kernel.hpp>

namespace diem::metrics::detail {

/// One side of all problems: points stored one coordinate after another, with their log weights, log scaling and the
/// log-sum-exp it comes from.
template <class Real, Backend B>
struct clouds {
    index_t count;  ///< points of a problem
    batch<B, Real> points, scaling;
    batch<B, double> lse, log_weight;
    std::vector<bool> good;  ///< whether a problem has weights that can be used

    /// `weights` (one per point, > 0 or 0, any sum) may be empty: equal ones.
    clouds(B& backend, const_view_t<B> x, const std::vector<double>& weights, index_t problems)
        : count(x.items() / problems), points(backend, padded(count), x.features() * problems),
          scaling(backend, padded(count), problems), lse(backend, count, problems),
          log_weight(backend, count, problems), good(static_cast<std::size_t>(problems), true) {
        using T = scalar_t<B>;
        const auto dim = static_cast<int>(x.features());
        backend.launch(padded(count) * problems, dim, by_coordinate<Real, T>{count, x.stride(), dim}, x.data(),
                       points.view().data());
        backend.fill(scaling.view(), log_of_nothing<Real>);
        backend.fill(scaling.view().feature_range(0, count), Real(0));
        backend.fill(lse.view(), std::numeric_limits<double>::quiet_NaN());
        if (weights.empty())
            backend.fill(log_weight.view(), -std::log(static_cast<double>(count)));
        else
            set_weights(backend, weights);
    }
    [[nodiscard]] index_t dim() const { return points.items() / log_weight.items(); }

private:
    void set_weights(B& backend, const std::vector<double>& weights) {
        const index_t problems = log_weight.items();
        check_size("transport", "weights", static_cast<index_t>(weights.size()), count * problems);
        std::vector<double> logs;
        std::vector<Real> start;  // a point of weight zero is never there
        for (std::size_t p = 0; p < good.size(); ++p) {
            const auto first = weights.begin() + static_cast<std::ptrdiff_t>(p) * count, last = first + count;
            double sum = 0;
            for (auto w = first; w != last; ++w) {
                if (!(*w >= 0)) good[p] = false;
                sum += *w;
            }
            if (!(sum > 0 && std::isfinite(sum))) good[p] = false;
            for (auto w = first; w != last; ++w) {
                logs.push_back(*w > 0 ? std::log(*w / sum) : double(log_of_nothing<Real>));
                start.push_back(*w > 0 ? Real(0) : log_of_nothing<Real>);
            }
        }
        backend.upload(host_view<const double>(logs.data(), count, problems), log_weight.view());
        backend.upload(host_view<const Real>(start.data(), count, problems), scaling.view().feature_range(0, count));
    }
};

/// Transport problems of equal sizes, and the steps of Sinkhorn's iteration on those of them that are active. A step is one
/// launch over all of these; what it does to a problem does not depend on the others.
template <class Real, Backend B>
class sinkhorn_problems {
public:
    /// Problem p has items p n .. (p + 1) n - 1 of u and p m .. (p + 1) m - 1 of v; active are those with good weights.
    sinkhorn_problems(B& backend, const_view_t<B> u, const std::vector<double>& a_weights, const_view_t<B> v,
                      const std::vector<double>& b_weights, index_t problems)
        : backend_(backend), a_(backend, u, a_weights, problems), b_(backend, v, b_weights, problems),
          errors_(backend, 1, problems), active_on_backend_(backend, problems, 1) {
        std::vector<int> good;
        for (std::size_t p = 0; p < a_.good.size(); ++p)
            if (a_.good[p] && b_.good[p]) good.push_back(static_cast<int>(p));
        keep(std::move(good));
    }

    [[nodiscard]] const std::vector<int>& active() const { return active_; }
    /// Goes on with these problems alone.
    void keep(std::vector<int> problems) {
        if (problems == active_) return;
        active_ = std::move(problems);
        if (active_.empty()) return;
        const auto count = static_cast<index_t>(active_.size());
        backend_.upload(host_view<const int>(active_.data(), count, 1),
                        active_on_backend_.view().feature_range(0, count));
    }

    void sum_rows(double reg) { update_lse(b_, a_, reg); }
    void sum_columns(double reg) { update_lse(a_, b_, reg); }
    void scale_rows() { update_scaling(a_); }
    void scale_columns() { update_scaling(b_); }

    /// One iteration at each regularisation start, factor start, ... above `end`; then the scaling of rows is that of the
    /// same potential at `end`.
    void anneal(double start, double factor, double end) {
        double before = 0;
        for (double reg = start; reg > end; reg *= factor) {
            if (before > 0) rescale(before / reg);
            sum_columns(reg);
            scale_columns();
            sum_rows(reg);
            scale_rows();
            before = reg;
        }
        if (before > 0) rescale(before / end);
    }
    /// ||P' 1 - b||_2 of each problem, where the columns have been summed since they were scaled; of others anything.
    [[nodiscard]] std::vector<double> marginal_errors() {
        launch_rows(backend_, static_cast<index_t>(active_.size()), b_.count, 20 * b_.count,
                    marginal_error<Real>{b_.count}, active_on_backend_.cview().data(), b_.log_weight.cview().data(),
                    b_.lse.cview().data(), b_.scaling.cview().data(), errors_.view().data());
        return to_host(backend_, errors_);
    }
    /// || b ||_2 of each problem.
    [[nodiscard]] std::vector<double> column_norms() {
        std::vector<double> out;
        const auto logs = to_host(backend_, b_.log_weight);
        for (auto first = logs.begin(); first != logs.end(); first += b_.count) {
            double sum = 0;
            for (auto w = first; w != first + b_.count; ++w) sum += std::exp(2 * *w);
            out.push_back(std::sqrt(sum));
        }
        return out;
    }
    /// reg (sum_i a_i (f_i - log a_i) + sum_j b_j (g_j - log b_j)) of each problem: the dual of <P, C> + reg KL(P | a b'), where
    /// the rows of P sum to a; of others anything.
    [[nodiscard]] std::vector<double> duals(double reg) {
        std::vector<double> out(static_cast<std::size_t>(errors_.items()), 0.0);
        for (const cloud* c : {&a_, &b_}) {
            const auto logs = to_host(backend_, c->log_weight);
            const auto scaling = to_host(backend_, c->scaling.view().feature_range(0, c->count));
            for (std::size_t p = 0; p < out.size(); ++p)
                for (std::size_t k = p * static_cast<std::size_t>(c->count);
                     k < (p + 1) * static_cast<std::size_t>(c->count); ++k)
                    if (const double weight = std::exp(logs[k]); weight > 0)
                        out[p] += reg * weight * (static_cast<double>(scaling[k]) - logs[k]);
        }
        return out;
    }
    /// <P, C> of each problem; of others anything.
    [[nodiscard]] std::vector<double> costs(double reg) {
        const auto size = sizes_of(a_, b_, reg);
        batch<B, double> parts(backend_, size.tiles(), errors_.items());
        launch(size.tiles(), cost_of(size), transport_cost<Real>{size}, a_.points.cview().data(),
               b_.points.cview().data(), a_.scaling.cview().data(), b_.scaling.cview().data(), parts.view().data());
        const auto values = to_host(backend_, parts);
        std::vector<double> sums;
        for (auto first = values.begin(); first != values.end(); first += size.tiles())
            sums.push_back(std::accumulate(first, first + size.tiles(), 0.0));
        return sums;
    }

private:
    using cloud = clouds<Real, B>;

    /// f(problem, i, pointers...) for i = 0 .. count - 1 of every active problem.
    template <class F, class... Pointers>
    void launch(index_t count, index_t cost, const F& f, Pointers... pointers) {
        backend_.launch(count * static_cast<index_t>(active_.size()), cost, of_active<F>{f, count},
                        active_on_backend_.cview().data(), pointers...);
    }
    static sinkhorn_sizes<Real> sizes_of(const cloud& over, const cloud& of, double reg) {
        return {padded(over.count), of.count, padded(of.count), static_cast<int>(of.dim()), static_cast<Real>(1 / reg)};
    }
    static index_t cost_of(const sinkhorn_sizes<Real>& size) { return sinkhorn_tile * size.n_padded * (size.dim + 8); }
    /// of.lse[j] = log sum_i exp(over.scaling[i] - |over_i - of_j|^2 / reg).
    void update_lse(const cloud& over, cloud& of, double reg) {
        const auto size = sizes_of(over, of, reg);
        launch(size.tiles(), cost_of(size), log_sum_exp<Real>{size}, over.points.cview().data(),
               of.points.cview().data(), over.scaling.cview().data(), of.lse.view().data());
    }
    void update_scaling(cloud& c) {
        launch(c.count, 1, update_potential<Real>{c.count}, c.log_weight.cview().data(), c.lse.cview().data(),
               c.scaling.view().data());
    }
    /// The scaling f becomes factor f: the same potential reg f at another regularisation. What fills the last block stays.
    void rescale(double factor) {
        for (cloud* c : {&a_, &b_})
            launch(c->count, 1, rescale_potential<Real>{c->count, factor}, c->log_weight.cview().data(),
                   c->lse.view().data(), c->scaling.view().data());
    }

    B& backend_;
    cloud a_, b_;
    batch<B, double> errors_;
    batch<B, int> active_on_backend_;
    std::vector<int> active_;
};

}  // namespace diem::metrics::detail
