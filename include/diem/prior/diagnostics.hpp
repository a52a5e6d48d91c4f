// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/core/check.hpp>
#include <diem/io/json.hpp>
#include <diem/solver/status.hpp>

/// What a lap of diffusion EM tells about itself, and when it is taken for broken.
namespace diem::prior {

/// One lap: its E-step with the prior it began with, then its M-step. NaN: not measured.
struct lap_diagnostics {
    index_t lap = 0;
    index_t samples = 0;
    /// Mean over samples of (y - A x)' Sigma_y^-1 (y - A x) / rows: near 1 where the samples fit the data.
    double data_residual = std::numeric_limits<double>::quiet_NaN();
    double outside_share = 0;     ///< samples with a value beyond `guard_options::low`, `high`
    double non_finite_share = 0;  ///< samples with a value that is not finite; replaced by others before training
    /// Solves of one item at one step, by `solver::solver_status` (shares).
    std::array<double, solver::solver_statuses> solver_shares{};
    /// Root mean square over features of the change, since the last lap, of the samples' mean and standard deviation,
    /// over the root mean square of the standard deviation.
    double change = std::numeric_limits<double>::quiet_NaN();
    double loss = std::numeric_limits<double>::quiet_NaN();  ///< recent mean at the end of training
    double e_seconds = 0, m_seconds = 0;
};

/// Bounds beyond which a lap is rejected, and the prior before it is the result.
struct guard_options {
    double low = -4, high = 4;  ///< data range with a margin: data live in [-2, 2], samples of a Gaussian fit go beyond
    double max_outside_share = 0.5;      ///< of samples
    double max_non_finite_share = 0.01;  ///< of samples
    double max_residual_ratio = 30;      ///< of the data residual to max(1, the least of earlier laps)
    double max_loss_ratio = 2;           ///< of the running loss to the least final loss of earlier laps
    double max_change = 2;               ///< `lap_diagnostics::change`; a healthy lap is far below 1
    double max_breakdown_share = 1;      ///< of solves that end in breakdown or non_finite; 1 never rejects
};

namespace detail {

[[nodiscard]] inline std::string shown(double v) {
    std::string text = std::to_string(v);
    return std::abs(v) >= 1e7 ? io::json(v).dump() : text;
}

/// Why an E-step is taken for broken; empty where it is not.
[[nodiscard]] inline std::string e_step_fault(const lap_diagnostics& d, const std::vector<lap_diagnostics>& earlier,
                                              const guard_options& g) {
    if (!(d.non_finite_share <= g.max_non_finite_share))
        return "share of samples that are not finite: " + shown(d.non_finite_share);
    if (!(d.outside_share <= g.max_outside_share))
        return "share of samples outside the data range: " + shown(d.outside_share);
    double least = std::numeric_limits<double>::infinity();
    for (const auto& e : earlier)
        if (std::isfinite(e.data_residual)) least = std::min(least, e.data_residual);
    if (!std::isfinite(d.data_residual)) return "the data residual is not finite";
    if (std::isfinite(least) && !(d.data_residual <= g.max_residual_ratio * std::max(1.0, least)))
        return "data residual " + shown(d.data_residual) + ", before at least " + shown(least);
    if (d.change > g.max_change) return "the samples' moments changed by " + shown(d.change) + " of their spread";
    if (const double broken = d.solver_shares[2] + d.solver_shares[3]; !(broken <= g.max_breakdown_share))
        return "share of solves that broke down: " + shown(broken);
    return {};
}

/// Least final loss of earlier laps; infinity where there is none.
[[nodiscard]] inline double least_loss(const std::vector<lap_diagnostics>& earlier) {
    double least = std::numeric_limits<double>::infinity();
    for (const auto& e : earlier)
        if (std::isfinite(e.loss)) least = std::min(least, e.loss);
    return least;
}

/// Of each sample: weighted squared residual r' s / rows with s = Sigma_y^-1 r, whether a value is out of range, whether
/// one is not finite. out: 3 x n.
template <class T>
struct examine_sample {
    index_t features, stride, rows;
    double low, high;
    DIEM_HOST_DEVICE void operator()(index_t i, const T* x, const double* product, double* out) const {
        const T* item = x + i * stride;
        bool outside = false, finite = product[i] - product[i] == 0;
        for (index_t j = 0; j < features; ++j) {
            const auto v = static_cast<double>(item[j]);
            outside = outside || v < low || v > high;
            finite = finite && v - v == 0;
        }
        out[3 * i] = rows > 0 ? product[i] / static_cast<double>(rows) : 0;
        out[3 * i + 1] = outside ? 1 : 0;
        out[3 * i + 2] = finite ? 0 : 1;
    }
};

/// Values of sample i into [low, high].
template <class T>
struct clip_sample {
    index_t features, stride;
    T low, high;
    DIEM_HOST_DEVICE void operator()(index_t i, T* x) const {
        T* item = x + i * stride;
        for (index_t j = 0; j < features; ++j) item[j] = item[j] < low ? low : item[j] > high ? high : item[j];
    }
};

struct residual_of {
    template <class V>
    DIEM_HOST_DEVICE void operator()(V& r, const V& y) const {
        r = y - r;
    }
};

/// Mean and standard deviation of feature j over the samples.
template <class T>
struct feature_moments {
    index_t items, stride;
    DIEM_HOST_DEVICE void operator()(index_t j, const T* x, T* mean, T* deviation) const {
        using std::sqrt;
        double sum = 0, squares = 0;
        const double shift = items > 0 ? static_cast<double>(x[j]) : 0;
        for (index_t i = 0; i < items; ++i) {
            const double v = static_cast<double>(x[j + i * stride]) - shift;
            sum += v;
            squares += v * v;
        }
        const auto n = static_cast<double>(items);
        const double m = sum / n, variance = squares / n - m * m;
        mean[j] = static_cast<T>(shift + m);
        deviation[j] = static_cast<T>(variance > 0 ? sqrt(variance) : 0);
    }
};

}  // namespace detail

/// Mean and standard deviation of each feature over samples.
template <Backend B>
struct sample_moments {
    batch<B> mean, deviation;  ///< D x 1; empty: not known
};
template <Backend B>
[[nodiscard]] sample_moments<B> moments_of(B& b, const_view_t<B> x) {
    check_value("prior::moments_of", x.items() > 0, "there are no samples");
    sample_moments<B> m{batch<B>(b, x.features(), 1), batch<B>(b, x.features(), 1)};
    b.launch(x.features(), 4 * x.items(), detail::feature_moments<scalar_t<B>>{x.items(), x.stride()}, x.data(),
             m.mean.view().data(), m.deviation.view().data());
    return m;
}

/// Brings the values of samples into [low, high].
template <Backend B>
void clip_samples(B& b, view_t<B> x, double low, double high) {
    using T = scalar_t<B>;
    b.launch(x.items(), x.features(),
             detail::clip_sample<T>{x.features(), x.stride(), static_cast<T>(low), static_cast<T>(high)}, x.data());
}

/// `lap_diagnostics::change`; NaN where the first is not known.
template <Backend B>
[[nodiscard]] double change_of(B& b, const sample_moments<B>& before, const sample_moments<B>& now) {
    if (before.mean.features() == 0) return std::numeric_limits<double>::quiet_NaN();
    const auto m0 = to_host(b, before.mean), s0 = to_host(b, before.deviation), m1 = to_host(b, now.mean),
               s1 = to_host(b, now.deviation);
    double moved = 0, scale = 0;
    for (std::size_t j = 0; j < m0.size(); ++j) {
        const double dm = static_cast<double>(m1[j] - m0[j]), ds = static_cast<double>(s1[j] - s0[j]);
        moved += dm * dm + ds * ds;
        scale += static_cast<double>(s0[j]) * static_cast<double>(s0[j]);
    }
    return scale > 0 ? std::sqrt(moved / scale) : std::numeric_limits<double>::quiet_NaN();
}

[[nodiscard]] inline io::json to_json(const lap_diagnostics& d) {
    const auto number = [](double v) { return std::isfinite(v) ? io::json(v) : io::json(nullptr); };
    return {{"lap", d.lap},
            {"samples", d.samples},
            {"data_residual", number(d.data_residual)},
            {"outside_share", d.outside_share},
            {"non_finite_share", d.non_finite_share},
            {"solver_shares", d.solver_shares},
            {"change", number(d.change)},
            {"loss", number(d.loss)},
            {"e_seconds", d.e_seconds},
            {"m_seconds", d.m_seconds}};
}
/// One number per `solver::solver_status`; files from before a status was known have fewer. Throws nlohmann::json exceptions.
[[nodiscard]] inline std::array<double, solver::solver_statuses> by_status(const io::json& j) {
    std::array<double, solver::solver_statuses> out{};
    for (std::size_t k = 0; k < std::min(j.size(), out.size()); ++k) out[k] = j.at(k).get<double>();
    return out;
}
/// Throws nlohmann::json exceptions where the text is not of this form.
[[nodiscard]] inline lap_diagnostics diagnostics_from(const io::json& j) {
    const auto number = [&](const char* key) {
        const auto& v = j.at(key);
        return v.is_null() ? std::numeric_limits<double>::quiet_NaN() : v.get<double>();
    };
    lap_diagnostics d;
    d.lap = j.at("lap").get<index_t>();
    d.samples = j.at("samples").get<index_t>();
    d.data_residual = number("data_residual");
    d.outside_share = number("outside_share");
    d.non_finite_share = number("non_finite_share");
    d.solver_shares = by_status(j.at("solver_shares"));
    d.change = number("change");
    d.loss = number("loss");
    d.e_seconds = number("e_seconds");
    d.m_seconds = number("m_seconds");
    return d;
}

}  // namespace diem::prior
