// SPDX-License-Identifier: Apache-2.0
#include "own_model.hpp"

namespace python {

using namespace diem;

bool draw_posterior(backend& b, own_model& model, const program::measured<backend>& m,
                    const posterior::sample_options<backend>& how, const random_key& key, out x,
                    posterior::sample_state& state, const program::go_on_function& go_on) {
    return posterior::sample<backend>(b, model, m.observed(b), how, key, x, state,
                                      [&](const auto& s, const auto&) { return go_on(s); });
}
void draw(backend& b, own_model& model, const posterior::sample_options<backend>& how, const random_key& key, out x) {
    diffusion::sample<backend>(b, model, how.sampling, {how.mean, how.estimate}, key, x);
}

}  // namespace python
