// SPDX-License-Identifier: Apache-2.0
#include <atomic>
#include <chrono>
#include <optional>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/backend/eigen.hpp>
#include <diem/backend/thread_pool.hpp>
#include <diem/core/error.hpp>

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

TEST_CASE("every one of many short jobs is done when run returns", "[backend]") {
    // Each job is another function object, which is gone when the next one comes: a worker that came late and still took a
    // part of the last job would write where nothing may be written, or leave a gap in the next.
    for (const int threads : {2, 5}) {
        thread_pool pool(threads);
        for (int lap = 0; lap < 20000; ++lap) {
            const index_t n = 2 + lap % 23;
            std::vector<int> seen(static_cast<std::size_t>(n), -1);
            pool.run(n, 1, [&seen, lap](index_t a, index_t b) {
                for (; a < b; ++a) seen[static_cast<std::size_t>(a)] += 1 + lap;
            });
            for (const int s : seen) REQUIRE(s == lap);
            // Workers asleep, workers awake, workers on the way to either.
            if (lap % 1000 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
    }
}

TEST_CASE("a worker that is held up elsewhere holds up nobody", "[backend]") {
    std::atomic<bool> held{true};
    // The first worker begins when the job below is over.
    std::optional<thread_pool> pool(std::in_place, 2, [&held](auto body) {
        return std::thread([&held, body] {
            held.wait(true);
            body();
        });
    });
    index_t sum = 0;
    for (int lap = 0; lap < 3; ++lap) pool->run(100, 1, [&](index_t a, index_t b) { sum += b - a; });
    CHECK(sum == 300);
    held = false;
    held.notify_all();
    std::atomic<index_t> more{0};
    for (int lap = 0; lap < 1000; ++lap) pool->run(100, 1, [&](index_t a, index_t b) { more += b - a; });
    CHECK(more == 100000);
}

TEST_CASE("after a job that a worker held up the caller works alone for a while", "[backend]") {
    thread_pool pool(2);
    const auto caller = std::this_thread::get_id();
    std::atomic<int> calls{0};
    for (bool held_up = false; !held_up;) {
        std::atomic<int> own{0}, others{0};
        pool.run(8, 1, [&](index_t, index_t) {
            if (std::this_thread::get_id() == caller)
                ++own;
            else if (++others == 1)  // as where the system takes its core away
                std::this_thread::sleep_for(std::chrono::milliseconds(50));
        });
        held_up = own > 0 && others > 0;
    }
    pool.run(8, 1, [&](index_t first, index_t last) {
        ++calls;
        CHECK(std::this_thread::get_id() == caller);
        CHECK(first == 0);
        CHECK(last == 8);
    });
    CHECK(calls == 1);
    // Not for ever: once that time is made up for, jobs are shared again.
    for (calls = 0; calls != 8;) {
        calls = 0;
        pool.run(8, 1, [&](index_t first, index_t last) {
            ++calls;
            for (; first < last; ++first) std::this_thread::sleep_for(std::chrono::milliseconds(1));
        });
    }
}

TEST_CASE("an exception ends the job: every part is run or left out, and none after run returns", "[backend]") {
    thread_pool pool(3);
    for (int lap = 0; lap < 2000; ++lap) {
        std::atomic<int> calls{0};
        CHECK_THROWS_AS(pool.run(12, 1,
                                 [&](index_t, index_t) {
                                     ++calls;
                                     throw std::out_of_range("part");
                                 }),
                        std::out_of_range);
        const int at_the_end = calls;
        REQUIRE(at_the_end >= 1);
        REQUIRE(at_the_end <= 12);
        REQUIRE(calls == at_the_end);
    }
}

TEST_CASE("a pool used inside its own job says so", "[backend]") {
    for (const int threads : {1, 2, 3}) {
        thread_pool pool(threads);
        for (const index_t inner : {1, 100})
            for (const index_t outer : {1, 50})
                CHECK_THROWS_AS(
                    pool.run(outer, 1, [&](index_t, index_t) { pool.run(inner, 1, [](index_t, index_t) {}); }),
                    usage_error);
        std::atomic<index_t> sum{0};
        pool.run(100, 1, [&](index_t a, index_t b) { sum += b - a; });
        CHECK(sum == 100);
    }
    eigen_backend<float> b(2);
    batch<eigen_backend<float>> x(b, 40000, 2);
    CHECK_THROWS_AS(b.parallel(64, 1 << 20, [&](index_t, index_t) { b.fill(x.view(), 1.0F); }), usage_error);
    b.fill(x.view(), 1.0F);
    CHECK(to_host(b, x).back() == 1.0F);
}

TEST_CASE("two threads that share a pool are told", "[backend]") {
    thread_pool pool(2);
    std::atomic<int> stage{0};
    std::thread other([&] {
        pool.run(10, 1, [&](index_t, index_t) {
            if (stage == 0) {
                stage = 1;
                stage.notify_all();
            }
            stage.wait(1);
        });
    });
    stage.wait(0);
    CHECK_THROWS_AS(pool.run(10, 1, [](index_t, index_t) {}), usage_error);
    CHECK_THROWS_AS(pool.run(1, 1, [](index_t, index_t) {}), usage_error);
    stage = 2;
    stage.notify_all();
    other.join();
    pool.run(10, 1, [](index_t, index_t) {});
}

TEST_CASE("a pool goes on with the threads that the system gives", "[backend]") {
    for (const int given : {0, 1, 2}) {
        int left = given;
        thread_pool pool(6, [&left](auto body) {
            if (left-- == 0) throw std::system_error(std::make_error_code(std::errc::resource_unavailable_try_again));
            return std::thread(body);
        });
        CHECK(pool.threads() == given + 1);
        CHECK(pool.requested() == 6);
        std::atomic<index_t> sum{0};
        for (int lap = 0; lap < 100; ++lap) pool.run(100, 1, [&](index_t a, index_t b) { sum += b - a; });
        CHECK(sum == 10000);
    }
    CHECK_THROWS_AS(thread_pool(thread_pool::most_threads + 1), value_error);
    CHECK(thread_pool(0).requested() == host_threads());
    CHECK(eigen_backend<float>(3).requested_threads() == 3);
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
