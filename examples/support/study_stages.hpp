// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <diem/io/config.hpp>
#include <diem/model/config.hpp>
#include <diem/prior/em_options.hpp>

#include "support/bounds.hpp"
#include "support/em_settings.hpp"
#include "support/place.hpp"

/// What the programs of an image study that read a configuration share: what is asked for, and the stages.
namespace support {

/// From the command line, see support/study_options.hpp.
struct study_command {
    std::filesystem::path data, out, config;
    std::vector<std::string> changes;  ///< of the configuration, KEY=VALUE
    place at;                          ///< chosen, for `run_on_...`
    bool resume = false, plan_only = false, smoke = false;
};

/// From the configuration. Units: sigma_y and the noise levels are standard deviations in data units.
struct stage_settings {
    diem::index_t observations = 0, gaussian_observations = 0;  ///< the first so many
    double sigma_y = 0;
    std::uint64_t seed = 0;
    diem::prior::gaussian_fit_options gaussian{};
    std::optional<diem::nn::unet_config> network;  ///< none: the Gaussian prior alone
    diem::prior::em_options em{};
};

/// `observations`: the key of how many there are, in all and of the Gaussian stage; at most `most`.
inline void read_stages(config_object& c, stage_settings& s, const std::string& observations, diem::index_t most) {
    c.ignore("comment");
    c.optional(observations, s.observations).at_least(1).at_most(most);
    c.optional("sigma_y", s.sigma_y).at_least(least_level).at_most(most_level);
    c.optional("seed", s.seed);
    s.gaussian_observations = std::min(s.gaussian_observations, s.observations);
    c.object("gaussian", [&](config_object& o) {
        o.optional(observations, s.gaussian_observations).at_least(1).at_most(s.observations);
        diem::prior::read_settings(o, s.gaussian);
        diem::prior::suit_basis(s.gaussian);
    });
    if (c.contains("network")) read_network(c, "network", "a unet", s.network.emplace());
    s.em.seed = s.seed;
    s.em.initial_mmps = s.gaussian.mmps;
    read_object(c, "em", s.em, s.observations);
}

inline void at_most(diem::index_t& value, diem::index_t bound) { value = std::min(value, bound); }

/// The same stages at a size that takes seconds; `rank`: of the covariances.
inline void shrink_stages(stage_settings& s, diem::index_t rank) {
    at_most(s.observations, 4);
    at_most(s.gaussian_observations, 4);
    at_most(s.gaussian.ppca.rank, rank);
    at_most(s.gaussian.fit.max_laps, 2);
    at_most(s.gaussian.sampling.steps, 4);
    at_most(s.em.laps, 1);
    at_most(s.em.refresh.rank, rank);
    at_most(s.em.sampling.steps, 3);
    s.em.sampling.samples_per_observation = 1;
    at_most(s.em.training.steps, 3);
    s.em.training.adam.ema_warmup = true;
    at_most(s.em.training.batch, 4);
    at_most(s.em.training.loss.micro_batch, 2);
}

}  // namespace support
