// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <string>
#include <utility>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/backend/functors.hpp>
#include <diem/metrics/sinkhorn.hpp>

#include "batches.hpp"
#include "context.hpp"

/// The cases of benchmarks/sinkhorn.cpp on any backend.
namespace sinkhorn {

using namespace diem;

/// x_j(u) = 2 sin((j + 1) u + j) at u = 2 pi i / n (+ shift), plus noise of the deviation given; the same for every problem
/// but for the noise.
template <Backend B>
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

/// Pairs of clouds: `problems` of n points each in R^d.
template <Backend B>
struct clouds {
    B b = make_backend<B>();
    index_t problems, n;
    batch<B> u, v;

    clouds(index_t p, index_t points, int d)
        : problems(p), n(points), u(curve(b, p, n, d, 0, 0, 0)), v(curve(b, p, n, d, 0.5, 0.02, 1)) {}
    /// The mean cost of the coupling of each point with that of its number.
    [[nodiscard]] double paired_cost() {
        batch<B> w(b, u.features(), u.items());
        b.map(functors::difference{}, w.view(), u.cview(), v.cview());
        return inner(b, w.cview(), w.cview()) / static_cast<double>(u.items());
    }
};

/// solve(options), the mean cost, is what is timed.
template <Backend B, class F>
void iterations(benchmark::State& state, clouds<B>& c, const F& solve) {
    metrics::sinkhorn_options o;
    o.iterations = 20;
    o.tolerance = 0;
    o.check_every = 1000;
    const double cost = solve(o), paired = c.paired_cost();
    if (!(cost > 0 && cost < 2 * paired))
        return fail(state, "cost " + std::to_string(cost) + ", of pairs " + std::to_string(paired));
    const std::clock_t start = std::clock();
    timed(state, c.b, [&] { benchmark::DoNotOptimize(solve(o)); });
    const double cpu = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
    const double count = static_cast<double>(state.iterations()) * o.iterations;
    state.counters["per_iteration"] =
        benchmark::Counter(count, benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
    state.counters["cpu_per_iteration"] = cpu / count;
}

template <Backend B, class Real>
void single(benchmark::State& state) {
    clouds<B> c(1, state.range(0), 5);
    iterations(state, c,
               [&](const auto& o) { return metrics::transport<Real>(c.b, c.u.cview(), c.v.cview(), o).cost; });
}

/// Many problems, at once or one after another.
template <Backend B, class Real, bool Together>
void many(benchmark::State& state) {
    clouds<B> c(state.range(0), state.range(1), 3);
    iterations(state, c, [&](const auto& o) {
        double sum = 0;
        if constexpr (Together)
            for (const auto& r : metrics::transports<Real>(c.b, c.u.cview(), {}, c.v.cview(), {}, c.problems, o))
                sum += r.cost;
        else
            for (index_t p = 0; p < c.problems; ++p)
                sum += metrics::transport<Real>(c.b, c.u.cview().item_range(p * c.n, c.n),
                                                c.v.cview().item_range(p * c.n, c.n), o)
                           .cost;
        return sum / static_cast<double>(c.problems);
    });
}

/// Every case, its name after `prefix`.
template <Backend B>
void add_cases(const std::string& prefix) {
    using sizes_type = std::vector<std::vector<std::int64_t>>;
    const auto add = [&](const std::string& name, auto f, const sizes_type& sizes) {
        for (const auto& size : sizes)
            benchmark::RegisterBenchmark((prefix + name).c_str(), f)
                ->Args(size)
                ->Unit(benchmark::kMillisecond)
                ->UseRealTime();
    };
    const auto one = smoke() ? sizes_type{{256}} : sizes_type{{1024}, {4096}};
    const auto several = smoke() ? sizes_type{{4, 32}} : sizes_type{{64, 512}, {512, 64}};
    add("double", single<B, double>, one);
    add("float", single<B, float>, one);
    add("double_batch", many<B, double, true>, several);
    add("float_batch", many<B, float, true>, several);
    add("double_alone", many<B, double, false>, several);
    add("float_alone", many<B, float, false>, several);
}

/// The cases on the CUDA backend, `cuda/...`, where there is a device. In builds with CUDA only.
void add_cuda_cases();

}  // namespace sinkhorn
