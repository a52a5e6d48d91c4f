// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <diem/backend/concept.hpp>
#include <diem/nn/conv_plan.hpp>
#include <diem/nn/ddpm_block.hpp>
#include <diem/nn/ddpm_unet_config.hpp>
#include <diem/nn/parameters.hpp>
#include <diem/nn/resample.hpp>

namespace diem::nn::detail {

/// join: (x + down(conv(image))) / sqrt(2), where "image" is that of the level above; merge: x beside what a stage was given on the
/// way down.
enum class ddpm_kind { stem, block, attend, join, merge, head };

template <Backend B>
struct ddpm_stage {
    ddpm_kind what;
    image_shape in, out;
    std::size_t source = 0;   // merge, join: the stage whose input it takes; join: 0 is the image
    bool is_source = false;   // its input is taken by a merge or a join
    resample_shape filter{};  // join
    std::optional<conv_plan<B>> conv{};
    std::array<parameter, 2> kernel{};
    std::optional<norm_layer<B>> norm{};
    std::optional<ddpm_block<B>> block{};
    std::optional<ddpm_attention<B>> attention{};
};

/// The stages in the order in which they act, and their parameters. The names of parameters: down<level>.join, .shrink, .block<i>,
/// .att<i>; middle.block0, .att0, .block1; up<level>.grow, .block<i>, .att<i>.
template <Backend B>
struct ddpm_stages {
    using kind = ddpm_kind;
    using stage = ddpm_stage<B>;

    parameter_table table;
    parameter frequencies;
    std::array<parameter, 2> map_0, map_1;
    parameter labels{};  ///< (labels + 1) x width; the last row is that of no class
    std::vector<stage> stages;

    /// Throws value_error where the sizes do not fit together.
    explicit ddpm_stages(const ddpm_unet_config& c) {
        check_ddpm_unet(c);
        frequencies = table.add("noise.frequencies", {c.noise_channels / 2}, 0);
        const bool early = c.label_at == label_place::noise;
        if (c.labels > 0) labels = table.add("labels", {c.labels + 1, early ? c.noise_channels : c.embedding}, 0);
        map_0 = add_linear(table, "map0", c.noise_channels, c.embedding);
        map_1 = add_linear(table, "map1", c.embedding, c.embedding);

        const index_t levels = static_cast<index_t>(c.hid_channels.size());
        const auto wide = [&](index_t i) { return c.hid_channels[static_cast<std::size_t>(i)]; };
        image_shape at{c.height, c.width, c.channels};
        std::vector<std::size_t> skips;
        const auto give = [&] { skips.push_back(stages.size()); };  // the input of the next stage
        const auto take = [&](stage& s, std::size_t from) {
            s.source = from;
            stages[from].is_source = true;
        };
        const auto block = [&](const std::string& name, index_t out, resampling r) {
            stage& s = add(kind::block, at);
            s.block.emplace(table, name, c, at, out, r);
            at = s.out = s.block->out();
        };
        const auto attend = [&](const std::string& name) {
            add(kind::attend, at).attention.emplace(table, name, c, at);
        };
        {
            stage& s = add(kind::stem, at);
            s.conv.emplace(conv_shape{at, c.stem, 3, 1});
            s.kernel = add_conv(table, "stem", s.conv->shape());
            at = s.out = s.conv->shape().result();
            give();
        }
        std::size_t joined = 0;
        image_shape image{c.height, c.width, c.channels};
        for (index_t i = 0; i < levels; ++i) {
            const std::string level = "down" + std::to_string(i);
            if (i > 0) {
                block(level + ".shrink", at.channels, resampling::down);
                if (c.residual_input) {
                    stage& s = add(kind::join, at);
                    if (joined > 0) take(s, joined);
                    // As if the convolution went on beyond the image before its result is filtered.
                    const resample_filter f = resample_filter::of(c.filter);
                    const index_t m = f.margin();
                    const image_shape padded{image.height + 2 * m, image.width + 2 * m, image.channels};
                    s.conv.emplace(conv_shape{padded, at.channels, 3, 1});
                    s.filter = {s.conv->shape().result(), f, 0};
                    s.kernel = add_conv(table, level + ".join", s.conv->shape());
                    joined = stages.size();
                    image = at;
                }
                give();
            }
            for (index_t k = 0; k < c.hid_blocks; ++k) {
                block(level + ".block" + std::to_string(k), wide(i), resampling::none);
                if (c.attends(i)) attend(level + ".att" + std::to_string(k));
                give();
            }
        }
        block("middle.block0", at.channels, resampling::none);
        attend("middle.att0");
        block("middle.block1", at.channels, resampling::none);
        for (index_t i = levels; i-- > 0;) {
            const std::string level = "up" + std::to_string(i);
            if (i + 1 < levels) block(level + ".grow", at.channels, resampling::up);
            for (index_t k = 0; k <= c.hid_blocks; ++k) {
                const std::size_t from = skips.back();
                skips.pop_back();
                image_shape both = at;
                both.channels += stages[from].in.channels;
                stage& s = add(kind::merge, at);
                take(s, from);
                at = s.out = both;
                block(level + ".block" + std::to_string(k), wide(i), resampling::none);
                if (c.attends(i) && (c.attend_all || k == c.hid_blocks)) attend(level + ".att" + std::to_string(k));
            }
        }
        stage& s = add(kind::head, at);
        s.norm.emplace(table, "head.norm", c, at);
        s.conv.emplace(conv_shape{at, c.channels, 3, 1});
        s.kernel = add_conv(table, "head.conv", s.conv->shape());
        s.out = s.conv->shape().result();
    }

private:
    stage& add(kind what, image_shape shape) {
        stages.push_back(stage{what, shape, shape});
        return stages.back();
    }
};

}  // namespace diem::nn::detail
