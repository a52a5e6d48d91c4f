// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "diem/data.hpp"
#include "diem/prior_file.hpp"
#include "support/em_settings.hpp"
#include "support/gaussian_stage.hpp"

namespace program {

/// The configuration of `diem fit`, with the observations it names.
struct fit_settings {
    std::filesystem::path observations;
    operator_description description;
    sigma_source sigma;
    std::optional<support::image_shape> image;
    support::gaussian_settings gaussian;
    prior_config prior;
    diem::index_t pictures = 16;  ///< images in a row of a picture
};

/// Reads the configuration, then the observations: defaults depend on them. Throws config_error and what load_measured
/// throws.
[[nodiscard]] std::pair<fit_settings, measured> read_fit(backend_type& b, const std::filesystem::path& file);

}  // namespace program
