// SPDX-License-Identifier: Apache-2.0

// One iteration of Sinkhorn in the log domain, n points on a curve in R^5 and n others near it, regularisation 1e-3:
//   double/n, float/n    the type of distances and exponentials
// Counter `per_iteration` in seconds. benchmarks/sinkhorn_peer.py does the same with POT. DIEM_THREADS sets the number of
// threads (default: all cores).
#include <cmath>
#include <vector>

#include <diem/backend/eigen.hpp>
#include <diem/metrics/sinkhorn.hpp>

#include "context.hpp"

namespace {

using namespace diem;
using B = eigen_backend<float>;

/// x_j(u) = 2 sin((j + 1) u + j) at u = 2 pi i / n (+ shift), plus noise of the deviation given.
batch<B> curve(B& b, index_t n, double shift, double noise, std::uint32_t step) {
    std::vector<float> x;
    for (index_t i = 0; i < n; ++i)
        for (int j = 0; j < 5; ++j) {
            const double u = 6.283185307179586 * (static_cast<double>(i) + shift) / static_cast<double>(n);
            const double z = normal<double>({3, random_lane::user, step, 0}, static_cast<std::uint32_t>(i),
                                            static_cast<std::uint32_t>(j));
            x.push_back(static_cast<float>(2 * std::sin((j + 1) * u + j) + noise * z));
        }
    return to_backend(b, x, 5, n);
}

template <class Real>
void iteration(benchmark::State& state) {
    B b(threads());
    const index_t n = state.range(0);
    const auto u = curve(b, n, 0, 0, 0), v = curve(b, n, 0.5, 0.02, 1);
    metrics::sinkhorn_options o;
    o.iterations = 20;
    o.tolerance = 0;
    o.check_every = 1000;
    for (auto _ : state) benchmark::DoNotOptimize(metrics::transport<Real>(b, u.cview(), v.cview(), o).cost);
    state.counters["per_iteration"] = benchmark::Counter(static_cast<double>(state.iterations()) * o.iterations,
                                                         benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

void sizes(benchmark::internal::Benchmark* b) {
    if (smoke())
        b->Arg(256);
    else
        b->Arg(1024)->Arg(4096);
    b->UseRealTime()->Unit(benchmark::kMillisecond);
}

BENCHMARK(iteration<double>)->Name("double")->Apply(sizes);
BENCHMARK(iteration<float>)->Name("float")->Apply(sizes);

}  // namespace

int main(int argc, char** argv) { return run_benchmarks(argc, argv, B(threads()).threads()); }
