// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include <diem/model/preconditioned.hpp>
#include <diem/model/pretrained_network.hpp>

#include "support/golden_batch.hpp"

namespace diem::test {

template <class B>
using golden_model = model::preconditioned<B, model::pretrained_network<B>>;

/// The parameters of a golden file. Their names, shapes and order must be those of the model.
template <class B, class Model>
void load_parameters(B& b, golden_file& file, Model& m) {
    using T = scalar_t<B>;
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
}

/// The preconditioned network of a golden file: `net` describes it, the file holds its parameters.
template <class B>
golden_model<B> load_network(B& b, golden_file& file, const io::json& net, const model::preconditioning& options = {}) {
    const auto config = model::parse_network(net);
    CHECK(model::parse_network(model::to_json(config)).index() == config.index());
    golden_model<B> m(b, model::pretrained_network<B>(config), options);
    load_parameters(b, file, m);
    return m;
}

/// Denoiser, JVP and VJP of a golden file of x_t, sigma and directions: of all items with a sigma for each, of a range of
/// items, and of one item after the other with the sigma known on the host, after `alone(item)`.
template <class B, class Alone>
void check_denoiser(B& b, golden_file& file, golden_model<B>& m, const Alone& alone) {
    using T = scalar_t<B>;
    const auto x_t = load_input(b, file, "x_t"), dot = load_input(b, file, "x_t_dot"),
               bar = load_input(b, file, "x_hat_bar");
    const auto sigma = file.template input<T>("sigma");
    const index_t d = x_t.features(), n = x_t.items();
    const auto levels = to_backend(b, sigma.data, 1, n);
    batch<B> x_hat(b, d, n), x_hat_dot(b, d, n), x_t_bar(b, d, n);

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
        batch<B> part_bar(b, d, 2);
        jacobian.items(1, 2).apply_adjoint(b, bar.cview().item_range(1, 2), part_bar);
        const auto whole = to_host(b, x_t_bar.cview().item_range(1, 2));
        CHECK(to_host(b, part_bar) == whole);
    }
    for (index_t i = 0; i < n; ++i) {
        alone(i);
        const auto l = m.linearize(b, x_t.cview().item_range(i, 1), static_cast<double>(sigma[i]));
        b.copy(l.mean(), x_hat.view().item_range(i, 1));
        l.jacobian().apply(b, dot.cview().item_range(i, 1), x_hat_dot.view().item_range(i, 1));
        l.jacobian().apply_adjoint(b, bar.cview().item_range(i, 1), x_t_bar.view().item_range(i, 1));
    }
    check_golden<T>(file, "x_hat", to_host(b, x_hat));
    check_golden<T>(file, "x_hat_dot", to_host(b, x_hat_dot));
    check_golden<T>(file, "x_t_bar", to_host(b, x_t_bar));
}

}  // namespace diem::test
