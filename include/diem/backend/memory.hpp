// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <diem/core/error.hpp>
#include <diem/core/view.hpp>

/// \file
/// Memory that is kept and served again.
/// \snippet tests/examples/backend.cpp backend/memory.hpp

namespace diem {

namespace detail {

/// "1.50 GiB", or "0.3 MiB" for less than a tenth of one.
inline std::string gibibytes(double bytes) {
    char text[64];
    if (bytes >= 0x1p30 / 10)
        std::snprintf(text, sizeof text, "%.2f GiB", bytes / 0x1p30);
    else
        std::snprintf(text, sizeof text, "%.1f MiB", bytes / 0x1p20);
    return text;
}

}  // namespace detail

/// Keeps blocks that were given back and serves them again, so that a loop allocates only in its first lap.
/// Sizes are rounded up to one of eight steps per power of two. Safe to use from several threads.
///
/// `Raw` has `void* allocate(std::size_t bytes)`, null when there is none, `void deallocate(void*)`, and
/// `std::string name()` for messages; static ones, or of an object of its own.
template <class Raw>
class caching_pool {
public:
    caching_pool() = default;
    caching_pool(const caching_pool&) = delete;
    caching_pool& operator=(const caching_pool&) = delete;
    ~caching_pool() {
        for (auto& [bytes, blocks] : free_)
            for (void* p : blocks) raw_.deallocate(p);
    }

    /// Where the blocks come from.
    [[nodiscard]] Raw& raw() { return raw_; }

    [[nodiscard]] static std::size_t rounded(std::size_t bytes) {
        std::size_t step = 64;
        while (step * 16 <= bytes) step *= 2;
        return (bytes + step - 1) / step * step;
    }

    /// No block is larger: bytes.
    static constexpr std::size_t most = std::size_t{1} << 60;

    /// A block of at least `bytes`; `bytes` is rounded in place and must be given back with `put`. Throws memory_error where
    /// there is none.
    [[nodiscard]] void* take(std::size_t& bytes) {
        const std::lock_guard lock(mutex_);
        if (bytes > most) refuse(static_cast<double>(bytes));
        bytes = rounded(bytes);
        auto& blocks = free_[bytes];
        void* p = nullptr;
        if (!blocks.empty()) {
            p = blocks.back();
            blocks.pop_back();
        } else {
            p = fresh(bytes);
            blocks.reserve(++owned_[bytes]);  // so that giving back never allocates
            ++allocations_;
        }
        in_use_ += bytes;
        peak_ = in_use_ > peak_ ? in_use_ : peak_;
        return p;
    }
    void put(void* p, std::size_t bytes) noexcept {
        const std::lock_guard lock(mutex_);
        in_use_ -= bytes;
        free_[bytes].push_back(p);
    }

    /// Bytes in live buffers now, and the most there ever were.
    [[nodiscard]] std::size_t bytes_in_use() const { return in_use_; }
    [[nodiscard]] std::size_t peak_bytes() const { return peak_; }
    /// How often memory was asked of the system.
    [[nodiscard]] std::size_t allocations() const { return allocations_; }

private:
    /// From the system; where it has no more, what is kept for later goes back first.
    void* fresh(std::size_t bytes) {
        if (void* p = raw_.allocate(bytes)) return p;
        for (auto& [size, blocks] : free_) {
            for (void* p : blocks) raw_.deallocate(p);
            owned_[size] -= blocks.size();
            blocks.clear();
        }
        if (void* p = raw_.allocate(bytes)) return p;
        refuse(static_cast<double>(bytes));
    }
    [[noreturn]] void refuse(double bytes) const {
        throw memory_error("out of memory: " + detail::gibibytes(bytes) + " asked for at once, beside " +
                           detail::gibibytes(static_cast<double>(in_use_)) + " in use, of " + raw_.name());
    }

    Raw raw_;
    std::mutex mutex_;
    std::map<std::size_t, std::vector<void*>> free_;
    std::map<std::size_t, std::size_t> owned_;
    std::size_t in_use_ = 0, peak_ = 0, allocations_ = 0;
};

/// Memory from elsewhere, such as a file that is mapped: aligned as a page; null where there is no more. Throws what says why.
using block_source = std::function<std::shared_ptr<void>(std::size_t bytes)>;

/// Aligned host memory; large blocks ask for huge pages, since touching fresh small pages can cost more than the work.
class host_memory {
public:
    static constexpr std::size_t huge = std::size_t{1} << 21;

    /// From now on blocks of at least `least` bytes come from there.
    void large_blocks_from(std::size_t least, block_source source) {
        least_ = least;
        source_ = std::move(source);
    }
    void* allocate(std::size_t bytes) {
        if (source_ && bytes >= least_) {
            auto block = source_(bytes);
            void* const place = block.get();
            if (place != nullptr) elsewhere_.emplace(place, held_block{std::move(block), bytes});
            return place;
        }
        const std::size_t alignment = bytes >= huge ? huge : 64;
        void* p = std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
#if defined(__linux__) && defined(MADV_HUGEPAGE)
        if (p != nullptr && alignment == huge) madvise(p, bytes, MADV_HUGEPAGE);
#endif
        return p;
    }
    void deallocate(void* p) {
        if (elsewhere_.erase(p) == 0) std::free(p);
    }
    static std::string name() { return "the host's memory"; }
    /// Whether a block from elsewhere that holds `place` is about to be read here and there, so that what lies beside it on a
    /// disk is not to be read, too.
    void random_access([[maybe_unused]] const void* place, [[maybe_unused]] bool on) const {
#if defined(__linux__)
        auto block = elsewhere_.upper_bound(const_cast<void*>(place));
        if (block == elsewhere_.begin()) return;
        const auto& [begin, held] = *--block;
        if (static_cast<const std::byte*>(place) < static_cast<const std::byte*>(begin) + held.bytes)
            madvise(begin, held.bytes, on ? MADV_RANDOM : MADV_NORMAL);
#endif
    }

private:
    struct held_block {
        std::shared_ptr<void> owner;
        std::size_t bytes;
    };
    std::size_t least_ = 0;
    block_source source_{};
    std::map<void*, held_block, std::less<>> elsewhere_;
};

/// Owns `size` uninitialised elements taken from a pool, and gives them back at its end; or keeps alive what owns them.
template <class Pointer, class Pool>
class pool_buffer {
public:
    using value_type = typename std::pointer_traits<Pointer>::element_type;
    static_assert(std::is_trivially_copyable_v<value_type>);

    pool_buffer() = default;
    /// Throws shape_error where size < 0, memory_error where the pool has not as much.
    pool_buffer(std::shared_ptr<Pool> pool, index_t size) : pool_(std::move(pool)), size_(size) {
        if (size < 0) throw shape_error("buffer: " + std::to_string(size) + " elements, expected a size >= 0");
        const auto n = static_cast<std::size_t>(size);
        // What does not fit is more than any pool gives.
        bytes_ = n > Pool::most / sizeof(value_type) ? std::numeric_limits<std::size_t>::max() : n * sizeof(value_type);
        if (size_ > 0) raw_ = pool_->take(bytes_);
    }
    /// `size` elements at `data`, which belong to `owner`: no copy.
    pool_buffer(std::shared_ptr<void> owner, value_type* data, index_t size)
        : owner_(std::move(owner)), raw_(data), size_(size) {}
    pool_buffer(pool_buffer&& o) noexcept
        : pool_(std::move(o.pool_)), owner_(std::move(o.owner_)), raw_(std::exchange(o.raw_, nullptr)),
          size_(std::exchange(o.size_, 0)), bytes_(std::exchange(o.bytes_, 0)) {}
    pool_buffer& operator=(pool_buffer&& o) noexcept {
        if (this != &o) {
            release();
            pool_ = std::move(o.pool_);
            owner_ = std::move(o.owner_);
            raw_ = std::exchange(o.raw_, nullptr);
            size_ = std::exchange(o.size_, 0);
            bytes_ = std::exchange(o.bytes_, 0);
        }
        return *this;
    }
    ~pool_buffer() { release(); }

    [[nodiscard]] Pointer data() const { return Pointer(static_cast<value_type*>(raw_)); }
    [[nodiscard]] index_t size() const { return size_; }
    [[nodiscard]] vector_view<Pointer> view() const { return {data(), size_}; }

private:
    void release() noexcept {
        if (raw_ != nullptr && pool_ != nullptr) pool_->put(raw_, bytes_);
        raw_ = nullptr;
        owner_ = nullptr;
    }
    std::shared_ptr<Pool> pool_;
    std::shared_ptr<void> owner_;  // of memory that is not the pool's
    void* raw_ = nullptr;
    index_t size_ = 0;
    std::size_t bytes_ = 0;
};

}  // namespace diem
