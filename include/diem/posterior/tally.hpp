// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>

#include <diem/backend/batch.hpp>
#include <diem/backend/team.hpp>
#include <diem/solver/status.hpp>

/// \file
/// How many solves ended how.
/// \snippet tests/examples/posterior.cpp posterior/tally.hpp

namespace diem::posterior {

/// Totals over many batched solves.
struct solver_counts {
    std::array<double, solver::solver_statuses> status{};  ///< solves of an item per `solver::solver_status`
    double solves = 0;                                     ///< of single items
    double updates = 0;                                    ///< of all of them together

    /// Share of the solves that ended with this status.
    [[nodiscard]] double share(solver::solver_status s) const {
        return solves > 0 ? status[static_cast<std::size_t>(s)] / solves : 0;
    }
    [[nodiscard]] double mean_updates() const { return solves > 0 ? updates / solves : 0; }
};

namespace detail {
struct add_solves {
    index_t items;
    template <class Team>
    DIEM_HOST_DEVICE void operator()(index_t, const Team& team, const int* status, const int* updates,
                                     double* total) const {
        double sums[solver::solver_statuses + 2] = {};
        for (index_t i = team.first(); i < items; i += team.step()) {
            sums[status[i]] += 1;
            sums[solver::solver_statuses] += updates[i];
            sums[solver::solver_statuses + 1] += 1;
        }
        for (std::size_t k = 0; k < solver::solver_statuses + 2; ++k) {
            const double sum = team.sum(sums[k]);
            if (team.first() == 0) total[k] += sum;
        }
    }
};
}  // namespace detail

/// Sums statuses and iterations in the backend's memory: only reading them waits.
template <Backend B>
class solver_tally {
public:
    explicit solver_tally(B& b) : totals_(b, solver::solver_statuses + 2, 1) { reset(b); }

    void reset(B& b) { b.fill(totals_.view(), 0.0); }
    void add(B& b, const solver::solver_result<B>& result) {
        launch_rows(b, 1, result.items(), result.items(), detail::add_solves{result.items()}, result.status().data(),
                    result.updates().data(), totals_.view().data());
    }
    [[nodiscard]] solver_counts read(B& b) const {
        const auto t = to_host(b, totals_);
        solver_counts out{.solves = t[solver::solver_statuses + 1], .updates = t[solver::solver_statuses]};
        std::copy_n(t.begin(), solver::solver_statuses, out.status.begin());
        return out;
    }

private:
    batch<B, double> totals_;
};

}  // namespace diem::posterior
