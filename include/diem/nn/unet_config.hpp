// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <vector>

#include <diem/core/check.hpp>
#include <diem/core/view.hpp>

/// \file
/// Sizes of a U-Net.
/// \snippet tests/examples/nn.cpp nn/unet_config.hpp

namespace diem::nn {

struct unet_config {
    index_t height = 0, width = 0, channels = 0;  ///< of the data
    index_t patch = 1;                            ///< the network sees space_to_depth(x, patch)
    std::vector<index_t> hid_channels{32, 64, 128};
    std::vector<index_t> hid_blocks{2, 2, 2};
    index_t embedding = 128;             ///< even, >= 4
    std::map<index_t, index_t> heads{};  ///< level -> attention heads; no attention elsewhere
};

/// Throws value_error where sizes do not fit together.
inline void check_unet(const unet_config& c) {
    const auto check = [](bool ok, const char* what) { check_value("nn::unet", ok, what); };
    check(c.height > 0 && c.width > 0 && c.channels > 0, "height, width or channels < 1");
    const index_t shape[] = {c.height, c.width, c.channels};
    static_cast<void>(checked_product("nn::unet", "height x width x channels", shape));
    check(c.patch >= 1 && c.patch <= c.height && c.patch <= c.width, "patch is < 1 or larger than the image");
    check(!c.hid_channels.empty() && c.hid_channels.size() == c.hid_blocks.size(),
          "hid_channels and hid_blocks do not have one entry per level");
    check(c.hid_channels.size() < 31, "more than 30 levels");
    for (const index_t v : c.hid_channels) check(v > 0, "hid_channels has an entry < 1");
    for (const index_t v : c.hid_blocks) check(v >= 0, "hid_blocks has an entry < 0");
    check(c.embedding >= 4 && c.embedding % 2 == 0, "embedding is not even and >= 4");
    for (const auto& [level, heads] : c.heads)
        check(level >= 0 && level < static_cast<index_t>(c.hid_channels.size()) && heads >= 1,
              "heads has a level that does not exist, or < 1 heads");
}

/// The configuration of the network inside: height and width rounded up to multiples of patch 2^(levels - 1).
[[nodiscard]] inline unet_config padded(unet_config c) {
    check_unet(c);
    const index_t factor = c.patch << (c.hid_channels.size() - 1);
    const auto up = [factor](index_t v) { return (v + factor - 1) / factor * factor; };
    c.height = up(c.height);
    c.width = up(c.width);
    return c;
}

}  // namespace diem::nn
