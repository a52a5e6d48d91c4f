// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include <diem/io/json.hpp>
#include <diem/model/config.hpp>

#include "diem/stages.hpp"

/// Checkpoints that say by themselves how to draw from them.
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

/// A prior with the model that draws from it.
struct loaded_prior {
    prior_config config;
    std::optional<learned_prior> learned;
    std::optional<gaussian> estimate;  ///< the prior itself where there is no network
    std::optional<network> model;
    diem::posterior::mmps_options mmps;  ///< for posterior samples
    [[nodiscard]] index_t features() const { return model ? model->features() : estimate->features(); }
    [[nodiscard]] diem::const_vector_t<backend_type> mean() const {
        return learned ? learned->mean.flat() : estimate->mu();
    }
};
/// A Gaussian or a diffusion prior; of the state of a run, the prior of its last lap. Throws io_error.
[[nodiscard]] loaded_prior load_prior(backend_type& b, const std::filesystem::path& file);

/// A Gaussian in the same form: conjugate gradients to convergence.
[[nodiscard]] diem::posterior::mmps_options gaussian_mmps();

}  // namespace program
