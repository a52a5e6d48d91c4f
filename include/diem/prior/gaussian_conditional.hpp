// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/backend/concept.hpp>
#include <diem/backend/functors.hpp>
#include <diem/core/check.hpp>
#include <diem/core/random.hpp>
#include <diem/diffusion/gaussian.hpp>
#include <diem/linop/concept.hpp>

/// p(x | y) in closed form for a Gaussian prior N(mu, Sigma), Sigma = diag(d) + u u', and y = A x + e, e ~ N(0, Sigma_y).
namespace diem::prior::detail {

struct conditional_weights {  // e = n + a^2 d, w = a^2 / e, g = n / e
    template <class V>
    DIEM_HOST_DEVICE void operator()(V& e, V& w, V& g, const V& n, const V& a, const V& d) const {
        e = n + a * a * d;
        w = a * a / e;
        g = n / e;
    }
};
struct conditional_residual {  // r = y - a mu, c = a r / e
    template <class V>
    DIEM_HOST_DEVICE void operator()(V& r, V& c, const V& y, const V& a, const V& e, const V& mu) const {
        r = y - a * mu;
        c = a * r / e;
    }
};
struct conditional_mean {  // m = mu + d c + g h
    template <class V>
    DIEM_HOST_DEVICE void operator()(V& m, const V& c, const V& g, const V& h, const V& mu, const V& d) const {
        m = mu + d * c + g * h;
    }
};
struct conditional_draw {  // x = m + sqrt(g d) z + g h
    template <class V>
    DIEM_HOST_DEVICE void operator()(V& x, const V& m, const V& z, const V& g, const V& h, const V& d) const {
        using std::sqrt;
        x = m + sqrt(g * d) * z + g * h;
    }
};
/// Row a + r b of p (r^2 x D): u_a u_b, so that p w = u' diag(w) u for each column w.
struct row_products {
    index_t features, rank;
    template <class T>
    DIEM_HOST_DEVICE void operator()(index_t j, const T* u, T* p) const {
        for (index_t b = 0; b < rank; ++b)
            for (index_t a = 0; a < rank; ++a) p[a + rank * (b + rank * j)] = u[j + a * features] * u[j + b * features];
    }
};
struct unit_matrices {
    index_t rank;
    template <class T>
    DIEM_HOST_DEVICE void operator()(index_t i, T* c) const {
        for (index_t k = 0; k < rank * rank; ++k) c[i * rank * rank + k] = k % (rank + 1) == 0 ? T(1) : T(0);
    }
};
/// Column k of f (D x r of item k / r) times g of that item.
struct weigh_columns {
    index_t features, rank;
    template <class T>
    DIEM_HOST_DEVICE void operator()(index_t column, const T* g, T* f) const {
        const T* weight = g + column / rank * features;
        for (index_t j = 0; j < features; ++j) f[column * features + j] *= weight[j];
    }
};
/// Adds sum_i g_ij d_j to the diagonal of c.
struct add_variances {
    index_t features, items, stride;
    template <class T>
    DIEM_HOST_DEVICE void operator()(index_t j, const T* g, const T* d, T* c) const {
        double sum = 0;
        for (index_t i = 0; i < items; ++i) sum += static_cast<double>(g[j + i * features]);
        c[j + j * stride] += static_cast<T>(sum * static_cast<double>(d[j]));
    }
};
/// log N(y_i; A mu, E + (a u)(a u)'): a sum of squares, |E^-1/2 (r - a h)|^2 + |s|^2 with h = u s.
struct elementwise_evidence {
    index_t features, rank;
    template <class T>
    DIEM_HOST_DEVICE void operator()(index_t i, const T* e, const T* r, const T* a, const T* h, const T* l, const T* s,
                                     double* out) const {
        using std::log;
        double sum = static_cast<double>(features) * 1.8378770664093454836;  // log 2 pi
        double product = 1;                                                  // logarithms of eight at once
        for (index_t j = 0; j < features; ++j) {
            const index_t k = i * features + j;
            const double ej = static_cast<double>(e[k]);
            const double z = static_cast<double>(r[k]) - static_cast<double>(a[k]) * static_cast<double>(h[k]);
            sum += z * z / ej;
            product *= ej;
            if (j % 8 == 7) {
                sum += log(product);
                product = 1;
            }
        }
        sum += log(product);
        for (index_t k = 0; k < rank; ++k) {
            const double sk = static_cast<double>(s[i * rank + k]);
            sum += sk * sk + 2 * log(static_cast<double>(l[i * rank * rank + k * (rank + 1)]));
        }
        out[i] = -0.5 * sum;
    }
};

template <Backend B>
void check_positive_definite(B& b, const_vector_t<B, int> info, index_t first) {
    const auto host = to_host(b, info);
    for (std::size_t i = 0; i < host.size(); ++i)
        check_value("prior::gaussian_conditional", host[i] == 0,
                    "the covariance of observation " + std::to_string(first + static_cast<index_t>(i)) +
                        " is not positive definite or not finite");
}

/// For element-wise A and Sigma_y (a mask and independent noise). With a, n their diagonals,
///
///     E = n + a^2 d,  g = n / E,  C = I + u' diag(a^2 / E) u = L L',  s = C^-1 u' (a / E) (y - a mu),
///     E[x | y] = mu + d (a / E) (y - a mu) + g u s,  Cov[x | y] = diag(g d) + (diag(g) u L'^-1)(...)'.
///
/// Nothing is subtracted in the covariance; d may have zeros. Costs 2 D r^2 per item, as one matrix product.
template <Backend B>
class elementwise_conditional {
    using T = scalar_t<B>;

public:
    elementwise_conditional(B& b, const diffusion::gaussian<B>& prior)
        : prior_(prior), products_(b, prior.rank() * prior.rank(), prior.features()) {
        if (prior.rank() > 0)
            b.launch(prior.features(), prior.rank() * prior.rank(), row_products{prior.features(), prior.rank()},
                     prior.u().data(), products_.view().data());
    }

    /// Conditions on the observations of a batch (first: number of its first item, for messages): sets the means (D x n)
    /// and log p(y_i), and keeps what `add_covariances` and `draw` need until the next call.
    template <class Observation>
    void condition(B& b, const Observation& observed, index_t first, view_t<B> mean, vector_t<B, double> log_evidence) {
        const index_t n = prior_.features(), r = prior_.rank(), items = observed.items();
        check_size("prior::gaussian_conditional", "A.rows()", observed.forward_operator().rows(), n);
        if (g_.items() != items) g_ = batch<B>(b, n, items);
        if (l_.items() != items) l_ = batch<B>(b, r * r, items);
        batch<B> a(b, n, items), noise(b, n, items), e(b, n, items), w(b, n, items), residual(b, n, items);
        batch<B> c(b, n, items), s(b, r, items), h(b, n, items);
        b.fill(w.view(), T(1));
        observed.forward_operator().apply(b, w.cview(), a.view());
        observed.noise().apply(b, w.cview(), noise.view());
        b.map(conditional_weights{}, e.view(), w.view(), g_.view(), noise.cview(), a.cview(), per_feature{prior_.d()});
        b.map(conditional_residual{}, residual.view(), c.view(), observed.y(), a.cview(), e.cview(),
              per_feature{prior_.mu()});
        b.fill(h.view(), T(0));
        if (r > 0) {
            b.gemm(T(1), products_.cview(), op::none, w.cview(), op::none, T(0), l_.view());
            b.launch(items, r, functors::add_identity{r}, l_.view().data());
            batch<B, int> info(b, items, 1);
            b.cholesky(as_matrices(l_.view(), r, r), info.flat());
            check_positive_definite(b, const_vector_t<B, int>(info.flat()), first);
            b.gemm(T(1), prior_.u(), op::transpose, c.cview(), op::none, T(0), s.view());
            solve(b, op::none, s);
            solve(b, op::transpose, s);
            b.gemm(T(1), prior_.u(), op::none, s.cview(), op::none, T(0), h.view());
        }
        b.map(conditional_mean{}, mean, c.cview(), g_.cview(), h.cview(), per_feature{prior_.mu()},
              per_feature{prior_.d()});
        b.launch(items, 8 * n, elementwise_evidence{n, r}, e.cview().data(), residual.cview().data(), a.cview().data(),
                 h.cview().data(), l_.cview().data(), s.cview().data(), log_evidence.data());
    }

    /// c += sum_i Cov[x_i | y_i], D x D. Costs 2 D^2 r per item.
    void add_covariances(B& b, view_t<B> c) const {
        const index_t n = prior_.features(), r = prior_.rank(), items = g_.items();
        b.launch(n, items, add_variances{n, items, c.stride()}, g_.cview().data(), prior_.d().data(), c.data());
        if (r == 0) return;
        const index_t block = std::max<index_t>(1, std::min(items, (index_t{1} << 22) / (n * r)));
        batch<B> inverse(b, r * r, block), f(b, n * r, block);
        for (index_t from = 0; from < items; from += block) {
            const index_t count = std::min(block, items - from);
            const auto part = inverse.view().item_range(0, count);
            b.launch(count, r * r, unit_matrices{r}, part.data());
            b.trsm(const_matrices_t<B>(as_matrices(l_.cview().item_range(from, count), r, r)), op::none,
                   as_matrices(part, r, r));
            const const_matrices_t<B> u(prior_.u().data(), n, r, prior_.u().stride(), 0, count);
            b.gemm_batched(T(1), u, op::none, const_matrices_t<B>(as_matrices(part, r, r)), op::transpose, T(0),
                           as_matrices(f.view().item_range(0, count), n, r));
            b.launch(count * r, n, weigh_columns{n, r}, g_.cview().item_range(from, count).data(), f.view().data());
            const const_view_t<B> columns(f.cview().data(), n, r * count, n);
            b.gemm(T(1), columns, op::none, columns, op::transpose, T(1), c);
        }
    }

    /// x_i ~ p(x | y_i), exactly: mean as set by `condition`; item i uses the D + r normals (key, i).
    void draw(B& b, const random_key& key, const_view_t<B> mean, view_t<B> x) const {
        const index_t n = prior_.features(), r = prior_.rank(), items = g_.items();
        batch<B> z(b, n + r, items), s(b, r, items), h(b, n, items);
        b.fill_normal(key, z.view());
        b.fill(h.view(), T(0));
        if (r > 0) {
            b.copy(z.cview().feature_range(n, r), s.view());
            solve(b, op::transpose, s);
            b.gemm(T(1), prior_.u(), op::none, s.cview(), op::none, T(0), h.view());
        }
        b.map(conditional_draw{}, x, mean, z.cview().feature_range(0, n), g_.cview(), h.cview(),
              per_feature{prior_.d()});
    }

private:
    void solve(B& b, op t, batch<B>& s) const {
        const index_t r = prior_.rank();
        b.trsm(const_matrices_t<B>(as_matrices(l_.cview(), r, r)), t, as_columns(s.view()));
    }
    const diffusion::gaussian<B>& prior_;
    batch<B> products_, g_, l_;
};

}  // namespace diem::prior::detail
