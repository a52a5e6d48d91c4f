// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <utility>

#include <diem/prior/diffusion_em.hpp>
#include <diem/prior/gaussian_checkpoint.hpp>

#include "diem/prior_config.hpp"
#include "diem/stages.hpp"

/// Checkpoints with the models that draw from them.
namespace program {

/// A prior with the model that draws from it.
template <Backend B>
struct loaded_prior {
    prior_config config;
    std::optional<learned_prior<B>> learned;
    std::optional<gaussian<B>> estimate;  ///< the prior itself where there is no network
    std::optional<network<B>> model;
    diem::posterior::mmps_options mmps;  ///< for posterior samples
    [[nodiscard]] index_t features() const { return model ? model->features() : estimate->features(); }
    [[nodiscard]] diem::const_vector_t<B> mean() const { return learned ? learned->mean.flat() : estimate->mu(); }
};

/// A Gaussian or a diffusion prior; of the state of a run, the prior of its last lap. Throws io_error.
template <Backend B>
[[nodiscard]] loaded_prior<B> load_prior(B& b, const std::filesystem::path& file) {
    using namespace diem;
    loaded_prior<B> p;
    prior::checkpoint_reader<B> in(file);
    const auto kind = in.template state<std::string>("kind");
    if (kind == "gaussian_prior") {
        auto stored = prior::load_gaussian(file, b);
        if (stored.config.contains("program")) p.config = config_from(stored.config, file.string());
        p.config.network.reset();
        p.estimate = std::move(stored.prior);
        p.mmps = gaussian_mmps();
        return p;
    }
    if (kind != "diffusion_prior") in.fail("holds a " + kind + ", expected a gaussian_prior or a diffusion_prior");
    p.config = config_from(in.config(), file.string());
    if (!p.config.network) in.fail("does not say how its network is built");
    p.model.emplace(b, model::any_network<B>(*p.config.network));
    p.learned = prior::get_prior(b, in, p.model->table());
    if (p.learned->laps == 0) in.fail("its network is not trained: no lap is done yet");
    prior::load_into(b, *p.learned, *p.model);
    p.estimate = p.learned->estimate;
    p.mmps = prior::e_step_mmps(b, p.config.em, *p.learned);
    const bool needs = p.mmps.cov_x == posterior::covariance::blended ||
                       p.mmps.cov_x == posterior::covariance::gaussian ||
                       p.mmps.cov_x == posterior::covariance::gaussian_heuristic;
    if (needs && !p.estimate) p.mmps = prior::paper_mmps();
    return p;
}

}  // namespace program
