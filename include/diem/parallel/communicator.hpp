// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <functional>
#include <limits>
#include <memory>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/core/error.hpp>

/// \file
/// Several processes that learn one prior together: what an algorithm asks of them.
/// \snippet tests/examples/parallel.cpp parallel/communicator.hpp

namespace diem::parallel {

using bytes = std::span<std::byte>;
using const_bytes = std::span<const std::byte>;
using byte_counts = std::span<const std::size_t>;

/// `size()` processes ("ranks"), each with a copy of this object. All of them make the same calls in the same order; `what`
/// says in messages what is waited for.
///
/// broadcast     the bytes of rank `root` to all
/// all_gather    `own` of each rank, of `counts[rank]` bytes, after one another into `all`
/// all_to_all    `sent` holds `to[r]` bytes for rank r after one another; `received` gets `from[r]` bytes of it
/// barrier       all have come here; a model may end the program, naming who did not, after a deadline of its own
/// abort         ends all ranks with the message and a status that is not 0
/// takes_device_memory  whether all_gather and all_to_all take buffers in the memory of a device, beside the host's
template <class C>
concept Communicator =
    requires(const C& c, bytes to, const_bytes from, byte_counts counts, int root, const char* what) {
        { c.rank() } -> std::same_as<int>;
        { c.size() } -> std::same_as<int>;
        { c.takes_device_memory() } -> std::same_as<bool>;
        c.broadcast(to, root, what);
        c.all_gather(from, to, counts, what);
        c.all_to_all(from, counts, to, counts, what);
        c.barrier(what);
        c.abort(std::string());
    };

/// The one process that there is.
struct self {
    [[nodiscard]] static constexpr int rank() { return 0; }
    [[nodiscard]] static constexpr int size() { return 1; }
    [[nodiscard]] static constexpr bool takes_device_memory() { return false; }
    static void broadcast(bytes, int, const char*) {}
    static void all_gather(const_bytes own, bytes all, byte_counts, const char*) {
        std::copy(own.begin(), own.end(), all.begin());
    }
    static void all_to_all(const_bytes sent, byte_counts, bytes received, byte_counts, const char*) {
        std::copy(sent.begin(), sent.end(), received.begin());
    }
    static void barrier(const char*) {}
    [[noreturn]] static void abort(const std::string& message) { throw error(message); }
};

/// Any model, chosen when the program runs: code that is built on it is compiled once. `self` where nothing is given.
class any_communicator {
public:
    any_communicator() : any_communicator(self{}) {}
    /// Copies share `c`.
    template <Communicator C>
        requires(!std::same_as<C, any_communicator>)
    explicit any_communicator(C c) {
        const auto shared = std::make_shared<const C>(std::move(c));
        rank_ = shared->rank();
        size_ = shared->size();
        device_memory_ = shared->takes_device_memory();
        broadcast_ = [shared](bytes d, int root, const char* what) { shared->broadcast(d, root, what); };
        all_gather_ = [shared](const_bytes own, bytes all, byte_counts n, const char* what) {
            shared->all_gather(own, all, n, what);
        };
        all_to_all_ = [shared](const_bytes s, byte_counts to, bytes r, byte_counts from, const char* what) {
            shared->all_to_all(s, to, r, from, what);
        };
        barrier_ = [shared](const char* what) { shared->barrier(what); };
        abort_ = [shared](const std::string& message) { shared->abort(message); };
    }
    [[nodiscard]] int rank() const { return rank_; }
    [[nodiscard]] int size() const { return size_; }
    [[nodiscard]] bool takes_device_memory() const { return device_memory_; }
    void broadcast(bytes d, int root, const char* what) const { broadcast_(d, root, what); }
    void all_gather(const_bytes own, bytes all, byte_counts n, const char* what) const {
        all_gather_(own, all, n, what);
    }
    void all_to_all(const_bytes s, byte_counts to, bytes r, byte_counts from, const char* what) const {
        all_to_all_(s, to, r, from, what);
    }
    void barrier(const char* what) const { barrier_(what); }
    void abort(const std::string& message) const { abort_(message); }

private:
    int rank_ = 0, size_ = 1;
    bool device_memory_ = false;
    std::function<void(bytes, int, const char*)> broadcast_;
    std::function<void(const_bytes, bytes, byte_counts, const char*)> all_gather_;
    std::function<void(const_bytes, byte_counts, bytes, byte_counts, const char*)> all_to_all_;
    std::function<void(const char*)> barrier_;
    std::function<void(const std::string&)> abort_;
};

/// The first of rank r's share of `count` things, in order of the ranks and as even as they can be; that of rank r + 1 ends it.
[[nodiscard]] constexpr index_t first_of(index_t count, int rank, int size) { return count * rank / size; }

/// Numbers of rank `root` to all, in host memory.
template <Communicator C, class T>
void broadcast(const C& c, std::vector<T>& values, int root, const char* what) {
    if (c.size() > 1) c.broadcast(std::as_writable_bytes(std::span<T>(values)), root, what);
}

/// counts[r] numbers of each rank r, after one another: all of them. Host memory.
template <class T, Communicator C>
[[nodiscard]] std::vector<T> all_gather(const C& c, std::span<const T> own, std::span<const index_t> counts,
                                        const char* what) {
    std::vector<T> all(static_cast<std::size_t>(std::accumulate(counts.begin(), counts.end(), index_t{0})));
    if (c.size() == 1) {
        std::ranges::copy(own, all.begin());
        return all;
    }
    std::vector<std::size_t> sizes;
    for (const index_t n : counts) sizes.push_back(static_cast<std::size_t>(n) * sizeof(T));
    c.all_gather(std::as_bytes(own), std::as_writable_bytes(std::span(all)), sizes, what);
    return all;
}

/// A text of rank `root` to all.
template <Communicator C>
[[nodiscard]] std::string broadcast(const C& c, const std::string& text, int root, const char* what) {
    std::vector<std::size_t> size{text.size()};
    broadcast(c, size, root, what);
    std::vector<char> letters(text.begin(), text.end());
    letters.resize(size[0]);
    broadcast(c, letters, root, what);
    return {letters.begin(), letters.end()};
}

/// Batches of at most `most` items, one for each rank, of those from `first` on: rank r's has counts[r] items. None goes over a
/// multiple of `block`.
struct round {
    std::vector<index_t> counts;
    index_t begin = 0, count = 0;  ///< this rank's
    index_t first = 0, end = 0;    ///< of all of them
};
template <Communicator C>
[[nodiscard]] round next_round(const C& c, index_t first, index_t items, index_t most,
                               index_t block = std::numeric_limits<index_t>::max()) {
    round out{{}, 0, 0, first, first};
    for (int r = 0; r < c.size(); ++r) {
        const index_t n = std::min({most, items - out.end, block - out.end % block});
        if (r == c.rank()) {
            out.begin = out.end;
            out.count = n;
        }
        out.counts.push_back(n);
        out.end += n;
    }
    return out;
}

/// Of each flag whether it is set on any rank: what a decision that all must take alike follows.
template <Communicator C, std::size_t N>
[[nodiscard]] std::array<bool, N> any_of(const C& c, const std::array<bool, N>& own, const char* what) {
    if (c.size() == 1) return own;
    std::array<char, N> flags{};
    std::copy(own.begin(), own.end(), flags.begin());
    const std::vector<index_t> each(static_cast<std::size_t>(c.size()), static_cast<index_t>(N));
    const auto all = all_gather<char>(c, flags, each, what);
    std::array<bool, N> any{};
    for (std::size_t k = 0; k < all.size(); ++k) any[k % N] = any[k % N] || all[k] != 0;
    return any;
}
/// The same of one.
template <Communicator C>
[[nodiscard]] bool any_of(const C& c, bool own, const char* what) {
    return any_of(c, std::array{own}, what)[0];
}

/// f(), whose exception on one rank ends all of them with its message.
template <Communicator C, class F>
auto guarded(const C& c, const F& f) {
    if (c.size() == 1) return f();
    try {
        return f();
    } catch (const std::exception& e) {
        c.abort(e.what());
        throw;
    }
}

}  // namespace diem::parallel
