// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <ctime>
#include <exception>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <diem/backend/host_threads.hpp>
#include <diem/core/error.hpp>
#include <diem/core/view.hpp>

/// \file
/// Threads that share ranges of indices.
/// \snippet tests/examples/backend.cpp backend/thread_pool.hpp

namespace diem {

/// Runs index ranges on a fixed number of threads, the caller among them. Workers spin briefly between jobs, then sleep.
///
/// A job is over when its chunks are, whoever ran them: a worker that the system does not let run in time takes none, and
/// nobody waits for it. Where another program takes a core away in the midst of a chunk, so that sharing costs more time than it
/// saves, the caller works alone for a while. One job at a time: `run` from inside a job, or from two threads at once, throws usage_error.
class thread_pool {
public:
    static constexpr int most_threads = 4096;

    /// `threads` < 1 means as many as `host_threads()`. Where the system gives fewer, the pool goes on with those.
    /// Throws value_error above `most_threads`.
    explicit thread_pool(int threads) : thread_pool(threads, [](auto body) { return std::thread(std::move(body)); }) {}
    /// With `spawn(body)`, which returns the std::thread that runs body(), or throws where there are no more.
    template <class Spawn>
    thread_pool(int threads, const Spawn& spawn)
        : requested_(threads < 1 ? host_threads() : threads),
          shares_(static_cast<std::size_t>(std::clamp(requested_, 1, most_threads))) {
        if (requested_ > most_threads)
            throw value_error("thread_pool: " + std::to_string(requested_) + " threads, expected at most " +
                              std::to_string(most_threads));
        workers_.reserve(static_cast<std::size_t>(requested_ - 1));
        try {
            for (int k = 1; k < requested_; ++k) workers_.push_back(spawn([this, k] { work(k); }));
        } catch (const std::exception&) {  // the threads that there are do
        }
    }
    thread_pool(const thread_pool&) = delete;
    thread_pool& operator=(const thread_pool&) = delete;
    ~thread_pool() {
        stop_ = true;
        jobs_.fetch_add(1);
        jobs_.notify_all();
        for (auto& t : workers_) t.join();
    }

    /// How many there are, the caller among them, and how many were asked for.
    [[nodiscard]] int threads() const { return static_cast<int>(workers_.size()) + 1; }
    [[nodiscard]] int requested() const { return requested_; }

    /// Calls f(first, last) on ranges that cover 0 .. count - 1 once, none shorter than `grain` but the last, in any order
    /// and on any thread. The first exception thrown by f is rethrown here; ranges that had not begun by then are left out.
    template <class F>
    void run(index_t count, index_t grain, const F& f) {
        if (count <= 0) return;
        const entry guard(*this);
        grain = std::max<index_t>(grain, 1);
        if (workers_.empty() || count <= grain) return f(index_t{0}, count);
        share(
            count, grain, [](const void* g, index_t a, index_t b) { (*static_cast<const F*>(g))(a, b); }, &f);
    }

private:
    using call_type = void (*)(const void*, index_t, index_t);

    // Laps of a microsecond or so, after each of which the core is offered to others: one of them may be who is waited for.
    // A worker waits for longer than most gaps between jobs; the caller sleeps soon, since the system brings a worker that
    // was set aside to a core that sleeps, not to one that spins.
    static constexpr int worker_laps = 100, caller_laps = 5, pauses = 50;

    /// The caller's, for as long as its job lasts.
    class entry {
    public:
        explicit entry(thread_pool& pool) : pool_(pool) {
            if (pool.entered_.exchange(true, std::memory_order_acquire)) refuse();
        }
        entry(const entry&) = delete;
        entry& operator=(const entry&) = delete;
        ~entry() { pool_.entered_.store(false, std::memory_order_release); }

    private:
        [[noreturn]] static void refuse() {
            throw usage_error(
                "thread_pool::run: a job is running: a backend may be used neither inside its own job "
                "nor by two threads at once");
        }
        thread_pool& pool_;
    };

    // Each thread has a share of the chunks, the same part of the range in every job, so that it finds in its cache what it wrote
    // in the last one; then it helps others. The ticket of a share: the number of the job, and how many of its chunks nobody has
    // claimed. A chunk is claimed by compare-and-swap of the whole, so that a worker that comes late, with the ticket of a job
    // that is over, gets nothing. What the job is stands beside it, is read after a claim only, and is not changed before
    // that chunk is finished.
    static constexpr int chunk_bits = 20;
    static constexpr std::uint64_t chunk_mask = (std::uint64_t{1} << chunk_bits) - 1;
    static_assert(4 * most_threads <= static_cast<int>(chunk_mask));

    // A chunk whose thread has lost its core is waited for as long as the system likes, often for milliseconds. What a job
    // gains over the caller's working alone is a credit, what it loses is taken from it; where nothing is left the caller
    // works alone for as long as was lost, or a multiple, which doubles each time until there is full credit again.
    static constexpr double full_credit = 1e-2, short_job = 2e-4;  // seconds; no core was lost in a short one
    static constexpr double most_multiple = 32;
    using clock = std::chrono::steady_clock;
    [[nodiscard]] static double seconds_since(clock::time_point start) {
        return std::chrono::duration<double>(clock::now() - start).count();
    }
    /// Of this thread: without the time in which others have its core.
    [[nodiscard]] static double own_seconds() {
#if defined(CLOCK_THREAD_CPUTIME_ID)
        std::timespec t{};
        if (::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t) == 0)
            return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
#endif
        return std::chrono::duration<double>(clock::now().time_since_epoch()).count();
    }

    // Not part of the template above: that one is compiled for each of hundreds of functions.
    void share(index_t count, index_t grain, call_type call, const void* body) {
        const auto start = clock::now();
        if (debt_ > 0) {
            call(body, 0, count);
            debt_ -= seconds_since(start);
            return;
        }
        const double own_start = own_seconds();
        const index_t pieces = 4 * static_cast<index_t>(threads());
        chunk_ = std::max((count + pieces - 1) / pieces, grain);
        count_ = count;
        call_ = call;
        body_ = body;
        chunks_ = (count + chunk_ - 1) / chunk_;
        const auto chunks = static_cast<std::uint32_t>(chunks_);
        unfinished_.store(chunks, std::memory_order_relaxed);
        ++job_;
        for (int k = 0; k < threads(); ++k)
            shares_[static_cast<std::size_t>(k)].ticket.store(
                job_ << chunk_bits | static_cast<std::uint64_t>(first_chunk(k + 1) - first_chunk(k)),
                std::memory_order_release);
        // Read-modify-write before each notify: a plain store could pass the look for sleepers.
        jobs_.fetch_add(1);
        jobs_.notify_all();
        const int taken = take_chunks(0);
        pause_while([this] { return unfinished_.load(std::memory_order_acquire) != 0; }, caller_laps);
        for (std::uint32_t left; (left = unfinished_.load(std::memory_order_acquire)) != 0;)
            unfinished_.wait(left, std::memory_order_acquire);
        if (taken > 0) settle(seconds_since(start), own_start, static_cast<double>(chunks) / taken);
        if (failed_.load(std::memory_order_relaxed)) {
            failed_.store(false, std::memory_order_relaxed);
            std::rethrow_exception(std::exchange(error_, nullptr));
        }
    }
    /// After a job that was shared: this thread did one part in `parts`.
    void settle(double elapsed, double own_start, double parts) {
        const double alone = parts * (elapsed > short_job ? own_seconds() - own_start : elapsed);
        credit_ = std::min(credit_ + alone - elapsed, full_credit);
        if (credit_ == full_credit) multiple_ = 1;
        if (credit_ >= 0) return;
        debt_ = multiple_ * -std::exchange(credit_, 0);
        if (debt_ > short_job) multiple_ = std::min(2 * multiple_, most_multiple);
    }
    /// Where the share of a thread begins.
    [[nodiscard]] index_t first_chunk(int thread) const { return thread * chunks_ / threads(); }
    /// Of its own share first; how many this thread got.
    int take_chunks(int thread) {
        int taken = 0;
        for (int step = 0; step < threads(); ++step) {
            const int owner = (thread + step) % threads();
            auto& ticket = shares_[static_cast<std::size_t>(owner)].ticket;
            for (std::uint64_t seen = ticket.load(std::memory_order_acquire); (seen & chunk_mask) != 0;) {
                if (!ticket.compare_exchange_weak(seen, seen - 1, std::memory_order_acquire)) continue;
                finish_chunk(first_chunk(owner + 1) - static_cast<index_t>(seen & chunk_mask));
                ++taken;
                seen = ticket.load(std::memory_order_acquire);
            }
        }
        return taken;
    }
    void finish_chunk(index_t k) {
        if (!failed_.load(std::memory_order_relaxed)) try {
                call_(body_, k * chunk_, std::min((k + 1) * chunk_, count_));
            } catch (...) {
                const std::lock_guard lock(mutex_);
                if (!error_) error_ = std::current_exception();
                failed_.store(true, std::memory_order_relaxed);
            }
        if (unfinished_.fetch_sub(1) == 1) unfinished_.notify_one();
    }
    void work(int thread) {
        for (std::uint32_t seen = 0;;) {
            pause_while([&] { return jobs_.load(std::memory_order_acquire) == seen; }, worker_laps);
            jobs_.wait(seen, std::memory_order_acquire);
            seen = jobs_.load(std::memory_order_acquire);
            if (stop_) return;
            take_chunks(thread);
        }
    }
    /// Returns when `waiting()` no longer holds, or soon.
    template <class F>
    static void pause_while(const F& waiting, int laps) {
        for (int lap = 0; lap < laps; ++lap) {
            for (int spin = 0; spin < pauses; ++spin) {
                if (!waiting()) return;
#if defined(__x86_64__)
                __builtin_ia32_pause();
#endif
            }
            std::this_thread::yield();
        }
    }

    static constexpr std::size_t line = 64;  // of a cache: what one thread writes and another waits for has its own
    struct share_of_thread {
        alignas(line) std::atomic<std::uint64_t> ticket{0};
    };

    const int requested_;
    std::vector<std::thread> workers_;
    std::vector<share_of_thread> shares_;
    std::atomic<bool> entered_{false}, stop_{false}, failed_{false};
    alignas(line) std::atomic<std::uint32_t> jobs_{0};        // how many have been published: what workers sleep on
    alignas(line) std::atomic<std::uint32_t> unfinished_{0};  // chunks: what the caller sleeps on
    alignas(line) std::uint64_t job_ = 0;
    double debt_ = 0, credit_ = 0, multiple_ = 1;  // seconds, and the caller's alone
    call_type call_ = nullptr;
    const void* body_ = nullptr;
    index_t count_ = 0, chunk_ = 1, chunks_ = 0;
    std::mutex mutex_;
    std::exception_ptr error_;
};

}  // namespace diem
