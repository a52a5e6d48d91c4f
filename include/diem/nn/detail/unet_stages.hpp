// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <diem/backend/concept.hpp>
#include <diem/nn/attention_block.hpp>
#include <diem/nn/conv_plan.hpp>
#include <diem/nn/parameters.hpp>
#include <diem/nn/resample.hpp>
#include <diem/nn/residual_block.hpp>
#include <diem/nn/unet_config.hpp>

namespace diem::nn::detail {

enum class unet_kind { input, down, residual, attention, up, merge, output };

template <Backend B>
struct unet_stage {
    unet_kind what;
    image_shape in, out;
    std::size_t skip = 0;      // merge: the stage whose input is the skip
    bool skip_source = false;  // down: its input is kept for a merge
    std::optional<conv_plan<B>> conv;
    std::array<parameter, 2> weights;
    std::optional<residual_block<B>> residual;
    std::optional<attention_block<B>> attention;
};

/// Whether a forward pass keeps the stage's input.
template <Backend B>
bool keeps_input(const unet_stage<B>& s, const save_options& o) {
    switch (s.what) {
        case unet_kind::input:
        case unet_kind::down:
        case unet_kind::merge:
        case unet_kind::output:
            return o.parameters;
        default:
            return true;
    }
}

/// The stages of a U-Net in the order in which they act, and their parameters in the same order.
template <Backend B>
struct unet_stages {
    using kind = unet_kind;
    using stage = unet_stage<B>;

    parameter_table table;
    std::vector<stage> stages;

    /// Throws value_error where the sizes do not fit together.
    explicit unet_stages(const unet_config& c) {
        check_unet(c);
        const index_t levels = static_cast<index_t>(c.hid_channels.size());
        const image_shape net = space_to_depth_shape({c.height, c.width, c.channels}, c.patch);
        const auto shape = [&](index_t i) {
            return image_shape{net.height >> i, net.width >> i, c.hid_channels[static_cast<std::size_t>(i)]};
        };
        index_t dropped = 0;
        const auto blocks = [&](const std::string& prefix, index_t i) {
            const image_shape s = shape(i);
            for (index_t j = 0; j < c.hid_blocks[static_cast<std::size_t>(i)]; ++j) {
                stage& r = add(kind::residual, s, s);
                r.residual.emplace(table, prefix + ".res" + std::to_string(j), s, c.embedding, dropped);
                dropped += (s.features() + 3) / 4 * 4;
                if (const auto at = c.heads.find(i); at != c.heads.end())
                    add(kind::attention, s, s)
                        .attention.emplace(table, prefix + ".att" + std::to_string(j), s, c.embedding, at->second);
            }
        };
        const auto convolution = [&](stage& s, const std::string& name, index_t stride) {
            s.conv.emplace(conv_shape{s.in, s.out.channels, 3, stride});
            s.weights = add_conv(table, name, s.conv->shape());
        };
        std::vector<std::size_t> skip_at;
        for (index_t i = 0; i < levels; ++i) {
            stage& s = i == 0 ? add(kind::input, net, shape(0)) : add(kind::down, shape(i - 1), shape(i));
            s.skip_source = i > 0;
            if (i > 0) skip_at.push_back(stages.size() - 1);
            convolution(s, "down" + std::to_string(i) + ".in", i == 0 ? 1 : 2);
            blocks("down" + std::to_string(i), i);
        }
        for (index_t i = levels; i-- > 0;) {
            if (i + 1 < levels) {
                image_shape both = shape(i);
                both.channels += shape(i + 1).channels;
                stage& s = add(kind::merge, both, shape(i));
                s.skip = skip_at[static_cast<std::size_t>(i)];
                convolution(s, "up" + std::to_string(i) + ".in", 1);
            }
            blocks("up" + std::to_string(i), i);
            if (i > 0) {
                image_shape grown = shape(i);
                grown.height *= 2;
                grown.width *= 2;
                add(kind::up, shape(i), grown);
            }
        }
        stage& s = add(kind::output, shape(0), net);
        s.weights = add_linear(table, "up0.out", s.in.channels, s.out.channels);
    }

private:
    stage& add(kind what, image_shape in, image_shape out) {
        stage s{};
        s.what = what;
        s.in = in;
        s.out = out;
        stages.push_back(std::move(s));
        return stages.back();
    }
};

}  // namespace diem::nn::detail
