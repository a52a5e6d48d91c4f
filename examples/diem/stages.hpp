// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <variant>

#include <diem/model/pretrained_network.hpp>
#include <diem/posterior/sample.hpp>
#include <diem/prior/diffusion_em.hpp>
#include <diem/prior/learned.hpp>
#include <diem/prior/noise_level.hpp>

#include "diem/measured.hpp"
#include "support/plan.hpp"

/// What takes long to compile. For each backend there is a unit of gaussian_stage.hpp and one of network_stage.hpp, where the
/// functions below are defined.
namespace program {

/// Any that a prior's file may hold.
template <Backend B>
using network_type = diem::model::pretrained_network<B>;
template <Backend B>
using learned_prior = diem::prior::learned<B, network_type<B>>;
template <Backend B>
using learn_result = diem::prior::learn_result<B, network_type<B>>;
template <Backend B>
using run_type = diem::prior::run<B, network_type<B>>;

/// The shape of its images: of its notes, else of a U-Net; none where it is not known. Throws io_error (notes).
template <Backend B>
[[nodiscard]] std::optional<support::image_shape> image_of(const learned_prior<B>& prior) {
    auto image = image_of_notes(prior.notes);
    if (image || !prior.has_network()) return image;
    const auto config = prior.network().net().config();
    if (const auto* unet = std::get_if<diem::nn::unet_config>(&config))
        image = support::image_shape{unet->height, unet->width, unet->channels};
    if (const auto* unet = std::get_if<diem::nn::ddpm_unet_config>(&config))
        image = support::image_shape{unet->height, unet->width, unet->channels};
    return image;
}

using go_on_function = std::function<bool(const diem::posterior::sample_state&)>;

template <Backend B>
struct gaussian_stage {
    /// Observations at once: the matrices of operators that are none of a mask take at most about 256 MiB.
    [[nodiscard]] static diem::index_t batch_of(const diem::prior::gaussian_fit_options& o, const measured<B>& m) {
        using diem::prior::gaussian_e_step;
        if (o.e_step == gaussian_e_step::diffusion) return o.sampling.batch;
        if (m.a.as_mask() != nullptr || o.e_step == gaussian_e_step::draws) return o.batch;
        const diem::index_t rows = m.y.features(), each = 2 * m.features() * rows + rows * rows;
        return std::clamp<diem::index_t>((diem::index_t{1} << 26) / std::max<diem::index_t>(each, 1), 1, o.batch);
    }
    /// Masks have exact E-steps that cost little; other operators are formed as matrices by `moments`.
    [[nodiscard]] static learn_result<B> fit(B& b, const diem::prior::gaussian_fit_options& o, const measured<B>& m,
                                             const run_type<B>& run);
    /// What the data look like under its Gaussian estimate.
    [[nodiscard]] static diem::prior::noise_level noise(B& b, const learned_prior<B>& prior, const measured<B>& m,
                                                        std::uint64_t seed);
    /// Posterior samples under a prior without a network, which needs no sampler; `go_on` is asked on the way. Sample s n + i
    /// belongs to observation i. Whether all are drawn.
    static bool draw_exactly(B& b, const learned_prior<B>& prior, const measured<B>& m, std::uint64_t seed,
                             diem::view_t<B> x, diem::posterior::sample_state& state, const go_on_function& go_on,
                             const diem::parallel::any_communicator& ranks = {});
};

template <Backend B>
struct network_stage {
    using network = network_type<B>;

    [[nodiscard]] static support::em_plan plan(B& b, const network& net, const diem::prior::em_options& em,
                                               diem::index_t observations);
    /// The diffusion prior by EM.
    [[nodiscard]] static learn_result<B> fit(B& b, learned_prior<B> start, const network& net, const measured<B>& m,
                                             const diem::prior::em_options& em, const run_type<B>& run);
    /// `prior::sample`.
    static bool draw(B& b, const learned_prior<B>& prior, const diem::diffusion::sampling_options& sampling,
                     const diem::random_key& key, diem::view_t<B> x, const std::atomic<bool>* cancel = nullptr);
    /// `posterior::sample`; `go_on` is asked after each batch, `how.cancel` after each step. Whether all are drawn.
    static bool draw_posterior(B& b, const learned_prior<B>& prior, const measured<B>& m,
                               const diem::posterior::sample_options<B>& how, const diem::random_key& key,
                               diem::view_t<B> x, diem::posterior::sample_state& state, const go_on_function& go_on,
                               const diem::parallel::any_communicator& ranks = {});
};

/// Posterior samples under any prior: without a sampler where it is a Gaussian.
template <Backend B>
bool draw_posterior(B& b, const learned_prior<B>& prior, const measured<B>& m,
                    const diem::posterior::sample_options<B>& how, std::uint64_t seed, diem::view_t<B> x,
                    diem::posterior::sample_state& state, const go_on_function& go_on,
                    const diem::parallel::any_communicator& ranks = {}) {
    return prior.has_network()
               ? network_stage<B>::draw_posterior(b, prior, m, how, {.seed = seed}, x, state, go_on, ranks)
               : gaussian_stage<B>::draw_exactly(b, prior, m, seed, x, state, go_on, ranks);
}

}  // namespace program
