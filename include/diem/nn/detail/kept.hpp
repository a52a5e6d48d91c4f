// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <utility>

#include <diem/backend/batch.hpp>
#include <diem/backend/capabilities.hpp>
#include <diem/backend/concept.hpp>
#include <diem/core/bfloat16.hpp>
#include <diem/nn/detail/loops.hpp>

/// \file
/// Internal: arrays that a forward pass keeps for the backward pass.

namespace diem::nn::detail {

/// y = x for a block of elements of one or the other type. Index: the block.
template <class T, int Block>
struct change_precision {
    index_t count;
    DIEM_HOST_DEVICE void operator()(index_t i, const T* x, bfloat16* y) const {
        const index_t end = last(i);
        DIEM_IVDEP
        for (index_t j = i * Block; j < end; ++j) y[j] = nearest_bfloat16(static_cast<float>(x[j]));
    }
    DIEM_HOST_DEVICE void operator()(index_t i, const bfloat16* x, T* y) const {
        const index_t end = last(i);
        DIEM_IVDEP
        for (index_t j = i * Block; j < end; ++j) y[j] = static_cast<T>(widened(x[j]));
    }

private:
    [[nodiscard]] DIEM_HOST_DEVICE index_t last(index_t i) const {
        return count < (i + 1) * Block ? count : (i + 1) * Block;
    }
};

/// An array as it is, or in bfloat16, half the memory.
template <Backend B>
class kept {
    using T = scalar_t<B>;
    static constexpr int block = FineGrained<B> ? 8 : 1024;

public:
    kept() = default;
    kept(B& b, batch<B> x, bool rounded) {
        if (!rounded) {
            x_ = std::move(x);
            return;
        }
        rounded_ = batch<B, bfloat16>(b, x.features(), x.items());
        convert(b, x.cview(), rounded_.view());
    }
    /// What it holds, widened where it was rounded.
    class values {
    public:
        values(batch<B> copy, const batch<B>& x)
            : copy_(std::move(copy)), x_(copy_.features() > 0 ? copy_.cview() : x.cview()) {}
        [[nodiscard]] const_view_t<B> cview() const { return x_; }
        operator const_view_t<B>() const { return x_; }  // NOLINT(google-explicit-constructor)

    private:
        batch<B> copy_;
        const_view_t<B> x_;
    };
    [[nodiscard]] values open(B& b) const {
        batch<B> copy;
        if (rounded_.features() > 0) {
            copy = batch<B>(b, rounded_.features(), rounded_.items());
            convert(b, rounded_.cview(), copy.view());
        }
        return {std::move(copy), x_};
    }

private:
    template <class From, class To>
    static void convert(B& b, const From& from, const To& to) {
        b.launch((to.size() + block - 1) / block, block, change_precision<T, block>{to.size()}, from.data(), to.data());
    }
    batch<B> x_;
    batch<B, bfloat16> rounded_;
};

}  // namespace diem::nn::detail
