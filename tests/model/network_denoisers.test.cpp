// SPDX-License-Identifier: Apache-2.0
#include <diem/testing/score_model.hpp>

#include "support/backends.hpp"
#include "support/catch.hpp"
#include "support/golden_network.hpp"

using namespace diem;
using namespace diem::test;

namespace {

/// The network of a golden file with the file's parameterization.
template <class B>
golden_model<B> load(B& b, golden_file& file, bool recompute) {
    auto form = model::parse_preconditioning(file.config().at("preconditioning"));
    form.recompute = recompute;
    CHECK(model::to_json(model::parse_preconditioning(model::to_json(form))) == model::to_json(form));
    return load_network(b, file, file.config().at("net"), form);
}

template <class B>
void run(B& b, golden_file& file, bool recompute) {
    INFO(file.name());
    const auto labels = file.template input<index_t>("labels").data;
    auto m = load(b, file, recompute);
    m.set_labels(labels);
    check_denoiser(b, file, m, [&](index_t item) { m.set_labels({labels[static_cast<std::size_t>(item)]}); });
}

/// What any score model promises, by differences, so that no reference stands in between.
template <class B>
void check(B& b, golden_file& file) {
    INFO(file.name());
    static_assert(diffusion::HasJvp<golden_model<B>, B>);
    auto m = load(b, file, false);
    m.set_labels({-1});
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
