// SPDX-License-Identifier: Apache-2.0
// Networks, their derivatives and a posterior step with products rounded to bfloat16, against float32 and float64.
#include <cmath>
#include <type_traits>
#include <utility>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/backend/eigen.hpp>
#include <diem/linop/covariance.hpp>
#include <diem/linop/mask.hpp>
#include <diem/model/preconditioned.hpp>
#include <diem/nn/conv_plan.hpp>
#include <diem/nn/linear.hpp>
#include <diem/nn/mlp.hpp>
#include <diem/nn/unet.hpp>
#include <diem/posterior/mmps.hpp>
#include <diem/posterior/observation.hpp>

#include "support/catch.hpp"
#include "support/compare.hpp"

using namespace diem;

namespace {

using single = eigen_backend<float>;
using wide = eigen_backend<double>;
using numbers = std::vector<double>;

single rounded_backend() { return single({.threads = 2, .products = product_precision::bf16}); }

/// Relative error, in the mean square, of a convolution whose factors are rounded: 4.8 sqrt(2 / 3) 2^-8 by Winograd's F(4x4), see
/// tests/backend/bfloat16.test.cpp; a plain product is off by a fifth of that.
constexpr double layer_error = 0.0153;

double inner(const numbers& x, const numbers& y) {
    double sum = 0;
    for (std::size_t i = 0; i < x.size(); ++i) sum += x[i] * y[i];
    return sum;
}
double norm(const numbers& x) { return std::sqrt(inner(x, x)); }
/// |x - y| / |y|.
double distance(numbers x, const numbers& y) {
    for (std::size_t i = 0; i < x.size(); ++i) x[i] -= y[i];
    return norm(x) / norm(y);
}
template <class B, class Batch>
numbers on_host(B& b, const Batch& x) {
    const auto v = to_host(b, x);
    return {v.begin(), v.end()};
}
/// The numbers that float32 draws, on every backend.
template <class B>
batch<B> draw(B& b, index_t features, index_t items, std::uint32_t step) {
    single s(1);
    batch<single> x(s, features, items);
    s.fill_normal(random_key{3, random_lane::user, step, 0}, x.view());
    const auto v = to_host(s, x);
    return to_backend(b, std::vector<scalar_t<B>>(v.begin(), v.end()), features, items);
}

/// y = J u, x_bar = J'g of one map, at inputs drawn alike on every backend, and its gradient.
struct derivatives {
    numbers u, g, forward, jvp, vjp, gradient;
};

/// Weights of about the initial size, none of them zero.
template <class B, class Net>
derivatives of_network(B& b, const Net& net, index_t items) {
    model::preconditioned<B, Net> m(b, Net(net.config()));
    m.initialize(b, random_key{11});
    const auto noise = draw(b, m.table().size(), 1, 99);
    b.axpby(0.08, noise.cview(), 0.0, as_batch(m.mutable_parameters()));
    const index_t d = m.features();
    const auto x = draw(b, d, items, 0), u = draw(b, d, items, 1), g = draw(b, d, items, 2);
    batch<B> y(b, d, items), dot(b, d, items), bar(b, d, items), grad(b, m.table().size(), 1);
    m.denoise(b, x, 0.5, y);
    const auto l = m.linearize(b, x, 0.5);
    l.jacobian().apply(b, u, dot);
    l.jacobian().apply_adjoint(b, g, bar);
    m.linearize(b, x, 0.5, model::training{0, random_key{}}).vjp_params(b, g, grad.flat(), nn::update::overwrite);
    return {on_host(b, u), on_host(b, g), on_host(b, y), on_host(b, dot), on_host(b, bar), on_host(b, grad)};
}

/// The adjoint identity between rounded maps: both sides differ from the exact one by J's and J''s errors, relative in the
/// mean square, in directions that u and g know nothing of, so that what is left of them is one of n parts; four deviations.
void check_adjoint(const derivatives& d, double error_jvp, double error_vjp) {
    const double left = inner(d.g, d.jvp), right = inner(d.vjp, d.u);
    const double n = double(d.g.size());
    CHECK(std::abs(left - right) <=
          4 / std::sqrt(n) * (error_jvp * norm(d.g) * norm(d.jvp) + error_vjp * norm(d.u) * norm(d.vjp)));
}

/// `depth`: products one after another.
void check_network(const derivatives& rounded, const derivatives& exact, double depth) {
    const double most = layer_error * std::sqrt(depth);
    const double jvp = distance(rounded.jvp, exact.jvp), vjp = distance(rounded.vjp, exact.vjp);
    CAPTURE(distance(rounded.forward, exact.forward), jvp, vjp, distance(rounded.gradient, exact.gradient), most);
    CHECK(distance(rounded.forward, exact.forward) <= most);
    CHECK(jvp <= most);
    CHECK(vjp <= most);
    CHECK(distance(rounded.gradient, exact.gradient) <= 2 * most);  // both factors have gone through the network
    CHECK(distance(rounded.gradient, exact.gradient) >= 1e-4);      // it was rounded
    check_adjoint(rounded, most, most);
}

}  // namespace

TEST_CASE("layers with rounded products: forward pass and VJP are adjoints, and all derivatives near float64",
          "[bf16]") {
    auto b = rounded_backend();
    wide w(2);
    const auto conv = [](auto& backend, const nn::conv_shape& s) {
        using B = std::remove_reference_t<decltype(backend)>;
        nn::conv_plan<B> plan(s);
        const auto kernel = draw(backend, s.kernel_size(), 1, 0), x = draw(backend, s.in.features(), 4, 1),
                   g = draw(backend, s.result().features(), 4, 2);
        batch<B> y(backend, s.result().features(), 4), bar(backend, s.in.features(), 4),
            grad(backend, s.kernel_size(), 1);
        plan.forward(backend, x, kernel.flat(), const_vector_t<B>(), y);
        plan.vjp(backend, g, kernel.flat(), bar);
        plan.vjp_params(backend, x, g, grad.flat(), vector_t<B>());
        return derivatives{on_host(backend, x), on_host(backend, g),   on_host(backend, y),
                           on_host(backend, y), on_host(backend, bar), on_host(backend, grad)};
    };
    for (const auto& s : {nn::conv_shape{{16, 16, 32}, 48, 3, 1}, nn::conv_shape{{8, 12, 33}, 31, 3, 1},
                          nn::conv_shape{{16, 16, 20}, 24, 3, 2}, nn::conv_shape{{9, 7, 17}, 40, 1, 1}}) {
        CAPTURE(s.in.channels, s.out, s.kernel, s.stride);
        const auto rounded = conv(b, s), exact = conv(w, s);
        CHECK(distance(rounded.jvp, exact.jvp) <= layer_error);
        CHECK(distance(rounded.vjp, exact.vjp) <= layer_error);
        CHECK(distance(rounded.gradient, exact.gradient) <= layer_error);
        check_adjoint(rounded, layer_error, layer_error);
    }
    const auto linear = [](auto& backend) {
        using B = std::remove_reference_t<decltype(backend)>;
        const auto weight = draw(backend, 100 * 70, 1, 0), x = draw(backend, 100, 40, 1), g = draw(backend, 70, 40, 2);
        batch<B> y(backend, 70, 40), bar(backend, 100, 40), grad(backend, 100 * 70, 1);
        nn::linear_forward<B>(backend, x, weight.flat(), const_vector_t<B>(), y);
        nn::linear_vjp<B>(backend, g, weight.flat(), bar);
        nn::linear_vjp_params<B>(backend, x, g, grad.flat(), vector_t<B>());
        return derivatives{on_host(backend, x), on_host(backend, g),   on_host(backend, y),
                           on_host(backend, y), on_host(backend, bar), on_host(backend, grad)};
    };
    const auto rounded = linear(b), exact = linear(w);
    const double product_error = std::sqrt(2.0 / 3) * 0x1p-8;
    CHECK(distance(rounded.jvp, exact.jvp) <= product_error);
    CHECK(distance(rounded.vjp, exact.vjp) <= product_error);
    CHECK(distance(rounded.gradient, exact.gradient) <= product_error);
    check_adjoint(rounded, product_error, product_error);
}

TEST_CASE("networks with rounded products are near those of float64, with their derivatives", "[bf16]") {
    auto b = rounded_backend();
    wide w(2);
    SECTION("U-Net with attention") {
        const nn::unet_config c{16, 16, 3, 1, {32, 64}, {2, 1}, 16, {{1, 4}}};
        // Two convolutions a block: 2 + 1 on the way down, as many up, and four between and around; attention beside them.
        check_network(of_network(b, nn::unet<single>(c), 3), of_network(w, nn::unet<wide>(c), 3), 2 * 6 + 4 + 4);
    }
    SECTION("MLP") {
        const nn::mlp_config c{.features = 5, .hidden = {64, 64}, .embedding = 16, .normalize = true};
        check_network(of_network(b, nn::mlp<single>(c), 200), of_network(w, nn::mlp<wide>(c), 200), 3);
    }
}

TEST_CASE("a network goes from one kind of products to another and back", "[bf16]") {
    const nn::conv_shape s{{16, 16, 32}, 32, 3, 1};
    single exact(2);
    auto rounded = rounded_backend();
    nn::conv_plan<single> plan(s);
    const auto kernel = draw(exact, s.kernel_size(), 1, 0), x = draw(exact, s.in.features(), 2, 1);
    const auto run = [&](single& b) {
        batch<single> y(b, s.result().features(), 2);
        plan.forward(b, x, kernel.flat(), const_vector_t<single>(), y);
        return on_host(b, y);
    };
    const auto first = run(exact), other = run(rounded);
    CHECK(first != other);
    CHECK(run(exact) == first);
    CHECK(run(rounded) == other);
}

TEST_CASE("a posterior step with rounded products is near that of float32", "[bf16]") {
    const nn::unet_config c{16, 16, 3, 1, {32, 64}, {1, 1}, 16, {{1, 4}}};
    const index_t items = 4;
    for (const double sigma : {0.1, 1.0, 10.0})
        for (const index_t iterations : {1, 3}) {
            CAPTURE(sigma, iterations);
            const auto step = [&](single& b) {
                model::preconditioned<single, nn::unet<single>> m(b, nn::unet<single>(c));
                m.initialize(b, random_key{11});
                const auto truth = draw(b, m.features(), items, 0), z = draw(b, m.features(), items, 1);
                batch<single> mask(b, m.features(), items), y(b, m.features(), items), x_hat(b, m.features(), items),
                    x(b, m.features(), items);
                b.copy(truth.cview(), x.view());
                b.axpby(sigma, z.cview(), 1.0, x.view());
                linop::draw_mask(b, {1, random_lane::user, 0, 0}, 0.25, 3, mask.view());
                const linop::isotropic_covariance noise{m.features(), 1e-4};
                const auto a = linop::mask<single>::per_item(mask.view());
                posterior::simulate(b, a, noise, truth.cview(), {1, random_lane::observation, 0, 0}, y.view());
                posterior::mmps p(b, m, posterior::observe(b, y.cview(), a, noise), {.max_iterations = iterations});
                p.denoise(b, x.cview(), sigma, x_hat.view());
                return std::pair(on_host(b, x_hat), p.last_solve().to_host(b).status);
            };
            auto b = rounded_backend();
            single exact(2);
            const auto [rounded_mean, rounded_status] = step(b);
            const auto [mean, status] = step(exact);
            // The network is off by at most 16 products' errors one after another, and V, which the correction applies, too:
            // 0.0003 at 0.1, 0.003 at 1, 0.017 at 10, where cg amplifies it to 0.093 in three iterations.
            CHECK(rounded_status == status);
            CHECK(distance(rounded_mean, mean) <= 2 * layer_error * std::sqrt(16.0));
        }
}
