// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <optional>
#include <utility>
#include <variant>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/backend/concept.hpp>
#include <diem/core/check.hpp>
#include <diem/nn/unet_config.hpp>
#include <diem/prior/learned.hpp>

/// \file
/// A prior of images of one size, on images of another.
/// \snippet tests/examples/prior.cpp prior/at_size.hpp

namespace diem::prior {

/// The prior on images of height x width, with the same weights: a U-Net of convolutions alone sees neighbourhoods. A prior
/// of patches knows no structure larger than they are. The start mean becomes that of each channel over its pixels; there
/// is no Gaussian estimate, so that `blended` draws as `tweedie` does. Throws value_error where the prior is a Gaussian, or
/// its network is not a U-Net, has attention, or a Gaussian in its skip connection.
template <Backend B, class Net>
[[nodiscard]] learned<B, Net> at_size(B& b, const learned<B, Net>& prior, index_t height, index_t width) {
    constexpr const char* where = "prior::at_size";
    check_value(where, prior.has_network(), "a Gaussian prior has one size");
    const auto& model = prior.network();
    const auto stored = model.net().config();
    const auto* found = std::get_if<nn::unet_config>(&stored);
    check_value(where, found != nullptr && found->heads.empty(), "the network is not a U-Net without attention");
    check_value(where, model.skip() == nullptr, "the network's skip connection is a Gaussian of one size");
    auto config = *found;
    config.height = height;
    config.width = width;
    typename learned<B, Net>::network_type network(b, Net(config), model.options());
    b.copy(as_batch(model.parameters()), as_batch(network.mutable_parameters()));
    batch<B> last, mean(b, network.features(), 1);
    if (prior.trainable()) {
        last = batch<B>(b, prior.last_weights().size(), 1);
        b.copy(as_batch(prior.last_weights()), last.view());
    }
    const auto of = to_host(b, as_batch(prior.mean()));
    const auto channels = static_cast<std::size_t>(found->channels), pixels = of.size() / channels;
    std::vector<scalar_t<B>> each(channels), all(static_cast<std::size_t>(network.features()));
    for (std::size_t k = 0; k < of.size(); ++k) each[k % channels] += of[k] / static_cast<scalar_t<B>>(pixels);
    for (std::size_t k = 0; k < all.size(); ++k) all[k] = each[k % channels];
    b.upload(host_view<const scalar_t<B>>(all.data(), network.features(), 1), mean.view());
    learned<B, Net> result(std::move(network), std::move(last), std::move(mean), std::nullopt);
    result.history = prior.history;
    result.drawing = prior.drawing;
    result.notes = prior.notes;
    if (result.notes.contains("image")) result.notes["image"] = {height, width, config.channels};
    return result;
}

}  // namespace diem::prior
