// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/backend/concept.hpp>
#include <diem/backend/functors.hpp>
#include <diem/core/check.hpp>
#include <diem/diffusion/concept.hpp>
#include <diem/diffusion/harmonic.hpp>
#include <diem/linop/concept.hpp>
#include <diem/linop/image_basis.hpp>

/// \file
/// A Gaussian as a prior, diagonal + low rank.
/// \snippet tests/examples/diffusion.cpp diffusion/gaussian.hpp

namespace diem::diffusion {

namespace detail {
struct gaussian_color {  // x = mu + sqrt(d + s2) x
    double s2;
    template <class V>
    DIEM_HOST_DEVICE void operator()(V& x, const V& mu, const V& d) const {
        using T = typename diem::detail::random_scalar<V>::type;
        using std::sqrt;
        x = mu + sqrt(d + T(s2)) * x;
    }
};
struct gaussian_draw {  // x = mu + sqrt(d) z
    template <class V>
    DIEM_HOST_DEVICE void operator()(V& x, const V& z, const V& mu, const V& d) const {
        using std::sqrt;
        x = mu + sqrt(d) * z;
    }
};
}  // namespace detail

/// Jacobian of the Gaussian denoiser, J = V / sigma^2: symmetric, so JVP = VJP. Light to copy; keeps what it needs alive.
template <Backend B>
class gaussian_jacobian {
public:
    using operator_tag = linop::symmetric_tag;

    /// Items first .. first + count - 1 have this V.
    struct segment {
        index_t first, count;
        harmonic_covariance<B> v;
    };

    explicit gaussian_jacobian(harmonic_covariance<B> v) : v_(std::move(v)) {}
    gaussian_jacobian(index_t features, index_t items, std::shared_ptr<const std::vector<segment>> segments)
        : segments_(std::move(segments)), features_(features), count_(items) {}

    [[nodiscard]] index_t rows() const { return segments_ ? features_ : v_.rows(); }
    [[nodiscard]] index_t cols() const { return rows(); }
    [[nodiscard]] index_t items() const { return segments_ ? count_ : linop::any_items; }
    void apply(B& b, const_view_t<B> x, view_t<B> y) const { multiply(b, false, x, y); }
    void apply_adjoint(B& b, const_view_t<B> y, view_t<B> x) const { apply(b, y, x); }
    /// y = V x = sigma^2 J x, in one pass less.
    void apply_covariance(B& b, const_view_t<B> x, view_t<B> y) const { multiply(b, true, x, y); }
    [[nodiscard]] gaussian_jacobian items(index_t first, index_t count) const {
        gaussian_jacobian part = *this;
        part.first_ += first;
        part.count_ = count;
        return part;
    }

private:
    void multiply(B& b, bool covariance, const_view_t<B> x, view_t<B> y) const {
        const auto by = [&](const harmonic_covariance<B>& v, const_view_t<B> from, view_t<B> to) {
            v.apply_scaled(b, covariance ? 1 : 1 / (v.sigma() * v.sigma()), from, to);
        };
        if (!segments_) return by(v_, x, y);
        check_size("gaussian_jacobian", "x.items()", x.items(), count_);
        check_shape("gaussian_jacobian", "y", y, rows(), x.items());
        for (const segment& s : *segments_) {
            const index_t from = s.first > first_ ? s.first : first_;
            const index_t to = s.first + s.count < first_ + count_ ? s.first + s.count : first_ + count_;
            if (from < to) by(s.v, x.item_range(from - first_, to - from), y.item_range(from - first_, to - from));
        }
    }

    harmonic_covariance<B> v_;
    std::shared_ptr<const std::vector<segment>> segments_;  // null: one sigma for all items
    index_t features_ = 0, first_ = 0, count_ = 0;
};

template <Backend B>
class gaussian_linearization {
public:
    gaussian_linearization(batch<B> mean, gaussian_jacobian<B> jacobian)
        : mean_(std::move(mean)), jacobian_(std::move(jacobian)) {}
    [[nodiscard]] const_view_t<B> mean() const { return mean_.view(); }
    [[nodiscard]] gaussian_jacobian<B> jacobian() const { return jacobian_; }

private:
    batch<B> mean_;
    gaussian_jacobian<B> jacobian_;
};

/// The prior N(mu, Sigma), Sigma = diag(d) + u u', as a score model:
///
///     E[x | x_t] = mu + V / sigma^2 (x_t - mu),  V = (Sigma^-1 + sigma^-2 I)^-1 = Cov[x | x_t].
///
/// With a `basis` H (linop/image_basis.hpp), d and u are of the coefficients H x: Sigma = H'(diag(d) + u u') H. In that of
/// `hartley` u = 0 is a stationary field with the spectrum d.
///
/// mu, d: D; d >= 0, zeros allowed; u: D x r, r >= 0. V is factored when sigma changes and kept until the next change, so
/// `denoise`, `linearize` and `harmonic` at one sigma share it. One noise level for all items needs no host
/// synchronisation; levels per item are downloaded, and runs of equal ones are treated together. Copies share the
/// parameters. One object serves one caller at a time.
template <Backend B>
class gaussian {
    using T = scalar_t<B>;

public:
    using analytic_tag = diffusion::analytic_tag;
    using score_model_tag = diffusion::score_model_tag;

    /// Takes mu (D x 1, of x itself), d (D x 1) and u (D x r). Throws shape_error; value_error where a number is not finite or
    /// d < 0.
    gaussian(B& b, batch<B> mu, batch<B> d, batch<B> u, std::optional<linop::image_basis> basis = std::nullopt) {
        check_shape("gaussian", "mu", mu.view(), mu.features(), 1);
        check_shape("gaussian", "d", d.view(), mu.features(), 1);
        check_shape("gaussian", "u", u.view(), mu.features(), u.items());
        for (const T value : to_host(b, mu)) check_value("gaussian", std::isfinite(value), "mu is not finite");
        for (const T value : to_host(b, u)) check_value("gaussian", std::isfinite(value), "u is not finite");
        for (const T value : to_host(b, d))
            check_value("gaussian", value >= 0 && std::isfinite(value), "d is not finite and >= 0");
        if (basis) {
            check_size("gaussian", "basis", basis->rows(), mu.features());
            batch<B> coefficients(b, mu.features(), 1);
            basis->apply(b, std::as_const(mu).view(), coefficients.view());
            mu_ = std::make_shared<const batch<B>>(std::exchange(mu, std::move(coefficients)));
        }
        parameters_ = std::make_shared<const detail::gaussian_parameters<B>>(
            detail::gaussian_parameters<B>{std::move(mu), std::move(d), std::move(u), basis});
    }

    [[nodiscard]] index_t features() const { return parameters_->mu.features(); }
    [[nodiscard]] index_t rank() const { return parameters_->u.items(); }
    /// The mean of x.
    [[nodiscard]] const_vector_t<B> mu() const { return mu_ ? mu_->flat() : center(); }
    /// Of d and u; none: they are of x itself.
    [[nodiscard]] const std::optional<linop::image_basis>& basis() const { return parameters_->basis; }
    /// Throws value_error, from `where`, if there is a basis: for what works on d and u of x.
    void require_no_basis(std::string_view where) const {
        check_value(where, !basis(), "needs a Gaussian whose d and u are of x itself, not of coefficients in a basis");
    }
    [[nodiscard]] const_vector_t<B> d() const { return parameters_->d.flat(); }
    [[nodiscard]] const_view_t<B> u() const { return parameters_->u.view(); }

    /// That of the coefficients in the basis, or itself.
    [[nodiscard]] gaussian coefficients(B& b) const {
        if (!basis()) return *this;
        const auto copy = [&](const_view_t<B> from) {
            batch<B> to(b, from.features(), from.items());
            b.copy(from, to.view());
            return to;
        };
        return {b, copy(as_batch(center())), copy(as_batch(d())), copy(u())};
    }

    /// V at this sigma > 0, from the cache where it is the last one asked for.
    [[nodiscard]] harmonic_covariance<B> harmonic(B& b, double sigma) const {
        check_positive("gaussian", "sigma", sigma);
        return harmonic_covariance<B>(cache_.form(b, *parameters_, sigma));
    }

    /// After this, several threads may call the members below at this sigma, each with a backend of its own.
    void prepare(B& b, double sigma) const { (void)harmonic(b, sigma); }

    void denoise(B& b, const_view_t<B> x_t, noise_level<B> sigma, view_t<B> x_hat) const {
        check_batches(x_t, sigma, x_hat);
        if (sigma.shared()) return harmonic(b, sigma.common()).denoise(b, center(), x_t, x_hat);
        for_equal_levels(b, sigma, [&](index_t first, index_t count, double s) {
            harmonic(b, s).denoise(b, center(), x_t.item_range(first, count), x_hat.item_range(first, count));
        });
    }

    [[nodiscard]] gaussian_linearization<B> linearize(B& b, const_view_t<B> x_t, noise_level<B> sigma) const {
        batch<B> x_hat(b, features(), x_t.items());
        check_batches(x_t, sigma, x_hat.view());
        if (sigma.shared()) {
            auto v = harmonic(b, sigma.common());
            v.denoise(b, center(), x_t, x_hat.view());
            return {std::move(x_hat), gaussian_jacobian<B>(std::move(v))};
        }
        using segment = typename gaussian_jacobian<B>::segment;
        auto segments = std::make_shared<std::vector<segment>>();
        for_equal_levels(b, sigma, [&](index_t first, index_t count, double s) {
            segments->push_back({first, count, harmonic(b, s)});
            segments->back().v.denoise(b, center(), x_t.item_range(first, count),
                                       x_hat.view().item_range(first, count));
        });
        return {std::move(x_hat), gaussian_jacobian<B>(features(), x_t.items(), std::move(segments))};
    }

    /// Direct draws: x = mu + sqrt(d) z + u z', (z, z') the D + r normals of `key` (see random_lane::prior_sample).
    void sample(B& b, const random_key& key, view_t<B> x) const {
        check_shape("gaussian::sample", "x", x, features(), x.items());
        batch<B> z(b, features() + rank(), x.items());
        b.fill_normal(key, z.view());
        b.map(detail::gaussian_draw{}, x, z.cview().feature_range(0, features()), per_feature{center()},
              per_feature{d()});
        if (rank() > 0) b.gemm(T(1), u(), op::none, z.cview().feature_range(features(), rank()), op::none, T(1), x);
        if (const auto& h = basis()) h->apply_adjoint(b, const_view_t<B>(x), x);
    }

    /// Normals x (D x n) and z (r x n) become x = mu + sqrt(d + sigma^2) x + u z ~ N(mu, Sigma + sigma^2 I).
    void color(B& b, double sigma, const_view_t<B> z, view_t<B> x) const {
        check_shape("gaussian::color", "x", x, features(), x.items());
        check_shape("gaussian::color", "z", z, rank(), x.items());
        b.map(detail::gaussian_color{sigma * sigma}, x, per_feature{center()}, per_feature{d()});
        if (rank() > 0) b.gemm(T(1), u(), op::none, z, op::none, T(1), x);
        if (const auto& h = basis()) h->apply_adjoint(b, const_view_t<B>(x), x);
    }

    /// out_i = log N(x_i; mu, Sigma + sigma^2 I), the density of x_t; sigma = 0 for that of x, which needs all d > 0
    /// (value_error else). The quadratic form is a sum of squares, see linop/low_rank.hpp. Downloads D numbers.
    void log_density(B& b, const_view_t<B> x, double sigma, vector_t<B, double> out) const;

private:
    void check_batches(const_view_t<B> x_t, const noise_level<B>& sigma, view_t<B> x_hat) const {
        check_shape("gaussian", "x_t", x_t, features(), x_t.items());
        check_shape("gaussian", "x_hat", x_hat, features(), x_t.items());
        if (!sigma.shared()) check_size("gaussian", "sigma", sigma.per_item().size(), x_t.items());
    }
    template <class F>
    void for_equal_levels(B& b, const noise_level<B>& sigma, const F& f) const {
        const auto levels = to_host(b, sigma.per_item());
        const auto n = static_cast<index_t>(levels.size());
        for (index_t first = 0, next = 0; first < n; first = next) {
            const T level = levels[static_cast<std::size_t>(first)];
            while (next < n && levels[static_cast<std::size_t>(next)] == level) ++next;
            check_positive("gaussian", "sigma", static_cast<double>(level));  // also NaN, which equals nothing
            f(first, next - first, static_cast<double>(level));
        }
    }

    /// mu, or its coefficients.
    [[nodiscard]] const_vector_t<B> center() const { return parameters_->mu.flat(); }

    std::shared_ptr<const batch<B>> mu_;  // null: there is no basis
    std::shared_ptr<const detail::gaussian_parameters<B>> parameters_;
    mutable detail::harmonic_cache<B> cache_;
};

template <Backend B>
void gaussian<B>::log_density(B& b, const_view_t<B> x, double sigma, vector_t<B, double> out) const {
    check_shape("gaussian::log_density", "x", x, features(), x.items());
    check_size("gaussian::log_density", "out.size()", out.size(), x.items());
    check_value("gaussian::log_density", sigma >= 0 && std::isfinite(sigma), "sigma is not finite and >= 0");
    for (const T value : to_host(b, d()))
        check_value("gaussian::log_density", static_cast<double>(value) + sigma * sigma > 0,
                    "the density is singular: d has a zero and sigma is 0");
    const auto form = cache_.form(b, *parameters_, sigma);
    batch<B> rest(b, features(), x.items());
    batch<B, double> t(b, rank(), x.items()), lift(b, features(), x.items());
    b.map(functors::difference{}, rest.view(), x, per_feature{mu()});
    if (const auto& h = basis()) h->apply(b, rest.cview(), rest.view());
    form->innovation.coefficients(b, rest.cview(), t.view(), lift.view());
    form->innovation.log_density(b, rest.cview(), t.cview(), lift.cview(), out);
}

/// tr Sigma, the sum of the variances. Downloads D (1 + r) numbers.
template <Backend B>
[[nodiscard]] double trace_of(B& b, const gaussian<B>& g) {
    double trace = 0;
    for (const auto v : to_host(b, g.d())) trace += static_cast<double>(v);
    for (const auto v : to_host(b, g.u())) trace += static_cast<double>(v) * static_cast<double>(v);
    return trace;
}

}  // namespace diem::diffusion
