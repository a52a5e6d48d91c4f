// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>

#include <diem/model/any_network.hpp>
#include <diem/posterior/sample.hpp>
#include <diem/prior/diffusion_em.hpp>
#include <diem/prior/learned.hpp>

#include "diem/measured.hpp"
#include "support/plan.hpp"

/// What takes long to compile. For each backend there is a unit of gaussian_stage.hpp and one of network_stage.hpp, where the
/// functions below are defined.
namespace program {

template <Backend B>
using learned_prior = diem::prior::learned<B>;
template <Backend B>
using learn_result = diem::prior::learn_result<B>;

template <Backend B>
struct gaussian_stage {
    /// Masks have exact E-steps that cost little; other operators are formed as matrices by `moments`.
    [[nodiscard]] static learn_result<B> fit(B& b, const diem::prior::gaussian_fit_options& o, const measured<B>& m,
                                             const diem::prior::run<B>& run);
    /// Exact posterior samples of masked observations under a Gaussian; false where A is no mask. Sample s n + i belongs to
    /// observation i.
    static bool draw_masked(B& b, const diem::diffusion::gaussian<B>& model, const measured<B>& m, std::uint64_t seed,
                            diem::view_t<B> x);
};

template <Backend B>
struct network_stage {
    using network = diem::model::any_network<B>;

    [[nodiscard]] static support::em_plan plan(B& b, const network& net, const diem::prior::em_options& em,
                                               diem::index_t observations);
    /// The diffusion prior by EM.
    [[nodiscard]] static learn_result<B> fit(B& b, learned_prior<B> start, const network& net, const measured<B>& m,
                                             const diem::prior::em_options& em, const diem::prior::run<B>& run);
    /// Samples of the prior itself.
    static void draw(B& b, const learned_prior<B>& prior, const diem::random_key& key, diem::view_t<B> x);
    /// `posterior::sample`; `go_on` is asked after each batch. Whether all are drawn.
    using go_on_function = std::function<bool(const diem::posterior::sample_state&)>;
    static bool draw_posterior(B& b, const learned_prior<B>& prior, const measured<B>& m,
                               const diem::posterior::sample_options<B>& how, const diem::random_key& key,
                               diem::view_t<B> x, diem::posterior::sample_state& state, const go_on_function& go_on);
};

}  // namespace program
