// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <diem/io/npy.hpp>
#include <diem/nn/unet.hpp>

#include "mri/kspace_images.hpp"
#include "mri/program.hpp"
#include "support/image_study.hpp"
#include "support/memory.hpp"

namespace mri {

/// Slices (n, height, width) of 8 bits, which become data in [-2, 2].
class slice_file {
public:
    explicit slice_file(const std::filesystem::path& path) : path_(path) {
        support::check_file(path);
        slices_ = io::load_npy<std::uint8_t>(path);
        if (slices_.shape.size() != 3 || slices_.size() == 0)
            throw io_error(path.string() + ": shape " + io::to_string(slices_.shape) +
                           ", expected (slices, height, width)");
    }
    [[nodiscard]] support::image_shape shape() const { return {slices_.shape[1], slices_.shape[2], 1}; }
    [[nodiscard]] index_t count() const { return slices_.shape[0]; }
    template <Backend B>
    [[nodiscard]] batch<B> data(B& b, index_t first, index_t count) const {
        if (count > slices_.shape[0] - first)
            throw value_error(path_.string() + " has " + std::to_string(slices_.shape[0]) + " slices, " +
                              std::to_string(count) + " from number " + std::to_string(first) + " on are asked for");
        const index_t n = shape().height * shape().width;
        std::vector<float> values(static_cast<std::size_t>(count * n));
        for (std::size_t k = 0; k < values.size(); ++k)
            values[k] =
                static_cast<float>(slices_.data[static_cast<std::size_t>(first * n) + k]) / 255.0F * 4.0F - 2.0F;
        return to_backend(b, values, n, count);
    }

private:
    std::filesystem::path path_;
    io::array<std::uint8_t> slices_;
};

inline support::study_settings settings_of(const settings& c, const program_options& o,
                                           const support::image_shape& shape) {
    auto s = support::study_of("mri", o, c);
    s.observed = "slices, one column of k-space in " + std::to_string(c.mask.acceleration) + " measured (" +
                 std::to_string(c.mask.centre) + " in the centre)";
    s.operator_name = "mri";
    s.facts = {{"acceleration", c.mask.acceleration}, {"centre", c.mask.centre}};
    auto& a = s.em.training.augmentation;
    a.height = shape.height;
    a.width = shape.width;
    a.channels = shape.channels;
    s.judged.samples_per_observation = c.evaluation.samples;
    s.free = s.judged;
    s.pictures = c.evaluation.pictures;
    s.scale = 1;
    s.full_figures = true;
    return s;
}

template <Backend B>
int run(B& b, const settings& s, const program_options& o) {
    const slice_file file(o.data);
    const auto shape = file.shape();
    std::vector<std::pair<std::string, kspace_images<B>>> held_out;
    for (std::size_t k = 0; k < s.evaluation.accelerations.size(); ++k) {
        const columns c{s.evaluation.accelerations[k], s.evaluation.centres[k]};
        held_out.emplace_back("R = " + std::to_string(c.acceleration),
                              measure(b, file.data(b, s.evaluation.first, s.evaluation.slices), shape, c, s.sigma_y,
                                      s.seed + 1, s.evaluation.first));
    }
    support::image_study<B, nn::unet<B>, kspace_images<B>> study(
        b, settings_of(s, o, shape), measure(b, file.data(b, 0, s.observations), shape, s.mask, s.sigma_y, s.seed, 0),
        std::move(held_out), [](const_view_t<B>) { return io::json::object(); });
    std::optional<nn::unet<B>> network;
    if (s.network) network.emplace(*s.network);
    return study.run(network ? &*network : nullptr);
}

}  // namespace mri
