// SPDX-License-Identifier: Apache-2.0
#include <atomic>
#include <stdexcept>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/backend/eigen.hpp>
#include <diem/backend/thread_pool.hpp>

#include "support/catch.hpp"

using namespace diem;

TEST_CASE("a pool covers every index once", "[backend]") {
    for (const int threads : {1, 2, 3}) {
        thread_pool pool(threads);
        CHECK(pool.threads() == threads);
        for (const index_t n : {0, 1, 2, 7, 1000}) {
            std::vector<std::atomic<int>> seen(static_cast<std::size_t>(n));
            for (int lap = 0; lap < 20; ++lap)
                pool.run(n, 3, [&](index_t a, index_t b) {
                    for (; a < b; ++a) ++seen[static_cast<std::size_t>(a)];
                });
            for (const auto& s : seen) REQUIRE(s == 20);
        }
    }
}

TEST_CASE("an exception in a job reaches the caller, and the pool goes on", "[backend]") {
    thread_pool pool(2);
    CHECK_THROWS_AS(pool.run(100, 1,
                             [](index_t a, index_t) {
                                 if (a > 50) throw std::runtime_error("job");
                             }),
                    std::runtime_error);
    std::atomic<index_t> sum{0};
    pool.run(100, 1, [&](index_t a, index_t b) { sum += b - a; });
    CHECK(sum == 100);
}

namespace {
struct wave {
    template <class V>
    void operator()(V& y, const V& x) const {
        using std::sin;
        y = sin(x) + x;
    }
};
}  // namespace

TEST_CASE("results do not depend on the number of threads", "[backend]") {
    std::vector<float> first;
    for (const int threads : {1, 2, 3}) {
        eigen_backend<float> b(threads);
        batch<eigen_backend<float>> x(b, 777, 131), y(b, 777, 131);
        batch<eigen_backend<float>, double> d(b, 131, 1);
        b.fill_normal({1, 2, 3, 4}, x.view());
        b.map(wave{}, y.view(), x.cview());
        b.dot(x.cview(), y.cview(), d.flat());
        auto out = to_host(b, y);
        for (const double v : to_host(b, d)) out.push_back(static_cast<float>(v));
        if (first.empty()) first = out;
        CHECK(out == first);
    }
}
