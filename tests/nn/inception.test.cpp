// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include <diem/nn/conv.hpp>
#include <diem/nn/inception.hpp>

#include "support/backends.hpp"
#include "support/catch.hpp"
#include "support/golden_batch.hpp"

using namespace diem;
using namespace diem::test;

namespace {

template <class B>
void run(B& b, golden_file& file) {
    using T = scalar_t<B>;
    INFO(file.name());
    const auto& config = file.config().at("net");
    const nn::inception_v3 net({.classes = config.at("classes").template get<index_t>(),
                                .divisor = config.at("divisor").template get<index_t>()});
    REQUIRE(file.parameters().size() == net.parameters().entries().size());
    batch<B> weights(b, net.parameters().size(), 1);
    for (const auto& name : file.parameters()) {
        const auto& entry = net.parameters().find(name);
        const auto value = file.template parameter<T>(name);
        CHECK(entry.shape == std::vector<index_t>(value.shape.begin(), value.shape.end()));
        b.upload(host_view<const T>(value.data.data(), value.size(), 1), as_batch(entry.of(weights.flat())));
    }
    const auto x = load_input(b, file, "images");
    batch<B> f(b, net.features(), x.items()), z(b, net.config().classes, x.items());
    const const_vector_t<B> p = weights.flat();
    net.forward<B>(b, p, {32, 32, 3}, x, f, 2);
    net.logits<B>(b, p, f, z, true);
    check_golden<T>(file, "features", to_host(b, f));
    check_golden<T>(file, "logits", to_host(b, z));
    // Without the bias: less by it.
    batch<B> unbiased(b, z.features(), z.items());
    net.logits<B>(b, p, f, unbiased, false);
    b.map(functors::add{}, unbiased.view(), per_feature{net.parameters().find("fc.bias").of(p)});
    check_golden<T>(file, "logits", to_host(b, unbiased));
}

}  // namespace

TEMPLATE_TEST_CASE("golden: Inception-v3 of the FID", "[golden][nn]", DIEM_TEST_BACKENDS) {
    auto b = make_backend<TestType>();
    for (auto& file : golden_files("inception")) run(b, file);
}

TEMPLATE_TEST_CASE("windows of any form: convolution, pools, resizing, against sums over all pixels", "[nn]",
                   DIEM_TEST_BACKENDS) {
    using B = TestType;
    using T = scalar_t<B>;
    auto b = make_backend<B>();
    using nn::border;
    const index_t n = 2, out = 3;
    for (const nn::window w :
         {nn::window{{5, 6, 2}, 1, 7}, nn::window{{6, 5, 3}, 7, 1}, nn::window{{4, 4, 1}, 1, 3}, nn::window{{9, 8, 2}},
          nn::window{{9, 8, 2}, 3, 3, 2, border::valid}, nn::window{{7, 7, 2}, 3, 5, 2, border::valid},
          nn::window{{5, 5, 4}, 5, 5, 1, border::valid}, nn::window{{6, 7, 2}, 1, 1, 2}, nn::window{{3, 2, 2}, 1, 1}}) {
        const auto [height, width, channels] = w.in;
        const index_t rows = w.result_height(), columns = w.result_width();
        batch<B> x(b, w.in.features(), n), kernel(b, w.depth() * out, 1), bias(b, out, 1);
        b.fill_normal({.seed = 1}, x.view());
        b.fill_normal({.seed = 2}, kernel.view());
        b.fill_normal({.seed = 3}, bias.view());
        const auto hx = to_host(b, x), hk = to_host(b, kernel), hb = to_host(b, bias);
        batch<B> conv(b, rows * columns * out, n), mean(b, rows * columns * channels, n), most(b, mean.features(), n);
        nn::conv_relu_forward<B>(b, w, out, x, kernel.flat(), bias.flat(), conv);
        nn::pool_forward<B>(b, nn::pooling::mean, w, x, mean);
        nn::pool_forward<B>(b, nn::pooling::maximum, w, x, most);
        const auto got = to_host(b, conv), got_mean = to_host(b, mean), got_most = to_host(b, most);
        const double tolerance = 4 * static_cast<double>(w.depth() * channels + 8) * std::numeric_limits<T>::epsilon();
        const bool same = w.edge == border::same;
        for (index_t at = 0; at < rows * columns * n; ++at) {
            const index_t item = at / (rows * columns), i = at / columns % rows, j = at % columns;
            std::array<double, 3> sum{}, size{};
            for (std::size_t o = 0; o < 3; ++o) sum[o] = static_cast<double>(hb[o]);
            std::vector<double> total(static_cast<std::size_t>(channels)), top(total.size(), -1e9);
            double seen = 0;
            for (index_t p = 0; p < w.rows; ++p)
                for (index_t q = 0; q < w.columns; ++q) {
                    const index_t u = w.stride * i + p - (same ? w.rows / 2 : 0);
                    const index_t v = w.stride * j + q - (same ? w.columns / 2 : 0);
                    if (u < 0 || u >= height || v < 0 || v >= width) continue;
                    ++seen;
                    for (index_t c = 0; c < channels; ++c) {
                        const auto k = static_cast<std::size_t>(c);
                        const auto value = static_cast<double>(
                            hx[static_cast<std::size_t>(((item * height + u) * width + v) * channels + c)]);
                        total[k] += value;
                        top[k] = std::max(top[k], value);
                        for (std::size_t o = 0; o < 3; ++o) {
                            const auto tap = static_cast<std::size_t>(((p * w.columns + q) * channels + c) * out) + o;
                            sum[o] += value * static_cast<double>(hk[tap]);
                            size[o] += std::abs(value * static_cast<double>(hk[tap]));
                        }
                    }
                }
            for (std::size_t o = 0; o < 3; ++o)
                CHECK(std::abs(static_cast<double>(got[static_cast<std::size_t>(at * out) + o]) -
                               std::max(sum[o], 0.0)) <= tolerance * (size[o] + 1));
            for (std::size_t c = 0; c < total.size(); ++c) {
                const std::size_t k = static_cast<std::size_t>(at * channels) + c;
                CHECK(static_cast<double>(got_most[k]) == top[c]);
                CHECK(std::abs(static_cast<double>(got_mean[k]) - total[c] / seen) <= 4 * tolerance);
            }
        }
    }
    batch<B> x(b, 5 * 4 * 2, 1), y(b, 3 * 9 * 2, 1);
    CHECK_THROWS_AS(nn::pool_forward<B>(b, nn::pooling::mean, {{5, 4, 2}, 7, 3, 1, border::valid}, x, x), value_error);
    CHECK_THROWS_AS(nn::pool_forward<B>(b, nn::pooling::mean, {{5, 4, 2}}, x, y), shape_error);
    CHECK_THROWS_AS(nn::resize_forward<B>(b, {5, 4, 2}, {3, 9, 1}, x, y), shape_error);
    // A plane stays a plane between the first and the last pixel.
    std::vector<T> plane(40);
    for (std::size_t k = 0; k < 40; ++k)
        plane[k] = static_cast<T>(k % 2) + static_cast<T>(k / 8) - T(3) * static_cast<T>(k / 2 % 4);
    x = to_backend(b, plane, 40, 1);
    nn::resize_forward<B>(b, {5, 4, 2}, {3, 9, 2}, x, y);
    const auto got = to_host(b, y);
    for (std::size_t k = 0; k < got.size(); ++k) {
        const double u = std::clamp((static_cast<double>(k / 18) + 0.5) * 5 / 3 - 0.5, 0.0, 4.0);
        const double v = std::clamp((static_cast<double>(k / 2 % 9) + 0.5) * 4 / 9 - 0.5, 0.0, 3.0);
        CHECK(std::abs(static_cast<double>(got[k]) - (static_cast<double>(k % 2) + u - 3 * v)) <=
              100 * static_cast<double>(std::numeric_limits<T>::epsilon()));
    }
}

TEST_CASE("Inception-v3: the published widths; bad settings are named") {
    const nn::inception_v3 net;
    CHECK(net.features() == 2048);
    CHECK(net.parameters().entries().size() == 2 * 95);
    CHECK(net.parameters().find("Mixed_7c.branch3x3dbl_3b.kernel").shape == std::vector<index_t>{3, 1, 384, 384});
    CHECK_THROWS_AS(nn::inception_v3({.size = 74}), value_error);
    CHECK_THROWS_AS(nn::inception_v3({.divisor = 3}), value_error);
    CHECK_NOTHROW(nn::inception_v3({.size = 75, .divisor = 16}));
}
