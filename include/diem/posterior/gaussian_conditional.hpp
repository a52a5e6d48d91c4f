// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <string>

#include <diem/backend/batch.hpp>
#include <diem/backend/concept.hpp>
#include <diem/backend/team.hpp>
#include <diem/core/check.hpp>
#include <diem/core/random.hpp>
#include <diem/diffusion/gaussian.hpp>
#include <diem/linop/concept.hpp>
#include <diem/linop/low_rank.hpp>

/// \file
/// p(x | y) in closed form for a Gaussian prior N(mu, Sigma), Sigma = diag(d) + u u', and y = A x + e, e ~ N(0, Sigma_y).
/// \snippet tests/examples/posterior.cpp posterior/gaussian_conditional.hpp

namespace diem::posterior {

namespace detail {

struct conditional_residual {  // r = y - a mu
    template <class V>
    DIEM_HOST_DEVICE void operator()(V& r, const V& y, const V& a, const V& mu) const {
        r = y - a * mu;
    }
};
struct conditional_mean {  // m = mu + d (a / e) (r - a lift) + lift, g = n / e
    index_t n, mean_stride;
    template <class Team, class T>
    DIEM_HOST_DEVICE void operator()(index_t i, const Team& team, const T* r, const T* noise, const T* mu, const T* d,
                                     const double* a, const double* e, const double* lift, T* m, T* g) const {
        for (index_t j = team.first(); j < n; j += team.step()) {
            const index_t k = i * n + j;
            const double rest = static_cast<double>(r[k]) - a[k] * lift[k];
            const double shift = static_cast<double>(d[j]) * (a[k] / e[k]) * rest + lift[k];
            m[i * mean_stride + j] = static_cast<T>(static_cast<double>(mu[j]) + shift);
            g[k] = static_cast<T>(static_cast<double>(noise[k]) / e[k]);
        }
    }
};
struct conditional_draw {  // x = m + sqrt(g d) z + g lift
    index_t n, m_stride, z_stride, x_stride;
    template <class Team, class T>
    DIEM_HOST_DEVICE void operator()(index_t i, const Team& team, const T* m, const T* z, const T* g, const T* d,
                                     const double* lift, T* x) const {
        using std::sqrt;
        for (index_t j = team.first(); j < n; j += team.step()) {
            const double gj = static_cast<double>(g[i * n + j]);
            x[i * x_stride + j] =
                static_cast<T>(static_cast<double>(m[i * m_stride + j]) + gj * lift[i * n + j] +
                               sqrt(gj * static_cast<double>(d[j])) * static_cast<double>(z[i * z_stride + j]));
        }
    }
};
/// Column k of f (n x r of item k / r) = g of that item times the root, times the square root of the item's weight.
struct weigh_columns {
    index_t n, rank;
    template <class Team, class T>
    DIEM_HOST_DEVICE void operator()(index_t k, const Team& team, const T* g, const double* root, const T* weight,
                                     T* f) const {
        using std::sqrt;
        const double w = sqrt(static_cast<double>(weight[k / rank]));
        for (index_t j = team.first(); j < n; j += team.step())
            f[k * n + j] = static_cast<T>(static_cast<double>(g[k / rank * n + j]) * root[k * n + j] * w);
    }
};
/// Adds sum_i w_i g_ij d_j to the diagonal of c.
struct add_variances {
    index_t features, items, stride;
    template <class T>
    DIEM_HOST_DEVICE void operator()(index_t j, const T* g, const T* d, const T* weight, T* c) const {
        double sum = 0;
        for (index_t i = 0; i < items; ++i)
            sum += static_cast<double>(g[j + i * features]) * static_cast<double>(weight[i]);
        c[j + j * stride] += static_cast<T>(sum * static_cast<double>(d[j]));
    }
};

template <Backend B>
void check_positive_definite(B& b, const_vector_t<B, int> info, index_t first) {
    const auto host = to_host(b, info);
    for (std::size_t i = 0; i < host.size(); ++i)
        check_value("posterior::gaussian_conditional", host[i] == 0,
                    "the covariance of observation " + std::to_string(first + static_cast<index_t>(i)) +
                        " is not positive definite or not finite");
}

}  // namespace detail

/// For element-wise A and Sigma_y (a mask and independent noise), by `linop::low_rank_innovation`. With a, n their diagonals,
/// E = n + a^2 d, g = n / E, r = y - a mu, t and L as there,
///
///     E[x | y] = mu + d (a / E) (r - a u t) + u t,  Cov[x | y] = diag(g d) + (diag(g) u L'^-1)(...)'.
///
/// Nothing is subtracted in the covariance; d may have zeros. Costs D r^2 per item, as matrix products.
template <Backend B>
class elementwise_conditional {
    using T = scalar_t<B>;

public:
    elementwise_conditional(B& /*b*/, const diffusion::gaussian<B>& prior) : prior_(prior) {
        prior.require_no_basis("posterior::gaussian_conditional");
    }

    /// Conditions on the observations of a batch (first: number of its first item, for messages): sets the means (D x n)
    /// and log p(y_i), and keeps what `add_covariances` and `draw` need until the next call. Throws value_error, naming the
    /// observation, where its covariance is not finite.
    template <class Observation>
    void condition(B& b, const Observation& observed, index_t first, view_t<B> mean, vector_t<B, double> log_evidence) {
        const index_t n = prior_.features(), r = prior_.rank(), items = observed.items();
        check_size("posterior::gaussian_conditional", "A.rows()", observed.forward_operator().rows(), n);
        if (g_.items() != items) {
            g_ = batch<B>(b, n, items);
            innovation_ = linop::low_rank_innovation<B>(b, n, r, items, true);
        }
        batch<B> ones(b, n, items), a(b, n, items), noise(b, n, items), residual(b, n, items);
        batch<B, double> t(b, r, items), lift(b, n, items);
        b.fill(ones.view(), T(1));
        observed.forward_operator().apply(b, ones.cview(), a.view());
        observed.noise().apply(b, ones.cview(), noise.view());
        innovation_.factor(b, noise.cview(), 0, a.cview(), prior_.d(), prior_.u());
        if (r > 0) detail::check_positive_definite(b, innovation_.info(), first);
        b.map(detail::conditional_residual{}, residual.view(), observed.y(), a.cview(), per_feature{prior_.mu()});
        innovation_.coefficients(b, residual.cview(), t.view(), lift.view());
        launch_rows(b, items, n, 8 * n, detail::conditional_mean{n, mean.stride()}, residual.cview().data(),
                    noise.cview().data(), prior_.mu().data(), prior_.d().data(), innovation_.a().data(),
                    innovation_.e().data(), lift.cview().data(), mean.data(), g_.view().data());
        innovation_.log_density(b, residual.cview(), t.cview(), lift.cview(), log_evidence);
    }

    /// c += sum_i w_i Cov[x_i | y_i], D x D; `weight`: w_i >= 0, one for each item. Costs 2 D^2 r per item.
    void add_covariances(B& b, const_vector_t<B> weight, view_t<B> c) const {
        const index_t n = prior_.features(), r = prior_.rank(), items = g_.items();
        check_size("posterior::gaussian_conditional", "weight.size()", weight.size(), items);
        b.launch(n, items, detail::add_variances{n, items, c.stride()}, g_.cview().data(), prior_.d().data(),
                 weight.data(), c.data());
        if (r == 0) return;
        const index_t block = std::max<index_t>(1, std::min(items, (index_t{1} << 22) / (n * r)));
        batch<B, double> roots(b, n * r, block);
        batch<B> f(b, n * r, block);
        for (index_t from = 0; from < items; from += block) {
            const index_t count = std::min(block, items - from);
            innovation_.roots(b, from, roots.view().item_range(0, count));
            launch_rows(b, count * r, n, n, detail::weigh_columns{n, r}, g_.cview().item_range(from, count).data(),
                        roots.cview().data(), weight.range(from, count).data(), f.view().data());
            const const_view_t<B> columns(f.cview().data(), n, r * count, n);
            b.gemm(T(1), columns, op::none, columns, op::transpose, T(1), c);
        }
    }

    /// x_i ~ p(x | y_i), exactly: mean as set by `condition`; item i uses the D + r normals (key, i).
    void draw(B& b, const random_key& key, const_view_t<B> mean, view_t<B> x) const {
        const index_t n = prior_.features(), r = prior_.rank(), items = g_.items();
        batch<B> z(b, n + r, items);
        batch<B, double> s(b, r, items), lift(b, n, items);
        b.fill_normal(key, z.view());
        if (r > 0) linop::convert(b, z.cview().feature_range(n, r), s.view());
        innovation_.color(b, s.view(), lift.view());
        launch_rows(b, items, n, 8 * n, detail::conditional_draw{n, mean.stride(), n + r, x.stride()}, mean.data(),
                    z.cview().data(), g_.cview().data(), prior_.d().data(), lift.cview().data(), x.data());
    }

private:
    const diffusion::gaussian<B>& prior_;
    linop::low_rank_innovation<B> innovation_;
    batch<B> g_;
};

}  // namespace diem::posterior
