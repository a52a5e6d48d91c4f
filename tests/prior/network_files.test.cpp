// SPDX-License-Identifier: Apache-2.0
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <diem/backend/eigen.hpp>
#include <diem/model/pretrained_network.hpp>
#include <diem/prior/files.hpp>

#include "support/catch.hpp"
#include "support/compare.hpp"
#include "support/temporary_folder.hpp"

using namespace diem;

TEST_CASE("a network trained elsewhere comes back from its file, with its parameterization; it is not trained") {
    using B = eigen_backend<float>;
    B b(1);
    const test::temporary_folder folder;
    const auto file = folder / "network.safetensors", bad = folder / "bad.safetensors";
    nn::ddpm_unet_config config{.height = 4,
                                .width = 4,
                                .channels = 2,
                                .stem = 4,
                                .hid_channels = {4, 8},
                                .hid_blocks = 1,
                                .attention = {},
                                .noise_channels = 4,
                                .embedding = 8,
                                .labels = 3};
    using network = model::preconditioned<B, model::pretrained_network<B>>;
    network net(b, model::pretrained_network<B>(config),
                {.form = {model::prediction::velocity,
                          model::input_scale::preserving,
                          model::noise_label::table,
                          1,
                          1,
                          1,
                          1,
                          1,
                          {0.1, 1, 10}}});
    b.fill_normal({.seed = 3}, as_batch(net.mutable_parameters()));
    batch<B> x(b, 32, 3), expected(b, 32, 3), got(b, 32, 3), mean(b, 32, 1);
    b.fill_normal({.seed = 4}, x.view());
    b.fill(mean.view(), 0.0F);
    net.set_labels({2});
    net.denoise(b, x, 0.5, expected);
    const auto weights = to_host(b, std::as_const(net).parameters());
    prior::learned<B, model::pretrained_network<B>> p(std::move(net), batch<B>(), std::move(mean), std::nullopt);
    p.drawing.sampling.steps = 17;
    p.notes = {{"source", "elsewhere"}};
    prior::save(file, b, p);

    const auto loaded = prior::load<B, model::pretrained_network<B>>(file, b);
    CHECK_THROWS_WITH(prior::load(file, b), Catch::Contains("pretrained_network"));
    CHECK(loaded.has_network());
    CHECK_FALSE(loaded.trainable());
    CHECK(loaded.laps() == 0);
    CHECK(to_host(b, loaded.network().parameters()) == weights);
    CHECK(loaded.drawing.sampling.steps == 17);
    CHECK(loaded.notes == p.notes);
    CHECK_THROWS_WITH(loaded.last_weights(), Catch::Contains("trained elsewhere"));
    for (const auto& each : {loaded.clone(b)}) {  // the class of all items is a part of the configuration
        each.denoise(b, x, 0.5, got);
        CHECK(to_host(b, got) == to_host(b, expected));
    }
    auto other = loaded.clone(b);
    other.set_labels({-1});
    other.denoise(b, x, 0.5, got);
    CHECK(to_host(b, got) != to_host(b, expected));
    other.set_labels({2, 2, 2});  // products of other shapes: equal up to rounding
    other.denoise(b, x, 0.5, got);
    CHECK(test::worst_item_error(to_host(b, got), to_host(b, expected), 32) <= 1e-5);
    CHECK_THROWS_AS(other.set_labels({3}), value_error);
    other.set_labels({0, 1});
    CHECK_THROWS_AS(other.denoise(b, x, 0.5, got), shape_error);

    // Tensors that are missing, or of another shape, are named.
    const auto rewritten = [&](const std::string& left_out, const io::shape_type& shape) {
        io::safetensors_file in(file);
        io::safetensors_writer out;
        for (const auto& [key, value] : in.metadata())
            if (!key.starts_with(io::safetensors_file::hash_key)) out.metadata(key, value);
        std::vector<io::array<float>> arrays;
        arrays.reserve(in.tensors().size());
        for (const auto& [name, tensor] : in.tensors()) {
            arrays.push_back(in.read<float>(name));
            if (name == left_out) {
                if (shape.empty()) continue;
                arrays.back() = io::array<float>(shape);
            }
            out.add(name, arrays.back());
        }
        out.write(bad);
    };
    rewritten("average/down1.block0.conv0.kernel", {});
    CHECK_THROWS_WITH((prior::load<B, model::pretrained_network<B>>(bad, b)),
                      Catch::Contains("no tensor \"average/down1.block0.conv0.kernel\""));
    rewritten("average/down1.block0.conv0.kernel", {3, 3, 4, 7});
    CHECK_THROWS_WITH((prior::load<B, model::pretrained_network<B>>(bad, b)),
                      Catch::Contains("average/down1.block0.conv0.kernel") &&
                          Catch::Contains("has shape [3, 3, 4, 7], expected [3, 3, 4, 8]"));
}
