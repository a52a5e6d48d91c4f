// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>
#include <type_traits>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/parallel/communicator.hpp>

/// \file
/// Exchanges of what lies in a backend's memory: in place where the communicator reaches it, else by way of the host.
/// \snippet tests/examples/parallel.cpp parallel/buffers.hpp

namespace diem::parallel {

namespace detail {

/// Whether `c` may be given the addresses of B's buffers.
template <Backend B, Communicator C>
[[nodiscard]] bool reaches(const C& c) {
    return std::is_pointer_v<typename B::template pointer<std::byte>> || c.takes_device_memory();
}

/// The numbers of a vector as bytes, wherever they lie.
template <class Pointer>
[[nodiscard]] auto bytes_of(const vector_view<Pointer>& v) {
    const auto address = [&] {
        if constexpr (std::is_pointer_v<Pointer>)
            return v.data();
        else
            return v.data().unwrap();
    }();
    const std::span numbers(address, static_cast<std::size_t>(v.size()));
    if constexpr (std::is_const_v<typename decltype(numbers)::element_type>)
        return std::as_bytes(numbers);
    else
        return std::as_writable_bytes(numbers);
}

template <class T>
[[nodiscard]] std::vector<std::size_t> byte_counts_of(std::span<const index_t> numbers) {
    std::vector<std::size_t> out;
    for (const index_t n : numbers) out.push_back(static_cast<std::size_t>(n) * sizeof(T));
    return out;
}

/// exchange(own, all) on the buffers themselves, or on copies of them.
template <class T, Backend B, Communicator C, class Exchange>
void on_bytes(const C& c, B& b, const_vector_t<B, T> own, vector_t<B, T> all, const Exchange& exchange) {
    if (reaches<B>(c)) {
        b.synchronize();
        exchange(bytes_of(own), bytes_of(all));
        return;
    }
    const std::vector<T> sent = to_host(b, own);
    std::vector<T> received(static_cast<std::size_t>(all.size()));
    exchange(std::as_bytes(std::span(sent)), std::as_writable_bytes(std::span(received)));
    b.upload(host_view<const T>(received.data(), all.size(), 1), as_batch(all));
}

}  // namespace detail

/// `own` of each rank, counts[rank] numbers, after one another in `all`, which must not overlap it.
template <class T, Backend B, Communicator C>
void all_gather(const C& c, B& b, const_vector_t<B, T> own, vector_t<B, T> all, std::span<const index_t> counts,
                const char* what) {
    const auto n = detail::byte_counts_of<T>(counts);
    detail::on_bytes<T>(c, b, own, all, [&](const_bytes from, bytes to) { c.all_gather(from, to, n, what); });
}

/// `sent` holds to[r] numbers for rank r after one another; `received` gets from[r] numbers of it.
template <class T, Backend B, Communicator C>
void all_to_all(const C& c, B& b, const_vector_t<B, T> sent, std::span<const index_t> to, vector_t<B, T> received,
                std::span<const index_t> from, const char* what) {
    const auto out = detail::byte_counts_of<T>(to), in = detail::byte_counts_of<T>(from);
    detail::on_bytes<T>(c, b, sent, received, [&](const_bytes s, bytes r) { c.all_to_all(s, out, r, in, what); });
}

/// Each rank r has parts[r], of the same features: all of them to all.
template <Communicator C, Backend B, class Pointer>
void all_gather_items(const C& c, B& b, const std::vector<batch_view<Pointer>>& parts, const char* what) {
    using T = typename batch_view<Pointer>::value_type;
    if (c.size() == 1) return;
    const auto& mine = parts[static_cast<std::size_t>(c.rank())];
    std::vector<index_t> sizes;
    index_t items = 0;
    for (const auto& part : parts) {
        sizes.push_back(part.size());
        items += part.items();
    }
    if (items == 0) return;
    batch<B, T> own(b, mine.features(), mine.items()), all(b, mine.features(), items);
    b.copy(mine, own.view());
    all_gather<T>(c, b, own.flat(), all.flat(), sizes, what);
    index_t first = 0;
    for (const auto& part : parts) {
        b.copy(all.cview().item_range(first, part.items()), part);
        first += part.items();
    }
}

/// Of v (D x n) each rank r has the next counts[r] items: all of them to all.
template <Communicator C, Backend B, class Pointer>
void all_gather_items(const C& c, B& b, batch_view<Pointer> v, std::span<const index_t> counts, const char* what) {
    std::vector<batch_view<Pointer>> parts;
    index_t first = 0;
    for (const index_t n : counts) {
        parts.push_back(v.item_range(first, n));
        first += n;
    }
    all_gather_items(c, b, parts, what);
}

}  // namespace diem::parallel
