// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <diem/backend/functors.hpp>
#include <diem/linop/covariance.hpp>

namespace diem::linop {

namespace detail {

/// W = D_i^-1 U. Index: item * rank + column.
struct divide_columns {
    index_t n, rank, d_stride, u_stride;
    template <class T>
    DIEM_HOST_DEVICE void operator()(index_t index, const T* d, const T* u, T* w) const {
        const index_t item = index / rank, column = index - item * rank;
        for (index_t j = 0; j < n; ++j) w[index * n + j] = u[column * u_stride + j] / d[item * d_stride + j];
    }
};
/// sum log d + 2 sum log diag L
struct log_determinant_of_parts {
    index_t n, rank, d_stride, l_stride;
    template <class T>
    DIEM_HOST_DEVICE void operator()(index_t i, const T* d, const T* l, double* out) const {
        double sum = 0;
        for (index_t j = 0; j < n; ++j) sum += std::log(static_cast<double>(d[i * d_stride + j]));
        for (index_t k = 0; k < rank; ++k) sum += 2 * std::log(static_cast<double>(l[i * l_stride + k * (rank + 1)]));
        out[i] = sum;
    }
};

}  // namespace detail

/// Sigma_i = diag(d_i) + U U': U is n x rank, the same for all items; d one for all or one per item.
///
/// The inverse is Woodbury's, written so that nothing of the size of Sigma^-1 is subtracted:
///     Sigma^-1 x = D^-1 (x - U t),   t = C^-1 U' D^-1 x,   C = I + U' D^-1 U  (Cholesky, once)
/// followed by one step of iterative refinement, since x - U t cancels where U U' is far above D: the relative error in x
/// falls from kappa eps to eps + (kappa eps)^2, kappa the condition of Sigma.
/// log det Sigma = log det D + log det C.
template <Backend B>
class low_rank_covariance {
    using T = scalar_t<B>;

public:
    using operator_tag = symmetric_tag;

    /// d: n variances > 0; u: n x rank (features x items). Throws value_error (this waits for the device).
    [[nodiscard]] static low_rank_covariance shared(B& b, item_data<B> d, item_data<B> u) {
        return low_rank_covariance(b, diagonal<B>::shared(std::move(d)), std::move(u));
    }
    /// d: n x items.
    [[nodiscard]] static low_rank_covariance per_item(B& b, item_data<B> d, item_data<B> u) {
        return low_rank_covariance(b, diagonal<B>::per_item(std::move(d)), std::move(u));
    }

    [[nodiscard]] index_t rows() const { return d_.rows(); }
    [[nodiscard]] index_t cols() const { return d_.rows(); }
    [[nodiscard]] index_t items() const { return d_.items(); }
    [[nodiscard]] index_t rank() const { return u_.items(); }
    [[nodiscard]] const diagonal<B>& variances() const { return d_; }
    [[nodiscard]] const_view_t<B> factor() const { return u_.view(); }
    [[nodiscard]] low_rank_covariance items(index_t first, index_t count) const {
        low_rank_covariance part(*this);
        part.d_ = d_.items(first, count);
        if (!d_.is_shared()) part.cholesky_ = cholesky_.items(first, count);
        return part;
    }

    void apply(B& b, const_view_t<B> x, view_t<B> y) const {
        d_.apply(b, x, y);
        batch<B> t(b, rank(), x.items());
        b.gemm(T(1), u_.view(), op::transpose, x, op::none, T(0), t.view());
        b.gemm(T(1), u_.view(), op::none, t.cview(), op::none, T(1), y);
    }
    void apply_adjoint(B& b, const_view_t<B> y, view_t<B> x) const { apply(b, y, x); }
    void apply_inverse(B& b, const_view_t<B> x, view_t<B> y) const {
        detail::check_apply("low_rank_covariance (inverse)", *this, x, y);
        woodbury(b, x, y);
        batch<B> residual(b, x.features(), x.items()), correction(b, x.features(), x.items());
        apply(b, y, residual.view());
        b.axpby(1.0, x, -1.0, residual.view());
        woodbury(b, residual.cview(), correction.view());
        b.axpby(1.0, correction.cview(), 1.0, y);
    }
    void log_determinant(B& b, vector_t<B, double> out) const {
        if (items() >= 0) check_size("low_rank_covariance::log_determinant", "out.size()", out.size(), items());
        const auto d = d_.values().view();
        const auto l = cholesky_.view();
        const bool common = d_.is_shared();
        b.launch(out.size(), 8 * rows(),
                 detail::log_determinant_of_parts{rows(), rank(), common ? 0 : d.stride(), common ? 0 : l.stride()},
                 d.data(), l.data(), out.data());
    }
    void sample(B& b, const random_key& key, view_t<B> y) const {
        detail::check_apply("low_rank_covariance (sample)", *this, y, y);
        batch<B> z(b, rows() + rank(), y.items());
        b.fill_normal(key, z.view());
        d_.map(b, detail::times_root{}, detail::rows_of(z.cview(), 0, rows()), y);
        b.gemm(T(1), u_.view(), op::none, detail::rows_of(z.cview(), rows(), rank()), op::none, T(1), y);
    }

private:
    low_rank_covariance(B& b, diagonal<B> d, item_data<B> u)
        : d_(std::move(d)), u_(std::move(u)), cholesky_(factorize(b, d_, u_)) {}

    static batch<B> factorize(B& b, const diagonal<B>& diag, const item_data<B>& factor) {
        const auto d = diag.values().view();
        const auto u = factor.view();
        check_size("low_rank_covariance", "features of u", u.features(), d.features());
        detail::check_variances<B>("low_rank_covariance", b, d);
        const index_t n = u.features(), r = u.items(), count = d.items();
        batch<B> c(b, r * r, count);
        // D_i^-1 U is as large as `part` copies of U.
        const index_t part =
            std::clamp<index_t>((index_t{1} << 22) / std::max<index_t>(n * r, 1), 1, std::max<index_t>(count, 1));
        batch<B> w(b, n * r, part);
        for (index_t first = 0; first < count; first += part) {
            const index_t m = std::min(part, count - first);
            const auto di = d.item_range(first, m);
            b.launch(m * r, n, detail::divide_columns{n, r, di.stride(), u.stride()}, di.data(), u.data(),
                     w.view().data());
            b.gemm_batched(T(1), const_matrices_t<B>(u.data(), n, r, u.stride(), 0, m), op::transpose,
                           as_matrices(w.cview().item_range(0, m), n, r), op::none, T(0),
                           as_matrices(c.view().item_range(first, m), r, r));
        }
        b.launch(count, r, functors::add_identity{r}, c.view().data());
        batch<B, int> info(b, count, 1);
        b.cholesky(as_matrices(c.view(), r, r), info.flat());
        for (const int failed : to_host(b, info))
            check_value("low_rank_covariance", failed == 0, "u is not finite, or too large beside the variances");
        return c;
    }
    void woodbury(B& b, const_view_t<B> x, view_t<B> y) const {
        d_.map(b, functors::quotient{}, x, y);
        batch<B> t(b, rank(), x.items());
        b.gemm(T(1), u_.view(), op::transpose, const_view_t<B>(y), op::none, T(0), t.view());
        const auto l = cholesky_.view();
        const const_matrices_t<B> lower(l.data(), rank(), rank(), rank(), d_.is_shared() ? 0 : l.stride(), x.items());
        b.trsm(lower, op::none, as_columns(t.view()));
        b.trsm(lower, op::transpose, as_columns(t.view()));
        batch<B> rest(b, x.features(), x.items());
        b.copy(x, rest.view());
        b.gemm(T(-1), u_.view(), op::none, t.cview(), op::none, T(1), rest.view());
        d_.map(b, functors::quotient{}, rest.cview(), y);
    }

    diagonal<B> d_;
    item_data<B> u_, cholesky_;
};

}  // namespace diem::linop
