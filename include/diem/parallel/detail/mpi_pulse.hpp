// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <mpi.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

namespace diem::parallel::detail {

/// Notices a rank that runs no longer, however long the others' work takes: a thread of each rank sends an empty message to the next
/// one from time to time, and listens for those of the one before.
class mpi_pulse {
public:
    using function = std::function<void(const std::string&)>;
    /// Collective. `lost(message)` is called where nothing was heard for `most` seconds; MPI must take calls of several threads.
    mpi_pulse(double most, function lost) : most_(most), lost_(std::move(lost)) {
        MPI_Comm_dup(MPI_COMM_WORLD, &ranks_);
        MPI_Comm_rank(ranks_, &rank_);
        MPI_Comm_size(ranks_, &size_);
        thread_ = std::thread([this] { beat(); });
    }
    mpi_pulse(const mpi_pulse&) = delete;
    mpi_pulse& operator=(const mpi_pulse&) = delete;
    /// Collective: waits for the others to end, too.
    ~mpi_pulse() {
        {
            const std::lock_guard lock(mutex_);
            ending_ = true;
        }
        wake_.notify_one();
        thread_.join();
        MPI_Comm_free(&ranks_);
    }
    /// For messages: what is waited for; null: nothing.
    void waits_for(const char* what) {
        const std::lock_guard lock(mutex_);
        what_ = what;
    }

private:
    using clock = std::chrono::steady_clock;
    enum : int { alive = 1, farewell = 2 };

    void beat() {
        const int next = (rank_ + 1) % size_, before = (rank_ + size_ - 1) % size_;
        MPI_Request sent = MPI_REQUEST_NULL;
        auto heard = clock::now(), last = heard;
        for (bool said_farewell = false, got_farewell = false; !said_farewell || !got_farewell;) {
            const bool ending = rest(said_farewell ? 0.01 : std::min(most_ / 10, 2.0), said_farewell);
            const auto now = clock::now();
            if (seconds(now - last) > most_ / 2) heard = now;  // this rank itself was stopped, and cannot tell
            last = now;
            int free = 0;
            MPI_Test(&sent, &free, MPI_STATUS_IGNORE);
            if (free != 0 && !said_farewell) {
                MPI_Isend(nullptr, 0, MPI_BYTE, next, ending ? farewell : alive, ranks_, &sent);
                said_farewell = ending;
            }
            while (!got_farewell) {
                int there = 0;
                MPI_Status status;
                MPI_Iprobe(before, MPI_ANY_TAG, ranks_, &there, &status);
                if (there == 0) break;
                MPI_Recv(nullptr, 0, MPI_BYTE, before, status.MPI_TAG, ranks_, MPI_STATUS_IGNORE);
                got_farewell = status.MPI_TAG == farewell;
                heard = now;
            }
            if (!got_farewell && seconds(now - heard) > most_) return lost_(message(before));
        }
        MPI_Wait(&sent, MPI_STATUS_IGNORE);
    }
    [[nodiscard]] static double seconds(clock::duration d) { return std::chrono::duration<double>(d).count(); }
    /// Whether the end has come; waits for it at most `time` seconds, or always so long.
    [[nodiscard]] bool rest(double time, bool always) {
        std::unique_lock lock(mutex_);
        wake_.wait_for(lock, std::chrono::duration<double>(time), [&] { return ending_ && !always; });
        return ending_;
    }
    [[nodiscard]] std::string message(int rank) {
        const std::lock_guard lock(mutex_);
        return "rank " + std::to_string(rank) + " has not been heard of for " + std::to_string(std::lround(most_)) +
               " seconds" + (what_ != nullptr ? std::string(", while waiting for \"") + what_ + "\"" : "");
    }

    double most_;
    function lost_;
    MPI_Comm ranks_ = MPI_COMM_NULL;
    int rank_ = 0, size_ = 1;
    std::mutex mutex_;
    const char* what_ = nullptr;
    std::condition_variable wake_;
    bool ending_ = false;
    std::thread thread_;
};

}  // namespace diem::parallel::detail
