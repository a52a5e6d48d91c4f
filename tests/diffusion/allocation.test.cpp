// SPDX-License-Identifier: Apache-2.0
#include <atomic>
#include <cstdlib>
#include <new>

#include <diem/diffusion/mixture.hpp>
#include <diem/diffusion/sampler.hpp>

#include "diffusion/helpers.hpp"
#include "diffusion/schemes.hpp"
#include "support/backends.hpp"
#include "support/catch.hpp"

using namespace diem;
using namespace diem::test;
namespace dif = diem::diffusion;

// Every allocation by operator new in this program is counted.
namespace {
std::atomic<long> news{0};
}
[[gnu::noinline]] void* operator new(std::size_t size) {
    ++news;
    if (void* p = std::malloc(size > 0 ? size : 1)) return p;
    throw std::bad_alloc();
}
[[gnu::noinline]] void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
    ++news;
    return std::malloc(size > 0 ? size : 1);
}
[[gnu::noinline]] void operator delete(void* p) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, const std::nothrow_t&) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::size_t) noexcept { std::free(p); }

TEMPLATE_TEST_CASE("samplers: nothing is allocated once warm", "", DIEM_TEST_BACKENDS) {
    using B = TestType;
    auto b = make_backend<B>();
    const dif::ve_log_linear schedule(1e-2, 10);
    const auto prior = correlated(b);
    const dif::mixture<B> other(b, test_mixture(5, 3));
    batch<B> x(b, 5, 300);
    const auto run = [&](auto& model, const auto& sampler) {
        std::size_t pool = 0;
        long heap = 0, seen = 0;
        const auto progress = [&](index_t step, index_t, double) {
            if (step == 1) {
                pool = b.memory().allocations();
                heap = news.load();
            }
            ++seen;
            return true;
        };
        dif::sample(b, model, schedule, sampler, {.steps = 6}, random_key{.seed = 1}, x.view(), progress);
        const long heap_now = news.load();
        CHECK(seen == 6);
        CHECK(heap_now == heap);
        CHECK(b.memory().allocations() == pool);
    };
    for_each_scheme([&](scheme, const auto& sampler) {
        run(prior, sampler);
        run(other, sampler);
    });
    CHECK(news.load() > 0);  // the counter counts
}
