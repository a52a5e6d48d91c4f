// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <numbers>

#include <diem/backend/batch.hpp>
#include <diem/backend/concept.hpp>
#include <diem/backend/functors.hpp>
#include <diem/core/check.hpp>
#include <diem/diffusion/gaussian.hpp>
#include <diem/linop/low_rank.hpp>
#include <diem/posterior/gaussian_conditional.hpp>

/// \file
/// p(x | y) of a Gaussian prior behind any linear operator, by matrices.
/// \snippet tests/examples/posterior.cpp posterior/gaussian_dense.hpp

namespace diem::posterior {

namespace detail {

struct fill_unit {
    index_t j, features;
    template <class T>
    DIEM_HOST_DEVICE void operator()(index_t i, T* x) const {
        for (index_t k = 0; k < features; ++k) x[i * features + k] = k == j ? T(1) : T(0);
    }
};
struct add_diagonal_of {
    index_t features;
    template <class T>
    DIEM_HOST_DEVICE void operator()(index_t j, const T* d, double* c) const {
        c[j + j * features] += static_cast<double>(d[j]);
    }
};
struct dense_evidence {
    index_t rows;
    DIEM_HOST_DEVICE void operator()(index_t i, const double* l, const double* w, double* out) const {
        using std::log;
        double sum = static_cast<double>(rows) * log(2 * std::numbers::pi);
        for (index_t k = 0; k < rows; ++k) {
            const double z = w[i * rows + k];
            sum += z * z + 2 * log(l[i * rows * rows + k * (rows + 1)]);
        }
        out[i] = -0.5 * sum;
    }
};
struct add_to_mean {  // m = mu + shift
    index_t n, stride;
    template <class T>
    DIEM_HOST_DEVICE void operator()(index_t i, const T* mu, const double* shift, T* m) const {
        for (index_t j = 0; j < n; ++j)
            m[i * stride + j] = static_cast<T>(static_cast<double>(mu[j]) + shift[i * n + j]);
    }
};
struct add_scaled {  // column i of c += scale sigma + sum
    index_t n, stride;
    double scale;
    template <class T>
    DIEM_HOST_DEVICE void operator()(index_t i, const double* sigma, const double* sum, T* c) const {
        for (index_t j = 0; j < n; ++j) c[i * stride + j] += static_cast<T>(scale * sigma[i * n + j] + sum[i * n + j]);
    }
};

}  // namespace detail

/// For any linear A, whose matrices are formed by applying it to the unit vectors:
///
///     S = A Sigma A' + Sigma_y = L L',  K = L^-1 A Sigma,  w = L^-1 (y - A mu),
///     E[x | y] = mu + K' w,  Cov[x | y] = Sigma - K' K.
///
/// In float64 whatever the backend's scalar. Memory 2 D rows + rows^2 per item, time D^2 rows: for small problems. The
/// covariance is a difference, accurate to epsilon ||Sigma|| of the float64.
template <Backend B>
class dense_conditional {
    using T = scalar_t<B>;
    using matrices64 = const_matrices_t<B, double>;

public:
    dense_conditional(B& b, const diffusion::gaussian<B>& prior)
        : prior_(prior), sigma_(b, prior.features(), prior.features()) {
        prior.require_no_basis("posterior::gaussian_conditional");
        const index_t n = prior.features();
        batch<B, double> u(b, n, prior.rank());
        linop::convert(b, prior.u(), u.view());
        b.gemm(1.0, u.cview(), op::none, u.cview(), op::transpose, 0.0, sigma_.view());
        b.launch(n, 1, detail::add_diagonal_of{n}, prior.d().data(), sigma_.view().data());
    }

    /// See elementwise_conditional.
    template <class Observation>
    void condition(B& b, const Observation& observed, index_t first, view_t<B> mean, vector_t<B, double> log_evidence) {
        static_assert(linop::LinearOperator<typename Observation::operator_type, B>,
                      "gaussian_conditional: A is not linear, and p(x | y) of a Gaussian prior not Gaussian");
        const auto& a = observed.forward_operator();
        const index_t n = prior_.features(), rows = a.rows(), items = observed.items();
        check_size("posterior::gaussian_conditional", "A.cols()", a.cols(), n);
        batch<B> center(b, n, items), residual(b, rows, items);
        batch<B, double> matrix(b, rows * n, items), s(b, rows * rows, items), w(b, rows, items), shift(b, n, items);
        k_ = batch<B, double>(b, rows * n, items);
        materialize(b, a, n, rows, items, matrix);
        materialize(b, observed.noise(), rows, rows, items, s);
        const matrices64 sigma(sigma_.cview().data(), n, n, n, 0, items);
        const matrices64 forward(as_matrices(matrix.cview(), rows, n));
        const auto k = as_matrices(k_.view(), rows, n);
        b.gemm_batched(1.0, forward, op::none, sigma, op::none, 0.0, k);
        b.gemm_batched(1.0, matrices64(k), op::none, forward, op::transpose, 1.0, as_matrices(s.view(), rows, rows));
        batch<B, int> info(b, items, 1);
        b.cholesky(as_matrices(s.view(), rows, rows), info.flat());
        detail::check_positive_definite(b, const_vector_t<B, int>(info.flat()), first);
        const matrices64 l(as_matrices(s.cview(), rows, rows));
        b.trsm(l, op::none, k);
        b.fill(center.view(), T(0));
        b.map(functors::add{}, center.view(), per_feature{prior_.mu()});
        a.apply(b, center.cview(), residual.view());
        b.map(functors::subtract_from{}, residual.view(), observed.y());
        linop::convert(b, residual.cview(), w.view());
        b.trsm(l, op::none, as_columns(w.view()));
        b.gemm_batched(1.0, matrices64(k), op::transpose, matrices64(as_columns(w.cview())), op::none, 0.0,
                       as_columns(shift.view()));
        b.launch(items, n, detail::add_to_mean{n, mean.stride()}, prior_.mu().data(), shift.cview().data(),
                 mean.data());
        b.launch(items, rows, detail::dense_evidence{rows}, s.cview().data(), w.cview().data(), log_evidence.data());
    }

    /// See elementwise_conditional. Downloads the weights.
    void add_covariances(B& b, const_vector_t<B> weight, view_t<B> c) const {
        const index_t n = prior_.features(), items = k_.items(), rows = k_.features() / std::max<index_t>(n, 1);
        check_size("posterior::gaussian_conditional", "weight.size()", weight.size(), items);
        const auto weights = to_host(b, weight);
        double total = 0;
        batch<B, double> sum(b, n, n);
        b.fill(sum.view(), 0.0);
        for (index_t i = 0; i < items; ++i) {
            const const_view_t<B, double> k(k_.cview().item_range(i, 1).data(), rows, n, rows);
            const auto w = static_cast<double>(weights[static_cast<std::size_t>(i)]);
            if (w > 0) b.gemm(-w, k, op::transpose, k, op::none, 1.0, sum.view());
            total += w;
        }
        b.launch(n, n, detail::add_scaled{n, c.stride(), total}, sigma_.cview().data(), sum.cview().data(), c.data());
    }

private:
    /// The matrices of an operator, rows x cols per item.
    template <class A>
    static void materialize(B& b, const A& a, index_t cols, index_t rows, index_t items, batch<B, double>& out) {
        batch<B> unit(b, cols, items), image(b, rows, items);
        for (index_t j = 0; j < cols; ++j) {
            b.launch(items, cols, detail::fill_unit{j, cols}, unit.view().data());
            a.apply(b, unit.cview(), image.view());
            linop::convert(b, image.cview(), out.view().feature_range(j * rows, rows));
        }
    }
    const diffusion::gaussian<B>& prior_;
    batch<B, double> sigma_, k_;
};

}  // namespace diem::posterior
