// SPDX-License-Identifier: Apache-2.0
// The denoising loss and its gradient by the weights against the golden files of kind "denoiser".
#include <cmath>
#include <utility>
#include <vector>

#include <diem/train/loss.hpp>

#include "support/backends.hpp"
#include "support/catch.hpp"
#include "support/golden_network.hpp"

using namespace diem;

namespace {

template <class B>
void run(B& b, test::golden_file& file, bool recompute) {
    using T = scalar_t<B>;
    auto m = test::load_network(b, file, file.config().at("net"), {.recompute = recompute});
    const auto x = file.template input<T>("x"), z = file.template input<T>("z");
    const auto t = file.template input<double>("t");
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

TEMPLATE_TEST_CASE("the denoising loss equals the golden files", "", DIEM_TEST_BACKENDS) {
    using B = TestType;
    B b = test::make_backend<B>();
    auto files = test::golden_files("denoiser");
    for (auto& file : files)
        for (const bool recompute : {false, true}) run(b, file, recompute);
}
