// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <diem/io/config.hpp>
#include <diem/model/config.hpp>
#include <diem/prior/em_options.hpp>
#include <diem/prior/gaussian_options.hpp>

#include "diem/held_out.hpp"
#include "diem/measured.hpp"

namespace program {

/// The configuration of `diem fit`.
struct fit_settings {
    diem::io::json config;                            ///< as it was read, for reports
    std::vector<std::filesystem::path> observations;  ///< several for the operator mri alone
    operator_description description;
    sigma_source sigma;
    std::optional<support::image_shape> image;
    diem::prior::gaussian_fit_options gaussian;
    std::optional<diem::model::network_config> network;  ///< none: Gaussian
    diem::prior::em_options em;                          ///< its seed is that of all random numbers
    bool auto_scale = false;                             ///< data are brought to a spread of about 1
    double held_out = 0;          ///< share of the values of y that is kept back, to be predicted
    diem::index_t pictures = 16;  ///< images in a row of a picture
};

/// What defaults depend on.
struct data_facts {
    index_t items, features;
    bool mask;
    double start_variance;  ///< of a Gaussian's EM
    std::optional<support::image_shape> image;
};
/// Reads the configuration, whose file names are relative to `folder`; `load` is called when its sources are known, before the
/// rest. Throws config_error.
[[nodiscard]] fit_settings read_settings(const diem::io::config_source& source, const std::filesystem::path& folder,
                                         const std::function<data_facts(fit_settings&)>& load);

/// A configuration, and its observations, made by `load(settings)`. Throws config_error and what `load` throws.
template <Backend B, class Load>
[[nodiscard]] std::pair<fit_settings, measured<B>> read_fit(B& b, const diem::io::config_source& source,
                                                            const std::filesystem::path& folder, const Load& load) {
    std::optional<measured<B>> m;
    auto settings = read_settings(source, folder, [&](fit_settings& s) {
        m = load(s);
        if (s.held_out > 0) hold_back(b, *m, s.held_out, s.em.seed, s.description.where);
        // A power of two: no number is rounded.
        if (s.auto_scale && m->spread > 0) rescale(b, *m, s.sigma, std::exp2(std::round(std::log2(m->spread))));
        return data_facts{m->items(), m->features(), m->a.as_mask() != nullptr, m->start_variance, m->image};
    });
    return {std::move(settings), std::move(*m)};
}

/// `prior::check_start` in the words of the configuration.
inline void check_sigma_max(const std::filesystem::path& config, const diem::prior::em_options& em, double spread) {
    if (!(em.sampling.sigma_max >= spread))
        throw diem::value_error(config.string() + ": \"em.sampler.sigma_max\": is " +
                                support::brief(em.sampling.sigma_max) + ", below the spread of the data, " +
                                support::brief(spread) +
                                ": samples would be too narrow; give a greater one, or \"scale\": \"auto\"");
}

/// Data far from the standard range are no error of a Gaussian fit, but laps of the network would be rejected, and pictures be
/// wrong; samples of data near the least noise level are that noise. Throws value_error where EM from N(0, I) would not arrive.
template <Backend B>
[[nodiscard]] std::vector<std::string> scale_warnings(const measured<B>& m, const fit_settings& s) {
    if (m.spread == 0) return {"y has no more power than the noise of \"sigma_y\": it tells little of x"};
    const bool noise = s.network && m.spread < 20 * s.em.sampling.sigma_min;
    if (m.spread > 0.1 && m.spread < 4 && !noise) return {};
    const std::string text = "the data's spread is about " + support::brief(m.spread) +
                             (noise ? ", near the least noise level of the sampler" : "") +
                             "; samplers and networks expect about 1: give \"scale\": \"auto\", or scale the data to "
                             "about [-2, 2]";
    if (m.spread < 1e-4 || m.spread > 1e4) throw diem::value_error(s.observations.front().string() + ": " + text);
    return {text};
}

}  // namespace program
