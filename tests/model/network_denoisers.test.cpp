// SPDX-License-Identifier: Apache-2.0
#include <utility>
#include <vector>

#include <diem/testing/score_model.hpp>

#include "support/backends.hpp"
#include "support/catch.hpp"
#include "support/golden_network.hpp"

using namespace diem;
using namespace diem::test;

namespace {

/// A `ddpm_unet` of a golden file, with the file's parameterization.
template <class B>
using foreign_model = model::preconditioned<B, nn::ddpm_unet<B>>;

template <class B>
foreign_model<B> load(B& b, golden_file& file, bool recompute, std::vector<index_t> labels) {
    auto form = model::parse_preconditioning(file.config().at("preconditioning"));
    form.recompute = recompute;
    CHECK(model::to_json(model::parse_preconditioning(model::to_json(form))) == model::to_json(form));
    nn::ddpm_unet<B> net(std::get<nn::ddpm_unet_config>(model::parse_network(file.config().at("net"))));
    net.set_labels(std::move(labels));
    foreign_model<B> m(b, std::move(net), form);
    load_parameters(b, file, m);
    return m;
}

template <class B>
void run(B& b, golden_file& file, bool recompute) {
    using T = scalar_t<B>;
    INFO(file.name());
    const auto x_t = load_input(b, file, "x_t"), dot = load_input(b, file, "x_t_dot"),
               bar = load_input(b, file, "x_hat_bar");
    const auto sigma = file.template input<T>("sigma");
    const auto labels = file.template input<index_t>("labels").data;
    const index_t d = x_t.features(), n = x_t.items();
    auto m = load(b, file, recompute, labels);
    const auto levels = to_backend(b, sigma.data, 1, n);
    batch<B> x_hat(b, d, n), x_hat_dot(b, d, n), x_t_bar(b, d, n);

    // One sigma and one class per item.
    const diffusion::noise_level<B> per_item{const_vector_t<B>(levels.flat())};
    m.denoise(b, x_t, per_item, x_hat);
    check_golden<T>(file, "x_hat", to_host(b, x_hat));
    {
        const auto l = m.linearize(b, x_t, per_item);
        check_golden<T>(file, "x_hat", to_host(b, l.mean()));
        for (int again = 0; again < 2; ++again) {
            l.jacobian().apply(b, dot, x_hat_dot);
            check_golden<T>(file, "x_hat_dot", to_host(b, x_hat_dot));
            l.jacobian().apply_adjoint(b, bar, x_t_bar);
            check_golden<T>(file, "x_t_bar", to_host(b, x_t_bar));
        }
    }
    // The same, item by item, with the sigma known on the host.
    for (index_t i = 0; i < n; ++i) {
        auto alone = load(b, file, recompute, {labels[static_cast<std::size_t>(i)]});
        const auto l = alone.linearize(b, x_t.cview().item_range(i, 1), static_cast<double>(sigma[i]));
        b.copy(l.mean(), x_hat.view().item_range(i, 1));
        l.jacobian().apply_adjoint(b, bar.cview().item_range(i, 1), x_t_bar.view().item_range(i, 1));
    }
    check_golden<T>(file, "x_hat", to_host(b, x_hat));
    check_golden<T>(file, "x_t_bar", to_host(b, x_t_bar));
}

/// What any score model promises, by differences, so that no reference stands in between.
template <class B>
void check(B& b, golden_file& file) {
    INFO(file.name());
    static_assert(diffusion::HasJvp<foreign_model<B>, B>);
    auto m = load(b, file, false, {-1});
    for (const double sigma : {0.3, 3.0}) {
        const auto report = testing::check_score_model(b, m, {.sigma = sigma, .scale = 0.5});
        INFO(report.text());
        CHECK(report.passed());
    }
}

}  // namespace

TEMPLATE_TEST_CASE("golden: networks trained elsewhere", "[golden][model]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    auto b = make_backend<B>();
    auto files = golden_files("network_denoiser");
    for (auto& file : files) {
        for (const bool recompute : {false, true}) run(b, file, recompute);
        check(b, file);
    }
}
