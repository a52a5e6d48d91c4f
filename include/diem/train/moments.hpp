// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>

#include <diem/backend/batch.hpp>
#include <diem/backend/capabilities.hpp>
#include <diem/backend/concept.hpp>
#include <diem/backend/functors.hpp>
#include <diem/core/bfloat16.hpp>
#include <diem/core/random.hpp>

/// \file
/// Internal: how the moments of an optimiser are stored, and how a pass over them reads and writes them.

namespace diem::train {

/// What the two moments of Adam are stored in: float32 (that is, the backend's scalar), or 16 bits, half the memory.
enum class moment_precision { float32, bf16 };

[[nodiscard]] constexpr const char* to_string(moment_precision p) {
    return p == moment_precision::bf16 ? "bf16" : "float32";
}

namespace detail {

/// m and v of a block of elements to bfloat16. Index: the block. Element j of the whole is rounded by word j / 4 of the key, turned by 4 (j % 4) bits: m by its lower half, v by
/// the upper one, 16 uniform bits each, of which the leading four are no other's (a generator's block for four elements would
/// cost as much as the rest of the update). `first`, a multiple of 16, is the number of element 0.
template <class T, int Block>
struct round_moments {
    random_key key;
    index_t first, count;
    DIEM_HOST_DEVICE void operator()(index_t i, const T* m, const T* v, bfloat16* m16, bfloat16* v16) const {
        std::uint32_t random[Block];
        const auto block = static_cast<std::uint32_t>((first + i * Block) / 16);
        for (int k = 0; k < Block / 16; ++k) {
            const philox_words words = random_words(key, 0, block + static_cast<std::uint32_t>(k));
            for (int l = 0; l < 16; ++l) {
                const std::uint32_t word = words.word[l / 4];
                random[16 * k + l] = word << 4 * (l % 4) | (word >> 16U) >> (16 - 4 * (l % 4));
            }
        }
        const index_t from = i * Block;
        m += from, v += from, m16 += from, v16 += from;
        if (count - from >= Block)
            round(random, Block, m, v, m16, v16);
        else
            round(random, count - from, m, v, m16, v16);
    }

private:
    DIEM_HOST_DEVICE static void round(const std::uint32_t* random, index_t length, const T* m, const T* v,
                                       bfloat16* m16, bfloat16* v16) {
        DIEM_IVDEP
        for (index_t j = 0; j < length; ++j) m16[j] = stochastic_bfloat16(static_cast<float>(m[j]), random[j]);
        DIEM_IVDEP
        for (index_t j = 0; j < length; ++j) v16[j] = stochastic_bfloat16(static_cast<float>(v[j]), random[j] >> 16U);
    }
};

/// The moments m and v of n parameters.
template <Backend B>
class moments {
    using T = scalar_t<B>;
    static constexpr int block = FineGrained<B> ? 16 : 64;  ///< elements of an index
    /// Elements that are widened at a time: they stay in a cache.
    static constexpr index_t piece = FineGrained<B> ? index_t{1} << 20 : index_t{1} << 13;

public:
    moments() = default;
    moments(B& b, index_t n, moment_precision precision) : precision_(precision) {
        const auto zeros = [&](auto& x) {
            x = {b, n, 1};
            b.fill(x.view(), {});
        };
        if (precision == moment_precision::bf16)
            zeros(m16_), zeros(v16_);
        else
            zeros(m_), zeros(v_);
    }
    /// f(m, v): flat vectors of the backend's scalar, or of bfloat16.
    template <class F>
    void with(const F& f) {
        if (precision_ == moment_precision::bf16)
            f(m16_.flat(), v16_.flat());
        else
            f(m_.flat(), v_.flat());
    }
    /// f(part, first, m, v) for pieces of them all, where `part` is a backend for that piece alone; what f leaves in m and v is stored,
    /// rounded by the key: a function of it and of the element's number alone.
    template <class F>
    void update(B& b, const random_key& key, const F& f) {
        if (precision_ == moment_precision::float32) return f(b, index_t{0}, m_.view(), v_.view());
        const auto one = [&](B& part, index_t first, index_t count) {
            const auto m16 = m16_.flat().range(first, count), v16 = v16_.flat().range(first, count);
            batch<B> m(part, count, 1), v(part, count, 1);
            const index_t indices = (count + block - 1) / block;
            const functors::change_precision<T, block> widen{count};
            part.launch(indices, block, widen, const_vector_t<B, bfloat16>(m16).data(), m.view().data());
            part.launch(indices, block, widen, const_vector_t<B, bfloat16>(v16).data(), v.view().data());
            f(part, first, m.view(), v.view());
            part.launch(indices, 16 * block, round_moments<T, block>{key, first, count}, m.cview().data(),
                        v.cview().data(), m16.data(), v16.data());
        };
        const index_t n = m16_.features();
        if constexpr (BlockThreaded<B>)
            b.for_blocks(n, piece, one);
        else
            for (index_t first = 0; first < n; first += piece) one(b, first, std::min(piece, n - first));
    }

private:
    moment_precision precision_ = moment_precision::float32;
    batch<B> m_, v_;
    batch<B, bfloat16> m16_, v16_;
};

}  // namespace detail
}  // namespace diem::train
