// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <diem/backend/batch.hpp>
#include <diem/diffusion/concept.hpp>
#include <diem/linop/concept.hpp>

/// \file
/// The covariance of the innovation, as an operator.
/// \snippet tests/examples/posterior.cpp posterior/innovation.hpp

namespace diem::posterior {

namespace detail {

struct square_levels {
    template <class T>
    DIEM_HOST_DEVICE void operator()(index_t i, const T* sigma, double* variance) const {
        variance[i] = static_cast<double>(sigma[i]) * static_cast<double>(sigma[i]);
    }
};
struct unit_prior_variance {  // sigma^2 / (1 + sigma^2)
    DIEM_HOST_DEVICE void operator()(index_t i, double* variance) const { variance[i] /= 1 + variance[i]; }
};

/// sigma^2 of a batch: one number, or one per item in the backend's memory.
template <Backend B>
class variances {
public:
    variances(B& b, const diffusion::noise_level<B>& sigma, index_t items) : common_(sigma.common() * sigma.common()) {
        if (sigma.shared()) return;
        per_item_ = b.template allocate<double>(items);
        b.launch(items, 1, square_levels{}, sigma.per_item().data(), per_item_.data());
    }
    /// Turned into those of (I + sigma^-2 I)^-1.
    void to_unit_prior(B& b) {
        if (per_item_.size() > 0)
            b.launch(per_item_.size(), 1, unit_prior_variance{}, per_item_.data());
        else
            common_ /= 1 + common_;
    }
    /// y = variance x; x may be y.
    void apply(B& b, const_view_t<B> x, view_t<B> y) const {
        if (per_item_.size() > 0)
            b.axpby(const_vector_t<B, double>(per_item_.view()), x, 0.0, y);
        else
            b.axpby(common_, x, 0.0, y);
    }
    void scale(B& b, view_t<B> y) const {
        if (per_item_.size() > 0)
            b.axpby(0.0, const_view_t<B>(y), const_vector_t<B, double>(per_item_.view()), y);
        else
            b.axpby(0.0, const_view_t<B>(y), common_, y);
    }

private:
    double common_;
    buffer_t<B, double> per_item_;
};

}  // namespace detail

/// V v = sigma^2 J'v: the VJP of a denoiser. (For an exact denoiser J is symmetric and either product would do.)
template <Backend B, class Jacobian>
struct tweedie_product {
    const Jacobian& jacobian;
    const detail::variances<B>& variance;
    void operator()(B& b, const_view_t<B> v, view_t<B> w) const {
        if constexpr (requires { jacobian.apply_covariance(b, v, w); }) {
            jacobian.apply_covariance(b, v, w);
        } else {
            jacobian.apply_adjoint(b, v, w);
            variance.scale(b, w);
        }
    }
};

/// V v = variance v.
template <Backend B>
struct isotropic_product {
    const detail::variances<B>& variance;
    void operator()(B& b, const_view_t<B> v, view_t<B> w) const { variance.apply(b, v, w); }
};

/// V v of an operator that is V itself.
template <Backend B, class V>
struct covariance_product {
    const V& covariance;
    void operator()(B& b, const_view_t<B> v, view_t<B> w) const { covariance.apply(b, v, w); }
};

/// V = 0.
template <Backend B>
struct zero_product {
    void operator()(B& b, const_view_t<B> /*v*/, view_t<B> w) const { b.fill(w, scalar_t<B>(0)); }
};

/// M = Sigma_y + A V A', the covariance of the innovation y - A x_hat; the product gives V A'p for free. `Product`:
/// (b, v, w), w = V v. Tagged symmetric because that is what it stands for; with a learned V it is so only nearly.
template <Backend B, class A, class N, class Product>
class innovation {
public:
    using operator_tag = linop::symmetric_tag;

    innovation(const A& a, const N& cov_y, const Product& product, index_t items)
        : a_(a), cov_y_(cov_y), product_(product), items_(items) {}

    [[nodiscard]] index_t rows() const { return a_.rows(); }
    [[nodiscard]] index_t cols() const { return a_.rows(); }
    [[nodiscard]] index_t items() const { return items_; }

    /// q = M p and w = V A'p. p, q: rows x n, w: D x n.
    void apply_with_byproduct(B& b, const_view_t<B> p, view_t<B> q, view_t<B> w) const {
        batch<B> u(b, a_.cols(), p.items());
        a_.apply_adjoint(b, p, u.view());
        product_(b, u.cview(), w);
        if constexpr (requires { a_.apply_plus(b, w, cov_y_.variance(), p, q); }) {
            a_.apply_plus(b, w, cov_y_.variance(), p, q);
        } else if constexpr (requires { cov_y_.variance(); }) {
            a_.apply(b, w, q);
            b.axpby(cov_y_.variance(), p, 1.0, q);
        } else {
            a_.apply(b, w, q);
            batch<B> noise(b, a_.rows(), p.items());
            cov_y_.apply(b, p, noise.view());
            b.axpby(1.0, noise.cview(), 1.0, q);
        }
    }
    void apply(B& b, const_view_t<B> p, view_t<B> q) const {
        batch<B> w(b, a_.cols(), p.items());
        apply_with_byproduct(b, p, q, w.view());
    }
    void apply_adjoint(B& b, const_view_t<B> p, view_t<B> q) const { apply(b, p, q); }
    /// p'Sigma_y p, which p'M p is not below where V >= 0.
    void floor(B& b, const_view_t<B> p, vector_t<B, double> out) const {
        batch<B> noise(b, a_.rows(), p.items());
        cov_y_.apply(b, p, noise.view());
        b.dot(p, noise.cview(), out);
    }
    /// s, where Sigma_y = s I.
    [[nodiscard]] double floor_variance() const
        requires requires(const N& n) { n.variance(); }
    {
        return cov_y_.variance();
    }
    /// Only the whole: V belongs to the batch it was made for.
    [[nodiscard]] innovation items(index_t, index_t) const { return *this; }

private:
    const A& a_;
    const N& cov_y_;
    const Product& product_;
    index_t items_;
};

}  // namespace diem::posterior
