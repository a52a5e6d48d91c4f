// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <type_traits>
#include <vector>

#include <diem/model/config.hpp>
#include <diem/model/preconditioned.hpp>

#include "support/backends.hpp"
#include "support/catch.hpp"
#include "support/golden.hpp"

using namespace diem;
using namespace diem::test;

namespace {

template <class B>
batch<B> load(B& b, golden_file& file, const std::string& tensor) {
    const auto a = file.tensor<scalar_t<B>>(tensor);
    return to_backend(b, a.data, a.features(), a.items());
}

template <class B, class Net>
void run(B& b, golden_file& file, Net network) {
    using T = scalar_t<B>;
    using model_t = model::preconditioned<B, Net>;
    static_assert(diffusion::ScoreModel<model_t, B>);
    INFO(file.name());
    model_t m(b, std::move(network));

    // Names, shapes and order are those of the file.
    const auto names = file.parameters();
    REQUIRE(names.size() == m.table().entries().size());
    const auto flat = m.mutable_parameters();
    for (std::size_t i = 0; i < names.size(); ++i) {
        const auto& entry = m.table().entries()[i];
        CHECK(entry.name == names[i]);
        const auto value = file.template parameter<T>(names[i]);
        CHECK(entry.shape == std::vector<index_t>(value.shape.begin(), value.shape.end()));
        b.upload(host_view<const T>(value.data.data(), value.size(), 1), as_batch(entry.of(flat)));
    }

    const auto x_t = load(b, file, "in/x_t"), dot = load(b, file, "in/x_t_dot"), bar = load(b, file, "in/x_hat_bar");
    const auto sigma = file.template input<T>("sigma");
    const index_t d = x_t.features(), n = x_t.items();
    const auto levels = to_backend(b, sigma.data, 1, n);
    batch<B> x_hat(b, d, n), x_hat_dot(b, d, n), x_t_bar(b, d, n);

    // One sigma per item.
    const diffusion::noise_level<B> per_item{const_vector_t<B>(levels.flat())};
    m.denoise(b, x_t, per_item, x_hat);
    check_golden<T>(file, "x_hat", to_host(b, x_hat));
    for (const bool recompute : {false, true}) {
        model_t other(m.buffer(), Net(m.net().config()), {.recompute = recompute});
        const auto l = other.linearize(b, x_t, per_item);
        check_golden<T>(file, "x_hat", to_host(b, l.mean()));
        const auto jacobian = l.jacobian();
        for (int again = 0; again < 2; ++again) {
            jacobian.apply(b, dot, x_hat_dot);
            check_golden<T>(file, "x_hat_dot", to_host(b, x_hat_dot));
            jacobian.apply_adjoint(b, bar, x_t_bar);
            check_golden<T>(file, "x_t_bar", to_host(b, x_t_bar));
        }
        // A range of items.
        batch<B> part(b, d, 2), part_bar(b, d, 2);
        jacobian.items(1, 2).apply_adjoint(b, bar.cview().item_range(1, 2), part_bar);
        const auto whole = to_host(b, x_t_bar.cview().item_range(1, 2));
        CHECK(to_host(b, part_bar) == whole);
    }

    // The same, item by item, with the sigma known on the host.
    for (index_t i = 0; i < n; ++i) {
        const double s = static_cast<double>(sigma.data[static_cast<std::size_t>(i)]);
        const auto l = m.linearize(b, x_t.cview().item_range(i, 1), s);
        b.copy(l.mean(), x_hat.view().item_range(i, 1));
        l.jacobian().apply(b, dot.cview().item_range(i, 1), x_hat_dot.view().item_range(i, 1));
        l.jacobian().apply_adjoint(b, bar.cview().item_range(i, 1), x_t_bar.view().item_range(i, 1));
    }
    check_golden<T>(file, "x_hat", to_host(b, x_hat));
    check_golden<T>(file, "x_hat_dot", to_host(b, x_hat_dot));
    check_golden<T>(file, "x_t_bar", to_host(b, x_t_bar));

    // Loss mean over items of (1 / sigma^2 + 1) mean of (x_hat - x)^2, and its gradient, in two halves that accumulate.
    const double lo = file.config().at("a").template get<double>(), hi = file.config().at("b").template get<double>();
    const auto t = file.template input<double>("t");
    const auto x = file.template input<double>("x"), z = file.template input<double>("z");
    const index_t items = t.size();
    std::vector<T> noisy(x.data.size()), levels_host;
    for (index_t i = 0; i < items; ++i) {
        const double s = std::exp(std::log(lo) + (std::log(hi) - std::log(lo)) * t.data[static_cast<std::size_t>(i)]);
        levels_host.push_back(static_cast<T>(s));
        for (index_t j = i * d; j < (i + 1) * d; ++j)
            noisy[static_cast<std::size_t>(j)] = static_cast<T>(x[j] + s * z[j]);
    }
    const auto sigmas = to_backend(b, levels_host, 1, items);
    const auto batch_noisy = to_backend(b, noisy, d, items);
    for (const bool recompute : {false, true}) {
        model_t other(m.buffer(), Net(m.net().config()), {.recompute = recompute});
        batch<B> grad(b, m.table().size(), 1);
        b.fill(grad.view(), std::numeric_limits<T>::quiet_NaN());
        double loss = 0;
        const index_t cut = items / 2;
        for (const auto& [first, count] : {std::pair{index_t{0}, cut}, std::pair{cut, items - cut}}) {
            const auto l = other.linearize(b, batch_noisy.cview().item_range(first, count),
                                           const_vector_t<B>(sigmas.flat()).range(first, count), model::training{});
            auto error = to_host(b, l.mean());
            for (index_t i = 0; i < count; ++i) {
                const double s = levels_host[static_cast<std::size_t>(first + i)];
                const double weight = (1 / (s * s) + 1) / static_cast<double>(d * items);
                for (index_t j = 0; j < d; ++j) {
                    auto& e = error[static_cast<std::size_t>(i * d + j)];
                    const double difference = static_cast<double>(e) - x[(first + i) * d + j];
                    loss += weight * difference * difference;
                    e = static_cast<T>(2 * weight * difference);
                }
            }
            l.vjp_params(b, to_backend(b, error, d, count), grad.flat(),
                         first == 0 ? nn::update::overwrite : nn::update::accumulate);
        }
        check_golden<T>(file, "loss", std::vector<T>{static_cast<T>(loss)});
        for (const auto& entry : m.table().entries())
            check_golden<T>(file, "grad/" + entry.name, to_host(b, entry.of(const_vector_t<B>(grad.flat()))));
    }
}

}  // namespace

TEMPLATE_TEST_CASE("golden denoisers", "[golden][model]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    auto b = make_backend<B>();
    auto files = golden_files("denoiser");
    CHECK((!files.empty() || std::getenv("DIEM_GOLDENS") != nullptr));
    for (auto& file : files) {
        const auto config = model::parse_network(file.config().at("net"));
        CHECK(model::parse_network(model::to_json(config)).index() == config.index());
        if (const auto* mlp = std::get_if<nn::mlp_config>(&config))
            run(b, file, nn::mlp<B>(*mlp));
        else
            run(b, file, nn::unet<B>(std::get<nn::unet_config>(config)));
    }
}
