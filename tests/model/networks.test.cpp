// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <initializer_list>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <diem/model/config.hpp>
#include <diem/model/preconditioned.hpp>

#include "support/backends.hpp"
#include "support/catch.hpp"
#include "support/compare.hpp"

using namespace diem;
using namespace diem::test;

namespace {

template <class B, class Net>
using model_t = model::preconditioned<B, Net>;

template <class B>
batch<B> draw(B& b, index_t features, index_t items, std::uint32_t step) {
    batch<B> x(b, features, items);
    b.fill_normal(random_key{3, random_lane::user, step, 0}, x.view());
    return x;
}

/// Random parameters: the initial ones have zero biases and weak modulations.
template <class B, class Net>
void randomize(B& b, model_t<B, Net>& m) {
    m.initialize(b, random_key{11});
    const auto flat = m.mutable_parameters();
    const auto noise = draw(b, flat.size(), 1, 99);
    b.axpby(0.05, noise.cview(), 1.0, as_batch(flat));
}

std::vector<nn::unet_config> configurations() {
    return {
        {4, 8, 2, 1, {4, 6}, {1, 2}, 8, {{0, 2}, {1, 3}}},  // rectangular, attention at both levels
        {12, 8, 1, 1, {3, 5, 4}, {1, 1, 1}, 8, {{2, 1}}},   // three levels, odd channels
        {8, 8, 2, 2, {8}, {2}, 8, {}},                      // one level, patches
        {8, 16, 1, 2, {4, 8}, {1, 0}, 16, {{1, 2}}},        // a level without blocks, patches
        {5, 7, 2, 1, {4, 6}, {1, 1}, 8, {{1, 2}}},          // padded
        {7, 6, 1, 2, {4, 8}, {1, 1}, 8, {}},                // padded, patches
        {8, 8, 3, 1, {16, 32}, {1, 1}, 8, {{1, 4}}},        // wide enough for the fast convolutions
    };
}

template <class B>
double inner(B& b, const_view_t<B> x, const_view_t<B> y) {
    const auto u = to_host(b, x), v = to_host(b, y);
    double sum = 0;
    for (std::size_t i = 0; i < u.size(); ++i) sum += static_cast<double>(u[i]) * static_cast<double>(v[i]);
    return sum;
}

/// Derivatives agree with one another and, in double, with differences, in every mode of saving, with dropout.
template <class B, class Net>
void check_network(B& b, const Net& prototype, const model::preconditioning& options,
                   const std::optional<diffusion::gaussian<B>>& skip = std::nullopt) {
    using T = scalar_t<B>;
    model_t<B, Net> m(b, Net(prototype.config()), options);
    randomize(b, m);
    m.set_skip(b, skip);
    const index_t d = m.features(), n = 3;
    const auto x = draw(b, d, n, 0), u = draw(b, d, n, 1), g = draw(b, d, n, 2);
    const auto sigma = to_backend(b, std::vector<T>{T(0.3), T(2), T(0.02)}, 1, n);
    const diffusion::noise_level<B> levels{const_vector_t<B>(sigma.flat())};
    const double rounding = static_cast<double>(std::numeric_limits<T>::epsilon());

    // Evaluation and linearisation give the same; the adjoint identity; a change of x_t afterwards does no harm.
    batch<B> y(b, d, n), dot(b, d, n), bar(b, d, n), moving(b, d, n);
    m.denoise(b, x, levels, y);
    b.copy(x.cview(), moving.view());
    const auto l = m.linearize(b, moving, levels);
    b.fill(moving.view(), std::numeric_limits<T>::quiet_NaN());
    CHECK(relative_error(to_host(b, l.mean()), to_host(b, y)) <= 16 * rounding);
    l.jacobian().apply(b, u, dot);
    l.jacobian().apply_adjoint(b, g, bar);
    const double left = inner<B>(b, g, dot), right = inner<B>(b, bar, u);
    CHECK(std::abs(left - right) <= 200 * rounding * std::sqrt(inner<B>(b, g, g) * inner<B>(b, dot, dot)));
    if constexpr (sizeof(T) == 8) {
        const double step = 1e-5;
        batch<B> up(b, d, n), down(b, d, n), at(b, d, n);
        b.copy(x.cview(), at.view());
        b.axpby(step, u.cview(), 1.0, at.view());
        m.denoise(b, at, levels, up);
        b.axpby(-2 * step, u.cview(), 1.0, at.view());
        m.denoise(b, at, levels, down);
        b.axpby(1 / (2 * step), up.cview(), 0.0, at.view());
        b.axpby(-1 / (2 * step), down.cview(), 1.0, at.view());
        CHECK(relative_error(to_host(b, dot), to_host(b, at)) <= 1e-6);
    }

    // A shared sigma is the same as equal ones.
    const auto same = to_backend(b, std::vector<T>(3, T(0.7)), 1, n);
    batch<B> z(b, d, n);
    m.denoise(b, x, const_vector_t<B>(same.flat()), z);
    m.denoise(b, x, static_cast<double>(T(0.7)), y);
    CHECK(relative_error(to_host(b, y), to_host(b, z)) <= 64 * rounding);

    // Parameters, with dropout: the gradient of <g, x_hat> along a random direction. The masks stay while parameters move.
    const index_t size = m.table().size();
    const model::training training{0.3, random_key{21, 0, 4, 17}};
    const auto direction = draw(b, size, 1, 5);
    batch<B> grad(b, size, 1), again(b, size, 1);
    b.fill(grad.view(), std::numeric_limits<T>::quiet_NaN());
    {
        const auto tl = m.linearize(b, x, levels, training);
        tl.vjp_params(b, g, grad.flat(), nn::update::overwrite);
        b.copy(grad.cview(), again.view());
        tl.vjp_params(b, g, again.flat(), nn::update::accumulate);
        b.axpby(-1.0, grad.cview(), 1.0, again.view());
        CHECK(relative_error(to_host(b, again), to_host(b, grad)) <= 256 * rounding);
        // The derivatives with respect to x use the same masks.
        tl.jacobian().apply(b, u, dot);
        tl.jacobian().apply_adjoint(b, g, bar);
        CHECK(std::abs(inner<B>(b, g, dot) - inner<B>(b, bar, u)) <=
              200 * rounding * std::sqrt(inner<B>(b, g, g) * inner<B>(b, dot, dot)));
        // Items 1, 2 alone draw the masks they drew in the batch.
        model::training part = training;
        part.key = part.key.skip_items(1);
        const auto pl = m.linearize(b, x.cview().item_range(1, 2), levels.items(1, 2), part);
        CHECK(relative_error(to_host(b, pl.mean()), to_host(b, tl.mean().item_range(1, 2))) <= 64 * rounding);
    }
    if constexpr (sizeof(T) == 8) {
        const double step = 1e-6;
        double value[2];
        for (int side = 0; side < 2; ++side) {
            b.axpby(side == 0 ? step : -2 * step, direction.cview(), 1.0, as_batch(m.mutable_parameters()));
            value[side] = inner<B>(b, g, m.linearize(b, x, levels, training).mean());
        }
        b.axpby(step, direction.cview(), 1.0, as_batch(m.mutable_parameters()));
        const double expected = (value[0] - value[1]) / (2 * step);
        const double got = inner<B>(b, grad, direction);
        CHECK(std::abs(got - expected) <=
              1e-6 * std::sqrt(inner<B>(b, grad, grad) * inner<B>(b, direction, direction)));
    }

    // Recomputing changes memory, not results.
    model::preconditioning other = options;
    other.recompute = !options.recompute;
    model_t<B, Net> r(b, Net(prototype.config()), other);
    b.copy(as_batch(std::as_const(m).parameters()), as_batch(r.mutable_parameters()));
    r.set_skip(b, skip);
    const auto rl = r.linearize(b, x, levels, training);
    rl.vjp_params(b, g, again.flat(), nn::update::overwrite);
    CHECK(relative_error(to_host(b, again), to_host(b, grad)) <= 256 * rounding);
}

}  // namespace

TEMPLATE_TEST_CASE("derivatives of the U-Net", "[model]", DIEM_TEST_BACKENDS) {
    auto b = make_backend<TestType>();
    int k = 0;
    for (const auto& c : configurations()) {
        INFO("configuration " << k++);
        check_network(b, nn::unet<TestType>(c), {.sigma_data = k == 1 ? 0.5 : 1.0, .recompute = false});
    }
}

TEMPLATE_TEST_CASE("a U-Net on a size that its levels do not divide is that on the padded size, cut back", "[model]",
                   DIEM_TEST_BACKENDS) {
    auto b = make_backend<TestType>();
    for (const auto& c : {nn::unet_config{33, 47, 1, 1, {4, 6, 8}, {1, 1, 1}, 8, {{2, 2}}},
                          nn::unet_config{7, 6, 2, 2, {4, 8}, {1, 1}, 8, {}}}) {
        const auto inside = nn::padded(c);
        CHECK(inside.height % (c.patch << (c.hid_channels.size() - 1)) == 0);
        CHECK(inside.width - c.width < (c.patch << (c.hid_channels.size() - 1)));
        nn::unet<TestType> net(c), larger(inside);
        REQUIRE(net.parameters().size() == larger.parameters().size());
        batch<TestType> p(b, net.parameters().size(), 1), x = draw(b, net.features(), 2, 1),
                                                          t = draw(b, net.embedding(), 2, 2);
        nn::initialize<TestType>(b, net.parameters(), {.seed = 3}, p.flat());
        batch<TestType> y(b, net.features(), 2), wide_x(b, larger.features(), 2), wide_y(b, larger.features(), 2),
            cut(b, net.features(), 2);
        const nn::image_shape own{c.height, c.width, c.channels}, all{inside.height, inside.width, inside.channels};
        nn::pad_image<TestType>(b, own, all, x, wide_x);
        net.forward(b, p.flat(), x, t, y);
        larger.forward(b, p.flat(), wide_x, t, wide_y);
        nn::crop_image<TestType>(b, own, all, wide_y, cut);
        CHECK(to_host(b, y) == to_host(b, cut));
        // Padding and cutting are adjoint.
        const auto u = draw(b, larger.features(), 2, 4);
        nn::crop_image<TestType>(b, own, all, u, cut);
        CHECK(std::abs(inner<TestType>(b, wide_x, u) - inner<TestType>(b, x, cut)) <=
              1e-6 * std::sqrt(inner<TestType>(b, u, u) * inner<TestType>(b, x, x)));
    }
}

TEMPLATE_TEST_CASE("derivatives of the MLP", "[model]", DIEM_TEST_BACKENDS) {
    auto b = make_backend<TestType>();
    for (const nn::mlp_config& c :
         {nn::mlp_config{5, {16, 9}, 8, true}, nn::mlp_config{3, {7}, 4, false}, nn::mlp_config{2, {}, 4, true}})
        check_network(b, nn::mlp<TestType>(c), {});
    using T = scalar_t<TestType>;
    check_network(b, nn::mlp<TestType>({5, {16, 9}, 8, true}), {},
                  std::optional(diffusion::gaussian<TestType>(
                      b, draw(b, 5, 1, 50), to_backend(b, std::vector<T>(5, T(0.3)), 5, 1), draw(b, 5, 2, 51))));
}

TEST_CASE("the planned bytes are what a linearisation keeps", "[model]") {
    using B = reference_backend<float>;
    B b;
    for (const auto& c : configurations())
        for (const bool recompute : {false, true})
            for (const bool training : {false, true}) {
                model_t<B, nn::unet<B>> m(b, nn::unet<B>(c), {.recompute = recompute});
                m.initialize(b, random_key{});
                const index_t n = 5;
                const auto x = draw(b, m.features(), n, 0);
                batch<B> sigma(b, 1, n);
                b.fill(sigma.view(), 1.0F);
                // Without rounding of the pool's sizes nothing would differ; it adds at most an eighth, and 64 bytes a buffer.
                const auto before = b.memory().bytes_in_use();
                const auto l = training ? m.linearize(b, x, const_vector_t<B>(sigma.flat()), model::training{})
                                        : m.linearize(b, x, 1.0);
                const auto kept = static_cast<double>(b.memory().bytes_in_use() - before);
                const auto planned = static_cast<double>(m.activation_bytes(b, n, training));
                INFO("planned " << planned << ", kept " << kept);
                CHECK(kept >= planned);
                CHECK(kept <= 1.125 * planned + 64 * 64);
            }
}

TEMPLATE_TEST_CASE("arrays kept in bfloat16 halve the memory of a gradient, and change it by their rounding", "[model]",
                   DIEM_TEST_BACKENDS) {
    using B = TestType;
    auto b = make_backend<B>();
    for (const nn::unet_config& c : {nn::unet_config{8, 8, 2, 1, {16, 24}, {1, 2}, 16, {{0, 2}, {1, 3}}},
                                     nn::unet_config{16, 16, 3, 1, {16, 32}, {1, 1}, 8, {{1, 4}}}})
        for (const bool recompute : {false, true}) {
            model_t<B, nn::unet<B>> m(b, nn::unet<B>(c));
            randomize(b, m);
            nn::unet<B> net(c);
            const auto p = std::as_const(m).parameters();
            const index_t n = 4;
            const auto x = draw(b, net.features(), n, 0), t = draw(b, c.embedding, n, 1),
                       u = draw(b, net.features(), n, 2);
            batch<B> y(b, net.features(), n), z(b, net.features(), n), j(b, net.features(), n);
            std::vector<std::vector<double>> gradients;
            for (const bool rounded : {false, true}) {
                typename nn::unet<B>::activations saved;
                const nn::save_options o{.parameters = true,
                                         .recompute = recompute,
                                         .rounded = rounded,
                                         .dropout = 0.2,
                                         .dropout_key = random_key{.seed = 4}};
                const auto before = b.memory().bytes_in_use();
                net.forward(b, p, x, t, y, o, saved);
                const auto kept = static_cast<double>(b.memory().bytes_in_use() - before);
                const auto planned = static_cast<double>(net.activation_bytes(n, o, n));
                CHECK(kept >= planned);
                CHECK(kept <= 1.125 * planned + 64 * 128);
                batch<B> grad(b, net.parameters().size(), 1);
                net.vjp_params(b, p, saved, u, grad.flat(), nn::update::overwrite, z);
                // JVP and VJP of the same activations are still each other's adjoint.
                net.jvp(b, p, saved, x, j);
                const double left = inner<B>(b, j, u), right = inner<B>(b, x, z);
                const double size = std::sqrt(inner<B>(b, j, j) * inner<B>(b, u, u));
                CHECK(std::abs(left - right) <= 1e-4 * size);
                const auto values = to_host(b, grad);
                gradients.emplace_back(values.begin(), values.end());
            }
            double difference = 0, square = 0;
            for (std::size_t k = 0; k < gradients[0].size(); ++k) {
                difference += std::pow(gradients[1][k] - gradients[0][k], 2);
                square += std::pow(gradients[0][k], 2);
            }
            CHECK(difference > 0);
            CHECK(difference <= std::pow(0x1p-7, 2) * square);  // a number's rounding is 2^-8 of it at most
        }
}

#if !defined(DIEM_TEST_CUDA)
TEST_CASE("a training on a backend whose products are bf16 keeps bf16") {
    using B = eigen_backend<float>;
    std::vector<double> kept, planned;
    for (const auto products : {product_precision::float32, product_precision::bf16}) {
        B b({.threads = 1, .products = products});
        model_t<B, nn::unet<B>> m(b, nn::unet<B>({16, 16, 3, 1, {32, 48}, {1, 1}, 32, {{1, 4}}}));
        m.initialize(b, random_key{1});
        const auto x = draw(b, m.features(), 4, 0);
        batch<B> s(b, 1, 4);
        b.fill(s.view(), 0.5F);
        const auto before = b.memory().bytes_in_use();
        const auto l = m.linearize(b, x, const_vector_t<B>(s.flat()), model::training{});
        kept.push_back(static_cast<double>(b.memory().bytes_in_use() - before));
        planned.push_back(static_cast<double>(m.activation_bytes(b, 4, true)));
        CHECK(m.activation_bytes(b, 4) == m.activation_bytes(B(1), 4));  // of what is drawn with, nothing is rounded
    }
    CHECK(kept[1] <= 0.6 * kept[0]);
    CHECK(planned[1] <= 0.6 * planned[0]);
}
#endif

TEST_CASE("after the first pass nothing is allocated, and evaluation keeps nothing", "[model]") {
    using B = test::main_backend<float>;
    // One thread: of several, one may come late, and with it the scratch of its first convolution.
    B b = test::make_backend<B>(1);
    model_t<B, nn::unet<B>> m(b, nn::unet<B>(configurations().back()));
    m.initialize(b, random_key{1});
    const auto x = draw(b, m.features(), 4, 0);
    batch<B> y(b, m.features(), 4), z(b, m.features(), 4);
    const auto step = [&] {
        m.denoise(b, x, 1.0, y);
        const auto l = m.linearize(b, x, 0.5);
        l.jacobian().apply(b, x, y);
        l.jacobian().apply_adjoint(b, y, z);
    };
    step();
    step();
    const auto allocations = b.memory().allocations(), used = b.memory().bytes_in_use();
    step();
    m.denoise(b, x, 2.0, y);
    CHECK(b.memory().allocations() == allocations);
    CHECK(b.memory().bytes_in_use() == used);
}

TEST_CASE("results do not depend on the number of threads", "[model]") {
    using B = test::main_backend<float>;
    std::vector<std::vector<float>> results;
    for (const int threads : {1, 2, 3}) {
        B b = test::make_backend<B>(threads);
        model_t<B, nn::unet<B>> m(b, nn::unet<B>({16, 16, 3, 1, {32, 48}, {1, 1}, 32, {{1, 4}}}));
        randomize(b, m);
        const auto x = draw(b, m.features(), 5, 0);
        batch<B> g(b, m.table().size(), 1), z(b, m.features(), 5), s(b, 1, 5);
        b.fill(s.view(), 0.5F);
        const auto l = m.linearize(b, x, const_vector_t<B>(s.flat()), model::training{0.1, random_key{4}});
        l.jacobian().apply_adjoint(b, x, z);
        l.vjp_params(b, x, g.flat(), nn::update::overwrite);
        auto all = to_host(b, l.mean());
        for (const auto& v : {to_host(b, z), to_host(b, g)}) all.insert(all.end(), v.begin(), v.end());
        results.push_back(std::move(all));
    }
    CHECK(results[0] == results[1]);
    CHECK(results[0] == results[2]);
}

#if !defined(DIEM_TEST_CUDA)  // whose threads are the device's
TEST_CASE("blocks of items, a thread each, give what the whole batch gives", "[model]") {
    using B = test::main_backend<float>;
    const auto run = [](int threads, bool per_item, index_t n, auto net) {
        B b = test::make_backend<B>(threads);
        model_t<B, decltype(net)> m(b, std::move(net));
        randomize(b, m);
        const auto x = draw(b, m.features(), n, 0);
        batch<B> y(b, m.features(), n), forward(b, m.features(), n), back(b, m.features(), n), s(b, 1, n);
        for (index_t k = 0; k < n; ++k) b.fill(s.view().item_range(k, 1), 0.3F + 0.1F * float(k));
        const auto level = per_item ? diffusion::noise_level<B>(const_vector_t<B>(s.flat())) : 0.5;
        for (int pass = 0; pass < 3; ++pass) m.denoise(b, x, level, y);  // kernels are kept from the second one on
        const auto l = m.linearize(b, x, level);
        l.jacobian().apply(b, x, forward);
        l.jacobian().apply_adjoint(b, x, back);
        auto all = to_host(b, y);
        for (const auto& v : {to_host(b, l.mean()), to_host(b, forward), to_host(b, back)})
            all.insert(all.end(), v.begin(), v.end());
        return all;
    };
    for (const bool per_item : {false, true}) {
        // Of six images two and three threads have a block each where sigma is shared; others share every layer.
        const auto check = [&](index_t n, std::initializer_list<int> shared_by, const auto& make) {
            const auto alone = run(1, per_item, n, make());
            for (const int threads : shared_by) {
                CAPTURE(per_item, n, threads);
                CHECK((run(threads, per_item, n, make()) == alone));
            }
        };
        for (const index_t n : {0, 6})
            check(n, {2, 3, 8}, [] { return nn::unet<B>({16, 16, 3, 1, {32, 48}, {1, 1}, 32, {{1, 4}}}); });
        check(6, {2, 4}, [] { return nn::unet<B>({8, 8, 3, 1, {32, 48}, {1, 1}, 600, {{1, 4}}}); });
        check(32, {2, 3, 6}, [] { return nn::unet<B>({10, 6, 1, 1, {16, 24}, {1, 1}, 600, {}}); });
        for (const index_t n : {0, 33, 96, 116})
            check(n, {2, 3, 4, 6, 8}, [] { return nn::mlp<B>({5, {7, 8}, 16, true}); });
        check(96, {2, 3, 4, 6, 8}, [] { return nn::mlp<B>({5, {64, 48}, 16, true}); });
    }
    B b = test::make_backend<B>(2);
    model_t<B, nn::mlp<B>> m(b, nn::mlp<B>({5, {7, 8}, 16, true}));
    randomize(b, m);
    batch<B> x(b, 5, 32), g(b, m.table().size(), 1);
    b.fill(x.view(), 1.0F);
    CHECK_THROWS_AS(m.linearize(b, x, 1.0).vjp_params(b, x, g.flat(), nn::update::overwrite), value_error);
}
#endif

TEST_CASE("prepared kernels follow the parameters", "[model]") {
    using B = test::main_backend<double>;
    B b = test::make_backend<B>(2);
    const nn::unet_config c{8, 8, 3, 1, {16, 32}, {1, 1}, 8, {}};
    model_t<B, nn::unet<B>> m(b, nn::unet<B>(c)), fresh(b, nn::unet<B>(c));
    m.initialize(b, random_key{1});
    const auto x = draw(b, m.features(), 2, 0);
    batch<B> y(b, m.features(), 2), z(b, m.features(), 2);
    m.denoise(b, x, 1.0, y);
    m.initialize(b, random_key{2});
    m.denoise(b, x, 1.0, y);
    fresh.initialize(b, random_key{2});
    fresh.denoise(b, x, 1.0, z);
    CHECK(to_host(b, y) == to_host(b, z));
}

TEST_CASE("presets have the paper's sizes", "[model]") {
    using B = reference_backend<float>;
    CHECK(nn::unet<B>(model::presets::cifar_unet()).parameters().size() / 1000000 == 57);
    CHECK(nn::mlp<B>(model::presets::manifold_mlp()).parameters().size() ==
          69 * 256 + 256 + 2 * (256 * 256 + 256) + 256 * 5 + 5);
    CHECK(nn::unet<B>(model::presets::mri_unet()).features() == 320 * 320);
    CHECK(nn::unet<B>(model::presets::small_unet()).parameters().size() > 1000000);
    CHECK(nn::mlp<B>(model::presets::digits_mlp()).features() == 64);
}

TEST_CASE("configurations that make no sense are refused", "[model]") {
    using nlohmann::json;
    const json unet = {{"type", "unet"},       {"shape", {8, 8, 3}}, {"hid_channels", {8, 16}},
                       {"hid_blocks", {1, 1}}, {"emb", 16},          {"heads", {{"1", 2}}}};
    using B = reference_backend<float>;
    const auto build = [](const json& j) {
        const auto c = model::parse_network(j);
        return nn::unet<B>(std::get<nn::unet_config>(c)).parameters().size();
    };
    CHECK(build(unet) > 0);
    const auto back = model::to_json(model::parse_network(unet));
    CHECK(build(back) == build(unet));
    CHECK(back.at("heads") == unet.at("heads"));
    const auto with = [&](const char* key, const json& value) {
        json j = unet;
        j[key] = value;
        return j;
    };
    CHECK_THROWS_AS(build(with("typo", 1)), config_error);
    CHECK_THROWS_AS(build(with("emb", "16")), config_error);
    CHECK_THROWS_AS(build(with("emb", 16.5)), config_error);
    CHECK_THROWS_AS(build(with("type", "transformer")), config_error);
    CHECK_THROWS_AS(build(with("shape", {8, 8})), config_error);
    CHECK_THROWS_AS(build(with("heads", {{"one", 2}})), config_error);
    CHECK_THROWS_AS(build(with("emb", 15)), config_error);
    CHECK_NOTHROW(build(with("shape", {9, 8, 3})));  // padded
    CHECK_THROWS_AS(build(with("heads", {{"1", 3}})), value_error);
    CHECK_THROWS_AS(build(with("heads", {{"5", 2}})), value_error);
    CHECK_THROWS_AS(build(with("hid_blocks", {1})), value_error);
    json missing = unet;
    missing.erase("emb");
    CHECK_THROWS_AS(build(missing), config_error);
    CHECK_THROWS_AS((nn::mlp<B>(nn::mlp_config{0, {4}, 8, true})), value_error);
    CHECK_THROWS_AS((nn::mlp<B>(nn::mlp_config{3, {0}, 8, true})), value_error);
}

TEST_CASE("the model names what does not fit", "[model]") {
    using B = reference_backend<float>;
    B b;
    model_t<B, nn::mlp<B>> m(b, nn::mlp<B>({5, {8}, 4, true}));
    m.initialize(b, random_key{});
    batch<B> x(b, 5, 2), y(b, 5, 2), wrong(b, 4, 2), g(b, m.table().size(), 1);
    b.fill(x.view(), 1.0F);
    CHECK_THROWS_AS(m.denoise(b, wrong, 1.0, y), shape_error);
    CHECK_THROWS_AS(m.denoise(b, x, 1.0, wrong), shape_error);
    CHECK_THROWS_AS(m.denoise(b, x, 0.0, y), value_error);
    const auto l = m.linearize(b, x, 1.0);
    CHECK_THROWS_AS(l.vjp_params(b, x, g.flat(), nn::update::overwrite), value_error);
    CHECK_THROWS_AS(l.jacobian().apply(b, wrong, y), shape_error);
    nn::parameter_table table;
    table.add("a", {2, 3}, 1);
    CHECK_THROWS_AS(table.add("a", {1}, 1), value_error);
    CHECK_THROWS_AS(table.find("b"), value_error);
    CHECK(table.find("a").size == 6);
}

TEMPLATE_TEST_CASE("initial weights are uniform within 1 / sqrt(fan in)", "[model]", DIEM_TEST_BACKENDS) {
    auto b = make_backend<TestType>();
    using B = TestType;
    model_t<B, nn::mlp<B>> m(b, nn::mlp<B>({20, {64, 64}, 16, true}));
    m.initialize(b, random_key{5});
    for (const auto& p : m.table().entries()) {
        const auto v = to_host(b, p.of(m.parameters()));
        if (p.shape.size() == 1) {
            for (const auto e : v) CHECK(e == 0);
            continue;
        }
        const double bound = 1 / std::sqrt(static_cast<double>(p.shape[0]));
        double sum = 0, square = 0;
        for (const auto e : v) {
            CHECK(std::abs(static_cast<double>(e)) <= bound);
            sum += static_cast<double>(e);
            square += static_cast<double>(e) * static_cast<double>(e);
        }
        const auto n = static_cast<double>(v.size());
        CHECK(std::abs(sum / n) <= 5 * bound / std::sqrt(3 * n));
        CHECK(std::abs(square / n - bound * bound / 3) <= 5 * bound * bound * std::sqrt(4.0 / 45 / n));
    }
}
