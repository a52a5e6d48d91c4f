// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>

#include <diem/core/macros.hpp>
#include <diem/core/view.hpp>
#include <diem/metrics/detail/bounded_exp.hpp>

/// \file
/// Loops of the Sinkhorn iteration. Plain loops of fixed length over local arrays, which compilers vectorise; sums run in
/// fixed lanes, so that the result depends neither on threads nor on the vector length.

namespace diem::metrics::detail {

inline constexpr index_t sinkhorn_block = 128;  ///< points of the inner loop taken together: their data stays in L1
inline constexpr index_t sinkhorn_tile = 4;     ///< points of the outer loop that share a block
inline constexpr index_t sinkhorn_lanes = 16;   ///< partial sums per point

/// Smallest multiple of the block that holds n points.
[[nodiscard]] DIEM_HOST_DEVICE constexpr index_t padded(index_t n) {
    return (n + sinkhorn_block - 1) / sinkhorn_block * sinkhorn_block;
}

/// Log weight of the points that only fill the last block: their e^x is `lowest`, nothing beside any sum that counts.
template <class Real>
inline constexpr Real log_of_nothing = Real(-1e30);

/// c[k] (+)= sum_d (u[d n + k] - y[d m])^2 over D coordinates.
template <int D, bool Add, class Real>
DIEM_HOST_DEVICE inline void squares(const Real* u, index_t n, const Real* y, index_t m, Real* c) {
    Real at[D];
    for (int d = 0; d < D; ++d) at[d] = y[d * m];
    for (index_t k = 0; k < sinkhorn_block; ++k) {
        Real sum = Add ? c[k] : Real(0);
        for (int d = 0; d < D; ++d) {
            const Real delta = u[d * n + k] - at[d];
            sum += delta * delta;
        }
        c[k] = sum;
    }
}

template <class Real>
DIEM_HOST_DEVICE void squared_distances(int dim, const Real* u, index_t n, const Real* y, index_t m, Real* c) {
    switch (dim) {
        case 1:
            return squares<1, false>(u, n, y, m, c);
        case 2:
            return squares<2, false>(u, n, y, m, c);
        case 3:
            return squares<3, false>(u, n, y, m, c);
        case 4:
            return squares<4, false>(u, n, y, m, c);
        case 5:
            return squares<5, false>(u, n, y, m, c);
        default:
            break;
    }
    squares<4, false>(u, n, y, m, c);
    int d = 4;
    for (; d + 4 <= dim; d += 4) squares<4, true>(u + d * n, n, y + d * m, m, c);
    for (; d < dim; ++d) squares<1, true>(u + d * n, n, y + d * m, m, c);
}

/// Index i of a launch as index i mod count of problem active[i / count].
template <class F>
struct of_active {
    F f;
    index_t count;
    template <class... Pointers>
    DIEM_HOST_DEVICE void operator()(index_t i, const int* active, Pointers... pointers) const {
        f(active[i / count], i % count, pointers...);
    }
};

/// Sizes of one direction of a problem: a sum over the points u for each of the `m` points v, both stored one coordinate
/// after another, padded to whole blocks; problem after problem.
template <class Real>
struct sinkhorn_sizes {
    index_t n_padded, m, m_padded;
    int dim;
    Real inverse_reg;
    [[nodiscard]] DIEM_HOST_DEVICE index_t tiles() const { return (m + sinkhorn_tile - 1) / sinkhorn_tile; }
};

/// lse[j] = log sum_i exp(f_i - |u_i - v_j|^2 / reg) for the points v_j of one tile of a problem.
///
/// The value of lse[j] that comes in is the shift under the exponential: that of the iteration before is close enough that
/// one pass does. Where the sum then leaves [1e-10, 1e10], or where lse[j] comes in as NaN, the largest exponent is sought
/// first. Sums of a block in Real, of the blocks in float64.
template <class Real>
struct log_sum_exp {
    sinkhorn_sizes<Real> size;

    DIEM_HOST_DEVICE void operator()(index_t problem, index_t tile, const Real* u, const Real* v, const Real* f,
                                     double* lse) const {
        u += problem * size.dim * size.n_padded;
        v += problem * size.dim * size.m_padded;
        f += problem * size.n_padded;
        lse += problem * size.m;
        const index_t first = tile * sinkhorn_tile;
        const index_t count = size.m - first < sinkhorn_tile ? size.m - first : sinkhorn_tile;
        Real shift[sinkhorn_tile] = {};
        double sum[sinkhorn_tile] = {};
        for (index_t j = 0; j < count; ++j) shift[j] = static_cast<Real>(lse[first + j]);
        sums(first, count, u, v, f, shift, sum);
        for (index_t j = 0; j < count; ++j)
            if (!(sum[j] > 1e-10 && sum[j] < 1e10)) {
                shift[0] = largest(first + j, u, v, f);
                sums(first + j, 1, u, v, f, shift, sum + j);
                lse[first + j] = static_cast<double>(shift[0]) + std::log(sum[j]);
            } else {
                lse[first + j] = static_cast<double>(shift[j]) + std::log(sum[j]);
            }
    }

private:
    DIEM_HOST_DEVICE void sums(index_t first, index_t count, const Real* u, const Real* v, const Real* f,
                               const Real* shift, double* sum) const {
        double lanes[sinkhorn_tile][sinkhorn_lanes] = {};
        Real c[sinkhorn_block];
        for (index_t i = 0; i < size.n_padded; i += sinkhorn_block)
            for (index_t j = 0; j < count; ++j) {
                squared_distances(size.dim, u + i, size.n_padded, v + first + j, size.m_padded, c);
                const Real s = shift[j], a = size.inverse_reg;
                for (index_t k = 0; k < sinkhorn_block; ++k) c[k] = (f[i + k] - s) - a * c[k];
                bounded_exp<Real>::template apply<sinkhorn_block>(c);
                Real part[sinkhorn_lanes] = {};
                for (index_t k = 0; k < sinkhorn_block; k += sinkhorn_lanes)
                    for (index_t l = 0; l < sinkhorn_lanes; ++l) part[l] += c[k + l];
                for (index_t l = 0; l < sinkhorn_lanes; ++l) lanes[j][l] += static_cast<double>(part[l]);
            }
        for (index_t j = 0; j < count; ++j) {
            sum[j] = 0;
            for (index_t l = 0; l < sinkhorn_lanes; ++l) sum[j] += lanes[j][l];
        }
    }
    DIEM_HOST_DEVICE Real largest(index_t j, const Real* u, const Real* v, const Real* f) const {
        Real top[sinkhorn_lanes], c[sinkhorn_block];
        for (Real& value : top) value = log_of_nothing<Real>;
        for (index_t i = 0; i < size.n_padded; i += sinkhorn_block) {
            squared_distances(size.dim, u + i, size.n_padded, v + j, size.m_padded, c);
            for (index_t k = 0; k < sinkhorn_block; k += sinkhorn_lanes)
                for (index_t l = 0; l < sinkhorn_lanes; ++l) {
                    const Real x = f[i + k + l] - size.inverse_reg * c[k + l];
                    top[l] = top[l] < x ? x : top[l];
                }
        }
        for (index_t l = 1; l < sinkhorn_lanes; ++l) top[0] = top[0] < top[l] ? top[l] : top[0];
        return top[0];
    }
};

/// cost[problem, tile] = sum over i and the tile's j of P_ij |u_i - v_j|^2, P_ij = exp(f_i + g_j - |u_i - v_j|^2 / reg).
template <class Real>
struct transport_cost {
    sinkhorn_sizes<Real> size;

    DIEM_HOST_DEVICE void operator()(index_t problem, index_t tile, const Real* u, const Real* v, const Real* f,
                                     const Real* g, double* cost) const {
        u += problem * size.dim * size.n_padded;
        v += problem * size.dim * size.m_padded;
        f += problem * size.n_padded;
        g += problem * size.m_padded;
        double lanes[sinkhorn_lanes] = {};
        Real c[sinkhorn_block], p[sinkhorn_block];
        const index_t first = tile * sinkhorn_tile;
        const index_t last = size.m - first < sinkhorn_tile ? size.m : first + sinkhorn_tile;
        for (index_t i = 0; i < size.n_padded; i += sinkhorn_block)
            for (index_t j = first; j < last; ++j) {
                squared_distances(size.dim, u + i, size.n_padded, v + j, size.m_padded, c);
                const Real s = g[j], a = size.inverse_reg;
                for (index_t k = 0; k < sinkhorn_block; ++k) p[k] = (f[i + k] + s) - a * c[k];
                bounded_exp<Real>::template apply<sinkhorn_block>(p);
                for (index_t k = 0; k < sinkhorn_block; k += sinkhorn_lanes)
                    for (index_t l = 0; l < sinkhorn_lanes; ++l) lanes[l] += static_cast<double>(p[k + l] * c[k + l]);
            }
        double sum = 0;
        for (index_t l = 0; l < sinkhorn_lanes; ++l) sum += lanes[l];
        cost[problem * size.tiles() + tile] = sum;
    }
};

/// g[j] = log_weight[j] - lse[j]; `count` points j per problem.
template <class Real>
struct update_potential {
    index_t count;
    DIEM_HOST_DEVICE void operator()(index_t problem, index_t j, const double* log_weight, const double* lse,
                                     Real* g) const {
        const index_t at = problem * count + j;
        g[problem * padded(count) + j] = static_cast<Real>(log_weight[at] - lse[at]);
    }
};

/// f[i] = factor f[i], and the log-sum-exp that such an f comes from: a first guess of the next one.
template <class Real>
struct rescale_potential {
    index_t count;
    double factor;
    DIEM_HOST_DEVICE void operator()(index_t problem, index_t i, const double* log_weight, double* lse, Real* f) const {
        const index_t at = problem * count + i;
        Real& value = f[problem * padded(count) + i];
        value = static_cast<Real>(factor * static_cast<double>(value));
        lse[at] = log_weight[at] - factor * (log_weight[at] - lse[at]);
    }
};

/// error[problem] = || exp(g + lse) - b ||_2: exp(g_j + lse_j) is column j's sum of the plan.
template <class Real>
struct marginal_error {
    index_t count;
    template <class Team>
    DIEM_HOST_DEVICE void operator()(index_t i, const Team& team, const int* active, const double* log_weight,
                                     const double* lse, const Real* g, double* error) const {
        const index_t problem = active[i];
        double sum = 0;
        for (index_t j = team.first(); j < count; j += team.step()) {
            const index_t at = problem * count + j;
            const double column = std::exp(static_cast<double>(g[problem * padded(count) + j]) + lse[at]);
            const double delta = column - std::exp(log_weight[at]);
            sum += delta * delta;
        }
        sum = team.sum(sum);
        if (team.first() == 0) error[problem] = std::sqrt(sum);
    }
};

/// Point i mod padded(points) of problem i / padded(points), items of a batch, to that column of `out`, one row of
/// padded(points) elements per coordinate; zero beyond the last.
template <class Real, class T>
struct by_coordinate {
    index_t points, stride;
    int dim;
    DIEM_HOST_DEVICE void operator()(index_t i, const T* x, Real* out) const {
        const index_t n = padded(points), problem = i / n, k = i % n;
        for (int d = 0; d < dim; ++d)
            out[(problem * dim + d) * n + k] =
                k < points ? static_cast<Real>(x[(problem * points + k) * stride + d]) : Real(0);
    }
};

}  // namespace diem::metrics::detail
