// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <mpi.h>

#include <algorithm>
#include <chrono>
#include <climits>
#include <cstddef>
#include <cstdio>
#include <exception>
#include <memory>
#include <numeric>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <diem/core/error.hpp>
#include <diem/parallel/communicator.hpp>
#include <diem/parallel/detail/mpi_pulse.hpp>

/// \file
/// Ranks by MPI. Needs an MPI library (CMake: diem::mpi).
/// \snippet tests/install/ranks.cpp parallel/mpi.hpp

namespace diem::parallel {

struct mpi_options {
    double deadline = 600;       ///< seconds that others wait for a rank
    double silence = 60;         ///< seconds that a rank may not be heard of
    bool device_memory = false;  ///< the library is GPU-aware: it is given the addresses of buffers on a device
};

/// All processes of `mpirun`. The first object starts MPI where nobody has, and its last copy ends it. What ends all of them, with
/// the rank's number and what was waited for: a rank that others wait for longer than the deadline, and one that is not heard of for
/// a minute (or the deadline, if that is less), however long its work takes, as its machine, or it itself, has stopped. The second
/// needs an MPI that takes calls of several threads.
class mpi {
public:
    explicit mpi(mpi_options options = {}) : options_(options), state_(std::make_shared<state>()) {
        MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
        MPI_Comm_size(MPI_COMM_WORLD, &size_);
        if (state_->threads == MPI_THREAD_MULTIPLE && size_ > 1)
            state_->pulse.emplace(
                std::min(options.deadline, options.silence),
                [rank = rank_, size = size_](const std::string& message) { end_all(rank, size, message); });
    }
    [[nodiscard]] int rank() const { return rank_; }
    [[nodiscard]] int size() const { return size_; }
    [[nodiscard]] bool takes_device_memory() const { return options_.device_memory; }

    void broadcast(bytes data, int root, const char* what) const {
        std::size_t at = 0;
        do {
            const std::size_t n = std::min<std::size_t>(data.size() - at, std::size_t{1} << 30);
            exchange(what, [&](std::vector<MPI_Request>& begun) {
                MPI_Ibcast(data.data() + at, static_cast<int>(n), MPI_BYTE, root, MPI_COMM_WORLD,
                           &begun.emplace_back());
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
        exchange(what, [&](std::vector<MPI_Request>& begun) {
            if (options_.device_memory) {
                const std::vector<int> sizes(counts.size(), static_cast<int>(own.size())), zero(counts.size(), 0);
                return each_to_each(own, sizes, zero, all, to.counts, to.at, begun);
            }
            MPI_Iallgatherv(own.data(), static_cast<int>(own.size()), MPI_BYTE, all.data(), to.counts.data(),
                            to.at.data(), MPI_BYTE, MPI_COMM_WORLD, &begun.emplace_back());
        });
    }
    void all_to_all(const_bytes sent, byte_counts to, bytes received, byte_counts from, const char* what) const {
        const layout out(to), in(from);
        exchange(what, [&](std::vector<MPI_Request>& begun) {
            if (options_.device_memory)
                return each_to_each(sent, out.counts, out.at, received, in.counts, in.at, begun);
            MPI_Ialltoallv(sent.data(), out.counts.data(), out.at.data(), MPI_BYTE, received.data(), in.counts.data(),
                           in.at.data(), MPI_BYTE, MPI_COMM_WORLD, &begun.emplace_back());
        });
    }
    void barrier(const char* what) const {
        exchange(what, [](std::vector<MPI_Request>&) {});
    }
    void abort(const std::string& message) const { end_all(rank_, size_, message); }

private:
    static constexpr int tag = 1, data_tag = 2;

    /// What copies share.
    struct state {
        bool owned = false;  ///< MPI was started here
        int exceptions = std::uncaught_exceptions(), threads = MPI_THREAD_SINGLE;
        std::optional<detail::mpi_pulse> pulse{};

        state() {
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
    /// Messages of their own in place of a collective: GPU-aware libraries take a device's memory in these, and not in
    /// collectives that do not block (Open MPI's list of unsupported calls).
    void each_to_each(const_bytes sent, const std::vector<int>& to, const std::vector<int>& sent_at, bytes received,
                      const std::vector<int>& from, const std::vector<int>& received_at,
                      std::vector<MPI_Request>& begun) const {
        for (int r = 0; r < size_; ++r) {
            const auto k = static_cast<std::size_t>(r);
            MPI_Irecv(received.data() + received_at[k], from[k], MPI_BYTE, r, data_tag, MPI_COMM_WORLD,
                      &begun.emplace_back());
            MPI_Isend(sent.data() + sent_at[k], to[k], MPI_BYTE, r, data_tag, MPI_COMM_WORLD, &begun.emplace_back());
        }
    }
    /// Beside what `start` begins goes an empty message from each to each: those whose message does not come are the ones that
    /// a complaint names.
    template <class Start>
    void exchange(const char* what, const Start& start) const {
        std::vector<MPI_Request> here, sent;
        std::vector<int> of;
        char nothing = 0;
        for (int r = 0; r < size_; ++r) {
            if (r == rank_) continue;
            of.push_back(r);
            MPI_Irecv(&nothing, 0, MPI_BYTE, r, tag, MPI_COMM_WORLD, &here.emplace_back());
            MPI_Isend(&nothing, 0, MPI_BYTE, r, tag, MPI_COMM_WORLD, &sent.emplace_back());
        }
        start(sent);
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
            if (std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() > options_.deadline)
                return false;
            turn < 10000 ? std::this_thread::yield() : std::this_thread::sleep_for(std::chrono::microseconds(200));
        }
        return true;
    }
    [[nodiscard]] std::string seconds() const {
        return std::to_string(static_cast<long>(options_.deadline)) + " seconds";
    }

    mpi_options options_;
    std::shared_ptr<state> state_;
    int rank_ = 0, size_ = 1;
};
static_assert(Communicator<mpi>);

}  // namespace diem::parallel
