// SPDX-License-Identifier: Apache-2.0
#include <diem/model/any_network.hpp>
#include <diem/model/config.hpp>
#include <diem/model/gaussian_skip.hpp>
#include <diem/model/parameterization.hpp>
#include <diem/model/preconditioned.hpp>
#include <diem/model/pretrained_network.hpp>

#include <type_traits>
#include <utility>

#include "example.hpp"

TEST_CASE("model/any_network.hpp") {
    backend b(1);
    // [model/any_network.hpp]
    // What the network is is known when the program runs; what is built on it is compiled once.
    diem::model::any_network<backend> net(diem::nn::mlp_config{.features = 4, .hidden = {8}, .embedding = 8});
    diem::model::preconditioned<backend, diem::model::any_network<backend>> model(b, std::move(net));
    model.initialize(b, {.seed = 1});
    // [model/any_network.hpp]
    CHECK(model.features() == 4);
    CHECK(std::holds_alternative<diem::nn::mlp_config>(model.net().config()));
}

TEST_CASE("model/config.hpp") {
    // [model/config.hpp]
    const auto config = diem::model::parse_network(
        {{"type", "unet"}, {"shape", {28, 28, 1}}, {"hid_channels", {32, 64}}, {"hid_blocks", {2, 2}}, {"emb", 64}});
    const auto written = diem::model::to_json(config);      // the same, and what was left out
    const auto paper = diem::model::presets::cifar_unet();  // 57 M parameters
    // [model/config.hpp]
    CHECK(written.at("shape").at(0) == 28);
    CHECK(paper.hid_channels.back() == 384);
}

TEST_CASE("model/gaussian_skip.hpp") {
    backend b(1);
    using model_type = diem::model::preconditioned<backend, diem::model::any_network<backend>>;
    model_type model(
        b, diem::model::any_network<backend>(diem::nn::mlp_config{.features = 2, .hidden = {8}, .embedding = 8}));
    b.fill(diem::as_batch(model.mutable_parameters()), 0.0F);
    // [model/gaussian_skip.hpp]
    // The network adds to the denoiser of N(0, 4 I), which leaves less to learn. Its weights are zero here.
    const diem::diffusion::gaussian<backend> estimate(b, diem::to_backend(b, std::vector<float>{0, 0}, 2, 1),
                                                      diem::to_backend(b, std::vector<float>{4, 4}, 2, 1),
                                                      diem::batch<backend>(b, 2, 0));
    model.set_skip(b, estimate);
    const auto x_t = diem::to_backend(b, std::vector<float>{5, 10}, 2, 1);
    diem::batch<backend> x_hat(b, 2, 1);
    model.denoise(b, x_t, 1.0, x_hat);  // 4 / (4 + 1) x_t
    // [model/gaussian_skip.hpp]
    CHECK(diem::to_host(b, x_hat)[0] == about(4));
    CHECK(diem::to_host(b, x_hat)[1] == about(8));
}

TEST_CASE("model/parameterization.hpp") {
    // [model/parameterization.hpp]
    // A network of DDPM: it predicts the noise of variance-preserving x_t, and is told one of 1000 steps.
    const diem::model::parameterization ddpm{.predicts = diem::model::prediction::noise,
                                             .input = diem::model::input_scale::preserving,
                                             .label = diem::model::noise_label::linear_vp};
    diem::model::check_parameterization(ddpm);
    const auto in_file = diem::model::to_json(diem::model::preconditioning{.form = ddpm});
    // [model/parameterization.hpp]
    CHECK(in_file.at("predicts") == "noise");
}

TEST_CASE("model/preconditioned.hpp") {
    backend b(1);
    // [model/preconditioned.hpp]
    diem::model::preconditioned<backend, diem::model::any_network<backend>> model(
        b, diem::model::any_network<backend>(diem::nn::mlp_config{.features = 4, .hidden = {32}, .embedding = 8}));
    model.initialize(b, {.seed = 1});
    diem::batch<backend> x_t(b, 4, 10), w(b, 4, 10);
    b.fill_normal({.seed = 2}, x_t.view());
    const auto at = model.linearize(b, x_t, 0.5);           // at.mean(): E[x | x_t] at sigma = 0.5
    at.jacobian().apply_adjoint(b, x_t.cview(), w.view());  // w = J'x_t
    // [model/preconditioned.hpp]
    diem::batch<backend> x_hat(b, 4, 10);
    model.denoise(b, x_t, 0.5, x_hat);
    CHECK(diem::to_host(b, at.mean())[5] == about(diem::to_host(b, x_hat)[5]));
}

TEST_CASE("model/pretrained_network.hpp") {
    backend b(1);
    const auto config = small_ddpm_unet();
    // [model/pretrained_network.hpp]
    // From a file that tools/convert_network has written: prior::load<backend, pretrained_network<backend>>(path, b).
    using network = diem::model::pretrained_network<backend>;
    const network net(config);  // a ddpm_unet_config; MLPs and U-Nets as well
    // [model/pretrained_network.hpp]
    CHECK(net.features() == 64);
    CHECK_THROWS_AS(diem::model::any_network<backend>(config), diem::config_error);
}
