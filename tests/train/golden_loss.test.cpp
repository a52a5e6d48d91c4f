// SPDX-License-Identifier: Apache-2.0
// The denoising loss and its gradient by the weights against the golden files of kind "denoiser".
#include <cmath>
#include <cstdlib>
#include <utility>
#include <variant>
#include <vector>

#include <diem/model/config.hpp>
#include <diem/model/preconditioned.hpp>
#include <diem/train/loss.hpp>

#include "support/backends.hpp"
#include "support/catch.hpp"
#include "support/golden.hpp"

using namespace diem;

namespace {

template <class B, class Net>
void run(B& b, test::golden_file& file, Net network) {
    using T = scalar_t<B>;
    model::preconditioned<B, Net> m(b, std::move(network));
    const auto flat = m.mutable_parameters();
    for (const auto& entry : m.table().entries()) {
        const auto value = file.parameter<T>(entry.name);
        b.upload(host_view<const T>(value.data.data(), value.size(), 1), as_batch(entry.of(flat)));
    }
    const auto x = file.input<T>("x"), z = file.input<T>("z");
    const auto t = file.input<double>("t");
    const double log_min = std::log(file.config().at("a").template get<double>());
    const double log_max = std::log(file.config().at("b").template get<double>());
    const index_t features = x.features(), items = x.items();
    std::vector<T> levels;
    for (index_t i = 0; i < items; ++i)
        levels.push_back(static_cast<T>(std::exp(log_min + (log_max - log_min) * t[i])));
    const auto data = to_backend(b, x.data, features, items);
    auto x_t = to_backend(b, z.data, features, items);
    const auto sigma = to_backend(b, levels, items, 1);
    b.map(train::detail::add_noise{}, x_t.view(), data.view(), per_item{sigma.flat()});
    batch<B> grad(b, m.table().size(), 1);
    batch<B, double> item_loss(b, items, 1);
    const index_t cut = items / 2;  // two micro-batches
    for (const auto& [first, count] : {std::pair{index_t{0}, cut}, std::pair{cut, items - cut}})
        if (count > 0)
            train::denoising_loss_at<B>(b, m, data.view().item_range(first, count), x_t.view().item_range(first, count),
                                        sigma.flat().range(first, count), items, {},
                                        first == 0 ? nn::update::overwrite : nn::update::accumulate, grad.flat(),
                                        item_loss.flat().range(first, count));
    double loss = 0;
    for (const double value : to_host(b, item_loss)) loss += value / static_cast<double>(items);
    test::check_golden(file, "loss", std::vector<T>{static_cast<T>(loss)});
    for (const auto& entry : m.table().entries())
        test::check_golden(file, "grad/" + entry.name, to_host(b, entry.of(const_vector_t<B>(grad.flat()))));
}

}  // namespace

TEMPLATE_TEST_CASE("the denoising loss equals the golden files", "", float, double) {
    using B = test::main_backend<TestType>;
    B b = test::make_backend<B>(2);
    auto files = test::golden_files("denoiser");
    CHECK((!files.empty() || std::getenv("DIEM_GOLDENS") != nullptr));
    for (auto& file : files) {
        const auto config = model::parse_network(file.config().at("net"));
        if (const auto* mlp = std::get_if<nn::mlp_config>(&config))
            run(b, file, nn::mlp<B>(*mlp));
        else
            run(b, file, nn::unet<B>(std::get<nn::unet_config>(config)));
    }
}
