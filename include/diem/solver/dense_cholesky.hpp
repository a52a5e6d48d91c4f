// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <utility>

#include <diem/backend/batch.hpp>
#include <diem/linop/concept.hpp>
#include <diem/solver/status.hpp>

/// \file
/// The direct way, for small problems and for comparison: forms every item's matrix from products with unit vectors, factors
/// it and solves.
/// \snippet tests/examples/solver.cpp solver/dense_cholesky.hpp

namespace diem::solver {

struct dense_cholesky_options {
    index_t items_at_once = 0;  ///< memory is n^2 numbers for each of these; 0: all
};

namespace detail {

/// After the factorisation: a status so far, and the coefficient of x (0 where there is no solution).
struct judge_factor {
    DIEM_HOST_DEVICE void operator()(index_t i, const int* info, const double* mm, const double* bb, int* status,
                                     double* keep) const {
        status[i] = !finite(mm[i]) || !finite(bb[i]) ? non_finite : info[i] != 0 ? breakdown : converged;
        keep[i] = status[i] == converged ? 1 : 0;
    }
};
/// After the solution: x must be finite.
struct judge_solution {
    DIEM_HOST_DEVICE void operator()(index_t i, const double* xx, int* status, int* updates, double* keep) const {
        if (status[i] == converged && !finite(xx[i])) status[i] = non_finite;
        keep[i] = status[i] == converged ? 1 : 0;
        updates[i] = status[i] == converged ? 1 : 0;
    }
};
struct take_norm {
    DIEM_HOST_DEVICE void operator()(index_t i, const double* rr, double* norm) const { norm[i] = std::sqrt(rr[i]); }
};

}  // namespace detail

/// Solves M x = rhs for symmetric positive definite M by Cholesky, per item; n products to form M and one for the residual.
/// Status `converged`, with the true ||b - M x|| as residual norm; `breakdown` where a pivot is not positive, `non_finite`
/// where M, b or x is not finite: then x = 0. Throws shape_error, value_error.
template <Backend B, linop::SymmetricOperator<B> A>
solver_result<B> dense_cholesky(B& b, const A& m, const_view_t<B> rhs, view_t<B> x,
                                const dense_cholesky_options& options = {}) {
    using T = scalar_t<B>;
    detail::check_system("dense_cholesky", m, rhs, x);
    check_value("dense_cholesky", options.items_at_once >= 0, "items_at_once is negative");
    const index_t n = rhs.features(), items = rhs.items();
    solver_result<B> result(b, items, 0);
    const index_t part = options.items_at_once > 0 ? std::min(options.items_at_once, items) : items;
    batch<B> matrix_part(b, n * n, part), unit_part(b, n, part);
    batch<B, double> scalars(b, part, 3);
    batch<B, int> info(b, part, 1);
    for (index_t first = 0; first < items; first += part) {
        const index_t count = std::min(part, items - first);
        const auto a = m.items(first, count);
        const auto matrix = matrix_part.view().item_range(0, count), unit = unit_part.view().item_range(0, count);
        const auto x_now = x.item_range(first, count);
        const auto rhs_now = rhs.item_range(first, count);
        const auto status = result.status().range(first, count);
        const auto mm = scalars.flat().range(0, count), bb = scalars.flat().range(part, count),
                   keep = scalars.flat().range(2 * part, count);
        b.fill(unit, T(0));
        for (index_t j = 0; j < n; ++j) {
            b.fill(unit.feature_range(j, 1), T(1));
            a.apply(b, const_view_t<B>(unit), matrix.feature_range(j * n, n));
            b.fill(unit.feature_range(j, 1), T(0));
        }
        b.dot(const_view_t<B>(matrix), const_view_t<B>(matrix), mm);
        b.dot(rhs_now, rhs_now, bb);
        b.cholesky(as_matrices(matrix, n, n), info.flat().range(0, count));
        b.launch(count, 1, detail::judge_factor{}, info.view().data(), mm.data(), bb.data(), status.data(),
                 keep.data());
        b.copy(rhs_now, x_now);
        const const_matrices_t<B> lower(as_matrices(matrix, n, n));
        b.trsm(lower, op::none, as_columns(x_now));
        b.trsm(lower, op::transpose, as_columns(x_now));
        b.axpby(0.0, const_view_t<B>(x_now), keep, x_now);
        b.dot(const_view_t<B>(x_now), const_view_t<B>(x_now), mm);
        b.launch(count, 1, detail::judge_solution{}, mm.data(), status.data(),
                 result.updates().range(first, count).data(), keep.data());
        b.axpby(0.0, const_view_t<B>(x_now), keep, x_now);
        // r = b - M x; x = 0 needs no product, and M may be no matrix there.
        a.apply(b, const_view_t<B>(x_now), unit);
        b.axpby(keep, const_view_t<B>(unit), 0.0, unit);
        b.axpby(1.0, rhs_now, -1.0, unit);
        b.dot(const_view_t<B>(unit), const_view_t<B>(unit), mm);
        b.launch(count, 1, detail::take_norm{}, mm.data(), result.residual_norms().range(first, count).data());
    }
    b.copy(const_view_t<B, double>(as_batch(result.residual_norms())), as_batch(result.true_residual_norms()));
    result.set_products(items > 0 ? (n + 1) * ((items + part - 1) / part) : 0);
    return result;
}

}  // namespace diem::solver
