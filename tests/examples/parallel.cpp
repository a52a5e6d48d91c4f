// SPDX-License-Identifier: Apache-2.0
#include <diem/parallel/buffers.hpp>
#include <diem/parallel/communicator.hpp>
#include <diem/parallel/tree_sum.hpp>

#include <cstddef>
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
/// The sum of one number of each rank, on all of them.
template <diem::parallel::Communicator C>
double sum_over(const C& ranks, double own) {
    const std::vector<diem::index_t> one(static_cast<std::size_t>(ranks.size()), 1);  // how many each rank gives
    double sum = 0;
    for (const double v : diem::parallel::all_gather<double>(ranks, {&own, 1}, one, "sum_over")) sum += v;
    return sum;
}
// [parallel/communicator.hpp]

}  // namespace

TEST_CASE("parallel/communicator.hpp") {
    CHECK(sum_over(diem::parallel::self{}, 3) == 3);
    double sums[2] = {};
    on_two_ranks([&](const auto& ranks, int rank) { sums[rank] = sum_over(ranks, 10 * rank + 1); });
    CHECK(sums[0] == 12);
    CHECK(sums[1] == 12);
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
