// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <barrier>
#include <cstddef>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <diem/parallel/communicator.hpp>

namespace diem::test {

/// Ranks that are threads of this process: a communicator that needs no library. Host memory, or what is called a device's.
class thread_ranks {
public:
    struct board {
        explicit board(int ranks) : all(ranks), bytes(static_cast<std::size_t>(ranks)) {}
        std::barrier<> all;
        std::vector<const std::byte*> bytes;
    };
    thread_ranks(board& shared, int rank, bool device_memory)
        : board_(&shared), rank_(rank), device_memory_(device_memory) {}
    [[nodiscard]] int rank() const { return rank_; }
    [[nodiscard]] int size() const { return static_cast<int>(board_->bytes.size()); }
    [[nodiscard]] bool takes_device_memory() const { return device_memory_; }
    void broadcast(parallel::bytes data, int root, const char*) const {
        exchange(data.data(), [&](const auto& from) {
            if (root != rank_) std::copy_n(from(root), data.size(), data.data());
        });
    }
    void all_gather(parallel::const_bytes own, parallel::bytes all, parallel::byte_counts counts, const char*) const {
        exchange(own.data(), [&](const auto& from) {
            auto* to = all.data();
            for (int r = 0; r < size(); ++r) to = std::copy_n(from(r), counts[static_cast<std::size_t>(r)], to);
        });
    }
    void all_to_all(parallel::const_bytes sent, parallel::byte_counts to, parallel::bytes received,
                    parallel::byte_counts from_sizes, const char*) const {
        // Where in rank r's message this rank's part begins is known to r alone: parts go round by round.
        for (int target = 0; target < size(); ++target) {
            std::size_t at = 0;
            for (int r = 0; r < target; ++r) at += to[static_cast<std::size_t>(r)];
            exchange(sent.data() + at, [&](const auto& from) {
                if (target != rank_) return;
                auto* out = received.data();
                for (int r = 0; r < size(); ++r)
                    out = std::copy_n(from(r), from_sizes[static_cast<std::size_t>(r)], out);
            });
        }
    }
    void barrier(const char*) const { board_->all.arrive_and_wait(); }
    void abort(const std::string& message) const { throw std::runtime_error(message); }

private:
    template <class Take>
    void exchange(const std::byte* own, const Take& take) const {
        board_->bytes[static_cast<std::size_t>(rank_)] = own;
        board_->all.arrive_and_wait();
        take([&](int r) { return board_->bytes[static_cast<std::size_t>(r)]; });
        board_->all.arrive_and_wait();
    }
    board* board_;
    int rank_;
    bool device_memory_;
};
static_assert(parallel::Communicator<thread_ranks>);

/// f(rank's communicator) on a thread each.
template <class F>
void on_thread_ranks(int ranks, bool device_memory, const F& f) {
    thread_ranks::board shared(ranks);
    std::vector<std::jthread> threads;
    for (int r = 0; r < ranks; ++r) threads.emplace_back([&, r] { f(thread_ranks(shared, r, device_memory)); });
}

}  // namespace diem::test
