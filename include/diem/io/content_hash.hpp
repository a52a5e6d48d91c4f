// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <diem/core/view.hpp>
#include <diem/io/array.hpp>
#include <diem/io/dtype.hpp>

/// \file
/// Fingerprints of data and tensors: XXH64, so that `xxhsum -H64` and Python's xxhash give the same numbers. It finds damage
/// and changes, not forgery. Written here from its specification, because the library asks for no package beyond Eigen
/// and JSON, and a checkpoint must be checked wherever it is read.
/// \snippet tests/examples/io.cpp io/content_hash.hpp

namespace diem::io {

/// XXH64 of bytes that come in pieces. Seed 0.
/// Source    Y. Collet, XXH64 specification 0.1.1
class content_hash {
public:
    /// Bytes as they are.
    content_hash& bytes(std::span<const std::byte> data) {
        total_ += data.size();
        while (!data.empty()) {
            if (filled_ == 0 && data.size() >= stripe) {
                consume(data.data());
                data = data.subspan(stripe);
                continue;
            }
            const std::size_t count = data.size() < stripe - filled_ ? data.size() : stripe - filled_;
            std::memcpy(buffer_ + filled_, data.data(), count);
            data = data.subspan(count);
            filled_ += count;
            if (filled_ == stripe) {
                consume(buffer_);
                filled_ = 0;
            }
        }
        return *this;
    }
    /// Numbers, as the little-endian bytes of their type: the same on every machine. Split anywhere, the hash is the same.
    template <class T>
    content_hash& values(std::span<const T> data) {
        if constexpr (std::endian::native == std::endian::little || sizeof(T) == 1) {
            static_assert(std::is_trivially_copyable_v<T>);
            return bytes(std::as_bytes(data));
        } else {
            for (const T& value : data) {
                std::byte raw[sizeof(T)];
                std::memcpy(raw, &value, sizeof(T));
                constexpr std::size_t width = sizeof(T) / (is_complex_v<T> ? 2 : 1);
                for (std::size_t first = 0; first < sizeof(T); first += width)
                    for (std::size_t k = 0; 2 * k + 1 < width; ++k)
                        std::swap(raw[first + k], raw[first + width - 1 - k]);
                bytes(raw);
            }
            return *this;
        }
    }
    /// A number of its own, e.g. an extent.
    content_hash& number(std::uint64_t value) { return values(std::span<const std::uint64_t>(&value, 1)); }
    /// The length, then the text: "ab", "c" is not "a", "bc".
    content_hash& text(std::string_view value) {
        number(value.size());
        return bytes(std::as_bytes(std::span(value.data(), value.size())));
    }
    /// Extents and elements.
    template <class T>
    content_hash& add(const array<T>& a) {
        number(a.shape.size());
        for (const index_t extent : a.shape) number(static_cast<std::uint64_t>(extent));
        return values(std::span<const T>(a.data));
    }

    /// Of everything so far; more may follow.
    [[nodiscard]] std::uint64_t value() const {
        std::uint64_t h = prime5;
        if (total_ >= stripe) {
            h = std::rotl(lane_[0], 1) + std::rotl(lane_[1], 7) + std::rotl(lane_[2], 12) + std::rotl(lane_[3], 18);
            for (const std::uint64_t lane : lane_) h = (h ^ round(0, lane)) * prime1 + prime4;
        }
        h += total_;
        std::size_t at = 0;
        for (; at + 8 <= filled_; at += 8)
            h = std::rotl(h ^ round(0, load<std::uint64_t>(buffer_ + at)), 27) * prime1 + prime4;
        for (; at + 4 <= filled_; at += 4)
            h = std::rotl(h ^ (load<std::uint32_t>(buffer_ + at) * prime1), 23) * prime2 + prime3;
        for (; at < filled_; ++at)
            h = std::rotl(h ^ (std::to_integer<std::uint64_t>(buffer_[at]) * prime5), 11) * prime1;
        h = (h ^ (h >> 33)) * prime2;
        h = (h ^ (h >> 29)) * prime3;
        return h ^ (h >> 32);
    }
    /// 16 hexadecimal digits.
    [[nodiscard]] std::string hex() const {
        std::string digits(16, '0');
        std::uint64_t rest = value();
        for (std::size_t k = 16; k-- > 0; rest >>= 4) digits[k] = "0123456789abcdef"[rest & 15U];
        return digits;
    }

private:
    static constexpr std::size_t stripe = 32;
    static constexpr std::uint64_t prime1 = 0x9E3779B185EBCA87U, prime2 = 0xC2B2AE3D27D4EB4FU,
                                   prime3 = 0x165667B19E3779F9U, prime4 = 0x85EBCA77C2B2AE63U,
                                   prime5 = 0x27D4EB2F165667C5U;

    template <class U>
    [[nodiscard]] static std::uint64_t load(const std::byte* source) {  // little-endian
        U value = 0;
        if constexpr (std::endian::native == std::endian::little) {
            std::memcpy(&value, source, sizeof(U));
        } else {
            for (std::size_t k = sizeof(U); k-- > 0;)
                value = static_cast<U>(value << 8) | std::to_integer<U>(source[k]);
        }
        return value;
    }
    [[nodiscard]] static std::uint64_t round(std::uint64_t lane, std::uint64_t input) {
        return std::rotl(lane + input * prime2, 31) * prime1;
    }
    void consume(const std::byte* source) {
        for (std::size_t k = 0; k < 4; ++k) lane_[k] = round(lane_[k], load<std::uint64_t>(source + 8 * k));
    }

    std::uint64_t lane_[4] = {prime1 + prime2, prime2, 0, 0 - prime1};
    std::byte buffer_[stripe] = {};
    std::size_t filled_ = 0;
    std::uint64_t total_ = 0;
};

}  // namespace diem::io
