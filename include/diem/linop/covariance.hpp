// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <diem/backend/functors.hpp>
#include <diem/core/random.hpp>
#include <diem/linop/data.hpp>
#include <diem/linop/diagonal.hpp>

/// \file
/// Covariances Sigma: symmetric positive definite operators that can also be inverted and sampled. Units: variances.
/// \snippet tests/examples/linop.cpp linop/covariance.hpp

namespace diem::linop {

/// A `NoiseCovariance` with its log-determinant.
/// `log_determinant(b, out)`    log det Sigma_i, one per item
template <class C, class B>
concept Covariance =
    NoiseCovariance<C, B> && requires(const C& c, B& b, vector_t<B, double> out) { c.log_determinant(b, out); };

/// out_i = x_i'Sigma_i^-1 x_i: the covariance's own sum of squares where it has one (`mahalanobis(b, x, out)`), else the inner
/// product with Sigma^-1 x.
template <Backend B, Covariance<B> C>
void mahalanobis(B& b, const C& c, const_view_t<B> x, vector_t<B, double> out) {
    if constexpr (requires { c.mahalanobis(b, x, out); }) {
        c.mahalanobis(b, x, out);
    } else {
        batch<B> y(b, x.features(), x.items());
        c.apply_inverse(b, x, y.view());
        b.dot(x, y.cview(), out);
    }
}

namespace detail {

struct times_root {
    template <class V>
    DIEM_HOST_DEVICE void operator()(V& y, const V& z, const V& d) const {
        using std::sqrt;
        y = sqrt(d) * z;
    }
};
struct sum_of_logs {
    index_t n, stride;
    template <class T>
    DIEM_HOST_DEVICE void operator()(index_t i, const T* d, double* out) const {
        double sum = 0;
        for (index_t j = 0; j < n; ++j) sum += std::log(static_cast<double>(d[i * stride + j]));
        out[i] = sum;
    }
};

}  // namespace detail

/// Sigma^-1 of a covariance, as an operator.
template <class C>
class precision_of {
public:
    using operator_tag = symmetric_tag;
    explicit precision_of(C c) : c_(std::move(c)) {}
    [[nodiscard]] index_t rows() const { return c_.rows(); }
    [[nodiscard]] index_t cols() const { return c_.cols(); }
    [[nodiscard]] index_t items() const { return c_.items(); }
    [[nodiscard]] precision_of items(index_t first, index_t count) const {
        return precision_of(c_.items(first, count));
    }
    template <Backend B>
    void apply(B& b, const_view_t<B> x, view_t<B> y) const {
        c_.apply_inverse(b, x, y);
    }
    template <Backend B>
    void apply_adjoint(B& b, const_view_t<B> y, view_t<B> x) const {
        c_.apply_inverse(b, y, x);
    }

private:
    C c_;
};
template <class C>
[[nodiscard]] precision_of<C> precision(C c) {
    return precision_of<C>(std::move(c));
}

/// Sigma = variance I, for any number of items.
class isotropic_covariance {
public:
    using operator_tag = symmetric_tag;
    using elementwise_tag = linop::elementwise_tag;
    isotropic_covariance(index_t size, double variance) : size_(size), variance_(variance) {
        check_value("isotropic_covariance", size >= 0, "size is negative");
        check_positive("isotropic_covariance", "variance", variance);
    }

    [[nodiscard]] index_t rows() const { return size_; }
    [[nodiscard]] index_t cols() const { return size_; }
    [[nodiscard]] index_t items() const { return any_items; }
    [[nodiscard]] double variance() const { return variance_; }
    [[nodiscard]] isotropic_covariance items(index_t, index_t) const { return *this; }
    template <Backend B>
    void apply(B& b, const_view_t<B> x, view_t<B> y) const {
        check_apply("isotropic_covariance", *this, x, y);
        b.axpby(variance_, x, 0.0, y);
    }
    template <Backend B>
    void apply_adjoint(B& b, const_view_t<B> y, view_t<B> x) const {
        apply<B>(b, y, x);
    }
    template <Backend B>
    void apply_inverse(B& b, const_view_t<B> x, view_t<B> y) const {
        check_apply("isotropic_covariance (inverse)", *this, x, y);
        b.axpby(1 / variance_, x, 0.0, y);
    }
    template <Backend B>
    void log_determinant(B& b, vector_t<B, double> out) const {
        b.fill(as_batch(out), static_cast<double>(size_) * std::log(variance_));
    }
    template <Backend B>
    void sample(B& b, const random_key& key, view_t<B> y) const {
        check_apply("isotropic_covariance (sample)", *this, y, y);
        b.fill_normal(key, y);
        b.axpby(0.0, const_view_t<B>(y), std::sqrt(variance_), y);
    }

private:
    index_t size_;
    double variance_;
};

/// Sigma = diag(d), one for all items or one per item.
template <Backend B>
class diagonal_covariance {
public:
    using operator_tag = symmetric_tag;
    using elementwise_tag = linop::elementwise_tag;

    /// d: n variances > 0. Throws value_error (this waits for the device).
    [[nodiscard]] static diagonal_covariance shared(B& b, item_data<B> d) {
        return diagonal_covariance(b, diagonal<B>::shared(std::move(d)));
    }
    /// d: n x items.
    [[nodiscard]] static diagonal_covariance per_item(B& b, item_data<B> d) {
        return diagonal_covariance(b, diagonal<B>::per_item(std::move(d)));
    }

    [[nodiscard]] index_t rows() const { return d_.rows(); }
    [[nodiscard]] index_t cols() const { return d_.cols(); }
    [[nodiscard]] index_t items() const { return d_.items(); }
    [[nodiscard]] const diagonal<B>& variances() const { return d_; }
    [[nodiscard]] diagonal_covariance items(index_t first, index_t count) const {
        return diagonal_covariance(d_.items(first, count));
    }
    void apply(B& b, const_view_t<B> x, view_t<B> y) const { d_.apply(b, x, y); }
    void apply_adjoint(B& b, const_view_t<B> y, view_t<B> x) const { d_.apply(b, y, x); }
    void apply_inverse(B& b, const_view_t<B> x, view_t<B> y) const { d_.map(b, functors::quotient{}, x, y); }
    void log_determinant(B& b, vector_t<B, double> out) const {
        const auto d = d_.values().view();
        if (items() >= 0) check_size("diagonal_covariance::log_determinant", "out.size()", out.size(), items());
        const index_t stride = d_.is_shared() ? 0 : d.stride();
        b.launch(out.size(), 8 * rows(), detail::sum_of_logs{rows(), stride}, d.data(), out.data());
    }
    void sample(B& b, const random_key& key, view_t<B> y) const {
        check_apply("diagonal_covariance (sample)", *this, y, y);
        batch<B> z(b, y.features(), y.items());
        b.fill_normal(key, z.view());
        d_.map(b, detail::times_root{}, z.view(), y);
    }

private:
    explicit diagonal_covariance(diagonal<B> d) : d_(std::move(d)) {}
    diagonal_covariance(B& b, diagonal<B> d) : d_(std::move(d)) {
        check_entries<positive_entry>("diagonal_covariance", b, "variances", d_.values().view());
    }
    diagonal<B> d_;
};

}  // namespace diem::linop
