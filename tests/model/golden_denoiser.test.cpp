// SPDX-License-Identifier: Apache-2.0

#include "support/backends.hpp"
#include "support/catch.hpp"
#include "support/golden_network.hpp"

using namespace diem;
using namespace diem::test;

namespace {

template <class B>
void run(B& b, golden_file& file, bool recompute) {
    using T = scalar_t<B>;
    static_assert(diffusion::ScoreModel<golden_model<B>, B>);
    INFO(file.name());
    auto m = load_network(b, file, file.config().at("net"), {.recompute = recompute});
    const auto x_t = load_input(b, file, "x_t"), dot = load_input(b, file, "x_t_dot"),
               bar = load_input(b, file, "x_hat_bar");
    const auto sigma = file.template input<T>("sigma");
    const index_t d = x_t.features(), n = x_t.items();
    const auto levels = to_backend(b, sigma.data, 1, n);
    batch<B> x_hat(b, d, n), x_hat_dot(b, d, n), x_t_bar(b, d, n);

    // One sigma per item.
    const diffusion::noise_level<B> per_item{const_vector_t<B>(levels.flat())};
    m.denoise(b, x_t, per_item, x_hat);
    check_golden<T>(file, "x_hat", to_host(b, x_hat));
    {
        const auto l = m.linearize(b, x_t, per_item);
        check_golden<T>(file, "x_hat", to_host(b, l.mean()));
        const auto jacobian = l.jacobian();
        for (int again = 0; again < 2; ++again) {
            jacobian.apply(b, dot, x_hat_dot);
            check_golden<T>(file, "x_hat_dot", to_host(b, x_hat_dot));
            jacobian.apply_adjoint(b, bar, x_t_bar);
            check_golden<T>(file, "x_t_bar", to_host(b, x_t_bar));
        }
        // A range of items.
        batch<B> part_bar(b, d, 2);
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
}

}  // namespace

// Their loss and its gradient: tests/train/golden_loss.test.cpp.
TEMPLATE_TEST_CASE("golden denoisers", "[golden][model]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    auto b = make_backend<B>();
    auto files = golden_files("denoiser");
    for (auto& file : files)
        for (const bool recompute : {false, true}) run(b, file, recompute);
}
