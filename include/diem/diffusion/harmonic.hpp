// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/backend/capabilities.hpp>
#include <diem/backend/concept.hpp>
#include <diem/backend/functors.hpp>
#include <diem/backend/team.hpp>
#include <diem/core/check.hpp>
#include <diem/linop/concept.hpp>
#include <diem/linop/image_basis.hpp>
#include <diem/linop/low_rank.hpp>

/// \file
/// The covariance of x given x_t = x + sigma z for a Gaussian x with covariance Sigma = diag(d) + u u':
///
///     V = (Sigma^-1 + sigma^-2 I)^-1 = diag(v_d) + v_u v_u',
///     v_d = sigma^2 d / E,  v_u = sigma^2 E^-1 u L'^-1,  E = d + sigma^2,  L L' = C = I + u' E^-1 u.
///
/// The harmonic form: nothing is subtracted at any sigma, and d may be zero. C and L are float64 (linop/low_rank.hpp): where
/// columns of u are nearly parallel, L^-1 has large entries that cancel in v_u.
///
/// d and u may be those of the coefficients H x in an orthonormal basis (linop/image_basis.hpp): Sigma = H'(diag(d) + u u') H, and
/// V = H'(diag(v_d) + v_u v_u') H.
/// \snippet tests/examples/diffusion.cpp diffusion/harmonic.hpp

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
struct harmonic_factor {  // column k of v_u = s2 E^-1 (u L'^-1)
    double s2;
    index_t n;
    template <class Team, class T>
    DIEM_HOST_DEVICE void operator()(index_t k, const Team& team, const double* root, const double* e, T* v) const {
        for (index_t j = team.first(); j < n; j += team.step())
            v[k * n + j] = static_cast<T>(s2 * root[k * n + j] / e[j]);
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

/// Of the coefficients in `basis`, where there is one.
template <Backend B>
struct gaussian_parameters {
    batch<B> mu, d, u;  // D x 1, D x 1, D x r
    std::optional<linop::image_basis> basis{};
};

/// V at one sigma.
template <Backend B>
struct harmonic_form {
    double sigma = 0;
    std::optional<linop::image_basis> basis;
    linop::low_rank_innovation<B> innovation;  // of Sigma + sigma^2 I
    batch<B> d, u;                             // v_d: D x 1, v_u: D x r
    batch<B> u_mu;                             // v_u' mu: r x 1
    typename low_rank_of<B>::type plan;        // of v_u, where the backend has one
    harmonic_form(B& b, index_t features, index_t rank)
        : innovation(b, features, rank, 1, false), d(b, features, 1), u(b, features, rank), u_mu(b, rank, 1) {}

    /// Does not wait for the device: where C is not positive definite, which it is for parameters that the model has checked,
    /// V is NaN.
    void factor(B& b, const gaussian_parameters<B>& p, double s) {
        using T = scalar_t<B>;
        const double s2 = s * s;
        const index_t n = d.features(), rank = u.items();
        sigma = s;
        basis = p.basis;
        innovation.factor(b, {}, s2, {}, p.d.flat(), p.u.view());
        b.map(harmonic_diagonal{s2}, d.view(), p.d.view());
        if (rank == 0) return;
        batch<B, double> root(b, n * rank, 1);
        innovation.roots(b, 0, root.view());
        launch_rows(b, rank, n, n, harmonic_factor{s2, n}, root.cview().data(), innovation.e().data(), u.view().data());
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
    /// Of v_d and v_u; none: they are of x itself.
    [[nodiscard]] const std::optional<linop::image_basis>& basis() const { return form_->basis; }
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
        in_coefficients(b, x, y, [&](const_view_t<B> from) { scaled_coefficients(b, scale, from, y); });
    }
    /// x_hat = mu + V / sigma^2 (x_t - mu), for the mu of the model that made this (of its coefficients).
    void denoise(B& b, const_vector_t<B> mu, const_view_t<B> x_t, view_t<B> x_hat) const {
        in_coefficients(b, x_t, x_hat, [&](const_view_t<B> from) { denoise_coefficients(b, mu, from, x_hat); });
    }

private:
    /// `f` makes y of x, or where there is a basis the coefficients of y of those of x.
    template <class F>
    void in_coefficients(B& b, const_view_t<B> x, view_t<B> y, const F& f) const {
        const auto& h = basis();
        if (!h) return f(x);
        batch<B> coefficients(b, rows(), x.items());
        h->apply(b, x, coefficients.view());
        f(coefficients.cview());
        h->apply_adjoint(b, const_view_t<B>(y), y);
    }
    void scaled_coefficients(B& b, double scale, const_view_t<B> x, view_t<B> y) const {
        if constexpr (HasLowRank<B>)
            if (rank() > 0) {
                batch<B> t(b, rank(), x.items());
                form_->plan.project(b, x, t.view());
                if (scale != 1) b.axpby(0.0, t.cview(), scale, t.view());
                return form_->plan.expand(b, T(scale), d(), x, t.cview(), y);
            }
        b.map(detail::scaled_product{scale}, y, x, per_feature{d()});
        linop::add_low_rank(b, scale, u(), x, y);
    }
    void denoise_coefficients(B& b, const_vector_t<B> mu, const_view_t<B> x_t, view_t<B> x_hat) const {
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
