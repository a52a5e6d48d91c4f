// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>

#include <diem/core/random.hpp>
#include <diem/diffusion/concept.hpp>
#include <diem/model/preconditioned.hpp>
#include <diem/nn/update.hpp>

/// \file
/// What a model has that can be trained.
/// \snippet tests/examples/train.cpp train/concept.hpp

namespace diem::train {

/// A score model with weights, as the denoising loss needs it.
///
/// `parameters()`                        the weights, one flat buffer
/// `mutable_parameters()`                the same for writing, asked for anew before each write
/// `linearize(b, x_t, sigma, training)`  a linearisation with `mean()` and
///     `vjp_params(b, x_hat_bar, grad, update)`  grad = (or +=) the gradient of <x_hat_bar, x_hat> by the weights
/// `training` gives the rate of dropout and its key: item i of the batch draws by `first_item + i`, so that a batch taken
/// in parts draws the same masks.
template <class M, class B>
concept TrainableModel = diffusion::ScoreModel<M, B> && diffusion::HasItemSigma<M, B> &&
                         requires(M& m, const M& c, B& b, const_view_t<B> x_t, diffusion::noise_level<B> sigma,
                                  const model::training& training, vector_t<B> grad, nn::update update) {
                             { m.mutable_parameters() } -> std::convertible_to<vector_t<B>>;
                             { c.parameters() } -> std::convertible_to<const_vector_t<B>>;
                             { m.linearize(b, x_t, sigma, training).mean() } -> std::convertible_to<const_view_t<B>>;
                             m.linearize(b, x_t, sigma, training).vjp_params(b, x_t, grad, update);
                         };

}  // namespace diem::train
