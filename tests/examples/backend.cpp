// SPDX-License-Identifier: Apache-2.0
#include <diem/backend/batch.hpp>
#include <diem/backend/capabilities.hpp>
#include <diem/backend/concept.hpp>
#include <diem/backend/eigen.hpp>
#include <diem/backend/fft.hpp>
#include <diem/backend/functors.hpp>
#include <diem/backend/host_threads.hpp>
#include <diem/backend/memory.hpp>
#include <diem/backend/product_precision.hpp>
#include <diem/backend/reference.hpp>
#include <diem/backend/team.hpp>
#include <diem/backend/thread_pool.hpp>

#include <atomic>
#include <cmath>
#include <cstddef>
#include <vector>

#include "example.hpp"

namespace {

// [backend/concept.hpp]
/// out_i = |y_i - x_i|^2, on any backend.
template <diem::Backend B>
void squared_distances(B& b, diem::const_view_t<B> y, diem::const_view_t<B> x, diem::vector_t<B, double> out) {
    diem::batch<B> r(b, y.features(), y.items());  // from the backend's pool
    b.copy(y, r.view());
    b.axpby(-1.0, x, 1.0, r.view());  // r = y - x
    b.dot(r.cview(), r.cview(), out);
}
// [backend/concept.hpp]

// [backend/capabilities.hpp]
/// How often f is called for n items: once for each of a few parts where threads of the host share them.
template <diem::Backend B>
diem::index_t calls_of(B& b, diem::index_t n) {
    std::atomic<diem::index_t> calls = 0;
    if constexpr (diem::HostThreaded<B>)
        b.parallel(n, 1, [&](diem::index_t /*first*/, diem::index_t /*last*/) { ++calls; });
    else
        calls = n;
    return calls;
}
// [backend/capabilities.hpp]

// [backend/team.hpp]
/// Row i of y divided by its sum: by one thread of a core, or by a team of a device's threads.
struct normalize_row {
    diem::index_t length;
    template <class Team>
    DIEM_HOST_DEVICE void operator()(diem::index_t i, Team team, float* y) const {
        float sum = 0;
        for (auto j = team.first(); j < length; j += team.step()) sum += y[i * length + j];
        sum = team.sum(sum);
        for (auto j = team.first(); j < length; j += team.step()) y[i * length + j] /= sum;
    }
};
// [backend/team.hpp]

}  // namespace

TEST_CASE("backend/batch.hpp") {
    backend b(1);
    // [backend/batch.hpp]
    std::vector<float> values(30 * 4);  // thirty items of four features, item after item
    for (std::size_t k = 0; k < values.size(); ++k) values[k] = std::sin(static_cast<float>(k * k));
    const auto x = diem::to_backend(b, values, 4, 30);  // in the memory of the backend
    const auto part = x.cview().item_range(1, 2);       // items 1 and 2: nothing is copied
    const std::vector<float> back = diem::to_host(b, part);
    // [backend/batch.hpp]
    CHECK(back == std::vector<float>(values.begin() + 4, values.begin() + 12));
}

TEST_CASE("backend/capabilities.hpp") {
    backend b(1);
    diem::reference_backend<float> reference;
    CHECK(calls_of(b, 100) == 1);
    CHECK(calls_of(reference, 100) == 100);
}

TEST_CASE("backend/concept.hpp") {
    backend b(1);
    const auto y = diem::to_backend(b, std::vector<float>{1, 2, 3, 4}, 2, 2),
               x = diem::to_backend(b, std::vector<float>{1, 2, 0, 0}, 2, 2);
    diem::batch<backend, double> out(b, 2, 1);
    squared_distances(b, y, x, out.flat());
    CHECK(diem::to_host(b, out) == std::vector<double>{0, 25});
}

TEST_CASE("backend/eigen.hpp") {
    // [backend/eigen.hpp]
    diem::eigen_backend<float> b({.threads = 2});  // made once, given to every call; 0: as many as there are cores
    diem::batch<diem::eigen_backend<float>> x(b, 1000, 4);
    b.fill_normal({.seed = 1}, x.view());       // the same numbers for any number of threads
    b.axpby(2.0, x.cview(), 0.0, x.view());     // x = 2 x
    const auto on_host = diem::to_host(b, x);   // waits
    const auto peak = b.memory().peak_bytes();  // of all that it has held
    // [backend/eigen.hpp]
    CHECK(on_host.front() == about(2 * double(diem::normal<float>({.seed = 1}, 0, 0))));
    CHECK(peak >= 16000);
}

TEST_CASE("backend/fft.hpp") {
    backend b(1);
    // [backend/fft.hpp]
    std::vector<float> point(2 * 4 * 6);  // a complex image of 4 x 6 pixels, (re, im) side by side
    point[2 * (2 * 6 + 3)] = 1;           // 1 at its origin, (4 / 2, 6 / 2)
    const auto x = diem::to_backend(b, point, 2 * 4 * 6, 1);
    diem::batch<backend> y(b, 2 * 4 * 6, 1);
    b.fft2(diem::fft_direction::forward, 4, 6, x.cview(), y.view());  // 1 / sqrt(24) at every frequency
    // [backend/fft.hpp]
    const auto spectrum = diem::to_host(b, y);
    CHECK(spectrum[0] == about(1 / std::sqrt(24.0)));
    CHECK(spectrum[2 * 17] == about(1 / std::sqrt(24.0)));
    CHECK(spectrum[2 * 17 + 1] == about(0));
}

TEST_CASE("backend/functors.hpp") {
    backend b(1);
    // [backend/functors.hpp]
    const auto x = diem::to_backend(b, std::vector<float>{1, 2, 3, 4}, 2, 2),
               weight = diem::to_backend(b, std::vector<float>{10, 100}, 2, 1);
    diem::batch<backend> y(b, 2, 2);
    b.map(diem::functors::product{}, y.view(), x.cview(), diem::per_feature{weight.flat()});  // 10, 200; 30, 400
    // [backend/functors.hpp]
    CHECK(diem::to_host(b, y) == std::vector<float>{10, 200, 30, 400});
}

TEST_CASE("backend/host_threads.hpp") {
    // [backend/host_threads.hpp]
    const int threads = diem::host_threads();       // what a backend takes by default
    const int granted = diem::threads_for(8, 1.5);  // 2: of eight cores, where control groups grant one and a half
    // [backend/host_threads.hpp]
    CHECK(threads >= 1);
    CHECK(granted == 2);
}

TEST_CASE("backend/memory.hpp") {
    backend b(1);
    // [backend/memory.hpp]
    for (int lap = 0; lap < 10; ++lap) diem::batch<backend> temporary(b, 1000, 10);  // each gets the block of the first
    const auto asked = b.memory().allocations();                                     // 1
    // [backend/memory.hpp]
    CHECK(asked == 1);
    CHECK(b.memory().bytes_in_use() == 0);
}

TEST_CASE("backend/product_precision.hpp") {
    // [backend/product_precision.hpp]
    // Products of networks rounded to bfloat16: faster with AVX512-BF16, all else stays float32.
    diem::eigen_backend<float> b({.threads = 1, .products = diem::product_precision_of("bf16")});
    // [backend/product_precision.hpp]
    const auto x = diem::to_backend(b, std::vector<float>{1.0009765625F}, 1, 1);
    diem::batch<diem::eigen_backend<float>> exact(b, 1, 1), rounded(b, 1, 1);
    b.gemm(1, x.cview(), diem::op::none, x.cview(), diem::op::none, 0, exact.view());
    b.network_gemm(1, x.cview(), diem::op::none, x.cview(), diem::op::none, 0, rounded.view());
    CHECK(diem::to_host(b, exact)[0] > 1);
    CHECK(diem::to_host(b, rounded)[0] == 1);
}

TEST_CASE("backend/reference.hpp") {
    // [backend/reference.hpp]
    diem::reference_backend<double> oracle;  // plain loops: what a test compares other backends with
    diem::eigen_backend<double> b(2);
    diem::batch<diem::reference_backend<double>> expected(oracle, 1000, 4);
    diem::batch<diem::eigen_backend<double>> got(b, 1000, 4);
    oracle.fill_uniform({.seed = 1}, expected.view());
    b.fill_uniform({.seed = 1}, got.view());
    const bool equal = diem::to_host(oracle, expected) == diem::to_host(b, got);
    // [backend/reference.hpp]
    CHECK(equal);
}

TEST_CASE("backend/team.hpp") {
    backend b(1);
    auto y = diem::to_backend(b, std::vector<float>{1, 3, 2, 2}, 2, 2);
    diem::launch_rows(b, 2, 2, 2, normalize_row{2}, y.view().data());
    CHECK(diem::to_host(b, y) == std::vector<float>{0.25F, 0.75F, 0.5F, 0.5F});
}

TEST_CASE("backend/thread_pool.hpp") {
    // [backend/thread_pool.hpp]
    diem::thread_pool pool(2);
    std::vector<double> squares(1000);
    pool.run(1000, 100, [&](diem::index_t first, diem::index_t last) {  // parts of 100 and more, in any order
        for (auto i = first; i < last; ++i) squares[static_cast<std::size_t>(i)] = static_cast<double>(i * i);
    });
    // [backend/thread_pool.hpp]
    CHECK(squares[999] == 998001);
}
