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

}  // namespace diem::test
