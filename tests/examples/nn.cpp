// SPDX-License-Identifier: Apache-2.0
#include <diem/nn/activation.hpp>
#include <diem/nn/attention.hpp>
#include <diem/nn/conv.hpp>
#include <diem/nn/conv_plan.hpp>
#include <diem/nn/ddpm_unet.hpp>
#include <diem/nn/ddpm_unet_config.hpp>
#include <diem/nn/embedding.hpp>
#include <diem/nn/filtered_resample.hpp>
#include <diem/nn/gated_residual.hpp>
#include <diem/nn/group_norm.hpp>
#include <diem/nn/inception.hpp>
#include <diem/nn/linear.hpp>
#include <diem/nn/mlp.hpp>
#include <diem/nn/modulation.hpp>
#include <diem/nn/network.hpp>
#include <diem/nn/norm.hpp>
#include <diem/nn/pad.hpp>
#include <diem/nn/parameters.hpp>
#include <diem/nn/resample.hpp>
#include <diem/nn/unet.hpp>
#include <diem/nn/unet_config.hpp>
#include <diem/nn/update.hpp>
#include <diem/nn/window.hpp>
#include <diem/nn/window_layers.hpp>

#include <cmath>
#include <vector>

#include "example.hpp"

namespace {

/// Standard normals.
diem::batch<backend> normals(backend& b, diem::index_t features, diem::index_t items, std::uint64_t seed = 1) {
    diem::batch<backend> x(b, features, items);
    b.fill_normal({.seed = seed}, x.view());
    return x;
}
double dot(backend& b, const diem::batch<backend>& x, const diem::batch<backend>& y) {
    const auto u = diem::to_host(b, x), v = diem::to_host(b, y);
    double sum = 0;
    for (std::size_t k = 0; k < u.size(); ++k) sum += double(u[k]) * double(v[k]);
    return sum;
}

}  // namespace

TEST_CASE("nn/activation.hpp") {
    backend b(1);
    // [nn/activation.hpp]
    const auto x = diem::to_backend(b, std::vector<float>{0, 0, 0, 100}, 2, 2);
    diem::batch<backend> y(b, 2, 2), p(b, 2, 2), x_bar(b, 2, 2);
    diem::nn::silu_forward<backend>(b, x, y);     // x / (1 + e^-x)
    diem::nn::softmax_forward<backend>(b, x, p);  // 1/2, 1/2; 0, 1
    diem::nn::silu_vjp<backend>(b, x, p, x_bar);  // silu'(x) p
    // [nn/activation.hpp]
    CHECK(diem::to_host(b, y)[3] == 100);
    CHECK(diem::to_host(b, p)[0] == about(0.5));
    CHECK(diem::to_host(b, p)[3] == about(1));
    CHECK(diem::to_host(b, x_bar)[0] == about(0.25));
}

TEST_CASE("nn/attention.hpp") {
    backend b(1);
    const auto q = normals(b, 16 * 8, 3), k = normals(b, 16 * 8, 3, 2);
    // [nn/attention.hpp]
    const diem::nn::attention_shape s{.length = 16, .channels = 8, .heads = 2};  // q, k: 16 positions of 2 x 4 channels
    diem::batch<backend> v(b, 16 * 8, 3), y(b, 16 * 8, 3);
    b.fill(v.view(), 1.0F);
    diem::nn::attention_forward<backend>(b, s, q, k, v, y);  // means of v, weighted: 1, as all of v are
    // [nn/attention.hpp]
    CHECK(diem::to_host(b, y)[200] == about(1));
}

TEST_CASE("nn/conv.hpp") {
    backend b(1);
    const auto x = normals(b, 16 * 16 * 3, 4), kernel = normals(b, 9 * 3 * 8, 1), bias = normals(b, 8, 1);
    // [nn/conv.hpp]
    // x: four images of 16 x 16 x 3, y: 8 x 8 x 8; kernel: (3, 3, 3, 8), bias: 8.
    const diem::nn::conv_shape s{.in = {16, 16, 3}, .out = 8, .kernel = 3, .stride = 2};
    diem::batch<backend> y(b, s.result().features(), 4), x_bar(b, s.in.features(), 4);
    diem::nn::conv_forward<backend>(b, s, x, kernel.flat(), bias.flat(), y);
    diem::nn::conv_vjp<backend>(b, s, y, kernel.flat(), x_bar);  // of y_bar = y
    // [nn/conv.hpp]
    CHECK(s.result() == diem::nn::image_shape{8, 8, 8});
    diem::batch<backend> linear(b, s.result().features(), 4);
    diem::nn::conv_forward<backend>(b, s, x, kernel.flat(), {}, linear);
    CHECK(dot(b, x_bar, x) == Approx(dot(b, y, linear)).epsilon(1e-3));  // <A'y, x> = <y, A x>
}

TEST_CASE("nn/conv_plan.hpp") {
    backend b(1);
    const auto x = normals(b, 16 * 16 * 4, 2), kernel = normals(b, 9 * 4 * 4, 1);
    // [nn/conv_plan.hpp]
    diem::nn::conv_plan<backend> plan({.in = {16, 16, 4}, .out = 4});  // one layer, for any number of calls
    diem::batch<backend> y(b, 16 * 16 * 4, 2);
    plan.forward(b, x, kernel.flat(), {}, y);  // in the backend's fastest form; plan.changed() where the kernel changes
    // [nn/conv_plan.hpp]
    diem::batch<backend> same(b, 16 * 16 * 4, 2);
    diem::nn::conv_forward<backend>(b, plan.shape(), x, kernel.flat(), {}, same);
    CHECK(diem::to_host(b, y)[1000] == Approx(diem::to_host(b, same)[1000]).epsilon(1e-3));
}

TEST_CASE("nn/ddpm_unet.hpp") {
    backend b(1);
    const auto config = small_ddpm_unet();
    const auto x = normals(b, 64, 2);
    // [nn/ddpm_unet.hpp]
    // Networks of others (docs/networks.md): weights from a file, derivatives with respect to x.
    diem::nn::ddpm_unet<backend> net(config);
    diem::batch<backend> weights(b, net.parameters().size(), 1), y(b, net.features(), 2);
    diem::nn::initialize<backend>(b, net.parameters(), {.seed = 1}, weights.flat());
    const auto c_noise = diem::to_backend(b, std::vector<float>{0.5F}, 1, 1);  // one for all items
    net.forward(b, weights.flat(), x, c_noise, y);
    // [nn/ddpm_unet.hpp]
    CHECK(std::isfinite(dot(b, y, y)));
}

TEST_CASE("nn/ddpm_unet_config.hpp") {
    // [nn/ddpm_unet_config.hpp]
    // CIFAR-10's DDPM++ as EDM has it: what is left out is so already.
    const diem::nn::ddpm_unet_config config{.height = 32, .width = 32, .channels = 3, .attention = {1}};
    diem::nn::check_ddpm_unet(config);  // throws where sizes do not fit together
    const auto heads = config.heads_of(256);
    // [nn/ddpm_unet_config.hpp]
    CHECK(heads == 1);
    CHECK(config.groups_of(256) == 32);
}

TEST_CASE("nn/embedding.hpp") {
    backend b(1);
    // [nn/embedding.hpp]
    const auto c = diem::to_backend(b, std::vector<float>{0, 1.5F}, 1, 2);  // log sigma of two items
    diem::batch<backend> y(b, 8, 2);
    diem::nn::embedding_forward<backend>(b, c, y);  // 0 0 0 0 1 1 1 1 of the first: sines, then cosines
    // [nn/embedding.hpp]
    CHECK(diem::to_host(b, y)[3] == 0);
    CHECK(diem::to_host(b, y)[4] == 1);
    CHECK(diem::to_host(b, y)[8] == about(std::sin(1.5)));
}

TEST_CASE("nn/filtered_resample.hpp") {
    backend b(1);
    // [nn/filtered_resample.hpp]
    const auto filter = diem::nn::resample_filter::of({1, 1});  // means of 2 x 2 pixels
    const diem::nn::resample_shape s{.fine = {2, 4, 1}, .filter = filter, .margin = filter.margin()};
    const auto x = diem::to_backend(b, std::vector<float>{1, 3, 0, 0, 5, 7, 0, 4}, 8, 1);
    diem::batch<backend> small(b, 2, 1), large(b, 8, 1);
    diem::nn::filter_down<backend>(b, s, x, small);    // 4, 1
    diem::nn::filter_up<backend>(b, s, small, large);  // 4 4 1 1; 4 4 1 1
    // [nn/filtered_resample.hpp]
    CHECK(diem::to_host(b, small) == std::vector<float>{4, 1});
    CHECK(diem::to_host(b, large) == std::vector<float>{4, 4, 1, 1, 4, 4, 1, 1});
}

TEST_CASE("nn/gated_residual.hpp") {
    backend b(1);
    // [nn/gated_residual.hpp]
    const auto x = diem::to_backend(b, std::vector<float>{5, 5}, 2, 1),
               h = diem::to_backend(b, std::vector<float>{1, 1}, 2, 1);
    const auto c = diem::to_backend(b, std::vector<float>{0, 0.75F}, 2, 1);  // the gate of the first channel is closed
    diem::batch<backend> y(b, 2, 1);
    diem::nn::gated_residual_forward<backend>(b, x, h, c, y);  // 5, and (5 + 0.75) / 1.25 = 4.6
    // [nn/gated_residual.hpp]
    CHECK(diem::to_host(b, y)[0] == about(5));
    CHECK(diem::to_host(b, y)[1] == about(4.6));
}

TEST_CASE("nn/group_norm.hpp") {
    backend b(1);
    const auto x = normals(b, 64 * 8, 3);
    // [nn/group_norm.hpp]
    const diem::nn::group_norm_shape s{.pixels = 64, .channels = 8, .groups = 2};  // of x
    const auto gamma = diem::to_backend(b, std::vector<float>(8, 2), 8, 1),
               beta = diem::to_backend(b, std::vector<float>(8, 1), 8, 1);
    const auto table = diem::nn::group_norm_table<backend>(b, s, x, {.gamma = gamma.flat(), .beta = beta.flat()});
    diem::batch<backend> y(b, s.features(), 3);
    diem::nn::group_norm_forward<backend>(b, s, x, table, y);  // of mean 1 and standard deviation 2 in each group
    // [nn/group_norm.hpp]
    double sum = 0;
    for (const float v : diem::to_host(b, y)) sum += double(v);
    CHECK(sum / (64 * 8 * 3) == about(1));
}

TEST_CASE("nn/inception.hpp") {
    backend b(1);
    const auto images = normals(b, 32 * 32 * 3, 2);
    // [nn/inception.hpp]
    // Of the real one, {}, with weights by tools/convert_inception; here an eighth of the widths and no weights.
    const diem::nn::inception_v3 net({.classes = 10, .size = 75, .divisor = 16});
    diem::batch<backend> weights(b, net.parameters().size(), 1), features(b, net.features(), 2);
    diem::nn::initialize<backend>(b, net.parameters(), {.seed = 1}, weights.flat());
    net.forward<backend>(b, weights.flat(), {32, 32, 3}, images, features);  // in [-2, 2]
    // [nn/inception.hpp]
    CHECK(net.features() == 128);
    CHECK(std::isfinite(dot(b, features, features)));
}

TEST_CASE("nn/linear.hpp") {
    backend b(1);
    // [nn/linear.hpp]
    const auto x = diem::to_backend(b, std::vector<float>{1, 2}, 2, 1);
    const auto weight = diem::to_backend(b, std::vector<float>{1, 0, 1, 0, 1, 1}, 6, 1);  // (2, 3): in, out
    const auto bias = diem::to_backend(b, std::vector<float>{0, 0, 10}, 3, 1);
    diem::batch<backend> y(b, 3, 1);
    diem::nn::linear_forward<backend>(b, x, weight.flat(), bias.flat(), y);  // 1, 2, 13
    // [nn/linear.hpp]
    CHECK(diem::to_host(b, y) == std::vector<float>{1, 2, 13});
}

TEST_CASE("nn/mlp.hpp") {
    backend b(1);
    const auto x = normals(b, 5, 10), t = normals(b, 8, 1);
    // [nn/mlp.hpp]
    diem::nn::mlp<backend> net({.features = 5, .hidden = {32, 32}, .embedding = 8});
    diem::batch<backend> weights(b, net.parameters().size(), 1), y(b, 5, 10);
    diem::nn::initialize<backend>(b, net.parameters(), {.seed = 1}, weights.flat());
    net.forward(b, weights.flat(), x, t, y);  // x: 5 x 10; t: 8 x 1, one embedding for all items, or 8 x 10
    // [nn/mlp.hpp]
    CHECK(std::isfinite(dot(b, y, y)));
    CHECK(net.parameters().find("lin0.weight").shape == std::vector<diem::index_t>{5 + 8, 32});
}

TEST_CASE("nn/modulation.hpp") {
    backend b(1);
    // [nn/modulation.hpp]
    const auto x = diem::to_backend(b, std::vector<float>{1, 1, 2, 2}, 2, 2);  // two pixels of two channels
    const auto a = diem::to_backend(b, std::vector<float>{0, 1}, 2, 1),
               shift = diem::to_backend(b, std::vector<float>{10, 20}, 2, 1);
    diem::batch<backend> y(b, 2, 2);
    diem::nn::modulate_forward<backend>(b, x, a, shift, y);  // (1 + a) x + shift: 11 22; 12 24
    // [nn/modulation.hpp]
    CHECK(diem::to_host(b, y) == std::vector<float>{11, 22, 12, 24});
}

TEST_CASE("nn/network.hpp") {
    backend b(1);
    static_assert(diem::nn::Network<diem::nn::mlp<backend>, backend>);
    diem::nn::mlp<backend> net({.features = 5, .hidden = {32}, .embedding = 8});
    diem::batch<backend> weights(b, net.parameters().size(), 1), y(b, 5, 3), v(b, 5, 3), w(b, 5, 3);
    diem::nn::initialize<backend>(b, net.parameters(), {.seed = 1}, weights.flat());
    const auto x = normals(b, 5, 3), t = normals(b, 8, 1), x_dot = normals(b, 5, 3, 2), y_bar = normals(b, 5, 3, 3);
    // [nn/network.hpp]
    decltype(net)::activations saved;  // of any network: what a forward pass keeps for derivatives
    net.forward(b, weights.flat(), x, t, y, {.parameters = true}, saved);
    net.jvp(b, weights.flat(), saved, x_dot, v);  // J x_dot
    net.vjp(b, weights.flat(), saved, y_bar, w);  // J'y_bar
    diem::batch<backend> grad(b, net.parameters().size(), 1);
    net.vjp_params(b, weights.flat(), saved, y_bar, grad.flat(), diem::nn::update::overwrite);
    // [nn/network.hpp]
    CHECK(dot(b, v, y_bar) == Approx(dot(b, w, x_dot)).epsilon(1e-3));
    CHECK(dot(b, grad, grad) > 0);
}

TEST_CASE("nn/norm.hpp") {
    backend b(1);
    // [nn/norm.hpp]
    const auto x = diem::to_backend(b, std::vector<float>{1, 3, 10, 30}, 2, 2);
    diem::batch<backend> y(b, 2, 2);
    diem::nn::layer_norm_forward<backend>(b, x, y);  // -1 1; -1 1
    // [nn/norm.hpp]
    CHECK(diem::to_host(b, y)[1] == about(1));
    CHECK(diem::to_host(b, y)[2] == about(-1));
}

TEST_CASE("nn/pad.hpp") {
    backend b(1);
    const auto x = normals(b, 28 * 28, 2);
    // [nn/pad.hpp]
    const diem::nn::image_shape small{28, 28, 1}, large{32, 32, 1};
    diem::batch<backend> padded(b, large.features(), 2), back(b, small.features(), 2);
    diem::nn::pad_image<backend>(b, small, large, x, padded, 2);      // two rows and columns of zeros on every side
    diem::nn::crop_image<backend>(b, small, large, padded, back, 2);  // x again
    // [nn/pad.hpp]
    CHECK(diem::to_host(b, back) == diem::to_host(b, x));
    CHECK(diem::to_host(b, padded)[0] == 0);
}

TEST_CASE("nn/parameters.hpp") {
    backend b(1);
    // [nn/parameters.hpp]
    diem::nn::parameter_table table;  // of a layer of one's own: names, shapes and places in one flat buffer
    const auto weight = table.add("layer.weight", {4, 3}, 0.5);  // first values in U(-0.5, 0.5)
    const auto bias = table.add("layer.bias", {3}, 0);
    diem::batch<backend> flat(b, table.size(), 1);
    diem::nn::initialize<backend>(b, table, {.seed = 1}, flat.flat());
    const auto first = diem::to_host(b, bias.of(flat.flat()));  // 0, 0, 0
    // [nn/parameters.hpp]
    CHECK(table.size() == 15);
    CHECK(weight.size == 12);
    CHECK(first == std::vector<float>{0, 0, 0});
}

TEST_CASE("nn/resample.hpp") {
    backend b(1);
    const auto x = normals(b, 16, 2);
    // [nn/resample.hpp]
    const diem::nn::image_shape wide{4, 4, 1};  // of x
    diem::batch<backend> deep(b, 16, 2), back(b, 16, 2), large(b, 64, 2);
    diem::nn::space_to_depth_forward<backend>(b, wide, 2, x, deep);     // 2 x 2 pixels of 4 channels
    diem::nn::depth_to_space_forward<backend>(b, wide, 2, deep, back);  // x again
    diem::nn::upsample_forward<backend>(b, wide, x, large);             // 8 x 8, every pixel four times
    // [nn/resample.hpp]
    CHECK(diem::to_host(b, back) == diem::to_host(b, x));
    CHECK(diem::to_host(b, large)[9] == diem::to_host(b, x)[0]);
}

TEST_CASE("nn/unet.hpp") {
    backend b(1);
    const diem::nn::unet_config config{.height = 8,
                                       .width = 8,
                                       .channels = 1,
                                       .hid_channels = {8, 8},
                                       .hid_blocks = {1, 1},
                                       .embedding = 8,
                                       .heads = {{1, 2}}};
    const auto x = normals(b, 64, 2), t = normals(b, 8, 1);
    // [nn/unet.hpp]
    diem::nn::unet<backend> net(config);  // of two images of 8 x 8, with an embedding of 8 numbers
    diem::batch<backend> weights(b, net.parameters().size(), 1), y(b, net.features(), 2);
    diem::nn::initialize<backend>(b, net.parameters(), {.seed = 1}, weights.flat());
    net.forward(b, weights.flat(), x, t, y);
    const auto bytes = net.activation_bytes(256, {.recompute = true});  // what derivatives of 256 images would keep
    // [nn/unet.hpp]
    CHECK(std::isfinite(dot(b, y, y)));
    CHECK(bytes > 0);
}

TEST_CASE("nn/unet_config.hpp") {
    // [nn/unet_config.hpp]
    const diem::nn::unet_config config{.height = 28,
                                       .width = 28,
                                       .channels = 1,
                                       .hid_channels = {32, 64, 128},
                                       .hid_blocks = {2, 2, 2},
                                       .embedding = 128,
                                       .heads = {{2, 4}}};  // level 2: 4 heads
    diem::nn::check_unet(config);                           // throws where sizes do not fit together
    const auto inside = diem::nn::padded(config).height;    // 28: a multiple of 4; 30 would become 32
    // [nn/unet_config.hpp]
    CHECK(inside == 28);
}

TEST_CASE("nn/update.hpp") {
    backend b(1);
    // [nn/update.hpp]
    const auto x = diem::to_backend(b, std::vector<float>{100, 100}, 2, 1);
    auto y = diem::to_backend(b, std::vector<float>{1, 2}, 2, 1);
    diem::nn::silu_forward<backend>(b, x, y, diem::nn::update::accumulate);  // y += silu(x)
    // [nn/update.hpp]
    CHECK(diem::to_host(b, y) == std::vector<float>{101, 102});
}

TEST_CASE("nn/window.hpp") {
    // [nn/window.hpp]
    const diem::nn::window pool{
        .in = {75, 75, 3}, .rows = 3, .columns = 3, .stride = 2, .edge = diem::nn::border::valid};
    const auto side = pool.result_height();  // 37: the window stays inside
    // [nn/window.hpp]
    CHECK(side == 37);
}

TEST_CASE("nn/window_layers.hpp") {
    backend b(1);
    // [nn/window_layers.hpp]
    const diem::nn::window w{.in = {2, 4, 1}, .rows = 2, .columns = 2, .stride = 2, .edge = diem::nn::border::valid};
    const auto x = diem::to_backend(b, std::vector<float>{1, 3, 0, 0, 5, 7, 0, 4}, 8, 1);
    diem::batch<backend> largest(b, 2, 1), half(b, 2, 1);
    diem::nn::pool_forward<backend>(b, diem::nn::pooling::maximum, w, x, largest);  // 7, 4
    diem::nn::resize_forward<backend>(b, {2, 4, 1}, {1, 2, 1}, x, half);            // bilinear: 4, 1
    // [nn/window_layers.hpp]
    CHECK(diem::to_host(b, largest) == std::vector<float>{7, 4});
    CHECK(diem::to_host(b, half) == std::vector<float>{4, 1});
}
