// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <mutex>
#include <string>

#include "arrays.hpp"

namespace python {

/// A prior with the backend that it lives on. Calls of several threads wait for one another.
struct prior_type {
    std::unique_ptr<backend> b;
    program::learned_prior<backend> prior;
    std::string status = "completed", report{};
    std::recursive_mutex busy{};

    [[nodiscard]] double scale() const { return program::scale_of_notes(prior.notes); }
};

/// A network of the user's: two callables.
struct model_type {
    model_type(nb::object denoise, nb::object vjp, shape_type shape, int threads);
    shape_type item;
    std::unique_ptr<backend> b;
    own_model model;
    std::recursive_mutex busy{};
};

prior_type* fit(nb::handle y, nb::handle op, nb::handle config, const std::optional<std::filesystem::path>& folder,
                bool resume, double save_every, nb::handle progress, nb::handle on_lap, int threads);
prior_type* load(const std::filesystem::path& file, int threads);
void save(prior_type& p, const std::filesystem::path& file);

float_target denoise(prior_type& p, nb::handle x, nb::handle sigma, nb::handle given);
float_target vjp(prior_type& p, nb::handle x, nb::handle sigma, nb::handle v, nb::handle given);
/// `config`: "sampler", "posterior", "switch_factor".
float_target sample(nb::handle model, index_t count, nb::handle config, std::uint64_t seed, nb::handle progress,
                    nb::handle given);
/// Samples and what came of them. `config`: the same with "operator" and "sigma_y", "layout".
nb::tuple posterior(nb::handle model, nb::handle y, nb::handle op, nb::handle config, std::optional<index_t> samples,
                    std::uint64_t seed, nb::handle progress, nb::handle given);
/// What `config` may change, as it is.
diem::io::json drawing_of(const prior_type& p);

}  // namespace python
