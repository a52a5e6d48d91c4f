// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <mpi.h>

#include <algorithm>
#include <chrono>
#include <climits>
#include <cmath>
#include <condition_variable>
#include <cstddef>
#include <cstdio>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <numeric>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <diem/core/error.hpp>
#include <diem/parallel/communicator.hpp>

/// Ranks by MPI. Needs an MPI library (CMake: diem::mpi); buffers go through host memory.
namespace diem::parallel {

namespace detail {

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

}  // namespace detail

/// All processes of `mpirun`. The first object starts MPI where nobody has, and its last copy ends it. What ends all of them, with
/// the rank's number and what was waited for: a rank that others wait for longer than the deadline, and one that is not heard of for
/// a minute (or the deadline, if that is less), however long its work takes, as its machine, or it itself, has stopped. The second
/// needs an MPI that takes calls of several threads.
class mpi {
public:
    /// Seconds that others wait for a rank, and that one may not be heard of.
    explicit mpi(double deadline = 600, double silence = 60) : state_(std::make_shared<state>(deadline)) {
        MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
        MPI_Comm_size(MPI_COMM_WORLD, &size_);
        if (state_->threads == MPI_THREAD_MULTIPLE && size_ > 1)
            state_->pulse.emplace(
                std::min(deadline, silence),
                [rank = rank_, size = size_](const std::string& message) { end_all(rank, size, message); });
    }
    [[nodiscard]] int rank() const { return rank_; }
    [[nodiscard]] int size() const { return size_; }

    void broadcast(bytes data, int root, const char* what) const {
        std::size_t at = 0;
        do {
            const std::size_t n = std::min<std::size_t>(data.size() - at, std::size_t{1} << 30);
            exchange(what, [&](MPI_Request* r) {
                MPI_Ibcast(data.data() + at, static_cast<int>(n), MPI_BYTE, root, MPI_COMM_WORLD, r);
            });
            at += n;
        } while (at < data.size());
    }
    void all_gather(const_bytes own, bytes all, byte_counts counts, const char* what) const {
        if (std::accumulate(counts.begin(), counts.end(), std::size_t{0}) > INT_MAX) {  // more than MPI counts
            std::size_t at = 0;
            for (int r = 0; r < size_; at += counts[static_cast<std::size_t>(r++)]) {
                const bytes part = all.subspan(at, counts[static_cast<std::size_t>(r)]);
                if (r == rank_) std::copy(own.begin(), own.end(), part.begin());
                broadcast(part, r, what);
            }
            return;
        }
        const layout to(counts);
        exchange(what, [&](MPI_Request* r) {
            MPI_Iallgatherv(own.data(), static_cast<int>(own.size()), MPI_BYTE, all.data(), to.counts.data(),
                            to.at.data(), MPI_BYTE, MPI_COMM_WORLD, r);
        });
    }
    void all_to_all(const_bytes sent, byte_counts to, bytes received, byte_counts from, const char* what) const {
        const layout out(to), in(from);
        exchange(what, [&](MPI_Request* r) {
            MPI_Ialltoallv(sent.data(), out.counts.data(), out.at.data(), MPI_BYTE, received.data(), in.counts.data(),
                           in.at.data(), MPI_BYTE, MPI_COMM_WORLD, r);
        });
    }
    void barrier(const char* what) const {
        exchange(what, [](MPI_Request* r) { *r = MPI_REQUEST_NULL; });
    }
    void abort(const std::string& message) const { end_all(rank_, size_, message); }

private:
    static constexpr int tag = 1;

    /// What copies share.
    struct state {
        double deadline;
        bool owned = false;  ///< MPI was started here
        int exceptions = std::uncaught_exceptions(), threads = MPI_THREAD_SINGLE;
        std::optional<detail::mpi_pulse> pulse{};

        explicit state(double d) : deadline(d) {
            int started = 0;
            MPI_Initialized(&started);
            owned = started == 0;
            if (owned)
                MPI_Init_thread(nullptr, nullptr, MPI_THREAD_MULTIPLE, &threads);
            else
                MPI_Query_thread(&threads);
        }
        state(const state&) = delete;
        state& operator=(const state&) = delete;
        ~state() {
            // The others wait somewhere else when an exception leaves: ending MPI would wait for them.
            if (std::uncaught_exceptions() > exceptions) MPI_Abort(MPI_COMM_WORLD, 1);
            pulse.reset();
            if (owned) MPI_Finalize();
        }
    };
    static void end_all(int rank, int size, const std::string& message) {
        std::fprintf(stderr, "diem: rank %d of %d: %s\n", rank, size, message.c_str());
        std::fflush(stderr);
        MPI_Abort(MPI_COMM_WORLD, 1);
    }

    /// Byte counts as MPI takes them.
    struct layout {
        std::vector<int> counts, at;
        explicit layout(byte_counts n) {
            std::size_t sum = 0;
            for (const std::size_t k : n) {
                at.push_back(static_cast<int>(sum));
                counts.push_back(static_cast<int>(k));
                sum += k;
                if (sum > INT_MAX) throw memory_error("parallel::mpi: 2 GiB or more in one exchange");
            }
        }
    };
    /// Beside what `start` begins goes an empty message from each to each: those whose message does not come are the ones that
    /// a complaint names.
    template <class Start>
    void exchange(const char* what, const Start& start) const {
        std::vector<MPI_Request> here, sent(1);
        std::vector<int> of;
        char nothing = 0;
        for (int r = 0; r < size_; ++r) {
            if (r == rank_) continue;
            of.push_back(r);
            MPI_Irecv(&nothing, 0, MPI_BYTE, r, tag, MPI_COMM_WORLD, &here.emplace_back());
            MPI_Isend(&nothing, 0, MPI_BYTE, r, tag, MPI_COMM_WORLD, &sent.emplace_back());
        }
        start(&sent.front());
        const auto waits_for = [&](const char* for_what) {
            if (state_->pulse) state_->pulse->waits_for(for_what);
        };
        waits_for(what);
        const auto all = [](std::vector<MPI_Request>& requests) {
            int done = 0;
            MPI_Testall(static_cast<int>(requests.size()), requests.data(), &done, MPI_STATUSES_IGNORE);
            return done != 0;
        };
        const bool done_in_time = until([&] { return all(sent) && all(here); });
        waits_for(nullptr);
        if (done_in_time) return;
        std::string missing;
        for (std::size_t k = 0; k < here.size(); ++k) {
            int done = 0;
            MPI_Test(&here[k], &done, MPI_STATUS_IGNORE);
            if (done == 0) missing += (missing.empty() ? "" : ", ") + std::to_string(of[k]);
        }
        if (missing.empty())
            abort(std::string("\"") + what + "\" was begun by all ranks and not ended within " + seconds());
        else
            abort("rank " + missing + " did not come to \"" + what + "\" within " + seconds());
    }
    /// False where it did not come true within the deadline. Ranks may be more than cores, so that a waiting one steps back.
    template <class F>
    bool until(const F& f) const {
        const auto start = std::chrono::steady_clock::now();
        for (long turn = 0; !f(); ++turn) {
            if (turn < 1000) continue;
            if (std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() > state_->deadline)
                return false;
            turn < 10000 ? std::this_thread::yield() : std::this_thread::sleep_for(std::chrono::microseconds(200));
        }
        return true;
    }
    [[nodiscard]] std::string seconds() const {
        return std::to_string(static_cast<long>(state_->deadline)) + " seconds";
    }

    std::shared_ptr<state> state_;
    int rank_ = 0, size_ = 1;
};
static_assert(Communicator<mpi>);

}  // namespace diem::parallel
