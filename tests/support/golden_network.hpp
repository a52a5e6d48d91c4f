// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <variant>

#include <diem/model/config.hpp>
#include <diem/model/preconditioned.hpp>
#include <diem/nn/mlp.hpp>
#include <diem/nn/unet.hpp>

#include "support/golden.hpp"

namespace diem::test {

/// Calls f(model) with the preconditioned network of a golden file: `net` describes it, the file holds its parameters.
template <class B, class F>
void with_golden_network(B& b, golden_file& file, const io::json& net, const F& f) {
    const auto run = [&](auto network) {
        using T = scalar_t<B>;
        model::preconditioned<B, decltype(network)> m(b, std::move(network));
        const auto flat = m.mutable_parameters();
        for (const auto& entry : m.table().entries()) {
            const auto value = file.template parameter<T>(entry.name);
            b.upload(host_view<const T>(value.data.data(), value.size(), 1), as_batch(entry.of(flat)));
        }
        f(m);
    };
    const auto config = model::parse_network(net);
    if (const auto* mlp = std::get_if<nn::mlp_config>(&config))
        run(nn::mlp<B>(*mlp));
    else
        run(nn::unet<B>(std::get<nn::unet_config>(config)));
}

/// An input as a batch: its first axis counts the items.
template <class B>
batch<B> load_input(B& b, golden_file& file, const std::string& name) {
    const auto a = file.template input<scalar_t<B>>(name);
    return to_backend(b, a.data, a.features(), a.items());
}

}  // namespace diem::test
