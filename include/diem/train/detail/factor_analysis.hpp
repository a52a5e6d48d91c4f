// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <diem/backend/batch.hpp>
#include <diem/backend/concept.hpp>
#include <diem/backend/functors.hpp>
#include <diem/core/check.hpp>
#include <diem/train/detail/leading_eigenpairs.hpp>

/// \file
/// Covariances as products, and the updates of factor analysis on them.

namespace diem::train::detail {

/// rest[j] = max(diagonal of C - square of row j of u, least)
struct remaining_variance {
    index_t features, rank;
    double least;
    template <class T>
    DIEM_HOST_DEVICE void operator()(index_t j, const T* variance, const T* u, T* rest) const {
        double sum = static_cast<double>(variance[j]);
        for (index_t k = 0; k < rank; ++k)
            sum -= static_cast<double>(u[j + k * features]) * static_cast<double>(u[j + k * features]);
        rest[j] = static_cast<T>(sum > least ? sum : least);
    }
};
struct read_diagonal {
    index_t stride;
    template <class T>
    DIEM_HOST_DEVICE void operator()(index_t j, const T* c, T* d) const {
        d[j] = c[j + j * stride];
    }
};
/// Mean square of each feature.
struct feature_variance {
    index_t features, items;
    template <class T>
    DIEM_HOST_DEVICE void operator()(index_t j, const T* x, T* d) const {
        double sum = 0;
        for (index_t i = 0; i < items; ++i)
            sum += static_cast<double>(x[j + i * features]) * static_cast<double>(x[j + i * features]);
        d[j] = static_cast<T>(sum / static_cast<double>(items));
    }
};

/// C given as a matrix.
template <Backend B>
struct dense_covariance {
    const_view_t<B> c;
    void operator()(B& b, const_view_t<B> x, view_t<B> y) const {
        b.gemm(scalar_t<B>(1), c, op::none, x, op::none, scalar_t<B>(0), y);
    }
    void variances(B& b, view_t<B> d) const {
        b.launch(c.features(), 1, read_diagonal{c.stride()}, c.data(), d.data());
    }
};
/// C = x x' / items of centred samples (or, `inner`, the smaller x' x / items), not formed.
template <Backend B>
struct sample_covariance {
    const_view_t<B> x;
    bool inner = false;
    void operator()(B& b, const_view_t<B> v, view_t<B> y) const {
        using T = scalar_t<B>;
        batch<B> t(b, inner ? x.features() : x.items(), v.items());
        b.gemm(T(1) / static_cast<T>(x.items()), x, inner ? op::none : op::transpose, v, op::none, T(0), t.view());
        b.gemm(T(1), x, inner ? op::transpose : op::none, t.cview(), op::none, T(0), y);
    }
    void variances(B& b, view_t<B> d) const {
        b.launch(x.features(), x.items(), feature_variance{x.features(), x.items()}, x.data(), d.data());
    }
};

/// L^-1 of L L' = a, k x k positive definite, which is overwritten.
template <Backend B>
void inverse_root(B& b, batch<B>& a, batch<B>& inverse) {
    const index_t k = a.features();
    auto info = b.template allocate<int>(1);
    b.cholesky(as_matrix(a.view()), info.view());
    check_value("train::ppca", to_host(b, vector_t<B, int>(info.view()))[0] == 0,
                "a matrix of the factor-analysis update is not positive definite");
    b.launch(k, k, set_identity{k}, inverse.view().data());
    b.trsm(const_matrices_t<B>(as_matrix(a.view())), op::none, as_matrix(inverse.view()));
}

/// `iterations` updates of N(mean, diag(d) + u u') on the covariance C, with beta = D^-1 u (I + u'D^-1 u)^-1, which makes factors
/// z = beta'x of x, and E = E[z z']:
///
///     E = (I + u'D^-1 u)^-1 + beta' C beta = L L',  u = C beta L'^-1,  d = diag(C - u u').
///
/// No update lowers the likelihood as long as the bound `least` > 0 of d is not met, and diag(d + u u') = diag(C). Rubin and
/// Thayer (Psychometrika 1982) have u = C beta E^-1: the same but for the factors' scale, which then hardly moves where
/// features are many or exact. Here E[z z'] = I after each update: parameter expansion (Liu, Rubin and Wu, Biometrika 1998).
template <Backend B, class Covariance>
void factor_analysis(B& b, const Covariance& c, index_t iterations, double least, view_t<B> d, view_t<B> u) {
    using T = scalar_t<B>;
    const index_t n = u.features(), r = u.items();
    batch<B> variance(b, n, 1);
    c.variances(b, variance.view());
    const auto set_rest = [&] {
        b.launch(n, r + 1, remaining_variance{n, r, least}, variance.cview().data(), u.data(), d.data());
    };
    if (r == 0) return set_rest();
    batch<B> w(b, n, r), beta(b, n, r), cb(b, n, r), m(b, r, r), root(b, r, r), inverse(b, r, r);
    for (index_t k = 0; k < iterations; ++k) {
        b.map(functors::quotient{}, w.view(), const_view_t<B>(u), per_feature{const_vector_t<B>({d.data(), n})});
        b.gemm(T(1), const_view_t<B>(u), op::transpose, w.cview(), op::none, T(0), m.view());
        b.launch(r, 1, add_to_diagonal{r, 1.0}, m.view().data());
        inverse_root(b, m, root);
        b.gemm(T(1), root.cview(), op::transpose, root.cview(), op::none, T(0), inverse.view());
        b.gemm(T(1), w.cview(), op::none, inverse.cview(), op::none, T(0), beta.view());
        c(b, beta.cview(), cb.view());
        b.gemm(T(1), beta.cview(), op::transpose, cb.cview(), op::none, T(1), inverse.view());
        inverse_root(b, inverse, root);
        b.gemm(T(1), cb.cview(), op::none, root.cview(), op::transpose, T(0), u);
        set_rest();
    }
}

}  // namespace diem::train::detail
