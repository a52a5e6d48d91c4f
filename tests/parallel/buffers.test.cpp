// SPDX-License-Identifier: Apache-2.0
// Exchanges of a backend's memory, where it is handed over and where copies on the host are.
#include <vector>

#include <diem/parallel/buffers.hpp>
#include <diem/parallel/tree_sum.hpp>

#include "support/backends.hpp"
#include "support/catch.hpp"
#include "support/thread_ranks.hpp"

using namespace diem;

namespace {

/// Part k of a sum whose value depends on its order.
std::vector<float> part(index_t k, index_t n) {
    std::vector<float> values;
    for (index_t i = 0; i < n; ++i)
        values.push_back(static_cast<float>((k % 2 == 0 ? 1 : -1) * (1 << (3 * k))) + static_cast<float>(i) / 7);
    return values;
}

template <class B, class C>
std::vector<float> sum_of(const C& ranks, index_t parts, index_t n) {
    B b;
    parallel::tree_sum<batch<B>> own;
    const auto add = [&](auto& l, auto& r) { b.axpby(1.0, r.cview(), 1.0, l.view()); };
    for (index_t k = parallel::first_of(parts, ranks.rank(), ranks.size());
         k < parallel::first_of(parts, ranks.rank() + 1, ranks.size()); ++k)
        own.push({k, 0, to_backend(b, part(k, n), n, 1)}, add);
    batch<B> total(b, n, 1);
    parallel::all_reduce(ranks, b, own, parts, total.flat(), "sum");
    return to_host(b, total);
}

}  // namespace

TEMPLATE_TEST_CASE("a sum over ranks is that of one rank, to the bit", "", test::main_backend<float>,
                   test::opaque_backend<float>) {
    for (const index_t parts : {1, 5, 7})
        for (const index_t n : {2, 13}) {
            const auto alone = sum_of<TestType>(parallel::self{}, parts, n);
            for (const int ranks : {2, 3, 8})  // more than parts, and than numbers
                for (const bool device_memory : {false, true}) {
                    std::vector<std::vector<float>> sums(static_cast<std::size_t>(ranks));
                    test::on_thread_ranks(ranks, device_memory, [&](const test::thread_ranks& c) {
                        sums[static_cast<std::size_t>(c.rank())] = sum_of<TestType>(c, parts, n);
                    });
                    for (const auto& sum : sums) CHECK(sum == alone);
                }
        }
}

TEMPLATE_TEST_CASE("items of all ranks come to all, also into a gapped view", "", test::main_backend<float>,
                   test::opaque_backend<float>) {
    const std::vector<index_t> counts{2, 0, 3};
    for (const bool device_memory : {false, true}) {
        std::vector<std::vector<float>> got(3);
        test::on_thread_ranks(3, device_memory, [&](const test::thread_ranks& c) {
            TestType b;
            batch<TestType> wide(b, 4, 5);
            b.fill(wide.view(), -1.0F);
            const auto narrow = wide.view().feature_range(1, 2);
            b.fill(narrow.item_range(c.rank() == 0 ? 0 : 2, counts[static_cast<std::size_t>(c.rank())]),
                   static_cast<float>(c.rank()));
            parallel::all_gather_items(c, b, narrow, counts, "items");
            got[static_cast<std::size_t>(c.rank())] = to_host(b, wide);
        });
        for (const auto& all : got)
            for (std::size_t i = 0; i < 20; ++i)
                CHECK(all[i] == (i % 4 == 0 || i % 4 == 3 ? -1.0F : i < 8 ? 0.0F : 2.0F));
    }
}
