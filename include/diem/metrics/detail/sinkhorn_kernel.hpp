// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <concepts>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include <diem/core/macros.hpp>
#include <diem/core/view.hpp>

/// Loops of the Sinkhorn iteration. Plain loops of fixed length over local arrays, which compilers vectorise; sums run in
/// fixed lanes, so that the result depends neither on threads nor on the vector length.
namespace diem::metrics::detail {

/// e^x for x between `lowest` and `highest`, to about one unit in the last place; x is first brought into that range. NaN
/// stays NaN. x = n log 2 + r, |r| <= log 2 / 2; e^r by the polynomial through the Chebyshev nodes of that interval
/// (relative error 4e-18, float 3e-9), 2^n by its bits. No call and no branch. The bounds have loops of their own:
/// where they stand before the polynomial, compilers make them branches and vectorise nothing.
template <std::floating_point T>
struct bounded_exp {
    static constexpr bool wide = sizeof(T) == 8;
    static constexpr T lowest = wide ? T(-700) : T(-86);
    static constexpr T highest = wide ? T(700) : T(88);

    /// x[k] = e^x[k], k = 0 .. N - 1.
    template <index_t N>
    DIEM_HOST_DEVICE static void apply(T* x) {
        for (index_t k = 0; k < N; ++k) x[k] = lowest > x[k] ? lowest : x[k];
        for (index_t k = 0; k < N; ++k) x[k] = highest < x[k] ? highest : x[k];
        for (index_t k = 0; k < N; ++k) x[k] = within_bounds(x[k]);
    }

private:
    DIEM_HOST_DEVICE static T within_bounds(T x) {
        using integer = std::conditional_t<wide, std::uint64_t, std::uint32_t>;
        constexpr T shift = wide ? T(0x1.8p52) : T(0x1.8p23);  // adding it rounds to an integer, in the low bits
        constexpr T high = wide ? T(6.93147180369123816490e-01) : T(0.693359375);
        constexpr T low = wide ? T(1.90821492927058770002e-10) : T(-2.12194440054690583e-4);
        const T t = x * T(1.4426950408889634074) + shift;
        const T n = t - shift;
        const T r = (x - n * high) - n * low;
        integer bits;
        std::memcpy(&bits, &t, sizeof(T));
        bits = (bits + integer(wide ? 1023 : 127)) << (wide ? 52 : 23);
        T power;
        std::memcpy(&power, &bits, sizeof(T));
        return polynomial(r) * power;
    }
    DIEM_HOST_DEVICE static T polynomial(T r) {
        if constexpr (wide) {
            T p = 2.5110037605963777712e-8;
            p = p * r + 2.7632639639041029749e-7;
            p = p * r + 2.7557240918578969823e-6;
            p = p * r + 2.4801485482328492419e-5;
            p = p * r + 1.9841269890047113707e-4;
            p = p * r + 1.3888888952314774652e-3;
            p = p * r + 8.3333333333196006109e-3;
            p = p * r + 4.1666666666488095495e-2;
            p = p * r + 0.16666666666666680806;
            p = p * r + 0.50000000000000183855;
            p = p * r + 0.99999999999999999976;
            return p * r + 1.0;
        } else {
            T p = 1.3941108433972674608e-3f;
            p = p * r + 8.3751263981533356820e-3f;
            p = p * r + 4.1666352896775156786e-2f;
            p = p * r + 0.16666415514653275427f;
            p = p * r + 0.50000000471177576744f;
            p = p * r + 1.0000000377162138425f;
            return p * r + 1.0f;
        }
    }
};

inline constexpr index_t sinkhorn_block = 128;  ///< points of the inner loop taken together: their data stays in L1
inline constexpr index_t sinkhorn_tile = 4;     ///< points of the outer loop that share a block
inline constexpr index_t sinkhorn_lanes = 16;   ///< partial sums per point

/// Smallest multiple of the block that holds n points.
[[nodiscard]] constexpr index_t padded(index_t n) { return (n + sinkhorn_block - 1) / sinkhorn_block * sinkhorn_block; }

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

/// Sizes of one direction: a sum over the `n` points u for each of the `m` points v, both stored one coordinate after
/// another, padded to whole blocks.
template <class Real>
struct sinkhorn_sizes {
    index_t n_padded, m, m_padded;
    int dim;
    Real inverse_reg;
    [[nodiscard]] DIEM_HOST_DEVICE index_t tiles() const { return (m + sinkhorn_tile - 1) / sinkhorn_tile; }
};

/// lse[j] = log sum_i exp(f_i - |u_i - v_j|^2 / reg) for the points v_j of one tile.
///
/// The value of lse[j] that comes in is the shift under the exponential: that of the iteration before is close enough that
/// one pass does. Where the sum then leaves [1e-10, 1e10], or where lse[j] comes in as NaN, the largest exponent is sought
/// first. Sums of a block in Real, of the blocks in float64.
template <class Real>
struct log_sum_exp {
    sinkhorn_sizes<Real> size;

    DIEM_HOST_DEVICE void operator()(index_t tile, const Real* u, const Real* v, const Real* f, double* lse) const {
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

/// cost[tile] = sum over i and the tile's j of P_ij |u_i - v_j|^2, P_ij = exp(f_i + g_j - |u_i - v_j|^2 / reg).
template <class Real>
struct transport_cost {
    sinkhorn_sizes<Real> size;

    DIEM_HOST_DEVICE void operator()(index_t tile, const Real* u, const Real* v, const Real* f, const Real* g,
                                     double* cost) const {
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
        cost[tile] = 0;
        for (index_t l = 0; l < sinkhorn_lanes; ++l) cost[tile] += lanes[l];
    }
};

/// g[j] = log_weight[j] - lse[j].
template <class Real>
struct update_potential {
    DIEM_HOST_DEVICE void operator()(index_t j, const double* log_weight, const double* lse, Real* g) const {
        g[j] = static_cast<Real>(log_weight[j] - lse[j]);
    }
};

/// f[i] = factor f[i], and the log-sum-exp that such an f comes from: a first guess of the next one.
template <class Real>
struct rescale_potential {
    double factor;
    DIEM_HOST_DEVICE void operator()(index_t i, const double* log_weight, double* lse, Real* f) const {
        f[i] = static_cast<Real>(factor * static_cast<double>(f[i]));
        lse[i] = log_weight[i] - factor * (log_weight[i] - lse[i]);
    }
};

/// Point i of a batch, item contiguous, to column i of `out`, one row of `padded` elements per coordinate; zero beyond the
/// last.
template <class Real, class T>
struct by_coordinate {
    index_t points, padded, stride;
    int dim;
    DIEM_HOST_DEVICE void operator()(index_t i, const T* x, Real* out) const {
        for (int d = 0; d < dim; ++d) out[d * padded + i] = i < points ? static_cast<Real>(x[i * stride + d]) : Real(0);
    }
};

}  // namespace diem::metrics::detail
