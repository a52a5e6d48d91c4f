// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <diem/backend/eigen.hpp>
#include <diem/core/random.hpp>
#include <diem/prior/checkpoint.hpp>

#include "support/catch.hpp"
#include "support/temporary_folder.hpp"
// What the examples share lies beside them, not in the library.
#include "support/classifier.hpp"
#include "support/classifier_file.hpp"
#include "support/sample_figures.hpp"

using namespace diem;
using support::classifier_config;
using eigen = eigen_backend<double>;
using network = support::classifier<eigen>;

namespace {

const classifier_config small{{8, 8, 3}, {4, 6, 5}, {1, 2, 1}, 4};

batch<eigen> random_images(eigen& b, index_t items) {
    batch<eigen> x(b, 8 * 8 * 3, items);
    b.fill_normal({.seed = 2, .lane = random_lane::user}, x.view());
    return x;
}
/// All parameters away from zero, biases too.
network random_network(eigen& b) {
    network net(b, small, {.seed = 1});
    b.fill_normal({.seed = 3, .lane = random_lane::user}, as_batch(net.mutable_parameters()));
    b.axpby(0.0, as_batch(net.parameters()), 0.3, as_batch(net.mutable_parameters()));
    return net;
}
double largest_difference(const std::vector<double>& a, const std::vector<double>& b) {
    REQUIRE(a.size() == b.size());
    double worst = 0;
    for (std::size_t k = 0; k < a.size(); ++k) worst = std::max(worst, std::abs(a[k] - b[k]));
    return worst;
}

}  // namespace

TEST_CASE("classifier: the gradient is that of the mean cross-entropy") {
    eigen b(2);
    auto net = random_network(b);
    const index_t n = 5;
    const auto x = random_images(b, n);
    const auto labels = to_backend(b, std::vector<int>{3, 0, 2, 2, 1}, n, 1);
    batch<eigen> grad(b, net.table().size(), 1), unused(b, net.table().size(), 1);
    net.gradient(b, x, labels.flat(), grad.flat());
    const auto p = to_host(b, net.parameters()), g = to_host(b, grad);
    const auto loss_at = [&](const std::vector<double>& direction, double h) {
        auto q = p;
        for (std::size_t k = 0; k < q.size(); ++k) q[k] += h * direction[k];
        prior::upload_flat(b, q, net.mutable_parameters());
        return net.gradient(b, x, labels.flat(), unused.flat());
    };

    // Each array alone, in a random direction; the central stencil of fourth order (Abramowitz and Stegun, 25.3.6).
    std::uint32_t item = 0;
    for (const auto& array : net.table().entries()) {
        std::vector<double> direction(p.size());
        double along = 0;
        for (index_t k = array.offset; k < array.offset + array.size; ++k) {
            const auto j = static_cast<std::size_t>(k);
            direction[j] = normal<double>({.seed = 4}, item, static_cast<std::uint32_t>(k));
            along += direction[j] * g[j];
        }
        ++item;
        const double h = 1e-4;
        const double difference = (8 * (loss_at(direction, h) - loss_at(direction, -h)) -
                                   (loss_at(direction, 2 * h) - loss_at(direction, -2 * h))) /
                                  (12 * h);
        INFO(array.name << ": " << along << ", " << difference);
        CHECK(std::abs(along) >= 1e-3);
        CHECK(std::abs(along - difference) <= 1e-8 * (1 + std::abs(along)));
    }
}

TEST_CASE("classifier: equal logits, and logits that overflow an exponential") {
    eigen b(1);
    auto net = random_network(b);
    const auto x = random_images(b, 3);
    const auto labels = to_backend(b, std::vector<int>{1, 1, 2}, 3, 1);
    batch<eigen> grad(b, net.table().size(), 1);
    const auto head = net.table().find("head.bias");

    b.fill(as_batch(net.mutable_parameters()), 0.0);
    CHECK(std::abs(net.gradient(b, x, labels.flat(), grad.flat()) - std::log(4.0)) <= 1e-15);
    const auto uniform = to_host(b, head.of(vector_t<eigen>(grad.flat())));
    CHECK(largest_difference(uniform, {0.25, 0.25 - 2 / 3.0, 0.25 - 1 / 3.0, 0.25}) <= 1e-15);

    prior::upload_flat(b, std::vector<double>{0, 1e4, -1e4, 0}, head.of(net.mutable_parameters()));
    CHECK(std::abs(net.gradient(b, x, labels.flat(), grad.flat()) - 2e4 / 3) <= 1e-10);
    const auto certain = to_host(b, head.of(vector_t<eigen>(grad.flat())));
    CHECK(largest_difference(certain, {0, 1 / 3.0, -1 / 3.0, 0}) <= 1e-15);
}

TEST_CASE("classifier: images in parts, sizes") {
    eigen b(2);
    auto net = random_network(b);
    const auto x = random_images(b, 5);
    const auto all = net.forward(b, x), parts = net.forward(b, x, 2);
    CHECK(all.features.features() == 5);
    CHECK(largest_difference(to_host(b, all.features), to_host(b, parts.features)) <= 1e-13);
    CHECK(largest_difference(to_host(b, all.logits), to_host(b, parts.logits)) <= 1e-13);

    CHECK_THROWS_AS(net.forward(b, batch<eigen>(b, 100, 1)), shape_error);
    batch<eigen> grad(b, net.table().size(), 1);
    CHECK_THROWS_AS(net.gradient(b, x, batch<eigen, int>(b, 4, 1).flat(), grad.flat()), shape_error);
    CHECK_THROWS_AS(net.gradient(b, x, batch<eigen, int>(b, 5, 1).flat(), grad.flat().range(0, 3)), shape_error);
    CHECK_THROWS_AS(network(b, {{8, 6, 3}, {4}, {1}, 4}), shape_error);
}

TEST_CASE("classifier: files") {
    const test::temporary_folder folder;
    eigen b(1);
    auto net = random_network(b);
    support::save_classifier(folder / "net.safetensors", b, net, {{"test_accuracy", 0.5}});
    auto loaded = support::load_classifier(folder / "net.safetensors", b);
    const auto x = random_images(b, 2);
    CHECK(largest_difference(to_host(b, loaded.forward(b, x).logits), to_host(b, net.forward(b, x).logits)) == 0);
    CHECK(loaded.config().strides == small.strides);

    const auto error_of = [&](const io::json& config, const std::string& kind) {
        prior::checkpoint_writer<eigen> out(config, {{"kind", kind}});
        out.flat(b, "param/", net.table(), net.parameters());
        out.write(folder / "bad.safetensors");
        return test::message_of<error>([&] { (void)support::load_classifier(folder / "bad.safetensors", b); });
    };
    auto config = support::to_json(small);
    CHECK(test::contains(error_of(config, "training"), "bad.safetensors: holds no classifier"));
    config["channels"] = {4, 7, 5};
    CHECK(test::contains(error_of(config, "classifier"),
                         "tensor \"param/conv1.kernel\" has shape [3, 3, 4, 6], expected [3, 3, 4, 7]"));
    config["strides"] = {1, 2};
    CHECK(
        test::contains(error_of(config, "classifier"), "\"strides\": is [1,2], expected as many numbers as channels"));
    config = support::to_json(small);
    config["shape"] = {8, 8};
    CHECK(test::contains(error_of(config, "classifier"), "\"shape\": is [8,8], expected height, width and channels"));
    test::write_bytes(folder / "text", "no such file");
    CHECK_THROWS_AS(support::load_classifier(folder / "text", b), io_error);
}

TEST_CASE("sample figures: images against themselves, and shifted") {
    const test::temporary_folder folder;
    eigen_backend<float> b(2);
    eigen wide(2);
    const support::classifier<eigen_backend<float>> net(b, {{32, 32, 3}, {4, 5}, {2, 2}, 10}, {.seed = 1});
    support::save_classifier(folder / "net.safetensors", b, net, {});
    batch<eigen_backend<float>> x(b, 3072, 300);
    b.fill_normal({.seed = 2, .lane = random_lane::user}, x.view());

    support::sample_figures figures(b, wide, x, folder / "net.safetensors");
    const auto same = figures(b, x);
    CHECK(same.size() == support::sample_figure_names.size());
    CHECK(same["frechet_averaged"].get<double>() <= 1e-9);
    CHECK(same["frechet_features"].get<double>() <= 1e-9);
    CHECK(same["class_score"].get<double>() >= 1);
    CHECK(same["class_score"].get<double>() <= 10);

    batch<eigen_backend<float>> one(b, 3072, 300);
    b.fill(one.view(), 1.0F);
    b.axpby(1.0, one.cview(), 1.0, x.view());
    const auto shifted = figures(b, x);
    CHECK(std::abs(shifted["frechet_averaged"].get<double>() - 192 / 16.0) <= 1e-5);
    CHECK(shifted["frechet_features"].get<double>() >= 1e-3);
    CHECK(support::sample_figures(b, wide, x, {})(b, x).size() == 1);
    CHECK_THROWS_AS(support::sample_figures(b, wide, x, folder / "none"), io_error);
}
