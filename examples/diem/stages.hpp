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

#include "diem/data.hpp"
#include "support/gaussian_stage.hpp"
#include "support/plan.hpp"

/// What takes long to compile, each in one place: gaussian_stage.cpp and network_stage.cpp.
namespace program {

using gaussian = diem::diffusion::gaussian<backend_type>;
using learned_prior = diem::prior::diffusion_prior<backend_type>;
using network = diem::model::preconditioned<backend_type, diem::model::any_network<backend_type>>;

/// Masks have exact E-steps that cost little; other operators are formed as matrices by `moments`.
[[nodiscard]] diem::em::fit_result<gaussian> fit_gaussian(backend_type& b, const support::gaussian_settings& s,
                                                          const measured& m, std::uint64_t seed);

[[nodiscard]] support::em_plan plan(backend_type& b, network& model, const diem::prior::em_options& em,
                                    index_t observations);
/// The diffusion prior by EM; the function is called with the prior of each lap.
using lap_function = std::function<void(const diem::prior::lap_diagnostics&, const learned_prior&)>;
[[nodiscard]] diem::prior::em_result<backend_type> fit_network(backend_type& b, network& model, const measured& m,
                                                               gaussian& initial, const diem::prior::em_options& em,
                                                               const lap_function& lap_end);

/// Samples of the prior, item i a function of seed and i; with a bar, where it has a label.
void draw(backend_type& b, network& model, diem::const_vector_t<backend_type> mean,
          const diem::prior::sampling_options& sampling, std::uint64_t seed, diem::view_t<backend_type> x,
          const char* label = nullptr);

/// Exact posterior samples of masked observations under a Gaussian; false where A is no mask. Order as below.
bool draw_masked(backend_type& b, const gaussian& model, const measured& m, std::uint64_t seed,
                 diem::view_t<backend_type> x);

/// Posterior samples: sample s n + i belongs to observation i. The model is the network, or the Gaussian itself.
struct posterior_draws {
    images x;
    diem::prior::lap_diagnostics diagnostics;
};
[[nodiscard]] posterior_draws draw_posterior(backend_type& b, network* model, gaussian* estimate,
                                             diem::const_vector_t<backend_type> mean, const measured& m,
                                             const diem::posterior::mmps_options& mmps,
                                             const diem::prior::sampling_options& sampling, std::uint64_t seed);

}  // namespace program
