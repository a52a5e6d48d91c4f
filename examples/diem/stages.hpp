// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>

#include <diem/diffusion/gaussian.hpp>
#include <diem/em/fit.hpp>
#include <diem/model/any_network.hpp>
#include <diem/model/preconditioned.hpp>
#include <diem/prior/diffusion_prior.hpp>
#include <diem/prior/em_options.hpp>
#include <diem/prior/em_result.hpp>

#include "diem/measured.hpp"
#include "support/gaussian_stage.hpp"
#include "support/plan.hpp"

/// What takes long to compile. For each backend there is a unit of gaussian_stage.hpp and one of network_stage.hpp, where the
/// functions below are defined.
namespace program {

template <Backend B>
using gaussian = diem::diffusion::gaussian<B>;
template <Backend B>
using learned_prior = diem::prior::diffusion_prior<B>;
template <Backend B>
using network = diem::model::preconditioned<B, diem::model::any_network<B>>;

template <Backend B>
struct gaussian_stage {
    /// Masks have exact E-steps that cost little; other operators are formed as matrices by `moments`.
    [[nodiscard]] static diem::em::fit_result<gaussian<B>> fit(B& b, const support::gaussian_settings& s,
                                                               const measured<B>& m, std::uint64_t seed);
    /// Exact posterior samples of masked observations under a Gaussian; false where A is no mask. Sample s n + i belongs to
    /// observation i.
    static bool draw_masked(B& b, const gaussian<B>& model, const measured<B>& m, std::uint64_t seed,
                            diem::view_t<B> x);
};

/// Posterior samples, in the order of `draw_masked`.
template <Backend B>
struct posterior_draws {
    diem::batch<B> x;
    diem::prior::lap_diagnostics diagnostics;
};

template <Backend B>
struct network_stage {
    [[nodiscard]] static support::em_plan plan(B& b, network<B>& model, const diem::prior::em_options& em,
                                               index_t observations);
    /// The diffusion prior by EM; the function is called with the prior of each lap.
    using lap_function = std::function<void(const diem::prior::lap_diagnostics&, const learned_prior<B>&)>;
    [[nodiscard]] static diem::prior::em_result<B> fit(B& b, network<B>& model, const measured<B>& m,
                                                       gaussian<B>& initial, const diem::prior::em_options& em,
                                                       const lap_function& lap_end);
    /// Samples of the prior, item i a function of seed and i; with a bar, where it has a label.
    static void draw(B& b, network<B>& model, diem::const_vector_t<B> mean,
                     const diem::prior::sampling_options& sampling, std::uint64_t seed, diem::view_t<B> x,
                     const char* label = nullptr);
    /// The model is the network, or (null) the Gaussian itself.
    [[nodiscard]] static posterior_draws<B> draw_posterior(B& b, network<B>* model, gaussian<B>* estimate,
                                                           diem::const_vector_t<B> mean, const measured<B>& m,
                                                           const diem::posterior::mmps_options& mmps,
                                                           const diem::prior::sampling_options& sampling,
                                                           std::uint64_t seed);
};

}  // namespace program
