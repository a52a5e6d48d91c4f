// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <mutex>
#include <string>

#include <diem/io/config.hpp>

#include "arrays.hpp"

namespace python {

using draw_options = diem::posterior::sample_options<backend>;
using program::go_on_function;

/// A prior with the backend that it lives on. Calls of several threads wait for one another.
struct prior_type {
    std::unique_ptr<backend> b;
    program::learned_prior<backend> prior;
    std::string status = "completed", report{};
    std::recursive_mutex busy{};

    [[nodiscard]] index_t features() const { return prior.features(); }
    [[nodiscard]] double scale() const { return program::scale_of_notes(prior.notes); }
    /// Of an item: of its own images, else of these.
    [[nodiscard]] shape_type shape(const image& other = {}) const {
        const auto own = program::image_of(prior);
        const auto all = program::shape_of(1, features(), own ? own : other);
        return {all.begin() + 1, all.end()};
    }
    /// What a configuration says to change. Throws config_error.
    [[nodiscard]] draw_options options(const diem::io::config_source& config) const;
    /// Drawn at once: all where there is a closed form.
    [[nodiscard]] index_t batch(const draw_options& how, index_t all) const {
        return prior.has_network() ? how.sampling.batch : all;
    }
    void draw(const draw_options& how, const diem::random_key& key, out x);
    /// Whether the samples are exact.
    bool draw_posterior(const program::measured<backend>& m, const draw_options& how, std::uint64_t seed, out x,
                        diem::posterior::sample_state& state, const go_on_function& go_on);
};

/// A network of the user's, two callables; the same functions.
struct model_type {
    using denoiser = std::function<nb::object(nb::object, double)>;
    using product = std::function<nb::object(nb::object, double, nb::object)>;
    model_type(denoiser denoise, product vjp, shape_type item, int threads);
    shape_type item;
    std::unique_ptr<backend> b;
    own_model model;
    std::recursive_mutex busy{};

    [[nodiscard]] index_t features() const { return model.features(); }
    [[nodiscard]] double scale() const { return 1; }
    [[nodiscard]] shape_type shape(const image& /*other*/ = {}) const { return item; }
    [[nodiscard]] draw_options options(const diem::io::config_source& config) const;
    [[nodiscard]] index_t batch(const draw_options& how, index_t /*all*/) const { return how.sampling.batch; }
    void draw(const draw_options& how, const diem::random_key& key, out x);
    bool draw_posterior(const program::measured<backend>& m, const draw_options& how, std::uint64_t seed, out x,
                        diem::posterior::sample_state& state, const go_on_function& go_on);
};

/// `on_lap`: diagnostics as JSON, a view of samples, their scale; returns whether to go on. `progress` may be null.
using lap_function = std::function<bool(std::string, nb::object, double)>;
prior_type* fit(const problem& given, const std::optional<std::filesystem::path>& folder, bool resume,
                double save_every, watcher::told progress, lap_function on_lap, int threads);
/// _core.Prior and _core.Model.
void bind_priors(nb::module_& m);

}  // namespace python
