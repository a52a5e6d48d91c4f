// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/backend/team.hpp>
#include <diem/core/check.hpp>

/// \file
/// What batched solvers of M_i x_i = b_i share: options, and one status per item.
/// \snippet tests/examples/solver.cpp solver/status.hpp

namespace diem::solver {

/// How an item ended. An item that has stopped changes no more and never affects another one.
enum class solver_status : int {
    converged = 0,       ///< ||r|| <= max(relative_tolerance ||b||, absolute_tolerance)
    max_iterations = 1,  ///< all iterations used
    breakdown = 2,       ///< the method cannot go on: for cg p'Mp <= 0, M is not positive definite
    non_finite = 3,      ///< infinity or NaN in the right side, the matrix or the start
    stagnated = 4,  ///< converged by the recursion, while the true ||b - M x|| is above `stagnation_factor` times the
                    ///< tolerance: rounding does not let M x = b be solved so far
};
inline constexpr std::size_t solver_statuses = 5;
inline constexpr double stagnation_factor = 10;

[[nodiscard]] constexpr std::string_view to_string(solver_status s) {
    constexpr std::string_view names[] = {"converged", "max_iterations", "breakdown", "non_finite", "stagnated"};
    const auto k = static_cast<std::size_t>(s);
    return k < solver_statuses ? names[k] : std::string_view("unknown");
}

/// Options of `cg`, `gmres`, `fom` and `bicgstab`. Tolerances are on the 2-norm of the recursive residual, per item.
struct solver_options {
    index_t max_iterations = 100;  ///< products at most, >= 0 (bicgstab: two per iteration)
    /// Of ||b||. 0: stop only when exact, or by the absolute one; a residual that goes on to fall becomes subnormal, and
    /// products of such numbers took forty times as long.
    double relative_tolerance = 1e-5;
    double absolute_tolerance = 0;  ///< in units of b
    bool use_start_vector = false;  ///< x holds the start; it costs one product, the zero start none
    bool record_history = false;    ///< keep ||r|| after each iteration
    /// With a relative tolerance and after at least one iteration: one more product, for the true residual. It is reported
    /// and may turn `converged` into `stagnated`.
    bool verify = true;
    index_t check_every =
        1;  ///< stop when all items have, asked every so many iterations (each waits for the device); 0: never
};

/// Everything about a solve, on the host.
struct solver_report {
    std::vector<solver_status> status;
    std::vector<int> updates;                 ///< iterations that changed the item's iterate
    std::vector<double> residual_norms;       ///< ||r|| of the x returned, by the recursion
    std::vector<double> true_residual_norms;  ///< ||b - M x|| of it where it was measured (`verify`), else NaN
    std::vector<double> history;  ///< (max_iterations + 1) x items, if recorded: entry k of item i at i (max + 1) + k;
                                  ///< an item that has stopped repeats its last value
    std::array<index_t, solver_statuses> counts{};  ///< items per status
    index_t products = 0;                           ///< batched products with M
    int least_updates = 0, most_updates = 0;
    double mean_updates = 0;
    double worst_residual_norm = 0;  ///< NaN if any is

    [[nodiscard]] index_t count(solver_status s) const { return counts[static_cast<std::size_t>(s)]; }
    [[nodiscard]] bool all(solver_status s) const { return count(s) == static_cast<index_t>(status.size()); }
};

/// Result of a batched solve, in the backend's memory: reading it is what waits for the device.
template <Backend B>
class solver_result {
public:
    solver_result() = default;
    solver_result(B& b, index_t items, index_t recorded)
        : status_(b, items, 1), updates_(b, items, 1), residual_norms_(b, items, 1), true_residual_norms_(b, items, 1),
          history_(b, recorded, items) {}

    /// One per item, values of `solver_status`.
    [[nodiscard]] vector_t<B, int> status() { return status_.flat(); }
    [[nodiscard]] vector_t<B, int> updates() { return updates_.flat(); }
    [[nodiscard]] vector_t<B, double> residual_norms() { return residual_norms_.flat(); }
    [[nodiscard]] const_vector_t<B, int> status() const { return status_.flat(); }
    [[nodiscard]] const_vector_t<B, int> updates() const { return updates_.flat(); }
    [[nodiscard]] const_vector_t<B, double> residual_norms() const { return residual_norms_.flat(); }
    [[nodiscard]] vector_t<B, double> true_residual_norms() { return true_residual_norms_.flat(); }
    [[nodiscard]] const_vector_t<B, double> true_residual_norms() const { return true_residual_norms_.flat(); }
    /// (max_iterations + 1) x items, or 0 x items.
    [[nodiscard]] view_t<B, double> history() { return history_.view(); }
    [[nodiscard]] const_view_t<B, double> history() const { return history_.view(); }
    [[nodiscard]] index_t items() const { return status_.features(); }
    /// Batched products with M that were made.
    [[nodiscard]] index_t products() const { return products_; }
    void set_products(index_t n) { products_ = n; }

    [[nodiscard]] solver_report to_host(B& backend) const {
        solver_report report;
        report.products = products_;
        report.updates = diem::to_host(backend, updates());
        report.residual_norms = diem::to_host(backend, residual_norms());
        report.true_residual_norms = diem::to_host(backend, true_residual_norms());
        report.history = diem::to_host(backend, history());
        for (const int code : diem::to_host(backend, status())) {
            report.status.push_back(static_cast<solver_status>(code));
            ++report.counts[static_cast<std::size_t>(code)];
        }
        if (report.updates.empty()) return report;
        const auto [low, high] = std::minmax_element(report.updates.begin(), report.updates.end());
        report.least_updates = *low;
        report.most_updates = *high;
        for (const int n : report.updates) report.mean_updates += n;
        report.mean_updates /= static_cast<double>(report.updates.size());
        for (const double norm : report.residual_norms)
            if (std::isnan(norm) || norm > report.worst_residual_norm) report.worst_residual_norm = norm;
        return report;
    }

private:
    batch<B, int> status_, updates_;
    batch<B, double> residual_norms_, true_residual_norms_, history_;
    index_t products_ = 0;
};

namespace detail {
/// Status of an item that goes on.
inline constexpr int running = -1;
inline constexpr int converged = static_cast<int>(solver_status::converged);
inline constexpr int max_iterations = static_cast<int>(solver_status::max_iterations);
inline constexpr int breakdown = static_cast<int>(solver_status::breakdown);
inline constexpr int non_finite = static_cast<int>(solver_status::non_finite);
inline constexpr int stagnated = static_cast<int>(solver_status::stagnated);

[[nodiscard]] DIEM_HOST_DEVICE inline bool finite(double v) { return v - v == 0; }

inline void check_options(std::string_view where, const solver_options& o) {
    check_value(where, o.max_iterations >= 0, "max_iterations is negative");
    check_value(where, o.relative_tolerance >= 0 && std::isfinite(o.relative_tolerance),
                "relative_tolerance must be finite and >= 0");
    check_value(where, o.absolute_tolerance >= 0 && std::isfinite(o.absolute_tolerance),
                "absolute_tolerance must be finite and >= 0");
    check_value(where, o.check_every >= 0, "check_every is negative");
}

/// Shapes of M x = b: M square, of the size of b, made for as many items.
template <class A, class Pb, class Px>
void check_system(std::string_view where, const A& a, const batch_view<Pb>& rhs, const batch_view<Px>& x) {
    check_size(where, "operator.rows()", a.rows(), rhs.features());
    check_size(where, "operator.cols()", a.cols(), rhs.features());
    if (a.items() >= 0) check_size(where, "operator.items()", a.items(), rhs.items());
    check_shape(where, "x", x, rhs.features(), rhs.items());
}

/// No preconditioner, at no cost.
struct no_preconditioner {};
template <class P>
inline constexpr bool preconditions = !std::is_same_v<P, no_preconditioner>;
template <class P>
void check_preconditioner(std::string_view where, const P& p, index_t size, index_t items) {
    if constexpr (preconditions<P>) {
        check_size(where, "preconditioner.rows()", p.rows(), size);
        check_size(where, "preconditioner.cols()", p.cols(), size);
        if (p.items() >= 0) check_size(where, "preconditioner.items()", p.items(), items);
    }
}

/// Counts the items that go on; `Item` has a member `status`.
struct count_running {
    index_t items;
    template <class Team, class Item>
    DIEM_HOST_DEVICE void operator()(index_t, const Team& team, const Item* item, int* count) const {
        int n = 0;
        for (index_t i = team.first(); i < items; i += team.step()) n += item[i].status == running ? 1 : 0;
        n = team.sum(n);
        if (team.first() == 0) *count = n;
    }
};

/// Whether any item goes on. Waits for the device.
template <Backend B, class Item>
[[nodiscard]] bool any_running(B& b, typename B::template pointer<const Item> items, index_t count,
                               vector_t<B, int> flag) {
    launch_rows(b, 1, count, count, count_running{count}, items, flag.data());
    int n = 0;
    b.download(const_view_t<B, int>(as_batch(flag)), host_view<int>(&n, 1, 1));
    return n != 0;
}
}  // namespace detail

}  // namespace diem::solver
