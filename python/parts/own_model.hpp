// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>

#include <diem/backend/eigen.hpp>
#include <diem/diffusion/score_model.hpp>
#include <diem/posterior/sample.hpp>

#include "diem/measured.hpp"
#include "diem/stages.hpp"

/// Score models made of a caller's functions. A unit of its own, without Python: it takes long to compile.
namespace python {

using backend = diem::eigen_backend<float>;
using in = diem::const_view_t<backend>;
using out = diem::view_t<backend>;
using own_model = diem::diffusion::function_model<std::function<void(backend&, in, double, out)>,
                                                  std::function<void(backend&, in, double, in, out)>>;

/// `posterior::sample` of it, see program::network_stage.
bool draw_posterior(backend& b, own_model& model, const program::measured<backend>& m,
                    const diem::posterior::sample_options<backend>& how, const diem::random_key& key, out x,
                    diem::posterior::sample_state& state, const program::go_on_function& go_on);
/// Samples of the model itself.
void draw(backend& b, own_model& model, const diem::posterior::sample_options<backend>& how,
          const diem::random_key& key, out x);

}  // namespace python
