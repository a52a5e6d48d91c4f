// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <type_traits>

#include <diem/backend/concept.hpp>
#include <diem/linop/concept.hpp>

/// \file
/// Denoisers and score models: what priors are.
/// \snippet tests/examples/diffusion.cpp diffusion/concept.hpp

namespace diem::diffusion {

/// The noise levels sigma of a batch x_t = x + sigma z (standard deviations, in data units): one number for all items,
/// known on the host (what samplers use), or one per item in the backend's memory (what training uses).
template <Backend B>
class noise_level {
public:
    // NOLINTBEGIN(google-explicit-constructor)
    noise_level(double common) : common_(common) {}
    noise_level(const_vector_t<B> per_item) : values_(per_item), shared_(false) {}
    // NOLINTEND(google-explicit-constructor)

    [[nodiscard]] bool shared() const { return shared_; }
    /// The common value; meaningful if `shared()`.
    [[nodiscard]] double common() const { return common_; }
    /// One value per item; meaningful if not `shared()`.
    [[nodiscard]] const_vector_t<B> per_item() const { return values_; }
    [[nodiscard]] noise_level items(index_t first, index_t count) const {
        return shared_ ? *this : noise_level(values_.range(first, count));
    }

private:
    double common_ = 0;
    const_vector_t<B> values_{};
    bool shared_ = true;
};

/// The derivative J = d x_hat / d x_t of a denoiser as far as a posterior needs it, which never asks for more than
/// `apply_adjoint(b, v, w)`, w = J'v, the vector-Jacobian product (VJP) of every item.
template <class J, class B>
concept AdjointProduct =
    Backend<B> && requires(const J& j, B& b, const_view_t<B> v, view_t<B> w) { j.apply_adjoint(b, v, w); };

/// What `linearize` returns: owns all that its derivatives need, any number of times.
///
/// `mean()`      x_hat = E[x | x_t], a view into this value
/// `jacobian()`  J = d x_hat / d x_t at fixed sigma, an `AdjointProduct` that refers to this value
template <class L, class B>
concept Linearization = Backend<B> && requires(const L& l) {
    { l.mean() } -> std::convertible_to<const_view_t<B>>;
    requires AdjointProduct<std::remove_cvref_t<decltype(l.jacobian())>, B>;
};

/// Opt-in tag of `Denoiser` and `ScoreModel`.
struct score_model_tag {};
/// Opt-in tag of models that know one noise level for all items only, and throw value_error for one per item.
struct common_sigma_tag {};
/// Opt-in tag of models that cost little more than a few passes over memory, so that small blocks of items pay.
struct analytic_tag {};

/// The mean of the data given a noisy version of it, x_t = x + sigma z: all that a sampler needs. By Tweedie the score is
/// (x_hat - x_t) / sigma^2.
///
/// `features()`                          size D of an item
/// `denoise(b, x_t, sigma, x_hat)`       x_hat = E[x | x_t] (or E[x | x_t, y], of a posterior); D x n each; x_hat may not
///                                       overlap x_t
/// Throws shape_error when sizes do not fit. Opt-in by `using score_model_tag = diffusion::score_model_tag`.
template <class M, class B>
concept Denoiser = Backend<B> && std::same_as<typename M::score_model_tag, score_model_tag> &&
                   requires(M& m, B& b, const_view_t<B> x_t, noise_level<B> sigma, view_t<B> x_hat) {
                       { m.features() } -> std::convertible_to<index_t>;
                       m.denoise(b, x_t, sigma, x_hat);
                   };

/// A denoiser with VJPs, hence with Cov[x | x_t] = sigma^2 J': what a posterior is made from.
///
/// `linearize(b, x_t, sigma)`  a `Linearization`; x_t may be changed afterwards
template <class M, class B>
concept ScoreModel = Denoiser<M, B> && requires(M& m, B& b, const_view_t<B> x_t, noise_level<B> sigma) {
    { m.linearize(b, x_t, sigma) } -> Linearization<B>;
};

/// A score model with JVPs too (w = J v), and parts of its Jacobian for a range of items: then `jacobian()` is a
/// `linop::LinearOperator`. Not tagged symmetric unless the model knows it is. For checks and diagnostics; no posterior
/// asks.
template <class M, class B>
concept HasJvp = ScoreModel<M, B> && requires(M& m, B& b, const_view_t<B> x_t, noise_level<B> sigma) {
    requires linop::LinearOperator<std::remove_cvref_t<decltype(m.linearize(b, x_t, sigma).jacobian())>, B>;
};

/// A denoiser for one noise level per item, as training has them.
template <class M, class B>
concept HasItemSigma = Denoiser<M, B> && !requires { typename M::common_sigma_tag; };

}  // namespace diem::diffusion
