// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/backend/functors.hpp>
#include <diem/backend/reference.hpp>
#include <diem/nn/activation.hpp>
#include <diem/train/optimizer.hpp>

#include "batches.hpp"
#include "context.hpp"

/// The cases of benchmarks/primitives.cpp on any backend.
namespace primitives {

using namespace diem;

/// Seconds of one call, the least of five after one that warms up.
template <class B, class F>
double seconds(B& b, const F& f) {
    using clock = std::chrono::steady_clock;
    double best = 0;
    for (int k = 0; k < 6; ++k) {
        const auto start = clock::now();
        f();
        b.synchronize();
        const double s = std::chrono::duration<double>(clock::now() - start).count();
        if (k > 0 && (k == 1 || s < best)) best = s;
    }
    return best;
}
/// `work` over the seconds it took: as it is, and as a share of a rate.
inline void rate(benchmark::State& state, const char* name, double work, double took, const char* share, double full) {
    state.counters[name] = work * 1e-9 / took;
    state.counters[share] = work / took / full;
}

template <Backend B>
using arrays = std::vector<batch<B>>;

/// Bytes a second of a copy of one array to another of this shape, read and written.
template <Backend B>
double copy_bandwidth(B& b, index_t features, index_t items) {
    batch<B> x(b, features, items), y(b, features, items);
    b.fill(x.view(), 1);
    return 8.0 * static_cast<double>(features * items) / seconds(b, [&] { b.copy(x.cview(), y.view()); });
}

/// A chain f(b, arrays, first item) writes the first of its arrays. Values lie in (0, 1). The last item must be what the
/// reference backend makes of it.
template <Backend B, class F>
void elementwise(benchmark::State& state, std::size_t count, double bytes, const F& f) {
    auto b = make_backend<B>();
    const index_t features = state.range(0), items = state.range(1);
    using R = reference_backend<float>;
    R plain;
    arrays<B> x;
    arrays<R> last;
    for (std::size_t k = 0; k < count; ++k) {
        x.emplace_back(b, features, items);
        b.fill_uniform({5, random_lane::user, static_cast<std::uint32_t>(k), 0}, x[k].view());
        last.push_back(to_backend(plain, to_host(b, x[k].cview().item_range(items - 1, 1)), features, 1));
    }
    f(b, x, index_t{0});
    f(plain, last, items - 1);
    const auto got = to_host(b, x[0].cview().item_range(items - 1, 1)), expected = to_host(plain, last[0]);
    for (std::size_t j = 0; j < got.size(); ++j)
        if (!(std::abs(got[j] - expected[j]) <= 1e-5F * (1 + std::abs(expected[j]))))
            return fail(state, "feature " + std::to_string(j) + " is " + std::to_string(got[j]) + ", expected " +
                                   std::to_string(expected[j]));
    const double bandwidth = copy_bandwidth(b, features, items);
    const double took = timed(state, b, [&] { f(b, x, index_t{0}); });
    rate(state, "gbytes", bytes * static_cast<double>(features * items), took, "of_copy", bandwidth);
}

template <Backend B>
void dot(benchmark::State& state) {
    auto b = make_backend<B>();
    const index_t features = state.range(0), items = state.range(1);
    const auto x = draw(b, features, items, 0), y = draw(b, features, items, 1);
    batch<B, double> out(b, items, 1);
    const auto sums = [&] { b.dot(x.cview(), y.cview(), out.flat()); };
    sums();
    const auto a = to_host(b, x.cview().item_range(items - 1, 1)), c = to_host(b, y.cview().item_range(items - 1, 1));
    double expected = 0;
    for (std::size_t j = 0; j < a.size(); ++j) expected += static_cast<double>(a[j]) * static_cast<double>(c[j]);
    const double wrong = std::abs(to_host(b, out).back() - expected);
    if (!(wrong <= 1e-12 * static_cast<double>(features))) return fail(state, "wrong by " + std::to_string(wrong));
    const double bandwidth = copy_bandwidth(b, features, items);
    const double took = timed(state, b, sums);
    rate(state, "gbytes", 8.0 * static_cast<double>(features * items), took, "of_copy", bandwidth);
}

/// C = op(A) B, m x k times k x n.
template <Backend B>
struct multiplication {
    B& b;
    index_t m, n, k;
    op op_a;
    batch<B> a, x, c;

    multiplication(B& backend, index_t rows, index_t columns, index_t inner, op o)
        : b(backend), m(rows), n(columns), k(inner), op_a(o), a(o == op::none ? draw(b, m, k, 0) : draw(b, k, m, 0)),
          x(draw(b, k, n, 1)), c(b, m, n) {}
    void run() { b.gemm(1, a.cview(), op_a, x.cview(), op::none, 0, c.view()); }
    [[nodiscard]] double flop() const { return 2.0 * static_cast<double>(m) * static_cast<double>(n * k); }
    /// Of an entry of the last column, against its sum in float64.
    [[nodiscard]] double error(index_t row) {
        const auto of_a = op_a == op::none ? a.cview().feature_range(row, 1) : a.cview().item_range(row, 1);
        const auto left = to_host(b, of_a), right = to_host(b, x.cview().item_range(n - 1, 1));
        double expected = 0;
        for (std::size_t j = 0; j < left.size(); ++j)
            expected += static_cast<double>(left[j]) * static_cast<double>(right[j]);
        return std::abs(to_host(b, c.cview().item_range(n - 1, 1).feature_range(row, 1)).front() - expected);
    }
};

template <Backend B>
std::vector<index_t> squares() {
    return smoke()          ? std::vector<index_t>{32, 64}
           : FineGrained<B> ? std::vector<index_t>{1024, 2048, 4096, 8192}
                            : std::vector<index_t>{256, 512, 1024, 2048};
}
/// Operations a second of the fastest square product.
template <Backend B>
double best_square(B& b) {
    double best = 0;
    for (const index_t n : squares<B>()) {
        multiplication<B> product(b, n, n, n, op::none);
        best = std::max(best, product.flop() / seconds(b, [&] { product.run(); }));
    }
    return best;
}

template <Backend B>
void gemm(benchmark::State& state, op op_a) {
    auto b = make_backend<B>();
    static const double best = best_square(b);
    multiplication<B> product(b, state.range(0), state.range(1), state.range(2), op_a);
    product.run();
    const double wrong = std::max(product.error(0), product.error(product.m - 1));
    if (!(wrong <= 1e-6 * static_cast<double>(product.k))) return fail(state, "wrong by " + std::to_string(wrong));
    const double took = timed(state, b, [&] { product.run(); });
    rate(state, "gflops", product.flop(), took, "of_best", best);
}

template <Backend B>
void add_elementwise(const std::string& prefix) {
    const index_t large = smoke() ? 64 : index_t{1} << (FineGrained<B> ? 19 : 16), items = smoke() ? 4 : 256;
    const auto register_case = [&](const std::string& name, const auto& run) {
        for (const index_t features : {smoke() ? index_t{48} : index_t{3072}, large})
            benchmark::RegisterBenchmark((prefix + name).c_str(), run)
                ->Args({features, items})
                ->Unit(benchmark::kMicrosecond)
                ->UseRealTime();
    };
    const auto add = [&](const std::string& name, std::size_t count, double bytes, const auto& f) {
        register_case(name, [=](benchmark::State& state) { elementwise<B>(state, count, bytes, f); });
    };
    add("copy", 2, 8, [](auto& b, auto& x, index_t) { b.copy(x[1].cview(), x[0].view()); });
    add("axpby", 2, 12, [](auto& b, auto& x, index_t) { b.axpby(0.5, x[1].cview(), 0.25, x[0].view()); });
    add("product", 3, 12,
        [](auto& b, auto& x, index_t) { b.map(functors::product{}, x[0].view(), x[1].cview(), x[2].cview()); });
    add("silu", 2, 8, []<class C>(C& b, auto& x, index_t) { nn::silu_forward<C>(b, x[1], x[0]); });
    add("silu_vjp", 3, 12, []<class C>(C& b, auto& x, index_t) { nn::silu_vjp<C>(b, x[1], x[2], x[0]); });
    add("adam", 6, 40, [](auto& b, auto& x, index_t) {
        const train::detail::adam_update<float, true> f{0.9F, 0.1F, 0.99F, 0.01F, 0.5F, 0.5F, 1e-3F, 1e-8F, 0.01F};
        b.map(f, x[0].view(), x[1].view(), x[2].view(), x[3].view(), x[4].cview(), x[5].cview());
    });
    add("fill_normal", 1, 4, [](auto& b, auto& x, index_t first) {
        b.fill_normal(random_key{3}.skip_items(static_cast<std::uint32_t>(first)), x[0].view());
    });
    register_case("dot", dot<B>);
}

template <Backend B>
void add_products(const std::string& prefix) {
    const auto add = [&](const char* name, op op_a, index_t m, index_t n, index_t k) {
        benchmark::RegisterBenchmark((prefix + name).c_str(), gemm<B>, op_a)
            ->Args({m, n, k})
            ->Unit(benchmark::kMicrosecond)
            ->UseRealTime();
    };
    for (const index_t n : squares<B>()) add("gemm", op::none, n, n, n);
    if (smoke()) return add("gemm_transposed", op::transpose, 8, 4, 48);
    const index_t items = FineGrained<B> ? 64 : 4;
    for (const auto& [channels, pixels] : {std::pair<index_t, index_t>{128, 1024}, {256, 256}, {384, 64}}) {
        add("gemm", op::none, channels, pixels * items, 9 * channels);
        add("gemm", op::none, channels, pixels * items, channels);
    }
    add("gemm", op::none, 384, 1024, 384);
    add("gemm", op::none, 3072, 256, 64);
    add("gemm_transposed", op::transpose, 64, 256, 3072);
}

/// Every case, its name after `prefix`.
template <Backend B>
void add_cases(const std::string& prefix) {
    add_elementwise<B>(prefix);
    add_products<B>(prefix);
}

/// The cases on the CUDA backend, `cuda/...`, where there is a device. In builds with CUDA only.
void add_cuda_cases();

}  // namespace primitives
