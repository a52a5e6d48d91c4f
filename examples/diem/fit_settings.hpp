// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <filesystem>
#include <functional>
#include <optional>
#include <utility>

#include <diem/model/config.hpp>
#include <diem/prior/em_options.hpp>
#include <diem/prior/gaussian_options.hpp>

#include "diem/measured.hpp"

namespace program {

/// The configuration of `diem fit`.
struct fit_settings {
    std::vector<std::filesystem::path> observations;  ///< several for the operator mri alone
    operator_description description;
    sigma_source sigma;
    std::optional<support::image_shape> image;
    diem::prior::gaussian_fit_options gaussian;
    std::optional<diem::model::network_config> network;  ///< none: Gaussian
    diem::prior::em_options em;                          ///< its seed is that of all random numbers
    bool e_step_given = false;                           ///< of the Gaussian stage; else the default may change
    bool auto_scale = false;                             ///< data are brought to a spread of about 1
    diem::index_t pictures = 16;                         ///< images in a row of a picture
};

/// What defaults depend on.
struct data_facts {
    index_t items, features;
    bool mask;
    std::optional<support::image_shape> image;
};
/// Reads the configuration; `load` is called when its sources are known, before the rest. Throws config_error.
[[nodiscard]] fit_settings read_settings(const std::filesystem::path& file,
                                         const std::function<data_facts(const fit_settings&)>& load);

/// The configuration, and the observations that it names. Throws config_error and what load_measured throws.
template <Backend B>
[[nodiscard]] std::pair<fit_settings, measured<B>> read_fit(B& b, const std::filesystem::path& file) {
    std::optional<measured<B>> m;
    auto settings = read_settings(file, [&](const fit_settings& s) {
        m = load_measured(b, s.observations, s.description, s.sigma, s.image);
        // A power of two: no number is rounded.
        if (s.auto_scale && m->spread > 0) rescale(b, *m, s.sigma, std::exp2(std::round(std::log2(m->spread))));
        return data_facts{m->items(), m->features(), m->a.as_mask() != nullptr, m->image};
    });
    return {std::move(settings), std::move(*m)};
}

}  // namespace program
