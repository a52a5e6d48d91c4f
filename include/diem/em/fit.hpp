// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cmath>
#include <concepts>
#include <limits>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <diem/core/check.hpp>
#include <diem/core/view.hpp>

/// \file
/// Expectation-maximisation as a loop over values: nothing here knows what a prior, a sample or a network is.
///
///     prior_0 -> e_step -> samples_0 -> m_step -> prior_1 -> e_step -> ...
///
/// One turn is a lap. If the E-step is exact and the M-step maximises the expected log-likelihood, the evidence of the
/// observations never decreases (Dempster, Laird and Rubin, 1977).
/// \snippet tests/examples/em.cpp em/fit.hpp

namespace diem::em {

/// What a step, or a monitor at the end of a lap, wishes.
enum class decision {
    go_on,
    stop,    ///< the new prior is kept, and no further lap begins
    cancel,  ///< the lap is given up in the middle: the prior it began with is the result, and nothing is wrong with it
    reject,  ///< the lap went wrong: the prior it began with is the result
};

/// A decision and why, for people.
struct verdict {
    decision wish = decision::go_on;
    std::string reason{};
};

/// What a step may return instead of its value: the value, or a verdict that ends the lap, with or without one.
template <class V>
struct outcome {
    std::optional<V> value;
    verdict what{};

    // NOLINTBEGIN(google-explicit-constructor)
    outcome(V v, verdict end = {}) : value(std::move(v)), what(std::move(end)) {}
    outcome(verdict end) : what(std::move(end)) {}
    // NOLINTEND(google-explicit-constructor)
};

namespace detail {
template <class V>
struct value_of {
    using type = V;
};
template <class V>
struct value_of<outcome<V>> {
    using type = V;
};
}  // namespace detail

/// `e_step(prior, lap)` -> samples, or sufficient statistics: any value but void, or an `outcome` of one. May change the
/// prior's working memory, not what it stands for.
template <class F, class Prior>
concept EStep = std::move_constructible<Prior> && requires(F& f, Prior& prior, index_t lap) {
    f(prior, lap);
    requires !std::is_void_v<decltype(f(prior, lap))>;
};

/// What an E-step yields.
template <class F, class Prior>
using samples_t = typename detail::value_of<std::decay_t<std::invoke_result_t<F&, Prior&, index_t>>>::type;

/// `m_step(samples, prior, lap)` -> the next prior, or an `outcome` of one. May read the last one, for a warm start.
template <class F, class Samples, class Prior>
concept MStep = requires(F& f, Samples& samples, Prior& prior, index_t lap) {
    { f(samples, prior, lap) } -> std::convertible_to<outcome<Prior>>;
};

/// Why `fit` ended.
enum class stop_reason {
    max_laps,
    converged,   ///< the objective changed by no more than `tolerance`
    stopped,     ///< a step or a monitor said stop
    cancelled,   ///< a step or a monitor said cancel
    rejected,    ///< a step or a monitor rejected the last lap
    non_finite,  ///< the objective was not finite: the prior it was measured on is returned
};

[[nodiscard]] constexpr const char* to_string(stop_reason reason) {
    switch (reason) {
        case stop_reason::max_laps:
            return "max_laps";
        case stop_reason::converged:
            return "converged";
        case stop_reason::stopped:
            return "stopped";
        case stop_reason::cancelled:
            return "cancelled";
        case stop_reason::rejected:
            return "rejected";
        case stop_reason::non_finite:
            return "non_finite";
    }
    return "?";
}

struct fit_options {
    index_t max_laps = 16;  ///< laps to run, counted from first_lap
    index_t first_lap = 0;  ///< number of the first lap: set when a run is resumed
    /// Ends when |o_k - o_(k-1)| <= tolerance max(|o_k|, |o_(k-1)|) in `patience` laps in a row, o the objective a monitor
    /// measures. 0 never ends so.
    double tolerance = 0;
    index_t patience = 1;
};

/// One lap as it went.
struct lap_record {
    index_t lap = 0;
    /// Measured on the lap's samples, hence of the prior the lap began with. NaN where no monitor measures one.
    double objective = std::numeric_limits<double>::quiet_NaN();
    double e_seconds = 0, m_seconds = 0;
};

template <class Prior>
struct fit_result {
    Prior prior;
    index_t laps = 0;  ///< completed, a rejected one not counted
    stop_reason reason = stop_reason::max_laps;
    std::string message{};              ///< of the verdict that ended it, where one did
    std::vector<lap_record> history{};  ///< one for each lap begun
};

/// A monitor is any object with any of these members, called in this order:
///
///     lap_start(lap, prior)
///     measure(samples, prior) -> double       the objective, after the E-step
///     e_step_end(record, samples, prior)
///     lap_end(record, samples, next_prior)    -> void, decision or verdict
///     lap_dropped(record, samples, verdict)   instead of lap_end, where a step gave samples and then ended the lap
struct no_monitor {};

/// Several monitors as one, called in order. The first that has `measure` gives the objective; the later
/// entry of `decision` outweighs. Holds references: the monitors must outlive it.
template <class... M>
class monitors {
public:
    explicit monitors(M&... parts) : parts_(parts...) {}
    [[nodiscard]] std::tuple<M&...>& parts() { return parts_; }

private:
    std::tuple<M&...> parts_;
};

/// A monitor that measures `f(samples, prior)`.
template <class F>
struct objective {
    F f;
    template <class Samples, class Prior>
    double measure(Samples& samples, Prior& prior) {
        return static_cast<double>(f(samples, prior));
    }
};
template <class F>
objective(F) -> objective<F>;

namespace detail {

template <class T>
inline constexpr bool is_monitors = false;
template <class... M>
inline constexpr bool is_monitors<monitors<M...>> = true;

template <class M, class F>
void for_each(M& monitor, const F& f) {
    if constexpr (is_monitors<M>)
        std::apply([&f](auto&... part) { (for_each(part, f), ...); }, monitor.parts());
    else
        f(monitor);
}

template <class M, class Prior>
void lap_start(M& monitor, index_t lap, Prior& prior) {
    for_each(monitor, [&](auto& m) {
        if constexpr (requires { m.lap_start(lap, prior); }) m.lap_start(lap, prior);
    });
}

/// Sets `value` from the first monitor that measures; false where none does.
template <class M, class Samples, class Prior>
bool measure(M& monitor, Samples& samples, Prior& prior, double& value) {
    bool measured = false;
    for_each(monitor, [&](auto& m) {
        if constexpr (requires { m.measure(samples, prior); })
            if (!std::exchange(measured, true)) value = static_cast<double>(m.measure(samples, prior));
    });
    return measured;
}

template <class M, class Samples, class Prior>
void e_step_end(M& monitor, const lap_record& record, Samples& samples, Prior& prior) {
    for_each(monitor, [&](auto& m) {
        if constexpr (requires { m.e_step_end(record, samples, prior); }) m.e_step_end(record, samples, prior);
    });
}

template <class M, class Samples, class Prior>
verdict lap_end(M& monitor, const lap_record& record, Samples& samples, Prior& prior) {
    verdict all;
    for_each(monitor, [&](auto& m) {
        if constexpr (requires { m.lap_end(record, samples, prior); }) {
            using answer = decltype(m.lap_end(record, samples, prior));
            if constexpr (std::is_void_v<answer>) {
                m.lap_end(record, samples, prior);
            } else {
                verdict d;
                if constexpr (std::same_as<answer, decision>)
                    d.wish = m.lap_end(record, samples, prior);
                else
                    d = m.lap_end(record, samples, prior);
                if (static_cast<int>(d.wish) > static_cast<int>(all.wish)) all = std::move(d);
            }
        }
    });
    return all;
}

template <class M, class Samples>
void lap_dropped(M& monitor, const lap_record& record, Samples& samples, const verdict& v) {
    for_each(monitor, [&](auto& m) {
        if constexpr (requires { m.lap_dropped(record, samples, v); }) m.lap_dropped(record, samples, v);
    });
}

/// A step's answer as an outcome.
template <class V, class R>
outcome<V> as_outcome(R&& answer) {
    if constexpr (std::same_as<std::decay_t<R>, outcome<V>>)
        return std::forward<R>(answer);
    else
        return outcome<V>(std::forward<R>(answer));
}

inline stop_reason reason_of(decision wish) {
    return wish == decision::reject   ? stop_reason::rejected
           : wish == decision::cancel ? stop_reason::cancelled
                                      : stop_reason::stopped;
}

inline bool settled(double previous, double current, double tolerance) {
    const double scale = std::fmax(std::fabs(previous), std::fabs(current));
    return std::fabs(current - previous) <= tolerance * scale;  // false where either is NaN
}

inline double seconds_since(std::chrono::steady_clock::time_point start) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace detail

/// Runs laps from `prior` until one of `stop_reason` holds. Both steps are called with the lap's number, so that their
/// random numbers can be keyed by it and a run resumed with `first_lap` goes on as the uninterrupted one would.
/// The samples of a lap are freed before the next lap begins. Exceptions of the steps and monitors pass through.
/// Throws value_error when an option is out of range.
template <class Prior, class E, class M, class Monitor = no_monitor>
    requires EStep<E, Prior> && MStep<M, samples_t<E, Prior>, Prior>
[[nodiscard]] fit_result<Prior> fit(Prior prior, E&& e_step, M&& m_step, const fit_options& options = {},
                                    Monitor&& monitor = {}) {
    check_value("em::fit", options.max_laps >= 0, "options.max_laps is negative");
    check_value("em::fit", options.first_lap >= 0, "options.first_lap is negative");
    check_value("em::fit", options.patience >= 1, "options.patience is below 1");
    check_value("em::fit", options.tolerance >= 0, "options.tolerance is negative or not a number");
    fit_result<Prior> result{.prior = std::move(prior)};
    const auto end = [&](const lap_record& record, const verdict& v) {
        result.history.push_back(record);
        result.reason = detail::reason_of(v.wish);
        result.message = v.reason;
    };
    double last_objective = std::numeric_limits<double>::quiet_NaN();
    index_t settled = 0;
    for (index_t k = 0; k < options.max_laps; ++k) {
        lap_record record{.lap = options.first_lap + k};
        detail::lap_start(monitor, record.lap, result.prior);
        auto start = std::chrono::steady_clock::now();
        using samples_type = samples_t<E, Prior>;
        auto drawn = detail::as_outcome<samples_type>(e_step(result.prior, record.lap));
        record.e_seconds = detail::seconds_since(start);
        if (drawn.what.wish != decision::go_on || !drawn.value) {
            if (drawn.value) detail::lap_dropped(monitor, record, *drawn.value, drawn.what);
            end(record, drawn.what);
            return result;
        }
        auto& samples = *drawn.value;
        const bool measured = detail::measure(monitor, samples, result.prior, record.objective);
        detail::e_step_end(monitor, record, samples, result.prior);
        if (measured && !std::isfinite(record.objective)) {
            result.history.push_back(record);
            result.reason = stop_reason::non_finite;
            return result;
        }
        start = std::chrono::steady_clock::now();
        auto next = detail::as_outcome<Prior>(m_step(samples, result.prior, record.lap));
        record.m_seconds = detail::seconds_since(start);
        if (static_cast<int>(next.what.wish) > static_cast<int>(decision::stop) || !next.value) {
            detail::lap_dropped(monitor, record, samples, next.what);
            end(record, next.what);
            return result;
        }
        verdict last = detail::lap_end(monitor, record, samples, *next.value);
        if (static_cast<int>(next.what.wish) > static_cast<int>(last.wish)) last = std::move(next.what);
        if (static_cast<int>(last.wish) > static_cast<int>(decision::stop)) {
            end(record, last);
            return result;
        }
        result.prior = std::move(*next.value);
        ++result.laps;
        if (last.wish == decision::stop) {
            end(record, last);
            return result;
        }
        result.history.push_back(record);
        const bool still =
            measured && options.tolerance > 0 && detail::settled(last_objective, record.objective, options.tolerance);
        settled = still ? settled + 1 : 0;
        last_objective = record.objective;
        if (settled >= options.patience) {
            result.reason = stop_reason::converged;
            return result;
        }
    }
    return result;
}

}  // namespace diem::em
