// SPDX-License-Identifier: Apache-2.0
#include <cstddef>
#include <cstdlib>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/backend/memory.hpp>
#include <diem/core/error.hpp>

#include "support/backends.hpp"
#include "support/catch.hpp"
#include "support/message.hpp"

using namespace diem;

namespace {

/// Sixteen MiB and no more.
struct little_memory {
    static constexpr std::size_t all = std::size_t{1} << 24;
    static inline std::size_t used = 0;
    static void* allocate(std::size_t bytes) {
        if (bytes > all - used) return nullptr;
        auto* p = static_cast<std::size_t*>(std::malloc(bytes + 64));
        *p = bytes;
        used += bytes;
        return p + 8;
    }
    static void deallocate(void* p) {
        std::size_t* const begin = static_cast<std::size_t*>(p) - 8;
        used -= *begin;
        std::free(begin);
    }
    static std::string name() { return "a little memory"; }
};

}  // namespace

TEST_CASE("memory: what the pool keeps goes back before it gives up, and then it says what was asked for",
          "[backend]") {
    using pool = caching_pool<little_memory>;
    using buffer = pool_buffer<char*, pool>;
    const index_t mib = 1 << 20;
    {
        const auto memory = std::make_shared<pool>();
        { const buffer kept(memory, 6 * mib); }
        CHECK(little_memory::used >= std::size_t{6} << 20);
        const buffer large(memory, 12 * mib);
        CHECK(little_memory::used == std::size_t{12} << 20);
        CHECK(test::message_of<memory_error>([&] { const buffer more(memory, 5 * mib); }) ==
              "out of memory: 5.0 MiB asked for at once, beside 12.0 MiB in use, of a little memory");
        CHECK(test::message_of<memory_error>([&] { const buffer more(memory, index_t{3} << 29); }) ==
              "out of memory: 1.50 GiB asked for at once, beside 12.0 MiB in use, of a little memory");
        CHECK(memory->bytes_in_use() == std::size_t{12} << 20);
        CHECK_NOTHROW(buffer(memory, 4 * mib));
    }
    CHECK(little_memory::used == 0);
}

TEMPLATE_TEST_CASE("memory: sizes that cannot be are refused, and the backend goes on", "[backend]",
                   DIEM_TEST_BACKENDS) {
    using B = TestType;
    using T = typename B::scalar;
    constexpr index_t huge = index_t{1} << 62, most = std::numeric_limits<index_t>::max();
    auto b = test::make_backend<B>();
    CHECK(test::message_of<shape_error>([&] { batch<B>(b, huge, 4); }) ==
          "batch: 4611686018427387904 x 4 (features x items), more elements than can be counted");
    CHECK(test::message_of<shape_error>([&] { batch<B>(b, -1, 4); }) ==
          "batch: -1 x 4 (features x items), expected sizes >= 0");
    CHECK_THROWS_AS(batch<B>(b, most, most), shape_error);
    // They can be counted, but their bytes can not, or are more than there are addresses.
    for (const index_t n : {most, huge, huge + 1, huge - 1, huge / 2, huge / 4}) {
        CHECK_THROWS_AS(batch<B>(b, n, 1), memory_error);
        CHECK_THROWS_AS(batch<B>(b, 1, n), memory_error);
        CHECK_THROWS_AS(b.template allocate<T>(n), memory_error);
        CHECK_THROWS_AS(b.template allocate<double>(n), memory_error);
    }
    CHECK_THROWS_AS(b.template allocate<T>(-1), shape_error);
    CHECK_THROWS_AS(to_backend(b, std::vector<T>(4), huge, 4), shape_error);  // the product wraps to 0
    CHECK_THROWS_AS(to_backend(b, std::vector<T>(4), huge + 1, 4), shape_error);
    CHECK_THROWS_AS(b.fft2(fft_direction::forward, huge, 2, batch<B>(b, 8, 1).cview(), batch<B>(b, 8, 1).view()),
                    shape_error);
    CHECK(b.memory().bytes_in_use() == 0);
    CHECK(to_host(b, to_backend(b, std::vector<T>{1, 2, 3, 4}, 2, 2)) == std::vector<T>{1, 2, 3, 4});
    CHECK(batch<B>(b, 0, most).view().size() == 0);
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(DIEM_TEST_CUDA)
#if !defined(__clang__)  // whose sanitizers, like those of g++, end the program instead
TEST_CASE("memory: what the system does not give is named", "[backend]") {
    test::main_backend<float> b;
    // 4 PiB: there are not as many addresses.
    CHECK(test::message_of<memory_error>([&] { const auto block = b.allocate<float>(index_t{1} << 50); }) ==
          "out of memory: 4194304.00 GiB asked for at once, beside 0.0 MiB in use, of the host's memory");
}
#endif
#endif
