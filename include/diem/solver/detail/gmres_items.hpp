// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>

#include <diem/solver/detail/curvature.hpp>
#include <diem/solver/status.hpp>

/// \file
/// The small dense side of GMRES, one item at a time. An item's numbers, m the most iterations:
///     triangle  column j of R (j + 1 numbers) at j (j + 1) / 2, upper triangular, rotated
///     cosines   m, sines m: the Givens rotations
///     g         m + 1: rotated right side
/// A table has entry j of item i at j * count + i, so that row j is one coefficient per item of a batch.

namespace diem::solver::detail {

struct gmres_item {
    double limit = 0;  ///< on ||r||
    double norm = 0;   ///< ||r||
    int status = running;
    int updates = 0;     ///< columns of R in use
    double start = 0;    ///< ||r|| of the start
    double before = 0;   ///< ||r|| of one column less
    bool grown = false;  ///< the last iteration gave it a column
};

struct gmres_layout {
    index_t m;
    DIEM_HOST_DEVICE index_t column(index_t j) const { return j * (j + 1) / 2; }
    DIEM_HOST_DEVICE index_t cosines() const { return column(m); }
    DIEM_HOST_DEVICE index_t sines() const { return cosines() + m; }
    DIEM_HOST_DEVICE index_t g() const { return sines() + m; }
    DIEM_HOST_DEVICE index_t size() const { return g() + m + 1; }
};

/// What the last coefficient of GMRES is multiplied by, c the cosine of the last rotation: 1 / c^2 for the Galerkin condition,
/// where its residual is not longer than that of one column less, c^2 >= 1/2; 2, which leaves ||r|| as it was, for
/// smaller c > 0; 1 else.
struct gmres_factor {
    bool galerkin;
    DIEM_HOST_DEVICE double operator()(double c) const {
        if (!galerkin || !(c > 0)) return 1;
        return c * c > 0.5 ? 1 / (c * c) : 2;
    }
};

/// `scale` of the first basis vector (0 where stopped); `keep` 0 where the start is replaced by zero.
struct gmres_start {
    gmres_layout at;
    double rtol, atol;
    index_t recorded;
    DIEM_HOST_DEVICE void operator()(index_t i, gmres_item* items, double* dense, const double* bb, const double* rr,
                                     double* scale, double* keep, double* history) const {
        gmres_item item;
        const bool usable = finite(bb[i]) && finite(rr[i]), from_zero = !usable || bb[i] == 0;
        item.norm = item.start = std::sqrt(from_zero ? bb[i] : rr[i]);
        const double relative = rtol * std::sqrt(bb[i]);
        item.limit = relative > atol ? relative : atol;
        if (!usable)
            item.status = non_finite;
        else if (item.norm <= item.limit)
            item.status = converged;
        scale[i] = item.status == running ? 1 / item.norm : 0;
        keep[i] = from_zero ? 0 : 1;
        dense[i * at.size() + at.g()] = item.norm;
        items[i] = item;
        if (recorded > 0) history[i * recorded] = item.norm;
    }
};

/// h_row += c, and the coefficient of w -= c v_row. `first`: the entry is new.
struct gmres_project {
    gmres_layout at;
    index_t k, row;
    bool first;
    DIEM_HOST_DEVICE void operator()(index_t i, const gmres_item* items, double* dense, const double* c,
                                     double* minus) const {
        double& h = dense[i * at.size() + at.column(k) + row];
        h = first ? c[i] : h + c[i];
        minus[i] = items[i].status == running ? -c[i] : 0;
    }
};

/// Column k of the Hessenberg matrix is known: rotates it into R, takes the new residual and decides. `scale` of the next
/// basis vector, 0 where stopped.
struct gmres_turn {
    gmres_layout at;
    index_t k, recorded;
    double epsilon;
    gmres_factor factor;
    DIEM_HOST_DEVICE double item(gmres_item& item, double* dense, double size, double below) const {
        double scale = 0;
        item.grown = false;
        if (item.status == running) {
            if (below <= epsilon * size) below = 0;
            double *h = dense + at.column(k), *c = dense + at.cosines(), *s = dense + at.sines(), *g = dense + at.g();
            for (index_t j = 0; j < k; ++j) {
                const double upper = h[j], lower = h[j + 1];
                h[j] = c[j] * upper + s[j] * lower;
                h[j + 1] = c[j] * lower - s[j] * upper;
            }
            const double pivot = std::sqrt(h[k] * h[k] + below * below);
            if (!finite(pivot)) {
                item.status = non_finite;
            } else if (pivot == 0) {
                item.status = breakdown;
            } else {
                c[k] = h[k] / pivot;
                s[k] = below / pivot;
                h[k] = pivot;
                g[k + 1] = -s[k] * g[k];
                g[k] = c[k] * g[k];
                const double left = g[k] * (1 - factor(c[k]));
                item.before = item.norm;
                item.grown = true;
                item.norm = std::sqrt(g[k + 1] * g[k + 1] + left * left);
                ++item.updates;
                if (item.norm <= item.limit)
                    item.status = converged;
                else if (below == 0)
                    item.status = breakdown;
                else
                    scale = 1 / below;
            }
        }
        return scale;
    }
    DIEM_HOST_DEVICE void operator()(index_t i, gmres_item* items, double* dense, const double* ww_before,
                                     const double* ww, double* scale, double* history) const {
        scale[i] = item(items[i], dense + i * at.size(), std::sqrt(ww_before[i]), std::sqrt(ww[i]));
        if (recorded > 0) history[i * recorded + k + 1] = items[i].norm;
    }
};

/// y of the least squares problem over an item's columns, by back substitution, into a table; zero beyond them.
struct gmres_coefficients {
    gmres_layout at;
    index_t count, steps;
    gmres_factor factor;
    DIEM_HOST_DEVICE void operator()(index_t i, const gmres_item* items, const double* dense, double* y) const {
        const gmres_item& item = items[i];
        const double* own = dense + i * at.size();
        for (index_t r = steps - 1; r >= 0; --r) {
            double value = 0;
            if (r < item.updates) {
                value = own[at.g() + r];
                for (index_t j = r + 1; j < item.updates; ++j) value -= own[at.column(j) + r] * y[j * count + i];
                value /= own[at.column(r) + r];
                if (r == item.updates - 1) value *= factor(own[at.cosines() + r]);
            }
            y[r * count + i] = value;
        }
    }
};

/// M v for v = sum_j y_j d_j, as coordinates in the basis v_0 .. v_steps, into a table: ||r_0|| e_0 less the residual, whose
/// rotated form has two entries that are not zero.
struct gmres_image {
    gmres_layout at;
    index_t count, steps;
    gmres_factor factor;
    DIEM_HOST_DEVICE void operator()(index_t i, const gmres_item* items, const double* dense, double* s) const {
        const gmres_item& item = items[i];
        const double* own = dense + i * at.size();
        for (index_t j = 0; j <= steps; ++j) s[j * count + i] = 0;
        if (!item.grown) return;
        const index_t last = item.updates - 1;
        double lower = own[at.g() + last + 1], upper = own[at.g() + last] * (1 - factor(own[at.cosines() + last]));
        for (index_t j = last; j >= 0; --j) {  // rotated back
            const double c = own[at.cosines() + j], sine = own[at.sines() + j];
            s[(j + 1) * count + i] = -(sine * upper + c * lower);
            lower = c * upper - sine * lower;
            upper = 0;
        }
        s[i] = item.start - lower;
    }
};

/// v'Mv = sum_j y_j s_j where the directions are the basis.
struct gmres_curvature {
    index_t count, steps;
    DIEM_HOST_DEVICE void operator()(index_t i, const double* y, const double* s, double* out) const {
        double sum = 0;
        for (index_t j = 0; j < steps; ++j) sum += y[j * count + i] * s[j * count + i];
        out[i] = sum;
    }
};

/// Takes a column away again whose solution has less curvature than it may have.
struct gmres_judge {
    curvature_rule rule;
    index_t k, recorded;
    DIEM_HOST_DEVICE void operator()(index_t i, gmres_item* items, const double* curvature, const double* floor,
                                     double* history) const {
        gmres_item& item = items[i];
        // A column that changes nothing (c = 0) has no curvature, and does no harm.
        if (!item.grown || (curvature[i] == 0 && floor[i] == 0) || rule.allows(curvature[i], floor + i)) return;
        item.status = finite(curvature[i]) && finite(floor[i]) ? breakdown : non_finite;
        --item.updates;
        item.norm = item.before;
        if (recorded > 0) history[i * recorded + k + 1] = item.norm;
    }
};

struct gmres_finish {
    index_t steps, recorded;
    DIEM_HOST_DEVICE void operator()(index_t i, gmres_item* items, int* status, int* updates, double* residual_norm,
                                     double* history) const {
        gmres_item& item = items[i];
        const double last = recorded > 0 ? history[i * recorded + steps] : 0;
        for (index_t k = steps + 1; k < recorded; ++k) history[i * recorded + k] = last;
        if (item.status == running) item.status = max_iterations;
        status[i] = item.status;
        updates[i] = item.updates;
        residual_norm[i] = item.norm;
    }
};

}  // namespace diem::solver::detail
