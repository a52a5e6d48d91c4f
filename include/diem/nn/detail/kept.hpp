// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <utility>

#include <diem/backend/batch.hpp>
#include <diem/backend/capabilities.hpp>
#include <diem/backend/concept.hpp>
#include <diem/backend/functors.hpp>
#include <diem/core/bfloat16.hpp>

/// \file
/// Internal: arrays that a forward pass keeps for the backward pass.

namespace diem::nn::detail {

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
        b.launch((to.size() + block - 1) / block, block, functors::change_precision<T, block>{to.size()}, from.data(),
                 to.data());
    }
    batch<B> x_;
    batch<B, bfloat16> rounded_;
};

}  // namespace diem::nn::detail
