// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <type_traits>
#include <utility>

#include <diem/linop/covariance.hpp>
#include <diem/linop/low_rank.hpp>

/// \file
/// Noise that is diagonal + low rank.
/// \snippet tests/examples/linop.cpp linop/low_rank_covariance.hpp

namespace diem::linop {

/// Sigma_i = diag(d_i) + U U': U is n x rank, the same for all items; d one for all or one per item.
///
/// Inverse, norm and determinant are those of `low_rank_innovation`, in float64. Where U U' is far above D, Sigma^-1 x has
/// large entries that cancel in x'Sigma^-1 x: take `mahalanobis`, a sum of squares.
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
        if (!d_.is_shared()) part.innovation_ = innovation_.items(first, count);
        return part;
    }

    void apply(B& b, const_view_t<B> x, view_t<B> y) const {
        d_.apply(b, x, y);
        add_low_rank(b, 1, u_.view(), x, y);
    }
    void apply_adjoint(B& b, const_view_t<B> y, view_t<B> x) const { apply(b, y, x); }
    void apply_inverse(B& b, const_view_t<B> x, view_t<B> y) const {
        check_apply("low_rank_covariance (inverse)", *this, x, y);
        innovation_.solve(b, x, y);
        if constexpr (std::is_same_v<T, double>) {  // no digits in reserve: one step of iterative refinement
            batch<B> rest(b, x.features(), x.items()), correction(b, x.features(), x.items());
            apply(b, y, rest.view());
            b.axpby(1.0, x, -1.0, rest.view());
            innovation_.solve(b, rest.cview(), correction.view());
            b.axpby(1.0, correction.cview(), 1.0, y);
        }
    }
    /// out_i = x_i'Sigma_i^-1 x_i, a sum of squares.
    void mahalanobis(B& b, const_view_t<B> x, vector_t<B, double> out) const {
        check_apply("low_rank_covariance (mahalanobis)", *this, x, x);
        check_size("low_rank_covariance::mahalanobis", "out.size()", out.size(), x.items());
        innovation_.mahalanobis(b, x, out);
    }
    void log_determinant(B& b, vector_t<B, double> out) const {
        if (items() >= 0) check_size("low_rank_covariance::log_determinant", "out.size()", out.size(), items());
        innovation_.log_determinant(b, out);
    }
    void sample(B& b, const random_key& key, view_t<B> y) const {
        check_apply("low_rank_covariance (sample)", *this, y, y);
        batch<B> z(b, rows() + rank(), y.items());
        b.fill_normal(key, z.view());
        d_.map(b, detail::times_root{}, rows_of(z.cview(), 0, rows()), y);
        b.gemm(T(1), u_.view(), op::none, rows_of(z.cview(), rows(), rank()), op::none, T(1), y);
    }

private:
    low_rank_covariance(B& b, diagonal<B> d, item_data<B> u) : d_(std::move(d)), u_(std::move(u)) {
        const auto values = d_.values().view();
        check_size("low_rank_covariance", "features of u", u_.features(), values.features());
        check_entries<positive_entry>("low_rank_covariance", b, "variances", values);
        innovation_ = low_rank_innovation<B>(b, u_.features(), u_.items(), values.items(), false);
        innovation_.factor(b, values, 0, {}, {}, u_.view());
        if (u_.items() == 0) return;
        for (const int failed : to_host(b, innovation_.info()))
            check_value("low_rank_covariance", failed == 0, "u is not finite, or too large beside the variances");
    }

    diagonal<B> d_;
    item_data<B> u_;
    low_rank_innovation<B> innovation_;
};

}  // namespace diem::linop
