// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>

#include <diem/solver/status.hpp>

namespace diem::solver::detail {

/// One item of an iteration: its residual, the best one so far, its status. The copy of the best iterate is made lazily:
/// only when an update makes the residual larger.
struct tracked_residual {
    double rr = 0;       ///< ||r||^2 of the current iterate
    double limit = 0;    ///< converged when rr <= limit
    double best_rr = 0;  ///< least rr so far
    int status = running;
    int updates = 0;
    int best_is_current = 1;  ///< else the best iterate is in the copy

    /// From ||b||^2 and the residual of the start. False: x must be set to zero.
    DIEM_HOST_DEVICE bool begin(double bb, double rr0, double rtol, double atol) {
        const bool from_zero = !finite(bb) || !finite(rr0) || bb == 0;
        rr = from_zero ? bb : rr0;
        best_rr = rr;
        limit = rtol * rtol * bb > atol * atol ? rtol * rtol * bb : atol * atol;
        if (!finite(bb) || !finite(rr0))
            status = non_finite;
        else if (rr <= limit)
            status = converged;
        return !from_zero;
    }
    /// Takes the residual of an update about to be made; true: first save the current iterate as the best.
    DIEM_HOST_DEVICE bool accept(double rr_new) {
        bool save = false;
        if (rr_new < best_rr) {
            best_rr = rr_new;
            best_is_current = 1;
        } else {
            save = best_is_current != 0;
            best_is_current = 0;
        }
        rr = rr_new;
        ++updates;
        if (rr <= limit) status = converged;
        return save;
    }
    /// After the loop; true: the best iterate is to be returned, and it is in the copy. `always_best`: also where all
    /// iterations were used.
    DIEM_HOST_DEVICE bool finish(bool always_best) {
        if (status == running) status = max_iterations;
        const bool best = status == breakdown || status == non_finite || (always_best && status == max_iterations);
        if (best) rr = best_rr;
        return best && best_is_current == 0;
    }
};

/// Ends a solve: status, updates, norms, the rest of the history (`written` entries are there), and the coefficients of
/// x = restore best + keep x.
struct finish_items {
    index_t recorded, written;
    bool always_best;
    template <class Item>
    DIEM_HOST_DEVICE void operator()(index_t i, Item* items, int* status, int* updates, double* residual_norm,
                                     double* restore, double* keep, double* history) const {
        Item& item = items[i];
        const double last = recorded > 0 ? history[i * recorded + written - 1] : 0;
        for (index_t k = written; k < recorded; ++k) history[i * recorded + k] = last;
        const bool from_copy = item.finish(always_best);
        restore[i] = from_copy ? 1 : 0;
        keep[i] = from_copy ? 0 : 1;
        status[i] = item.status;
        updates[i] = item.updates;
        residual_norm[i] = std::sqrt(item.rr);
    }
};

}  // namespace diem::solver::detail
