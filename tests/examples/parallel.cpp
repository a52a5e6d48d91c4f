// SPDX-License-Identifier: Apache-2.0
#include <diem/parallel/buffers.hpp>
#include <diem/parallel/communicator.hpp>
#include <diem/parallel/tree_sum.hpp>

#include <span>
#include <thread>
#include <utility>
#include <vector>

#include "example.hpp"
#include "support/thread_ranks.hpp"

namespace {

/// f(communicator, rank) on two ranks.
template <class F>
void on_two_ranks(const F& f) {
    diem::test::thread_ranks::board board(2);
    std::thread other([&] { f(diem::test::thread_ranks(board, 1, false), 1); });
    f(diem::test::thread_ranks(board, 0, false), 0);
    other.join();
}

// [parallel/communicator.hpp]
/// The squares of 0 .. 9, of which each rank computes its share: all of them on all ranks.
template <diem::parallel::Communicator C>
std::vector<double> squares(const C& ranks) {
    std::vector<diem::index_t> counts;
    for (int r = 0; r < ranks.size(); ++r)
        counts.push_back(diem::parallel::first_of(10, r + 1, ranks.size()) -
                         diem::parallel::first_of(10, r, ranks.size()));
    std::vector<double> own;
    for (auto i = diem::parallel::first_of(10, ranks.rank(), ranks.size());
         i < diem::parallel::first_of(10, ranks.rank() + 1, ranks.size()); ++i)
        own.push_back(static_cast<double>(i * i));
    return diem::parallel::all_gather<double>(ranks, own, counts, "squares");  // "squares": for messages
}
// [parallel/communicator.hpp]

}  // namespace

TEST_CASE("parallel/communicator.hpp") {
    const auto alone = squares(diem::parallel::self{});
    CHECK(alone.back() == 81);
    std::vector<double> shared[2];
    on_two_ranks([&](const auto& ranks, int rank) { shared[rank] = squares(ranks); });
    CHECK(shared[0] == alone);
    CHECK(shared[1] == alone);
}

TEST_CASE("parallel/buffers.hpp") {
    std::vector<float> got[2];
    on_two_ranks([&](const auto& ranks, int rank) {
        backend b(1);
        // [parallel/buffers.hpp]
        diem::batch<backend> x(b, 3, 4);  // four items, of which this rank has two
        b.fill(x.view().item_range(2 * rank, 2), float(rank + 1));
        const std::vector<diem::index_t> counts{2, 2};                          // of each rank
        diem::parallel::all_gather_items(ranks, b, x.view(), counts, "items");  // all four on both ranks
        // [parallel/buffers.hpp]
        got[rank] = diem::to_host(b, x);
    });
    CHECK(got[0] == std::vector<float>{1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2});
    CHECK(got[1] == got[0]);
}

TEST_CASE("parallel/tree_sum.hpp") {
    std::vector<float> got[2];
    on_two_ranks([&](const auto& ranks, int rank) {
        backend b(1);
        // [parallel/tree_sum.hpp]
        // Gradients of eight parts of a batch; the sum is the same to the bit on one rank, two, or eight.
        diem::parallel::tree_sum<diem::batch<backend>> sum;
        const auto add = [&](auto& left, auto& right) { b.axpby(1.0, right.cview(), 1.0, left.view()); };
        for (auto part = diem::parallel::first_of(8, rank, 2); part < diem::parallel::first_of(8, rank + 1, 2);
             ++part) {
            diem::batch<backend> gradient(b, 5, 1);
            b.fill(gradient.view(), 0.1F * float(part));
            sum.push({part, 0, std::move(gradient)}, add);
        }
        diem::batch<backend> total(b, 5, 1);
        diem::parallel::all_reduce(ranks, b, sum, 8, total.flat(), "gradients");
        // [parallel/tree_sum.hpp]
        got[rank] = diem::to_host(b, total);
    });
    CHECK(got[0][0] == about(2.8));
    CHECK(got[1] == got[0]);
}
