// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <optional>
#include <utility>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/backend/concept.hpp>
#include <diem/backend/functors.hpp>
#include <diem/diffusion/concept.hpp>
#include <diem/diffusion/gaussian.hpp>
#include <diem/linop/image_basis.hpp>
#include <diem/linop/low_rank.hpp>

/// \file
/// The denoiser of a Gaussian in the place of the skip connection.
/// \snippet tests/examples/model.cpp model/gaussian_skip.hpp

namespace diem::model {

namespace detail {

/// l / (l + s^2) - r / (r + s^2) for l = r + excess, in a form that cancels nothing.
struct skip_gain {
    double rest;
    DIEM_HOST_DEVICE double operator()(double excess, double s) const {
        const double s2 = s * s;
        return excess * s2 / ((excess + rest + s2) * (rest + s2));
    }
};
struct skip_gains_shared {
    skip_gain gain;
    double sigma;
    template <class T>
    DIEM_HOST_DEVICE void operator()(index_t k, const double* excess, T* g) const {
        g[k] = static_cast<T>(gain(excess[k], sigma));
    }
};
struct skip_gains_per_item {
    skip_gain gain;
    index_t rank;
    template <class T>
    DIEM_HOST_DEVICE void operator()(index_t i, const double* excess, const T* sigma, T* g) const {
        for (index_t k = 0; k < rank; ++k)
            g[i * rank + k] = static_cast<T>(gain(excess[k], static_cast<double>(sigma[i])));
    }
};

}  // namespace detail

/// The denoiser of a Gaussian in the basis of its principal axes, where one noise level per item costs no factorisation:
///
///     E[x | x_t] = mu + S (x_t - mu),  S = Sigma (Sigma + s^2 I)^-1 = r / (r + s^2) I + Q diag(g) Q'
///     Sigma = r I + Q diag(l - r) Q',  g_k = l_k / (l_k + s^2) - r / (r + s^2),  Q: D x k, orthonormal columns
///
/// Of a Gaussian with a basis H (`diffusion::gaussian`) it is the Wiener filter of the spectrum: Q = H', l = diag(d + u u'),
/// r = 0; what its coefficients have to do with one another is left to the network.
template <Backend B>
class gaussian_skip {
    using T = scalar_t<B>;

public:
    /// Of N(mu, diag(d) + u u'): exact where d is constant (principal axes within the span of u) and for up to `dense`
    /// features (all axes); else the nearest within the span of u (Rayleigh-Ritz), r from the rest of the trace.
    gaussian_skip(B& b, const diffusion::gaussian<B>& prior, index_t dense = 1024) : mu_(b, prior.features(), 1) {
        b.copy(as_batch(prior.mu()), mu_.view());
        basis_ = prior.basis();
        if (basis_) {
            const auto u = to_host(b, prior.u());
            const auto rest = to_host(b, prior.d());
            std::vector<double> spectrum(rest.begin(), rest.end());
            for (std::size_t k = 0; k < u.size(); ++k)
                spectrum[k % spectrum.size()] += static_cast<double>(u[k]) * static_cast<double>(u[k]);
            excess_ = to_backend(b, spectrum, features(), 1);
            return;
        }
        const auto d = to_host(b, prior.d());
        const auto [least, most] = std::minmax_element(d.begin(), d.end());
        const bool constant = *most - *least <= T(1e-6) * *most;
        axes_ = constant || features() > dense
                    ? orthonormal(b, orthonormal(b, prior.u()).cview())  // the second undoes the rounding of the first
                    : identity(b, features());
        const index_t n = features(), k = axes_.items();
        batch<B> image(b, n, k), ritz(b, k, k), rotated(b, n, k);
        b.map(functors::product{}, image.view(), axes_.cview(), per_feature{prior.d()});
        linop::add_low_rank(b, 1, prior.u(), axes_.cview(), image.view());
        b.gemm(T(1), axes_.cview(), op::transpose, image.cview(), op::none, T(0), ritz.view());
        auto excess = eigenvalues(b, ritz);
        b.gemm(T(1), axes_.cview(), op::none, ritz.cview(), op::none, T(0), rotated.view());
        axes_ = std::move(rotated);

        const double trace = diffusion::trace_of(b, prior);
        double rest = trace;
        for (const double l : excess) rest -= l;
        rest = k < n ? rest / static_cast<double>(n - k) : excess.front();
        rest_ = std::max(rest, 1e-6 * trace / static_cast<double>(n));
        for (double& l : excess) l = std::max(l - rest_, 0.0);
        excess_ = to_backend(b, excess, k, 1);
    }
    [[nodiscard]] index_t features() const { return mu_.features(); }
    [[nodiscard]] index_t rank() const { return excess_.features(); }
    [[nodiscard]] const_vector_t<B> mu() const { return mu_.flat(); }
    /// r, the variance along all other directions.
    [[nodiscard]] double rest() const { return rest_; }

    /// g, k x 1 for one noise level, k x items for one per item.
    [[nodiscard]] batch<B> gains(B& b, const diffusion::noise_level<B>& sigma) const {
        const detail::skip_gain gain{rest_};
        batch<B> g(b, rank(), sigma.shared() ? 1 : sigma.per_item().size());
        if (sigma.shared())
            b.launch(rank(), 4, detail::skip_gains_shared{gain, sigma.common()}, excess_.cview().data(),
                     g.view().data());
        else
            b.launch(g.items(), 4 * rank(), detail::skip_gains_per_item{gain, rank()}, excess_.cview().data(),
                     sigma.per_item().data(), g.view().data());
        return g;
    }
    /// y += Q diag(g) Q' x.
    void add(B& b, const batch<B>& g, const_view_t<B> x, view_t<B> y) const {
        if (rank() == 0) return;
        batch<B> t(b, rank(), x.items());
        if (basis_)
            basis_->apply(b, x, t.view());
        else
            b.gemm(T(1), axes_.cview(), op::transpose, x, op::none, T(0), t.view());
        if (g.items() == x.items())
            b.map(functors::multiply{}, t.view(), g.cview());
        else
            b.map(functors::multiply{}, t.view(), per_feature{g.flat()});
        if (basis_) {
            basis_->apply_adjoint(b, t.cview(), t.view());
            return b.axpby(1.0, t.cview(), 1.0, y);
        }
        b.gemm(T(1), axes_.cview(), op::none, t.cview(), op::none, T(1), y);
    }

private:
    /// The eigenvalues of a small matrix, ascending; it becomes the eigenvectors.
    static std::vector<double> eigenvalues(B& b, batch<B>& m) {
        batch<B> w(b, m.items(), 1);
        if (m.items() > 0) b.eigh(m.view(), w.flat());
        const auto host = to_host(b, w);
        return {host.begin(), host.end()};
    }
    static batch<B> identity(B& b, index_t n) {
        batch<B> q(b, n, n);
        b.fill(q.view(), T(0));
        b.launch(1, n * n, functors::add_identity{n}, q.view().data());
        return q;
    }
    /// An orthonormal basis of the span of u's columns; directions within rounding of nothing are left out.
    static batch<B> orthonormal(B& b, const_view_t<B> u) {
        batch<B> m(b, u.items(), u.items());
        b.gemm(T(1), u, op::transpose, u, op::none, T(0), m.view());
        const auto w = eigenvalues(b, m);
        std::vector<T> scale;
        for (const double v : w)
            if (v > 1e-6 * w.back()) scale.push_back(static_cast<T>(1 / std::sqrt(v)));
        const auto k = static_cast<index_t>(scale.size());
        batch<B> q(b, u.features(), k);
        if (k == 0) return q;
        b.gemm(T(1), u, op::none, m.cview().item_range(u.items() - k, k), op::none, T(0), q.view());
        const auto scales = to_backend(b, scale, k, 1);
        b.map(functors::multiply{}, q.view(), per_item{scales.flat()});
        return q;
    }

    batch<B> mu_, axes_;
    std::optional<linop::image_basis> basis_;
    double rest_ = 0;
    batch<B, double> excess_;  ///< l - r
};

}  // namespace diem::model
