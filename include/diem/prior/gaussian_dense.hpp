// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>

#include <diem/backend/batch.hpp>
#include <diem/backend/concept.hpp>
#include <diem/backend/functors.hpp>
#include <diem/core/check.hpp>
#include <diem/diffusion/gaussian.hpp>
#include <diem/prior/gaussian_conditional.hpp>

namespace diem::prior::detail {

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
    DIEM_HOST_DEVICE void operator()(index_t j, const T* d, T* c) const {
        c[j + j * features] += d[j];
    }
};
struct dense_evidence {
    index_t rows;
    template <class T>
    DIEM_HOST_DEVICE void operator()(index_t i, const T* l, const T* w, double* out) const {
        using std::log;
        double sum = static_cast<double>(rows) * 1.8378770664093454836;  // log 2 pi
        for (index_t k = 0; k < rows; ++k) {
            const double z = static_cast<double>(w[i * rows + k]);
            sum += z * z + 2 * log(static_cast<double>(l[i * rows * rows + k * (rows + 1)]));
        }
        out[i] = -0.5 * sum;
    }
};

/// For any linear A, whose matrices are formed by applying it to the unit vectors:
///
///     S = A Sigma A' + Sigma_y = L L',  K = L^-1 A Sigma,  w = L^-1 (y - A mu),
///     E[x | y] = mu + K' w,  Cov[x | y] = Sigma - K' K.
///
/// Memory 2 D rows + rows^2 per item, time D^2 rows: for small problems. The covariance is a difference, accurate to
/// epsilon ||Sigma||.
template <Backend B>
class dense_conditional {
    using T = scalar_t<B>;

public:
    dense_conditional(B& b, const diffusion::gaussian<B>& prior)
        : prior_(prior), sigma_(b, prior.features(), prior.features()) {
        const index_t n = prior.features();
        b.gemm(T(1), prior.u(), op::none, prior.u(), op::transpose, T(0), sigma_.view());
        b.launch(n, 1, add_diagonal_of{n}, prior.d().data(), sigma_.view().data());
    }

    /// See elementwise_conditional.
    template <class Observation>
    void condition(B& b, const Observation& observed, index_t first, view_t<B> mean, vector_t<B, double> log_evidence) {
        const auto& a = observed.forward_operator();
        const index_t n = prior_.features(), rows = a.rows(), items = observed.items();
        check_size("prior::gaussian_conditional", "A.cols()", a.cols(), n);
        batch<B> matrix(b, rows * n, items), s(b, rows * rows, items), w(b, rows, items);
        k_ = batch<B>(b, rows * n, items);
        materialize(b, a, n, rows, items, matrix);
        materialize(b, observed.noise(), rows, rows, items, s);
        const const_matrices_t<B> sigma(sigma_.cview().data(), n, n, n, 0, items);
        const const_matrices_t<B> forward(as_matrices(matrix.cview(), rows, n));
        const auto k = as_matrices(k_.view(), rows, n);
        b.gemm_batched(T(1), forward, op::none, sigma, op::none, T(0), k);
        b.gemm_batched(T(1), const_matrices_t<B>(k), op::none, forward, op::transpose, T(1),
                       as_matrices(s.view(), rows, rows));
        batch<B, int> info(b, items, 1);
        b.cholesky(as_matrices(s.view(), rows, rows), info.flat());
        check_positive_definite(b, const_vector_t<B, int>(info.flat()), first);
        const const_matrices_t<B> l(as_matrices(s.cview(), rows, rows));
        b.trsm(l, op::none, k);
        b.fill(mean, T(0));
        b.map(functors::add{}, mean, per_feature{prior_.mu()});
        a.apply(b, const_view_t<B>(mean), w.view());
        b.map(functors::subtract_from{}, w.view(), observed.y());
        b.trsm(l, op::none, as_columns(w.view()));
        b.gemm_batched(T(1), const_matrices_t<B>(k), op::transpose, const_matrices_t<B>(as_columns(w.cview())),
                       op::none, T(1), as_columns(mean));
        b.launch(items, rows, dense_evidence{rows}, s.cview().data(), w.cview().data(), log_evidence.data());
    }

    /// c += sum_i Cov[x_i | y_i], D x D.
    void add_covariances(B& b, view_t<B> c) const {
        const index_t n = prior_.features(), items = k_.items(), rows = k_.features() / std::max<index_t>(n, 1);
        b.axpby(static_cast<double>(items), sigma_.cview(), 1.0, c);
        for (index_t i = 0; i < items; ++i) {
            const const_view_t<B> k(k_.cview().item_range(i, 1).data(), rows, n, rows);
            b.gemm(T(-1), k, op::transpose, k, op::none, T(1), c);
        }
    }

private:
    /// The matrices of an operator, rows x cols per item.
    template <class A>
    static void materialize(B& b, const A& a, index_t cols, index_t rows, index_t items, batch<B>& out) {
        batch<B> unit(b, cols, items);
        for (index_t j = 0; j < cols; ++j) {
            b.launch(items, cols, fill_unit{j, cols}, unit.view().data());
            a.apply(b, unit.cview(), out.view().feature_range(j * rows, rows));
        }
    }
    const diffusion::gaussian<B>& prior_;
    batch<B> sigma_, k_;
};

}  // namespace diem::prior::detail
