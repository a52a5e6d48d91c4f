// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <type_traits>
#include <utility>

#include <diem/backend/batch.hpp>
#include <diem/core/check.hpp>
#include <diem/diffusion/concept.hpp>

/// \file
/// Networks of one's own as score models.
/// \snippet tests/examples/diffusion.cpp diffusion/score_model.hpp

namespace diem::diffusion {

namespace detail {

/// d(b, x_t, sigma, x_hat)
template <class F, class B>
concept DenoiseFunction = Backend<B> && std::invocable<F&, B&, const_view_t<B>, double, view_t<B>>;
/// vjp(b, x_t, sigma, v, w)
template <class F, class B>
concept VjpFunction = Backend<B> && std::invocable<F&, B&, const_view_t<B>, double, const_view_t<B>, view_t<B>>;
/// linearize(b, x_t, sigma, x_hat) -> vjp(b, v, w)
template <class F, class B>
concept LinearizeFunction = DenoiseFunction<F, B> && requires(F& f, B& b, const_view_t<B> x, view_t<B> y) {
    requires std::invocable<const std::decay_t<decltype(f(b, x, 1.0, y))>&, B&, const_view_t<B>, view_t<B>>;
};

/// The backend that a function is written for: its first argument's type, where all of its arguments are spelt out; void
/// for templates and overloads, which say nothing before they are called.
template <class F>
struct backend_of_function {
    using type = void;
};
template <class R, class B, class... Rest>
struct backend_of_function<R (*)(B&, Rest...)> {
    using type = B;
};
template <class R, class B, class... Rest>
struct backend_of_function<R (*)(B&, Rest...) noexcept> : backend_of_function<R (*)(B&, Rest...)> {};
template <class F>
    requires requires { &F::operator(); }
struct backend_of_function<F> {
    template <class R, class C, class... Arguments>
    static auto plain(R (C::*)(Arguments...)) -> R (*)(Arguments...);
    template <class R, class C, class... Arguments>
    static auto plain(R (C::*)(Arguments...) const) -> R (*)(Arguments...);
    using type = typename backend_of_function<decltype(plain(&F::operator()))>::type;
};

/// Two functions that make a `ScoreModel` for the backend B; nothing is asked where B is void.
template <class Denoise, class Derivative, class B>
concept FunctionsFor = std::is_void_v<B> || (DenoiseFunction<Denoise, B> &&
                                             (VjpFunction<Derivative, B> || LinearizeFunction<Derivative, B>));

/// `vjp` with the x_t and sigma that it was made at.
template <Backend B, class Vjp>
struct vjp_at {
    Vjp* vjp;
    batch<B> x_t;
    double sigma;
    void operator()(B& b, const_view_t<B> v, view_t<B> w) const { (*vjp)(b, x_t.cview(), sigma, v, w); }
};

template <Backend B, class Pullback>
class function_linearization {
public:
    struct jacobian_type {
        const function_linearization& owner;
        void apply_adjoint(B& b, const_view_t<B> v, view_t<B> w) const {
            const auto& mean = owner.mean_;
            check_shape("score_model: vjp", "v", v, mean.features(), mean.items());
            check_shape("score_model: vjp", "w", w, mean.features(), mean.items());
            owner.pullback_(b, v, w);
        }
    };
    function_linearization(batch<B> mean, Pullback pullback) : mean_(std::move(mean)), pullback_(std::move(pullback)) {}
    [[nodiscard]] const_view_t<B> mean() const { return mean_.view(); }
    [[nodiscard]] jacobian_type jacobian() const { return {*this}; }

private:
    batch<B> mean_;
    Pullback pullback_;
};

}  // namespace detail

/// What `score_model` makes. Backends: those that both functions take.
template <class Denoise, class Derivative>
class function_model {
public:
    using score_model_tag = diffusion::score_model_tag;
    using common_sigma_tag = diffusion::common_sigma_tag;

    function_model(index_t features, Denoise denoise, Derivative derivative)
        : features_(features), denoise_(std::move(denoise)), derivative_(std::move(derivative)) {
        check_value("score_model", features >= 0, "features is negative");
    }

    [[nodiscard]] index_t features() const { return features_; }

    template <Backend B>
        requires detail::DenoiseFunction<Denoise, B>
    void denoise(B& b, const_view_t<B> x_t, std::type_identity_t<noise_level<B>> sigma, view_t<B> x_hat) {
        const double s = check<B>(x_t, sigma);
        check_shape("score_model: denoise", "x_hat", x_hat, features_, x_t.items());
        denoise_(b, x_t, s, x_hat);
    }

    template <Backend B>
        requires detail::DenoiseFunction<Denoise, B> &&
                 (detail::VjpFunction<Derivative, B> || detail::LinearizeFunction<Derivative, B>)
    [[nodiscard]] auto linearize(B& b, const_view_t<B> x_t, std::type_identity_t<noise_level<B>> sigma) {
        const double s = check<B>(x_t, sigma);
        batch<B> x_hat(b, features_, x_t.items());
        if constexpr (detail::VjpFunction<Derivative, B>) {
            denoise_(b, x_t, s, x_hat.view());
            batch<B> kept(b, features_, x_t.items());
            b.copy(x_t, kept.view());
            using pullback = detail::vjp_at<B, Derivative>;
            return detail::function_linearization<B, pullback>(std::move(x_hat),
                                                               pullback{&derivative_, std::move(kept), s});
        } else {
            auto pullback = derivative_(b, x_t, s, x_hat.view());
            return detail::function_linearization<B, decltype(pullback)>(std::move(x_hat), std::move(pullback));
        }
    }

private:
    template <Backend B>
    double check(const_view_t<B> x_t, const noise_level<B>& sigma) const {
        check_size("score_model", "x_t.features()", x_t.features(), features_);
        check_value("score_model", sigma.shared(), "one sigma for all items is needed");
        return sigma.common();
    }

    index_t features_;
    Denoise denoise_;
    Derivative derivative_;
};

/// A `ScoreModel` from two functions: what a network of one's own needs to be for `mmps`, `diffusion::sample` and all
/// else that asks no more.
///
/// `denoise(b, x_t, sigma, x_hat)`     x_hat = E[x | x_t], x_t = x + sigma z, for views of features x n and one double
/// `derivative`                        its VJP, w = J'v with J = d x_hat / d x_t, in one of two forms:
/// - `vjp(b, x_t, sigma, v, w)`: for networks that compute again what a derivative needs; x_hat is made by `denoise`;
/// - `linearize(b, x_t, sigma, x_hat)`: fills x_hat and returns a function (b, v, w) that owns whatever the forward pass
///   has saved, and may be called any number of times. A posterior makes several VJPs at one x_t, so this form saves a
///   forward pass for each. x_t may change afterwards: keep a copy if it is needed.
/// A view's items are `stride` apart. Copies of the functions are held; what they refer to must outlive the model, as
/// the model must outlive its linearisations. Functions that spell out their arguments are checked here, when the call is
/// compiled; generic ones (`auto`) where the model meets a backend.
template <class Denoise, class Derivative>
    requires detail::FunctionsFor<Denoise, Derivative, typename detail::backend_of_function<Denoise>::type> &&
             detail::FunctionsFor<Denoise, Derivative, typename detail::backend_of_function<Derivative>::type>
[[nodiscard]] function_model<Denoise, Derivative> score_model(index_t features, Denoise denoise,
                                                              Derivative derivative) {
    return {features, std::move(denoise), std::move(derivative)};
}

}  // namespace diem::diffusion
