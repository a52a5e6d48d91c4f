// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include <diem/backend/batch.hpp>
#include <diem/backend/concept.hpp>
#include <diem/core/check.hpp>
#include <diem/core/random.hpp>
#include <diem/train/moments.hpp>

/// \file
/// Clipping by global norm, Adam, learning rates and an exponential moving average of the weights, on one flat buffer.
/// \snippet tests/examples/train.cpp train/optimizer.hpp

namespace diem::train {

enum class rate_schedule { constant, linear, exponential };

/// Learning rate of update number k (0 first) out of K; p = min((k + 1) / (K + 1), 1):
///   constant: r0,  linear: r0 + (r1 - r0) p,  exponential: r0 (r1 / r0)^p,
/// all times min((k + 1) / (warmup K + 1), 1).
struct rate_options {
    rate_schedule schedule = rate_schedule::constant;
    double initial = 2e-4;  ///< r0
    double final = 1e-6;    ///< r1; not used by `constant`
    double warmup = 0;      ///< fraction of the updates
};

[[nodiscard]] inline double learning_rate(const rate_options& o, index_t step, index_t steps) {
    const auto k = static_cast<double>(step + 1);
    const auto total = static_cast<double>(steps);
    const double p = std::min(k / (total + 1), 1.0);
    double rate = o.initial;
    if (o.schedule == rate_schedule::linear) rate = o.initial + (o.final - o.initial) * p;
    if (o.schedule == rate_schedule::exponential) rate = o.initial * std::pow(o.final / o.initial, p);
    return rate * std::min(k / (total * o.warmup + 1), 1.0);
}

/// Throws value_error for rates or a warm-up outside their range.
inline void check_rate(const rate_options& o) {
    check_positive("train::rate_options", "initial", o.initial);
    if (o.schedule != rate_schedule::constant) check_positive("train::rate_options", "final", o.final);
    check_value("train::rate_options", o.warmup >= 0 && o.warmup <= 1, "warmup must lie in [0, 1]");
}

/// Kingma and Ba, "Adam", arXiv 1412.6980, eps outside the root; gradients first scaled by min(1, max_norm / ||g||), the
/// norm over all parameters together.
struct adam_options {
    double beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
    double max_norm = 1;        ///< infinity: no clipping
    double ema_decay = 0.9999;  ///< 0: the average is the last weights
    /// The decay of update k is min(ema_decay, (1 + k) / (10 + k)), so that a short training does not end as it began.
    bool ema_warmup = false;
    /// Of m and v. bf16 rounds each of them to one of its two neighbours after an update, at random, so that its mean is kept:
    /// rounded to nearest, v would stand still where beta2 is above 1 - 2^-8.
    moment_precision moments = moment_precision::float32;
};

namespace detail {

/// scale = 1 if ||g|| < max_norm, else max_norm / ||g||.
struct clip_scale {
    double max_norm;
    DIEM_HOST_DEVICE void operator()(index_t, const double* squared_norm, double* scale) const {
        using std::sqrt;
        const double norm = sqrt(squared_norm[0]);
        scale[0] = norm < max_norm ? 1.0 : max_norm / norm;
    }
};

/// m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g^2, p -= rate (m / c1) / (sqrt(v / c2) + eps), g clipped; then
/// average += (1 - decay) (p - average), or average = p for decay 0.
template <class T, bool Average>
struct adam_update {
    T beta1, rest1, beta2, rest2, c1, c2, rate, eps, rest_decay;
    template <class V>
    DIEM_HOST_DEVICE void operator()(V& p, V& m, V& v, V& average, const V& gradient, const V& scale) const {
        using std::sqrt;
        const V g = scale * gradient;
        m = beta1 * m + rest1 * g;
        v = beta2 * v + rest2 * g * g;
        const V root = sqrt(v / c2);
        p = p - rate * (m / c1) / (root + eps);
        if constexpr (Average)
            average = average + rest_decay * (p - average);
        else
            average = p;
    }
};

}  // namespace detail

/// What an interrupted optimisation needs to go on: moments, averaged weights, number of updates done.
template <Backend B>
class optimizer {
public:
    optimizer() = default;
    /// m = v = 0, average = the parameters. The rounding of moments in bf16 is a function of `seed`, step and element.
    optimizer(B& b, const_vector_t<B> parameters, const adam_options& options, std::uint64_t seed = 0)
        : options_(options), seed_(seed) {
        constexpr auto* where = "train::optimizer";
        check_value(where, options.beta1 >= 0 && options.beta1 < 1, "beta1 must lie in [0, 1)");
        check_value(where, options.beta2 >= 0 && options.beta2 < 1, "beta2 must lie in [0, 1)");
        check_value(where, options.ema_decay >= 0 && options.ema_decay < 1, "ema_decay must lie in [0, 1)");
        check_value(where, options.eps > 0 && options.max_norm > 0, "eps and max_norm must be > 0");
        const index_t n = parameters.size();
        moments_ = detail::moments<B>(b, n, options.moments);
        average_ = batch<B>(b, n, 1);
        squared_norm_ = batch<B, double>(b, 1, 1);
        scale_ = batch<B, double>(b, 1, 1);
        b.copy(as_batch(parameters), average_.view());
    }

    /// One update of the parameters p with the gradient g. After the norm everything is one pass over the flat buffers, and
    /// the scale of the clipping never leaves the backend.
    void update(B& backend, vector_t<B> p, const_vector_t<B> g, double rate) {
        check_size("train::optimizer::update", "parameters", p.size(), average_.features());
        check_size("train::optimizer::update", "gradient", g.size(), average_.features());
        backend.dot(as_batch(g), as_batch(g), squared_norm_.flat());
        backend.launch(1, 1, detail::clip_scale{options_.max_norm}, squared_norm_.cview().data(), scale_.view().data());
        options_.ema_decay > 0 ? pass<true>(backend, p, g, rate) : pass<false>(backend, p, g, rate);
        ++step_;
    }

    [[nodiscard]] index_t step() const { return step_; }
    void set_step(index_t step) { step_ = step; }
    [[nodiscard]] const adam_options& options() const { return options_; }
    /// f(m, v): flat vectors of the backend's scalar, or of bfloat16 where `options().moments` is bf16.
    template <class F>
    void with_moments(const F& f) {
        moments_.with(f);
    }
    /// The exponential moving average of the weights.
    [[nodiscard]] vector_t<B> average() { return average_.flat(); }
    [[nodiscard]] const_vector_t<B> average() const { return average_.flat(); }
    /// ||g|| of the last update, before clipping; waits for it.
    [[nodiscard]] double norm(B& backend) const { return std::sqrt(to_host(backend, squared_norm_).front()); }

private:
    template <bool Average>
    void pass(B& backend, vector_t<B> p, const_vector_t<B> g, double rate) {
        using T = scalar_t<B>;
        const auto& o = options_;
        const auto k = static_cast<double>(step_ + 1);
        const double decay = o.ema_warmup ? std::min(o.ema_decay, (1 + k) / (10 + k)) : o.ema_decay;
        const detail::adam_update<T, Average> f{static_cast<T>(o.beta1),
                                                static_cast<T>(1 - o.beta1),
                                                static_cast<T>(o.beta2),
                                                static_cast<T>(1 - o.beta2),
                                                static_cast<T>(1 - std::pow(o.beta1, k)),
                                                static_cast<T>(1 - std::pow(o.beta2, k)),
                                                static_cast<T>(rate),
                                                static_cast<T>(o.eps),
                                                static_cast<T>(1 - decay)};
        const random_key key{.seed = seed_, .lane = random_lane::moments, .step = static_cast<std::uint32_t>(step_)};
        moments_.update(backend, key, [&](B& part, index_t first, view_t<B> m, view_t<B> v) {
            const auto piece = [&](const auto& whole) { return as_batch(whole.range(first, m.features())); };
            part.map(f, piece(p), m, v, piece(average_.flat()), piece(g), per_item{const_scale()});
        });
    }
    [[nodiscard]] const_vector_t<B, double> const_scale() const { return scale_.flat(); }

    adam_options options_;
    std::uint64_t seed_ = 0;
    detail::moments<B> moments_;
    batch<B> average_;
    batch<B, double> squared_norm_, scale_;
    index_t step_ = 0;
};

}  // namespace diem::train
