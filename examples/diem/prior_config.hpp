// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>

#include <diem/core/view.hpp>
#include <diem/io/json.hpp>
#include <diem/model/config.hpp>
#include <diem/posterior/options.hpp>
#include <diem/prior/em_options.hpp>

#include "support/image_grid.hpp"

/// How to draw from a checkpoint, as it says itself.
namespace program {

/// Kept in the "config" of a checkpoint. Those of the other examples hold a network alone.
struct prior_config {
    std::optional<diem::model::network_config> network;  ///< none: Gaussian
    std::optional<support::image_shape> image;
    diem::prior::em_options em;  ///< of it: sampling, mmps, switch_factor, seed
};
[[nodiscard]] diem::io::json to_json(const prior_config& c);
/// Throws config_error, naming `where`.
[[nodiscard]] prior_config config_from(const diem::io::json& value, const std::string& where);

/// A Gaussian in the same form: conjugate gradients to convergence.
[[nodiscard]] diem::posterior::mmps_options gaussian_mmps();

}  // namespace program
