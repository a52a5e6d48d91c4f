// SPDX-License-Identifier: Apache-2.0

// One iteration of Sinkhorn in the log domain, n points on a curve and n others near it, regularisation 1e-3:
//   double/n, float/n                in R^5; the type of distances and exponentials
//   double_batch/p/n, float_batch    p such problems at once, in R^3
//   double_alone/p/n, float_alone    the same one after another
// Counters in seconds: `per_iteration`, of all problems together, and `cpu_per_iteration`, of all threads, for a machine
// that others use. benchmarks/sinkhorn_peer.py does the same with POT. DIEM_THREADS sets the number of threads (default: all
// cores).
#include <cmath>
#include <ctime>
#include <vector>

#include <diem/backend/eigen.hpp>
#include <diem/metrics/sinkhorn.hpp>

#include "context.hpp"

namespace {

using namespace diem;
using B = eigen_backend<float>;

/// x_j(u) = 2 sin((j + 1) u + j) at u = 2 pi i / n (+ shift), plus noise of the deviation given; the same for every problem
/// but for the noise.
batch<B> curve(B& b, index_t problems, index_t n, int d, double shift, double noise, std::uint32_t step) {
    std::vector<float> x;
    for (index_t i = 0; i < problems * n; ++i)
        for (int j = 0; j < d; ++j) {
            const double u = 6.283185307179586 * (static_cast<double>(i % n) + shift) / static_cast<double>(n);
            const double z = normal<double>({3, random_lane::user, step, 0}, static_cast<std::uint32_t>(i),
                                            static_cast<std::uint32_t>(j));
            x.push_back(static_cast<float>(2 * std::sin((j + 1) * u + j) + noise * z));
        }
    return to_backend(b, x, d, problems * n);
}

/// f(options) is what is timed.
template <class F>
void iterations(benchmark::State& state, const F& f) {
    metrics::sinkhorn_options o;
    o.iterations = 20;
    o.tolerance = 0;
    o.check_every = 1000;
    const std::clock_t start = std::clock();
    for (auto _ : state) f(o);
    const double cpu = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
    const double count = static_cast<double>(state.iterations()) * o.iterations;
    state.counters["per_iteration"] =
        benchmark::Counter(count, benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
    state.counters["cpu_per_iteration"] = cpu / count;
}

template <class Real>
void single(benchmark::State& state) {
    B b(threads());
    const index_t n = state.range(0);
    const auto u = curve(b, 1, n, 5, 0, 0, 0), v = curve(b, 1, n, 5, 0.5, 0.02, 1);
    iterations(state, [&](const auto& o) {
        benchmark::DoNotOptimize(metrics::transport<Real>(b, u.cview(), v.cview(), o).cost);
    });
}

/// Many problems, at once or one after another.
template <class Real, bool Together>
void many(benchmark::State& state) {
    B b(threads());
    const index_t problems = state.range(0), n = state.range(1);
    const auto u = curve(b, problems, n, 3, 0, 0, 0), v = curve(b, problems, n, 3, 0.5, 0.02, 1);
    iterations(state, [&](const auto& o) {
        if constexpr (Together)
            benchmark::DoNotOptimize(
                metrics::transports<Real>(b, u.cview(), {}, v.cview(), {}, problems, o).front().cost);
        else
            for (index_t p = 0; p < problems; ++p)
                benchmark::DoNotOptimize(
                    metrics::transport<Real>(b, u.cview().item_range(p * n, n), v.cview().item_range(p * n, n), o)
                        .cost);
    });
}

void sizes(benchmark::internal::Benchmark* b) {
    if (smoke())
        b->Arg(256);
    else
        b->Arg(1024)->Arg(4096);
    b->UseRealTime()->Unit(benchmark::kMillisecond);
}
void batch_sizes(benchmark::internal::Benchmark* b) {
    if (smoke())
        b->Args({4, 32});
    else
        b->Args({64, 512})->Args({512, 64});
    b->UseRealTime()->Unit(benchmark::kMillisecond);
}

BENCHMARK(single<double>)->Name("double")->Apply(sizes);
BENCHMARK(single<float>)->Name("float")->Apply(sizes);
BENCHMARK((many<double, true>))->Name("double_batch")->Apply(batch_sizes);
BENCHMARK((many<float, true>))->Name("float_batch")->Apply(batch_sizes);
BENCHMARK((many<double, false>))->Name("double_alone")->Apply(batch_sizes);
BENCHMARK((many<float, false>))->Name("float_alone")->Apply(batch_sizes);

}  // namespace

int main(int argc, char** argv) { return run_benchmarks(argc, argv, B(threads()).threads()); }
