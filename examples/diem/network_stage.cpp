// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <optional>

#include "diem/stages.hpp"
#include "support/diffusion_stage.hpp"
#include "support/progress.hpp"

namespace program {

using namespace diem;

static_assert(nn::Network<model::any_network<backend_type>, backend_type>);
static_assert(linop::LinearOperator<any_operator, backend_type>);

support::em_plan plan(backend_type& b, network& model, const prior::em_options& em, index_t observations) {
    return support::plan_em(b, model, em, observations);
}

prior::em_result<backend_type> fit_network(backend_type& b, network& model, const measured& m, gaussian& initial,
                                           const prior::em_options& em, const lap_function& lap_end) {
    return support::fit_diffusion_stage(
        b, model, m.observed(b), initial, em,
        [&](const prior::lap_diagnostics& d, const auto&, const learned_prior& next) { lap_end(d, next); });
}

void draw(backend_type& b, network& model, const_vector_t<backend_type> mean, const prior::sampling_options& sampling,
          std::uint64_t seed, view_t<backend_type> x, const char* label) {
    std::optional<support::progress> bar;
    if (label != nullptr) bar.emplace(label, static_cast<long>(x.items()));
    const random_key key{.seed = seed};
    for (index_t first = 0; first < x.items(); first += sampling.batch) {
        const index_t count = std::min(sampling.batch, x.items() - first);
        prior::sample_prior<backend_type>(b, model, sampling, mean, key.skip_items(static_cast<std::uint32_t>(first)),
                                          x.item_range(first, count));
        if (bar) bar->update(static_cast<long>(first + count));
    }
}

posterior_draws draw_posterior(backend_type& b, network* model, gaussian* estimate, const_vector_t<backend_type> mean,
                               const measured& m, const posterior::mmps_options& mmps,
                               const prior::sampling_options& sampling, std::uint64_t seed) {
    posterior_draws draws{images(b, m.features(), m.items() * sampling.samples_per_observation), {}};
    prior::e_step_state state;
    support::progress bar("posterior samples", static_cast<long>(draws.x.items()));
    const auto with = [&](auto& prior_model) {
        prior::sample_posteriors(b, prior_model, m.observed(b), estimate, mmps, sampling, {}, mean, seed,
                                 draws.x.view(), state, [&](const prior::e_step_state& s) {
                                     bar.update(static_cast<long>(s.done));
                                     return true;
                                 });
    };
    if (model != nullptr)
        with(*model);
    else
        with(*estimate);
    draws.diagnostics = prior::diagnostics_of(state);
    return draws;
}

}  // namespace program
