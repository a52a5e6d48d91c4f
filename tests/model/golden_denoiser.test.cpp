// SPDX-License-Identifier: Apache-2.0

#include "support/backends.hpp"
#include "support/catch.hpp"
#include "support/golden_network.hpp"

using namespace diem;
using namespace diem::test;

namespace {

template <class B>
void run(B& b, golden_file& file, bool recompute) {
    static_assert(diffusion::ScoreModel<golden_model<B>, B>);
    INFO(file.name());
    auto m = load_network(b, file, file.config().at("net"), {.recompute = recompute});
    check_denoiser(b, file, m, [](index_t /*item*/) {});
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
