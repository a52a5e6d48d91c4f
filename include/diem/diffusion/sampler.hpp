// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <concepts>
#include <type_traits>
#include <utility>

#include <diem/backend/batch.hpp>
#include <diem/backend/concept.hpp>
#include <diem/core/check.hpp>
#include <diem/core/random.hpp>
#include <diem/diffusion/concept.hpp>
#include <diem/diffusion/gaussian.hpp>
#include <diem/diffusion/noise.hpp>
#include <diem/diffusion/schedule.hpp>

/// \file
/// Sampling by reversing the noising process: one loop, `sample`, and one struct per scheme that holds its step.
/// \snippet tests/examples/diffusion.cpp diffusion/sampler.hpp

namespace diem::diffusion {

namespace detail {

struct toward_mean {  // x -= tau (x - x_hat)
    double tau;
    template <class V>
    DIEM_HOST_DEVICE void operator()(V& x, const V& x_hat) const {
        using T = typename diem::detail::random_scalar<V>::type;
        x -= T(tau) * (x - x_hat);
    }
};
struct toward_mean_noisy {  // x += scale z - tau (x - x_hat)
    double tau, scale;
    template <class V>
    DIEM_HOST_DEVICE void operator()(V& x, const V& x_hat, const V& z) const {
        using T = typename diem::detail::random_scalar<V>::type;
        x = x - T(tau) * (x - x_hat) + T(scale) * z;
    }
};
struct extrapolate {  // x_hat_last becomes x_hat, x_hat becomes x_hat + weight (x_hat - x_hat_last)
    double weight;
    template <class V>
    DIEM_HOST_DEVICE void operator()(V& x_hat, V& x_hat_last) const {
        using T = typename diem::detail::random_scalar<V>::type;
        const V now = x_hat;
        x_hat = now + T(weight) * (now - x_hat_last);
        x_hat_last = now;
    }
};
struct heun_trial {  // x_new = x + rate (x - x_hat)
    double rate;
    template <class V>
    DIEM_HOST_DEVICE void operator()(V& x_new, const V& x, const V& x_hat) const {
        using T = typename diem::detail::random_scalar<V>::type;
        x_new = x + T(rate) * (x - x_hat);
    }
};
struct heun_update {  // x += rate_t (x - x_hat) + rate_s (x_new - x_hat_new)
    double rate_t, rate_s;
    template <class V>
    DIEM_HOST_DEVICE void operator()(V& x, const V& x_hat, const V& x_new, const V& x_hat_new) const {
        using T = typename diem::detail::random_scalar<V>::type;
        x = x + (T(rate_t) * (x - x_hat) + T(rate_s) * (x_new - x_hat_new));
    }
};
struct move_from {  // x += mean - mu
    template <class V>
    DIEM_HOST_DEVICE void operator()(V& x, const V& mean, const V& mu) const {
        x = x + (mean - mu);
    }
};
struct start_at {  // x = mean + sigma z, x holds z
    double sigma;
    template <class V>
    DIEM_HOST_DEVICE void operator()(V& x, const V& mean) const {
        using T = typename diem::detail::random_scalar<V>::type;
        x = mean + T(sigma) * x;
    }
};

/// x += scale z - tau (x - x_hat)
template <Backend B, class N>
void noisy_move(B& b, const_view_t<B> x_hat, double tau, double scale, const N& noise, std::uint32_t lane, index_t draw,
                view_t<B> x) {
    batch<B> z(b, x.features(), x.items());
    noise.draw(b, lane, draw, z.view());
    b.map(toward_mean_noisy{tau, scale}, x, x_hat, z.cview());
}
template <Backend B, class M, class N>
void langevin_move(B& b, M& model, double level, double tau, double scale, const N& noise, std::uint32_t lane,
                   index_t draw, view_t<B> x) {
    batch<B> x_hat(b, x.features(), x.items());
    model.denoise(b, x, level, x_hat.view());
    noisy_move<B>(b, x_hat.cview(), tau, scale, noise, lane, draw, x);
}

}  // namespace detail

/// One step of a scheme: number, and noise levels before and after, sigma_t > sigma_s.
struct step_info {
    index_t index;
    double sigma_t, sigma_s;

    /// 1 - sigma_s^2 / sigma_t^2: how far the reverse SDE moves towards x_hat.
    [[nodiscard]] double tau() const {
        const double ratio = sigma_s / sigma_t;
        return 1 - ratio * ratio;
    }
};

/// `step(b, model, info, noise, x)` moves x from noise level sigma_t to sigma_s, in place.
template <class S, class B, class M, class N>
concept Sampler = Denoiser<M, B> && NoiseSource<N, B> &&
                  requires(const S& s, B& b, M& model, step_info info, const N& noise, view_t<B> x) {
                      s.step(b, model, info, noise, x);
                  };

/// Ancestral step of the reverse SDE: x_s = x_t - tau (x_t - x_hat) + sigma_s sqrt(tau) z, tau = 1 - sigma_s^2 / sigma_t^2.
/// One denoiser call.
struct ddpm {
    template <Backend B, class M, class N>
    void step(B& b, M& model, const step_info& info, const N& noise, view_t<B> x) const {
        const double tau = info.tau();
        detail::langevin_move(b, model, info.sigma_t, tau, info.sigma_s * std::sqrt(tau), noise,
                              random_lane::sampler_noise, info.index, x);
    }
};

/// Euler step of the probability flow ODE: x_s = x_t - (1 - sigma_s / sigma_t) (x_t - x_hat). One denoiser call, no noise.
struct ddim {
    template <Backend B, class M, class N>
    void step(B& b, M& model, const step_info& info, const N& /*noise*/, view_t<B> x) const {
        batch<B> x_hat(b, x.features(), x.items());
        model.denoise(b, x, info.sigma_t, x_hat.view());
        b.map(detail::toward_mean{1 - info.sigma_s / info.sigma_t}, x, x_hat.cview());
    }
};

/// A DDIM step, then Langevin corrections at sigma_s: x <- x - tau (x - x_hat) + sigma_s sqrt(2 tau) z. 1 + corrections
/// denoiser calls. The paper's sampler of the manifold experiment.
struct predictor_corrector {
    index_t corrections = 1;
    double tau = 0.1;  ///< step size, in units of sigma_s^2
    template <Backend B, class M, class N>
    void step(B& b, M& model, const step_info& info, const N& noise, view_t<B> x) const {
        ddim{}.step(b, model, info, noise, x);
        for (index_t c = 0; c < corrections; ++c)
            detail::langevin_move(b, model, info.sigma_s, tau, info.sigma_s * std::sqrt(2 * tau), noise,
                                  random_lane::corrector_noise, info.index * corrections + c, x);
    }
};

/// Trapezoidal step of the probability flow ODE dx / d sigma = (x - x_hat) / sigma: Karras et al. 2022, algorithm 1. Two
/// denoiser calls, no noise, second order. Their exception at sigma_s = 0 does not arise, see `edm`.
struct heun {
    template <Backend B, class M, class N>
    void step(B& b, M& model, const step_info& info, const N& /*noise*/, view_t<B> x) const {
        const double h = info.sigma_s - info.sigma_t;
        batch<B> x_hat(b, x.features(), x.items()), x_new(b, x.features(), x.items());
        batch<B> x_hat_new(b, x.features(), x.items());
        model.denoise(b, x, info.sigma_t, x_hat.view());
        b.map(detail::heun_trial{h / info.sigma_t}, x_new.view(), const_view_t<B>(x), x_hat.cview());
        model.denoise(b, x_new, info.sigma_s, x_hat_new.view());
        b.map(detail::heun_update{h / (2 * info.sigma_t), h / (2 * info.sigma_s)}, x, x_hat.cview(), x_new.cview(),
              x_hat_new.cview());
    }
};

/// What a multistep scheme keeps between two steps: the last x_hat, and the noise level it was made at (0: none yet).
template <Backend B>
struct multistep_memory {
    batch<B> x_hat;
    double sigma = 0;
};

namespace detail {

/// Exponential integrators of second order: the step of `ddpm` or `ddim` with x_hat + h / (2 h') (x_hat - x_hat') in the
/// place of x_hat, where h = log(sigma_t / sigma_s) and ' marks the step before.
template <bool Stochastic>
struct multistep {
    template <Backend B>
    [[nodiscard]] multistep_memory<B> memory(B& b, index_t features, index_t items) const {
        return {batch<B>(b, features, items)};
    }
    template <Backend B, class M, class N>
    void step(B& b, M& model, const step_info& info, const N& noise, view_t<B> x, multistep_memory<B>& last) const {
        batch<B> x_hat(b, x.features(), x.items());
        model.denoise(b, x, info.sigma_t, x_hat.view());
        if (last.sigma > 0) {
            const double weight = std::log(info.sigma_t / info.sigma_s) / (2 * std::log(last.sigma / info.sigma_t));
            b.map(extrapolate{weight}, x_hat.view(), last.x_hat.view());
        } else {
            b.copy(x_hat.cview(), last.x_hat.view());
        }
        last.sigma = info.sigma_t;
        if constexpr (Stochastic) {
            const double tau = info.tau();
            noisy_move<B>(b, x_hat.cview(), tau, info.sigma_s * std::sqrt(tau), noise, random_lane::sampler_noise,
                          info.index, x);
        } else {
            b.map(toward_mean{1 - info.sigma_s / info.sigma_t}, x, x_hat.cview());
        }
    }
};

}  // namespace detail

/// DPM-Solver++(2M) of Lu et al. (2022, arXiv 2211.01095, algorithm 2): DDIM's step with x_hat extrapolated from the last two.
/// Second order, one denoiser call, no noise.
using dpm_solver_2m = detail::multistep<false>;

/// SDE-DPM-Solver++(2M), from their appendix: DDPM's step with x_hat extrapolated. One denoiser call. With 64 steps it
/// keeps the variance that `ddpm` keeps with a thousand.
using dpm_solver_2m_sde = detail::multistep<true>;

/// What `memory(b, features, items)` of a multistep scheme returns.
template <class S, class B>
using memory_of = decltype(std::declval<const S&>().memory(std::declval<B&>(), index_t{}, index_t{}));

/// `memory(b, features, items)` is what `step` takes beside the arguments of a `Sampler`, and may change.
template <class S, class B, class M, class N>
concept MultistepSampler = Denoiser<M, B> && NoiseSource<N, B> &&
                           requires(const S& s, B& b, M& model, step_info info, const N& noise, view_t<B> x,
                                    memory_of<S, B>& memory) { s.step(b, model, info, noise, x, memory); };

namespace detail {
struct no_memory {};
template <class S, class B>
auto memory_for(const S& sampler, B& b, index_t features, index_t items) {
    if constexpr (requires { sampler.memory(b, features, items); })
        return sampler.memory(b, features, items);
    else
        return no_memory{};
}
}  // namespace detail

template <Backend B>
struct sample_options {
    index_t steps = 256;
    const_vector_t<B> mean{};  ///< of the prior, D numbers, where known: x_1 = mean + sigma(1) z; empty: zero
    /// A Gaussian estimate of the prior, where known: x_1 ~ N(mean, Sigma + sigma^2 I), about its own mean where none is
    /// given. Without it the start lacks Sigma, and of a variance l there survives 1 - (l / (l + sigma^2))^2 (SDE) or
    /// sigma^2 / (l + sigma^2) (ODE), sigma = sigma(1).
    const gaussian<B>* estimate = nullptr;
    bool start_given = false;   ///< x holds x_1 already
    index_t first_step = 0;     ///< steps before it are left out: then x holds x_t, t = 1 - first_step / steps
    bool final_denoise = true;  ///< end by x = E[x | x_0], as in the paper: x_0 still carries noise sigma(0)
};

struct sample_result {
    index_t steps = 0;      ///< steps made
    double sigma = 0;       ///< noise level of x; 0 after the final denoiser call
    bool finished = false;  ///< false: cancelled, and x is x_t at `sigma`
};

/// The default progress callback.
struct no_progress {
    constexpr bool operator()(index_t, index_t, double) const { return true; }
};

/// Draws x (D x n) from the model: x_1 = mean + sigma(1) z (or of `options.estimate`), then `options.steps` steps of `sampler` along the times
/// 1 - i / steps, then the final denoiser call.
///
/// `noise`: a NoiseSource, e.g. `random_noise{key}`, or just the random_key: then the numbers drawn for an item depend on
/// the key and the item's number only. `progress(step, steps, sigma)` is called after each step with the number of steps
/// made and the noise level reached; false cancels. After the first step nothing is allocated, if the model does not.
/// Throws shape_error, value_error (options).
template <Backend B, class M, Schedule S, class Scheme, class Noise, class Progress = no_progress>
sample_result sample(B& b, M& model, const S& schedule, const Scheme& sampler, const sample_options<B>& options,
                     const Noise& noise, view_t<B> x, Progress&& progress = {}) {
    if constexpr (std::same_as<Noise, random_key>) {
        return sample(b, model, schedule, sampler, options, random_noise{noise}, x, std::forward<Progress>(progress));
    } else {
        constexpr bool one_step = Sampler<Scheme, B, M, Noise>;
        static_assert(one_step || MultistepSampler<Scheme, B, M, Noise>);
        check_shape("diffusion::sample", "x", x, model.features(), x.items());
        check_value("diffusion::sample", options.steps > 0, "options.steps is not positive");
        check_value("diffusion::sample", options.first_step >= 0 && options.first_step < options.steps,
                    "options.first_step is not a step");
        double sigma = schedule.sigma(time_at(options.first_step, options.steps));
        if (!options.start_given && options.first_step == 0) {
            noise.draw(b, random_lane::sampler_start, 0, x);
            if (options.estimate != nullptr) {
                check_size("diffusion::sample", "options.estimate->features()", options.estimate->features(),
                           x.features());
                batch<B> z(b, options.estimate->rank(), x.items());
                noise.draw(b, random_lane::sampler_start, 1, z.view());
                options.estimate->color(b, sigma, z.cview(), x);
                if (options.mean.size() > 0) {
                    check_size("diffusion::sample", "options.mean.size()", options.mean.size(), x.features());
                    b.map(detail::move_from{}, x, per_feature{options.mean}, per_feature{options.estimate->mu()});
                }
            } else if (options.mean.size() > 0) {
                check_size("diffusion::sample", "options.mean.size()", options.mean.size(), x.features());
                b.map(detail::start_at{sigma}, x, per_feature{options.mean});
            } else {
                b.axpby(0.0, const_view_t<B>(x), sigma, x);
            }
        }
        [[maybe_unused]] auto memory = detail::memory_for(sampler, b, x.features(), x.items());
        for (index_t i = options.first_step; i < options.steps; ++i) {
            const double next = schedule.sigma(time_at(i + 1, options.steps));
            const step_info info{i, sigma, next};
            if constexpr (one_step)
                sampler.step(b, model, info, noise, x);
            else
                sampler.step(b, model, info, noise, x, memory);
            sigma = next;
            if (!progress(i + 1, options.steps, sigma)) return {i + 1, sigma, false};
        }
        if (!options.final_denoise) return {options.steps, sigma, true};
        batch<B> x_hat(b, x.features(), x.items());
        model.denoise(b, x, sigma, x_hat.view());
        b.copy(x_hat.cview(), x);
        return {options.steps, 0, true};
    }
}

}  // namespace diem::diffusion
