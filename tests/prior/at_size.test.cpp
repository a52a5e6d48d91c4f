// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/backend/eigen.hpp>
#include <diem/diffusion/gaussian.hpp>
#include <diem/model/any_network.hpp>
#include <diem/prior/at_size.hpp>

#include "support/catch.hpp"

using namespace diem;

namespace {

using B = eigen_backend<float>;
using learned = prior::learned<B>;

learned made(B& b, nn::unet_config config, index_t side) {
    config.height = config.width = side;
    learned::network_type network(b, model::any_network<B>(config));
    b.fill_normal({.seed = 5}, as_batch(network.mutable_parameters()));
    batch<B> last(b, network.parameters().size(), 1), mean(b, network.features(), 1);
    b.fill_normal({.seed = 6}, last.view());
    std::vector<float> start;
    for (index_t k = 0; k < network.features(); ++k)
        start.push_back(k % 2 == 0 ? (k < network.features() / 2 ? 1.0F : 2.0F) : -3.0F);
    b.upload(host_view<const float>(start.data(), network.features(), 1), mean.view());
    learned p(std::move(network), std::move(last), std::move(mean), std::nullopt);
    p.notes["image"] = {side, side, 2};
    p.drawing.sampling.steps = 7;
    return p;
}

/// E[x | x_t] of an image of side x side that shows the same in its middle, whatever its size.
std::vector<float> middle(B& b, const learned& p, index_t side) {
    constexpr index_t shown = 8;
    std::vector<float> x(static_cast<std::size_t>(2 * side * side));
    const auto at = [&](index_t row, index_t column, index_t channel) {
        return static_cast<std::size_t>(((row + side / 2) * side + column + side / 2) * 2 + channel);
    };
    for (index_t row = -side / 2; row < side / 2; ++row)
        for (index_t column = -side / 2; column < side / 2; ++column)
            for (index_t channel = 0; channel < 2; ++channel)
                x[at(row, column, channel)] =
                    std::sin(0.7F * static_cast<float>(row) + 1.3F * static_cast<float>(column + channel));
    batch<B> x_hat(b, 2 * side * side, 1);
    p.denoise(b, to_backend(b, x, 2 * side * side, 1).cview(), 0.5, x_hat.view());
    const auto y = to_host(b, x_hat);
    std::vector<float> part;
    for (index_t row = -shown / 2; row < shown / 2; ++row)
        for (index_t column = -shown / 2; column < shown / 2; ++column)
            for (index_t channel = 0; channel < 2; ++channel) part.push_back(y[at(row, column, channel)]);
    return part;
}

}  // namespace

TEST_CASE("prior::at_size: far from borders the same weights say the same, whatever the size", "[prior]") {
    B b(1);
    // A pixel of the result sees 7 to each side: a convolution, and two in each of the blocks down and up.
    const auto patches = made(b, {.channels = 2, .hid_channels = {8}, .hid_blocks = {1}, .embedding = 8}, 32);
    const auto larger = prior::at_size(b, patches, 48, 48);
    REQUIRE(larger.features() == 2 * 48 * 48);
    const auto expected = middle(b, patches, 32), got = middle(b, larger, 48);
    double worst = 0, most = 0;
    for (std::size_t k = 0; k < got.size(); ++k) {
        worst = std::max(worst, std::abs(double(got[k]) - double(expected[k])));
        most = std::max(most, std::abs(double(expected[k])));
    }
    CHECK(worst <= 1e-5);
    CHECK(most >= 0.1);
    CHECK(larger.notes["image"] == io::json({48, 48, 2}));
    CHECK(larger.drawing.sampling.steps == 7);
    CHECK(to_host(b, as_batch(larger.last_weights())) == to_host(b, as_batch(patches.last_weights())));
    const auto mean = to_host(b, as_batch(larger.mean()));
    CHECK(std::abs(mean[0] - 1.5F) <= 1e-5F);  // over the pixels of the channel
    CHECK(std::abs(mean[4607] + 3.0F) <= 1e-5F);
}

TEST_CASE("prior::at_size refuses what has one size", "[prior]") {
    B b(1);
    const auto attends =
        made(b, {.channels = 2, .hid_channels = {8}, .hid_blocks = {1}, .embedding = 8, .heads = {{0, 2}}}, 8);
    CHECK_THROWS_AS(prior::at_size(b, attends, 16, 16), value_error);
    batch<B> mu(b, 4, 1), d(b, 4, 1), u(b, 4, 1);
    b.fill(mu.view(), 0.0F);
    b.fill(d.view(), 1.0F);
    b.fill(u.view(), 0.0F);
    const learned gaussian(b, diffusion::gaussian<B>(b, std::move(mu), std::move(d), std::move(u)));
    CHECK_THROWS_AS(prior::at_size(b, gaussian, 16, 16), value_error);
}
