// SPDX-License-Identifier: Apache-2.0

// MMPS steps on several threads, for the thread sanitizer: see CMakeLists.txt.
#include <utility>
#include <vector>

#include <diem/backend/eigen.hpp>
#include <diem/diffusion/gaussian.hpp>
#include <diem/linop/covariance.hpp>
#include <diem/linop/mask.hpp>
#include <diem/model/preconditioned.hpp>
#include <diem/nn/unet.hpp>
#include <diem/posterior/mmps.hpp>

#include "support/catch.hpp"

using namespace diem;

namespace {
using B = eigen_backend<float>;

template <class Model>
std::vector<float> step(B& b, Model& model, index_t items, const posterior::mmps_options& options) {
    const index_t n = model.features();
    batch<B> x(b, n, items), y(b, n, items), mask(b, n, items), out(b, n, items);
    b.fill_normal({2, 0, 0, 0}, x.view());
    b.fill_normal({3, 0, 0, 0}, y.view());
    b.fill(mask.view(), 1.0F);
    b.fill(mask.view().feature_range(0, n / 4), 0.0F);
    posterior::mmps p(
        b, model,
        posterior::observe(b, y.cview(), linop::mask<B>::per_item(mask.cview()), linop::isotropic_covariance(n, 0.01)),
        options);
    p.denoise(b, x.cview(), 0.7, out.view());
    return to_host(b, out);
}
}  // namespace

TEST_CASE("threads: an MMPS step with a U-Net", "[threads]") {
    std::vector<float> first;
    for (const int threads : {1, 3}) {
        B b(threads);
        model::preconditioned<B, nn::unet<B>> model(b, nn::unet<B>({16, 16, 3, 1, {16, 24}, {1, 1}, 16, {{1, 2}}}));
        model.initialize(b, random_key{1});
        const auto out = step(b, model, 6, {.max_iterations = 2});
        if (first.empty()) first = out;
        CHECK(out == first);
    }
}

TEST_CASE("threads: an MMPS step with a Gaussian, in blocks of items on threads of their own", "[threads]") {
    std::vector<float> first;
    for (const int threads : {1, 3}) {
        B b(threads);
        batch<B> mu(b, 96, 1), d(b, 96, 1), u(b, 96, 8);
        b.fill_normal({1, 0, 0, 0}, mu.view());
        b.fill_uniform({1, 0, 1, 0}, d.view());
        b.fill_normal({1, 0, 2, 0}, u.view());
        diffusion::gaussian<B> prior(b, std::move(mu), std::move(d), std::move(u));
        const auto out = step(b, prior, 64, {.max_iterations = 6, .block_items = 8});
        if (first.empty()) first = out;
        CHECK(out == first);
    }
}
