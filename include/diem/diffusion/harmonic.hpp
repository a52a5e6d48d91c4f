// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <memory>
#include <utility>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/backend/capabilities.hpp>
#include <diem/backend/concept.hpp>
#include <diem/backend/functors.hpp>
#include <diem/core/check.hpp>
#include <diem/linop/concept.hpp>

/// The covariance of x given x_t = x + sigma z for a Gaussian x with covariance Sigma = diag(d) + u u':
///
///     V = (Sigma^-1 + sigma^-2 I)^-1 = diag(v_d) + v_u v_u',
///     v_d = sigma^2 d / E,  v_u = sigma^2 E^-1 u L'^-1,  E = d + sigma^2,  L L' = C = I + u' E^-1 u.
///
/// The harmonic form: nothing is subtracted, so nothing cancels at any sigma, and d may be zero.
namespace diem::diffusion {

namespace detail {

struct harmonic_diagonal {  // v_d = s2 d / (d + s2)
    double s2;
    template <class V>
    DIEM_HOST_DEVICE void operator()(V& v, const V& d) const {
        using T = typename diem::detail::random_scalar<V>::type;
        v = T(s2) * (d / (d + T(s2)));
    }
};
struct harmonic_scaled {  // w = u / (d + s2)
    double s2;
    template <class V>
    DIEM_HOST_DEVICE void operator()(V& w, const V& u, const V& d) const {
        using T = typename diem::detail::random_scalar<V>::type;
        w = u / (d + T(s2));
    }
};
struct set_identity {  // column i of one n x n matrix
    index_t n;
    template <class T>
    DIEM_HOST_DEVICE void operator()(index_t i, T* a) const {
        for (index_t j = 0; j < n; ++j) a[i * n + j] = i == j ? T(1) : T(0);
    }
};
struct scaled_product {  // y = (scale a) x
    double scale;
    template <class V>
    DIEM_HOST_DEVICE void operator()(V& y, const V& x, const V& a) const {
        using T = typename diem::detail::random_scalar<V>::type;
        y = (T(scale) * a) * x;
    }
};
struct gaussian_mean_diagonal {  // x_hat = mu + (scale v_d) (x - mu)
    double scale;
    template <class V>
    DIEM_HOST_DEVICE void operator()(V& x_hat, const V& x, const V& mu, const V& v) const {
        using T = typename diem::detail::random_scalar<V>::type;
        x_hat = mu + (T(scale) * v) * (x - mu);
    }
};

struct no_low_rank {};
template <class B>
struct low_rank_of {
    using type = no_low_rank;
};
template <HasLowRank B>
struct low_rank_of<B> {
    using type = typename B::low_rank;
};

template <Backend B>
struct gaussian_parameters {
    batch<B> mu, d, u;  // D x 1, D x 1, D x r
};

/// V at one sigma.
template <Backend B>
struct harmonic_form {
    double sigma = 0;
    batch<B> d, u;  // v_d: D x 1, v_u: D x r
    batch<B> u_mu;  // v_u' mu: r x 1
    batch<B> w, c;  // E^-1 u: D x r; L in the lower triangle: r x r
    batch<B> inverse;
    buffer_t<B, int> info;
    typename low_rank_of<B>::type plan;  // of v_u, where the backend has one
    harmonic_form(B& b, index_t features, index_t rank)
        : d(b, features, 1), u(b, features, rank), u_mu(b, rank, 1), w(b, features, rank), c(b, rank, rank),
          inverse(b, rank, rank), info(b.template allocate<int>(1)) {}

    /// Reports no failed Cholesky factorisation: C >= I for finite parameters, which the model has checked.
    void factor(B& b, const gaussian_parameters<B>& p, double s) {
        using T = scalar_t<B>;
        const double s2 = s * s;
        const index_t rank = u.items();
        sigma = s;
        b.map(harmonic_diagonal{s2}, d.view(), p.d.view());
        if (rank == 0) return;
        b.map(harmonic_scaled{s2}, w.view(), p.u.view(), per_feature{p.d.flat()});
        b.launch(rank, rank, set_identity{rank}, c.view().data());
        b.launch(rank, rank, set_identity{rank}, inverse.view().data());
        b.gemm(T(1), p.u.view(), op::transpose, w.cview(), op::none, T(1), c.view());
        const auto one = [rank](auto v) { return matrix_batch(v.data(), rank, rank, rank, index_t{0}, index_t{1}); };
        b.cholesky(matrices_t<B>(one(c.view())), vector_t<B, int>(info.data(), 1));
        b.trsm(const_matrices_t<B>(one(c.cview())), op::none, matrices_t<B>(one(inverse.view())));
        b.gemm(T(s2), w.cview(), op::none, inverse.cview(), op::transpose, T(0), u.view());
        b.gemm(T(1), u.cview(), op::transpose, p.mu.view(), op::none, T(0), u_mu.view());
        if constexpr (HasLowRank<B>) plan.prepare(b, u.cview());
    }
};

}  // namespace detail

/// V = (Sigma^-1 + sigma^-2 I)^-1 at one sigma, as an operator and as diagonal + low rank. Light to copy; keeps the factors
/// alive, whatever its model does afterwards.
template <Backend B>
class harmonic_covariance {
    using T = scalar_t<B>;

public:
    using operator_tag = linop::symmetric_tag;

    harmonic_covariance() = default;
    explicit harmonic_covariance(std::shared_ptr<const detail::harmonic_form<B>> form) : form_(std::move(form)) {}

    [[nodiscard]] double sigma() const { return form_->sigma; }
    /// v_d, D numbers >= 0.
    [[nodiscard]] const_vector_t<B> d() const { return form_->d.flat(); }
    /// v_u, D x r.
    [[nodiscard]] const_view_t<B> u() const { return form_->u.view(); }
    [[nodiscard]] index_t rank() const { return form_->u.items(); }

    [[nodiscard]] index_t rows() const { return form_->d.features(); }
    [[nodiscard]] index_t cols() const { return rows(); }
    [[nodiscard]] index_t items() const { return linop::any_items; }
    void apply(B& b, const_view_t<B> x, view_t<B> y) const { apply_scaled(b, 1, x, y); }
    void apply_adjoint(B& b, const_view_t<B> y, view_t<B> x) const { apply_scaled(b, 1, y, x); }
    [[nodiscard]] harmonic_covariance items(index_t, index_t) const { return *this; }

    /// y = scale V x.
    void apply_scaled(B& b, double scale, const_view_t<B> x, view_t<B> y) const {
        check_shape("harmonic_covariance", "x", x, rows(), x.items());
        check_shape("harmonic_covariance", "y", y, rows(), x.items());
        batch<B> t(b, rank(), x.items());
        if constexpr (HasLowRank<B>)
            if (rank() > 0) {
                form_->plan.project(b, x, t.view());
                if (scale != 1) b.axpby(0.0, t.cview(), scale, t.view());
                return form_->plan.expand(b, T(scale), d(), x, t.cview(), y);
            }
        b.map(detail::scaled_product{scale}, y, x, per_feature{d()});
        if (rank() == 0) return;
        b.gemm(T(1), u(), op::transpose, x, op::none, T(0), t.view());
        b.gemm(T(scale), u(), op::none, t.cview(), op::none, T(1), y);
    }
    /// x_hat = mu + V / sigma^2 (x_t - mu), for the mu of the model that made this.
    void denoise(B& b, const_vector_t<B> mu, const_view_t<B> x_t, view_t<B> x_hat) const {
        const double scale = 1 / (sigma() * sigma());
        b.map(detail::gaussian_mean_diagonal{scale}, x_hat, x_t, per_feature{mu}, per_feature{d()});
        if (rank() == 0) return;
        batch<B> t(b, rank(), x_t.items());
        const auto subtract = [&] { b.map(functors::subtract{}, t.view(), per_feature{form_->u_mu.flat()}); };
        if constexpr (HasLowRank<B>) {
            form_->plan.project(b, x_t, t.view());
            subtract();
            b.axpby(0.0, t.cview(), scale, t.view());
            form_->plan.expand(b, T(1), const_vector_t<B>(), x_hat, t.cview(), x_hat);
        } else {
            b.gemm(T(1), u(), op::transpose, x_t, op::none, T(0), t.view());
            subtract();
            b.gemm(T(scale), u(), op::none, t.cview(), op::none, T(1), x_hat);
        }
    }

private:
    std::shared_ptr<const detail::harmonic_form<B>> form_;
};

namespace detail {

/// The last factored V, and the memory of those that nobody uses any more.
template <Backend B>
class harmonic_cache {
public:
    [[nodiscard]] std::shared_ptr<const harmonic_form<B>> form(B& b, const gaussian_parameters<B>& p, double sigma) {
        if (last_ && last_->sigma == sigma) return last_;
        last_.reset();
        for (auto& form : forms_)
            if (form.use_count() == 1) last_ = form;
        if (!last_) {
            last_ = std::make_shared<harmonic_form<B>>(b, p.u.features(), p.u.items());
            forms_.push_back(last_);
        }
        try {
            last_->factor(b, p, sigma);
        } catch (...) {
            last_.reset();
            throw;
        }
        return last_;
    }

    harmonic_cache() = default;
    harmonic_cache(const harmonic_cache&) {}  // a copy of a model factors for itself
    harmonic_cache& operator=(const harmonic_cache& other) {
        if (this != &other) {
            forms_.clear();
            last_.reset();
        }
        return *this;
    }
    harmonic_cache(harmonic_cache&&) noexcept = default;
    harmonic_cache& operator=(harmonic_cache&&) noexcept = default;
    ~harmonic_cache() = default;

private:
    std::vector<std::shared_ptr<harmonic_form<B>>> forms_;
    std::shared_ptr<harmonic_form<B>> last_;
};

}  // namespace detail

}  // namespace diem::diffusion
