// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include <diem/core/view.hpp>

namespace diem {

/// Runs index ranges on a fixed number of threads, the caller among them. Workers spin briefly between jobs, then sleep.
/// One job at a time: `run` must not be called from inside a job, nor from two threads at once.
class thread_pool {
public:
    /// `threads` < 1 means one per core.
    explicit thread_pool(int threads) {
        if (threads < 1) threads = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
        workers_.reserve(static_cast<std::size_t>(threads - 1));
        for (int k = 1; k < threads; ++k) workers_.emplace_back([this] { work(); });
    }
    thread_pool(const thread_pool&) = delete;
    thread_pool& operator=(const thread_pool&) = delete;
    ~thread_pool() {
        stop_ = true;
        generation_.fetch_add(1);
        generation_.notify_all();
        for (auto& t : workers_) t.join();
    }

    [[nodiscard]] int threads() const { return static_cast<int>(workers_.size()) + 1; }

    /// Calls f(first, last) on ranges that cover 0 .. count - 1 once, none shorter than `grain` but the last, in any order
    /// and on any thread. The first exception thrown by f is rethrown here.
    template <class F>
    void run(index_t count, index_t grain, const F& f) {
        grain = std::max<index_t>(grain, 1);
        if (count <= 0) return;
        if (workers_.empty() || count <= grain) return f(index_t{0}, count);
        share(
            count, grain, [](const void* g, index_t a, index_t b) { (*static_cast<const F*>(g))(a, b); }, &f);
    }

private:
    static constexpr int spins = 20000;
    using call_type = void (*)(const void*, index_t, index_t);

    // Not part of the template above: that one is compiled for each of hundreds of functions.
    void share(index_t count, index_t grain, call_type call, const void* body) {
        const index_t pieces = 4 * static_cast<index_t>(threads());
        chunk_ = std::max((count + pieces - 1) / pieces, grain);
        count_ = count;
        call_ = call;
        body_ = body;
        next_.store(0, std::memory_order_relaxed);
        busy_.store(static_cast<int>(workers_.size()), std::memory_order_relaxed);
        generation_.fetch_add(1, std::memory_order_release);
        generation_.notify_all();
        take_chunks();
        for (int spin = 0; spin < spins; ++spin)
            if (busy_.load(std::memory_order_acquire) == 0) break;
        for (int left = busy_.load(std::memory_order_acquire); left != 0; left = busy_.load(std::memory_order_acquire))
            busy_.wait(left, std::memory_order_acquire);
        if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
    }
    void take_chunks() {
        try {
            for (index_t a = next_.fetch_add(chunk_); a < count_; a = next_.fetch_add(chunk_))
                call_(body_, a, std::min(a + chunk_, count_));
        } catch (...) {
            const std::lock_guard lock(mutex_);
            if (!error_) error_ = std::current_exception();
        }
    }
    void work() {
        std::uint64_t seen = 0;
        for (;;) {
            for (int spin = 0; spin < spins && generation_.load(std::memory_order_acquire) == seen; ++spin) {
#if defined(__x86_64__)
                __builtin_ia32_pause();
#endif
            }
            generation_.wait(seen, std::memory_order_acquire);
            seen = generation_.load(std::memory_order_acquire);
            if (stop_) return;
            take_chunks();
            if (busy_.fetch_sub(1, std::memory_order_acq_rel) == 1) busy_.notify_all();
        }
    }

    std::vector<std::thread> workers_;
    std::atomic<std::uint64_t> generation_{0};
    std::atomic<index_t> next_{0};
    std::atomic<int> busy_{0};
    std::atomic<bool> stop_{false};
    call_type call_ = nullptr;
    const void* body_ = nullptr;
    index_t count_ = 0, chunk_ = 1;
    std::mutex mutex_;
    std::exception_ptr error_;
};

}  // namespace diem
