// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <limits>

#include <diem/backend/batch.hpp>
#include <diem/solver/status.hpp>

/// \file
/// The last act of an iterative solve: is what the recursion says of x true? In float32 recursions of the residual go on
/// falling long after the residual itself has stopped.

namespace diem::solver::detail {

struct judge_true_residual {
    double rtol, atol;
    DIEM_HOST_DEVICE void operator()(index_t i, const double* bb, const double* rr, int* status, double* norm) const {
        const double relative = rtol * std::sqrt(bb[i]), limit = relative > atol ? relative : atol;
        norm[i] = std::sqrt(rr[i]);
        if (status[i] == converged && !(norm[i] <= stagnation_factor * limit)) status[i] = stagnated;
    }
};

/// Returns the number of products made, 0 or 1. `iterations`: made so far.
template <Backend B, class A>
index_t verify(B& b, const A& a, const_view_t<B> rhs, const_view_t<B> x, const solver_options& o, index_t iterations,
               solver_result<B>& result) {
    const auto norms = result.true_residual_norms();
    if (!o.verify || o.relative_tolerance == 0) {
        b.fill(as_batch(norms), std::numeric_limits<double>::quiet_NaN());
        return 0;
    }
    if (iterations == 0) {  // the residual of the start is no recursion's
        b.copy(const_view_t<B, double>(as_batch(result.residual_norms())), as_batch(norms));
        return 0;
    }
    batch<B> r(b, rhs.features(), rhs.items());
    batch<B, double> squares(b, rhs.items(), 2);
    const auto bb = squares.flat().range(0, rhs.items()), rr = squares.flat().range(rhs.items(), rhs.items());
    a.apply(b, x, r.view());
    b.axpby(1.0, rhs, -1.0, r.view());
    b.dot(rhs, rhs, bb);
    b.dot(r.cview(), r.cview(), rr);
    b.launch(rhs.items(), 1, judge_true_residual{o.relative_tolerance, o.absolute_tolerance}, bb.data(), rr.data(),
             result.status().data(), norms.data());
    return 1;
}

}  // namespace diem::solver::detail
