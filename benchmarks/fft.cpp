// SPDX-License-Identifier: Apache-2.0

// The centred orthonormal Fourier transform of 16 complex height x width images, out of place, and the MRI operators on them:
//   fft2/height/width       every size is first compared with the definition on one image; a wrong one ends the program with 1
//   sense/height/width      apply and adjoint, 8 coils, 2 items: 16 images each way
// Counter `GFLOPs`: 5 n log2 n operations an image of n numbers, as is usual. DIEM_THREADS sets the number of threads
// (default: all cores).
#include <cmath>
#include <cstdio>
#include <vector>

#include <diem/backend/eigen.hpp>
#include <diem/linop/mri.hpp>

#include "context.hpp"

namespace {

using namespace diem;
using B = eigen_backend<float>;

batch<B> images(B& b, index_t features, index_t items) {
    batch<B> x(b, features, items);
    b.fill_normal({3, random_lane::user, 0, 0}, x.view());
    return x;
}

bool right = true;

/// Against the definition, in float64, of the last image.
void check(B& b, index_t height, index_t width, const batch<B>& x, const batch<B>& y) {
    const auto from = to_host(b, x.cview().item_range(x.items() - 1, 1));
    const auto got = to_host(b, y.cview().item_range(x.items() - 1, 1));
    std::vector<double> expected(from.begin(), from.end());
    detail::fft2_by_definition(fft_direction::forward, height, width, expected.data(), expected.data());
    double worst = 0, scale = 0;
    for (std::size_t k = 0; k < got.size(); ++k) {
        const double e = std::abs(static_cast<double>(got[k]) - expected[k]);
        if (!(e <= worst)) worst = e;
        scale = std::max(scale, std::abs(expected[k]));
    }
    if (worst <= 1e-6 * scale) return;
    std::fprintf(stderr, "fft2 of %d x %d is wrong by %g\n", int(height), int(width), worst / scale);
    right = false;
}

void fft2(benchmark::State& state) {
    B b(threads());
    const index_t height = state.range(0), width = state.range(1), items = 16, size = 2 * height * width;
    const auto x = images(b, size, items);
    batch<B> y(b, size, items);
    b.fft2(fft_direction::forward, height, width, x.cview(), y.view());
    check(b, height, width, x, y);
    for (auto _ : state) b.fft2(fft_direction::forward, height, width, x.cview(), y.view());
    const double n = static_cast<double>(height * width);
    state.counters["GFLOPs"] = benchmark::Counter(
        5e-9 * n * std::log2(n) * static_cast<double>(items * state.iterations()), benchmark::Counter::kIsRate);
}

void sense(benchmark::State& state) {
    B b(threads());
    const index_t height = state.range(0), width = state.range(1), items = 2, coils = 8, size = 2 * height * width;
    batch<B> mask(b, width, 1);
    b.fill(mask.view(), 1);
    using numbers = linop::common_or_each<B>;
    const linop::sense<B> a(height, width, numbers::shared(mask), numbers::per_item(images(b, coils * size, items)));
    const auto x = images(b, size, items);
    batch<B> y(b, coils * size, items), back(b, size, items);
    for (auto _ : state) {
        a.apply(b, x, y);
        a.apply_adjoint(b, y, back);
    }
}

void sizes(benchmark::internal::Benchmark* b) {
    if (smoke())
        b->Args({32, 24});
    else
        b->Args({320, 320})->Args({256, 256})->Args({230, 180})->Args({640, 372})->Args({311, 311});
    b->UseRealTime()->Unit(benchmark::kMillisecond);
}
void one_size(benchmark::internal::Benchmark* b) {
    const index_t n = smoke() ? 32 : 320;
    b->Args({n, n})->UseRealTime()->Unit(benchmark::kMillisecond);
}

BENCHMARK(fft2)->Apply(sizes);
BENCHMARK(sense)->Apply(one_size);

}  // namespace

int main(int argc, char** argv) {
    const int status = run_benchmarks(argc, argv, B(threads()).threads());
    return right ? status : 1;
}
