// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include <diem/core/check.hpp>
#include <diem/core/view.hpp>

/// \file
/// Sizes and forms of a `ddpm_unet`.
/// \snippet tests/examples/nn.cpp nn/ddpm_unet_config.hpp

namespace diem::nn {

/// Where the embedding of a class joins that of the noise level.
enum class label_place { noise, embedding };

/// A `ddpm_unet`. EDM calls its two uses DDPM++ or NCSN++ and ADM; what they differ in is below. Levels count from 0, the full
/// resolution; extents are multiples of 2^(levels - 1).
struct ddpm_unet_config {
    index_t height = 0, width = 0, channels = 0;       ///< of the data
    index_t stem = 128;                                ///< channels of the first convolution
    std::vector<index_t> hid_channels{256, 256, 256};  ///< of each level
    index_t hid_blocks = 4;                            ///< of each level on the way down; one more on the way up
    std::vector<index_t> attention{1};                 ///< levels with attention after their blocks
    bool attend_all = false;                      ///< on the way up after every block, not the last one alone (ADM)
    index_t heads = 1;                            ///< of attention, where head_channels is 0
    index_t head_channels = 0;                    ///< of a head
    index_t noise_channels = 128;                 ///< sines and cosines of the noise level: even, >= 4
    index_t embedding = 512;                      ///< of what modulates the blocks
    bool scale_shift = false;                     ///< blocks are scaled and shifted after a norm, not shifted before it
    index_t groups = 32, group_channels = 4;      ///< of norms: as many as there may be, of no fewer channels
    double epsilon = 1e-6;                        ///< of norms
    double residual_scale = 0.70710678118654752;  ///< of the sum behind each block; 1 in ADM
    std::vector<double> filter{1, 1};             ///< of resampling, normalised: {1, 3, 3, 1} in NCSN++
    bool skip_conv = true;                        ///< blocks that resample have a convolution beside them; not in ADM
    bool residual_input = false;                  ///< the image, smaller and smaller, joins each level (NCSN++)
    index_t labels = 0;                           ///< classes
    label_place label_at = label_place::noise;    ///< `embedding` in ADM
    index_t label = -1;                           ///< class of all items; -1: none

    [[nodiscard]] index_t groups_of(index_t c) const {
        return std::max<index_t>(1, std::min(groups, c / group_channels));
    }
    [[nodiscard]] index_t heads_of(index_t c) const { return head_channels > 0 ? c / head_channels : heads; }
    [[nodiscard]] bool attends(index_t level) const {
        return std::find(attention.begin(), attention.end(), level) != attention.end();
    }
};

/// Throws value_error where sizes do not fit together.
inline void check_ddpm_unet(const ddpm_unet_config& c) {
    const auto check = [](bool ok, const char* what) { check_value("nn::ddpm_unet", ok, what); };
    check(c.height > 0 && c.width > 0 && c.channels > 0, "height, width or channels < 1");
    const index_t shape[] = {c.height, c.width, c.channels};
    static_cast<void>(checked_product("nn::ddpm_unet", "height x width x channels", shape));
    check(!c.hid_channels.empty() && c.hid_channels.size() < 31, "hid_channels has no entry, or more than 30");
    const index_t levels = static_cast<index_t>(c.hid_channels.size()), factor = index_t{1} << (levels - 1);
    check(c.height % factor == 0 && c.width % factor == 0, "height or width is no multiple of 2^(levels - 1)");
    check(c.hid_blocks >= 1 && c.hid_blocks <= 1024, "hid_blocks is not in 1 .. 1024");
    check(c.stem > 0, "stem < 1");
    check(c.groups >= 1 && c.group_channels >= 1, "groups or group_channels < 1");
    check(c.heads >= 1 && c.head_channels >= 0, "heads < 1 or head_channels < 0");
    for (const index_t level : c.attention)
        check(level >= 0 && level < levels, "attention has a level that does not exist");
    check(c.noise_channels >= 4 && c.noise_channels % 2 == 0, "noise_channels is not even and >= 4");
    check(c.embedding >= 1, "embedding < 1");
    check(std::isfinite(c.epsilon) && c.epsilon > 0, "epsilon is not positive");
    check(std::isfinite(c.residual_scale) && c.residual_scale > 0, "residual_scale is not positive");
    check(c.labels >= 0 && c.label >= -1 && c.label < std::max<index_t>(c.labels, 0), "label is no class");
}

}  // namespace diem::nn
