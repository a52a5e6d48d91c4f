// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <filesystem>
#include <optional>
#include <utility>

#include <diem/backend/batch.hpp>
#include <diem/io/cifar.hpp>
#include <diem/nn/unet.hpp>

#include "cifar/program.hpp"
#include "support/cifar_files.hpp"
#include "support/image_study.hpp"
#include "support/sample_figures.hpp"

namespace cifar {

using namespace diem;

inline constexpr support::image_shape shape{32, 32, 3};
inline constexpr index_t most_test_images = 10000;  // as many as the file has

inline support::study_settings settings_of(const support::cifar_settings& c, const program_options& o) {
    auto s = support::study_of("cifar", o, c);
    s.inputs.emplace_back("--classifier", o.classifier);
    s.inputs.emplace_back("--inception", o.inception);
    s.observed = support::deleted_pixels(c.keep);
    s.facts = {{"keep", c.keep}};
    s.judged.samples_per_observation = c.evaluation.samples;
    s.free = s.judged;
    if (c.evaluation.sampler) s.free.sampler = *c.evaluation.sampler;
    if (c.evaluation.steps > 0) s.free.steps = c.evaluation.steps;
    s.free_samples = c.evaluation.free_samples;
    s.pictures = c.evaluation.pictures;
    for (const auto& [key, title] : support::sample_figure_names) s.figure_names.emplace_back(key, title);
    for (const auto& [key, title] : support::inception_figure_names) s.figure_names.emplace_back(key, title);
    return s;
}

/// The program on a backend; `wide` is one in double precision, for figures.
template <Backend B, Backend Wide>
int run(B& b, Wide& wide, const support::cifar_settings& s, const program_options& o) {
    const auto masked = [&](const std::vector<std::filesystem::path>& files, index_t count, std::uint32_t purpose) {
        return support::mask_images(b, support::load_cifar(b, files, count).x, shape, s.keep, s.sigma_y, s.seed,
                                    purpose);
    };
    const auto test_files = io::cifar10_test_files(o.data);
    std::optional<support::sample_figures<B, Wide>> real;  // what unconditional samples are compared with
    if (const index_t count = s.evaluation.free_samples; count > 1)
        real.emplace(b, wide,
                     support::load_cifar(b, test_files, std::clamp(4 * count, s.evaluation.images, most_test_images)).x,
                     o.classifier);
    if (!o.inception.empty())
        real->judge_by(b, o.inception, [&] { return support::load_cifar(b, io::cifar10_train_files(o.data)).x; });
    support::image_study<B, nn::unet<B>> study(
        b, settings_of(s, o), masked(io::cifar10_train_files(o.data), s.observations, 0),
        support::one_set(masked(test_files, s.evaluation.images, 1)), [&](const_view_t<B> x) { return (*real)(b, x); });
    std::optional<nn::unet<B>> network;
    if (s.network) network.emplace(*s.network);
    return study.run(network ? &*network : nullptr);
}

}  // namespace cifar
