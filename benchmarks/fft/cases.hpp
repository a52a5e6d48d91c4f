// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/linop/mri.hpp>
#include <diem/testing/adjoint.hpp>

#include "batches.hpp"
#include "context.hpp"

/// The cases of benchmarks/fft.cpp on any backend.
namespace fft {

using namespace diem;

/// Against the definition, in float64, of the last image: the largest error over the largest value.
template <Backend B>
double error(B& b, index_t height, index_t width, const batch<B>& x, const batch<B>& y) {
    const auto from = to_host(b, x.cview().item_range(x.items() - 1, 1));
    const auto got = to_host(b, y.cview().item_range(x.items() - 1, 1));
    std::vector<double> expected(from.begin(), from.end());
    diem::detail::fft2_by_definition(fft_direction::forward, height, width, expected.data(), expected.data());
    double worst = 0, scale = 0;
    for (std::size_t k = 0; k < got.size(); ++k) {
        const double e = std::abs(static_cast<double>(got[k]) - expected[k]);
        if (!(e <= worst)) worst = e;
        scale = std::max(scale, std::abs(expected[k]));
    }
    return worst / scale;
}

template <Backend B>
void fft2(benchmark::State& state, index_t items) {
    auto b = make_backend<B>();
    const index_t height = state.range(0), width = state.range(1), size = 2 * height * width;
    const auto x = draw(b, size, items, 0);
    batch<B> y(b, size, items);
    const auto transform = [&] { b.fft2(fft_direction::forward, height, width, x.cview(), y.view()); };
    transform();
    const double wrong = error(b, height, width, x, y);
    if (!(wrong <= 1e-6)) return fail(state, "wrong by " + std::to_string(wrong));
    timed(state, b, transform);
    const double n = static_cast<double>(height * width);
    state.counters["GFLOPs"] = benchmark::Counter(5e-9 * n * std::log2(n) * static_cast<double>(items),
                                                  benchmark::Counter::kIsIterationInvariantRate);
}

template <Backend B>
void sense(benchmark::State& state, index_t items) {
    auto b = make_backend<B>();
    const index_t height = state.range(0), width = state.range(1), coils = 8, size = 2 * height * width;
    batch<B> mask(b, width, 1);
    b.fill(mask.view(), 1);
    using numbers = linop::common_or_each<B>;
    const linop::sense<B> a(b, height, width, numbers::shared(mask),
                            numbers::per_item(draw(b, coils * size, items, 0)));
    if (!(testing::adjoint_error(b, a, {7, random_lane::user, 1, 0}, items) <= 1e-5))
        return fail(state, "<A x, u> differs from <x, A'u>");
    const auto x = draw(b, size, items, 1);
    batch<B> y(b, coils * size, items), back(b, size, items);
    timed(state, b, [&] {
        a.apply(b, x, y);
        a.apply_adjoint(b, y, back);
    });
}

/// Every case, its name after `prefix`. A device has more images.
template <Backend B>
void add_cases(const std::string& prefix) {
    using sizes_type = std::vector<std::pair<int, int>>;
    const auto add = [&](const std::string& name, auto f, index_t items, const sizes_type& sizes) {
        for (const auto& [height, width] : sizes)
            benchmark::RegisterBenchmark((prefix + name).c_str(), f, items)
                ->Args({height, width})
                ->Unit(benchmark::kMillisecond)
                ->UseRealTime();
    };
    const index_t more = FineGrained<B> && !smoke() ? 16 : 1;
    add("fft2", fft2<B>, 16 * more,
        smoke() ? sizes_type{{32, 24}} : sizes_type{{320, 320}, {256, 256}, {230, 180}, {640, 372}, {311, 311}});
    add("sense", sense<B>, 2 * more, smoke() ? sizes_type{{32, 32}} : sizes_type{{320, 320}});
}

/// The cases on the CUDA backend, `cuda/...`, where there is a device. In builds with CUDA only.
void add_cuda_cases();

}  // namespace fft
