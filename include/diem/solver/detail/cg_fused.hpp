// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <diem/solver/detail/cg_items.hpp>
#include <diem/solver/detail/host_rows.hpp>

/// The vector side of conjugate gradient for backends of host threads, where one core takes a whole item: everything
/// between two products in one pass over the item, which then stays in its cache.
namespace diem::solver::detail {

/// Curvature, alpha, new residual: r -= alpha q. The new ||r||^2 goes to `rr`.
struct cg_fused_step {
    index_t n;
    template <class T>
    void operator()(index_t i, cg_item* items, const T* p, const T* q, T* r, double* rr) const {
        cg_item& item = items[i];
        if (item.status != running) return;
        item.step(row_dot(p + i * n, q + i * n, n));
        if (item.status != running) return;
        rr[i] = row_add_dot(static_cast<T>(-item.alpha), q + i * n, r + i * n, n);
    }
};

/// The rest: best copy, x += alpha p, aux += alpha w, p = z + beta p. `z` is `r` without a preconditioner.
struct cg_fused_turn {
    index_t n, x_stride, aux_rows, aux_stride, recorded, k;
    bool preconditioned, last;  ///< last: no direction is needed any more
    template <class T>
    void operator()(index_t i, cg_item* items, const double* rr, const T* r, const T* z, T* p, T* x, T* best_x,
                    const T* w, T* aux, T* best_aux, double* history) const {
        cg_item& item = items[i];
        if (item.status == running) {
            bool save = false;
            const double rz = preconditioned ? row_dot(r + i * n, z + i * n, n) : rr[i];
            const double beta = item.turn(rr[i], rz, save);
            if (save) {
                row_copy(x + i * x_stride, best_x + i * n, n);
                row_copy(aux + i * aux_stride, best_aux + i * aux_rows, aux_rows);
            }
            const T alpha = static_cast<T>(item.alpha);
            if (item.status == running && !last)
                row_advance(alpha, static_cast<T>(beta), z + i * n, p + i * n, x + i * x_stride, n);
            else if (item.alpha != 0)
                row_add(alpha, p + i * n, x + i * x_stride, n);
            if (item.alpha != 0) row_add(alpha, w + i * aux_rows, aux + i * aux_stride, aux_rows);
        }
        if (recorded > 0) history[i * recorded + k] = std::sqrt(item.rr);
    }
};

/// Both, where nothing stands between them.
struct cg_fused_iteration {
    cg_fused_step step;
    cg_fused_turn turn;
    template <class T>
    void operator()(index_t i, cg_item* items, const T* q, double* rr, T* r, T* p, T* x, T* best_x, const T* w, T* aux,
                    T* best_aux, double* history) const {
        step(i, items, p, q, r, rr);
        turn(i, items, rr, r, r, p, x, best_x, w, aux, best_aux, history);
    }
};

}  // namespace diem::solver::detail
