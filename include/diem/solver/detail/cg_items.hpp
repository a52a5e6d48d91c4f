// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>

#include <diem/solver/detail/curvature.hpp>
#include <diem/solver/detail/tracked_residual.hpp>

/// \file
/// The scalar side of conjugate gradient, one item at a time.

namespace diem::solver::detail {

struct cg_item : tracked_residual {
    double rz = 0;  ///< r'z, z = P r
    double alpha = 0;

    /// Before the first product. False: x must be set to zero.
    DIEM_HOST_DEVICE bool start(double bb, double rr0, double rz0, double rtol, double atol) {
        const bool keep = begin(bb, rr0, rtol, atol);
        rz = rz0;
        if (status == running) check_preconditioner();
        return keep;
    }
    /// From the curvature p'Mp and the least it may be; alpha is 0 where no update is made.
    DIEM_HOST_DEVICE void step(const curvature_rule& rule, double curvature, const double* floor) {
        alpha = 0;
        if (status != running) return;
        if (!finite(curvature))
            status = non_finite;
        else if (!rule.allows(curvature, floor))
            status = breakdown;
        else
            alpha = rz / curvature;
    }
    /// From the new residual; returns beta, and whether the current iterate must be saved as the best before it changes.
    DIEM_HOST_DEVICE double turn(double rr_new, double rz_new, bool& save) {
        save = false;
        if (status != running) return 0;
        if (!finite(rr_new)) {
            status = non_finite;
            alpha = 0;
            return 0;
        }
        const double beta = rz_new / rz;
        save = accept(rr_new);
        rz = rz_new;
        if (status == running) check_preconditioner();
        return beta;
    }

private:
    DIEM_HOST_DEVICE void check_preconditioner() {
        if (!finite(rz))
            status = non_finite;
        else if (rz <= 0)
            status = breakdown;
    }
};

/// bb, rr, rz per item to the states; `keep` 0 where the start is replaced by zero.
struct cg_start {
    double rtol, atol;
    index_t recorded;
    DIEM_HOST_DEVICE void operator()(index_t i, cg_item* items, const double* bb, const double* rr, const double* rz,
                                     double* keep, double* history) const {
        cg_item item;
        keep[i] = item.start(bb[i], rr[i], rz[i], rtol, atol) ? 1 : 0;
        items[i] = item;
        if (recorded > 0) history[i * recorded] = std::sqrt(item.rr);
    }
};

struct cg_step {
    curvature_rule rule;
    DIEM_HOST_DEVICE void operator()(index_t i, cg_item* items, const double* curvature, const double* floor,
                                     double* minus_alpha) const {
        items[i].step(rule, curvature[i], floor + i);
        minus_alpha[i] = -items[i].alpha;
    }
};

/// Coefficients of best = save x + (1 - save) best, x += alpha p, p = fresh z + beta p (stopped: p = p).
struct cg_turn {
    index_t recorded, k;
    DIEM_HOST_DEVICE void operator()(index_t i, cg_item* items, const double* rr, const double* rz, double* save,
                                     double* unsave, double* alpha, double* fresh, double* beta,
                                     double* history) const {
        cg_item& item = items[i];
        bool saved = false;
        const double b = item.turn(rr[i], rz[i], saved);
        save[i] = saved ? 1 : 0;
        unsave[i] = saved ? 0 : 1;
        alpha[i] = item.alpha;
        fresh[i] = item.status == running ? 1 : 0;
        beta[i] = item.status == running ? b : 1;
        if (recorded > 0) history[i * recorded + k] = std::sqrt(item.rr);
    }
};

}  // namespace diem::solver::detail
