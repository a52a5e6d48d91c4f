// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <utility>

#include <diem/core/random.hpp>
#include <diem/linop/diagonal.hpp>

/// \file
/// Values that are hidden: inpainting.
/// \snippet tests/examples/linop.cpp linop/mask.hpp

namespace diem::linop {

/// Sets entries to zero where the mask is 0 and keeps them where it is 1; n x n, so that y stays an image. One mask for all
/// items, or one per item; values are the backend's scalars. Masking is a product: x must be finite also where hidden.
template <Backend B>
class mask {
public:
    using operator_tag = symmetric_tag;
    using elementwise_tag = linop::elementwise_tag;

    /// values: n numbers, 0 or 1.
    [[nodiscard]] static mask shared(item_data<B> values) { return mask(diagonal<B>::shared(std::move(values))); }
    /// values: n x items.
    [[nodiscard]] static mask per_item(item_data<B> values) { return mask(diagonal<B>::per_item(std::move(values))); }

    [[nodiscard]] index_t rows() const { return values_.rows(); }
    [[nodiscard]] index_t cols() const { return values_.cols(); }
    [[nodiscard]] index_t items() const { return values_.items(); }
    [[nodiscard]] bool is_shared() const { return values_.is_shared(); }
    [[nodiscard]] const item_data<B>& values() const { return values_.values(); }
    [[nodiscard]] mask items(index_t first, index_t count) const { return mask(values_.items(first, count)); }
    void apply(B& b, const_view_t<B> x, view_t<B> y) const { values_.apply(b, x, y); }
    void apply_adjoint(B& b, const_view_t<B> y, view_t<B> x) const { values_.apply(b, y, x); }
    /// y = values x + scale z, in one pass.
    void apply_plus(B& b, const_view_t<B> x, double scale, const_view_t<B> z, view_t<B> y) const {
        values_.apply_plus(b, x, scale, z, y);
    }

private:
    explicit mask(diagonal<B> values) : values_(std::move(values)) {}
    diagonal<B> values_;
};

namespace detail {
struct draw_mask_row {
    random_key key;
    index_t pixels, channels, stride;
    double keep;
    template <class T>
    DIEM_HOST_DEVICE void operator()(index_t i, T* y) const {
        T* row = y + i * stride;
        for (index_t p = 0; p < pixels; ++p) {
            const T value =
                bernoulli(key, static_cast<std::uint32_t>(i), static_cast<std::uint32_t>(p), keep) ? T(1) : T(0);
            for (index_t c = 0; c < channels; ++c) row[p * channels + c] = value;
        }
    }
};
}  // namespace detail

/// Draws masks: every pixel is kept with probability `keep`, all its channels together (channels innermost); one mask per
/// item of `values`, which has pixels * channels features. Pixel p of item i is `bernoulli(key, i, p, keep)`.
template <Backend B>
void draw_mask(B& b, const random_key& key, double keep, index_t channels, view_t<B> values) {
    check_value("draw_mask", keep >= 0 && keep <= 1, "keep is not in [0, 1]");
    check_value("draw_mask", channels >= 1 && values.features() % channels == 0,
                "channels must be >= 1 and divide the features");
    b.launch(values.items(), 16 * values.features(),
             detail::draw_mask_row{key, values.features() / channels, channels, values.stride(), keep}, values.data());
}

}  // namespace diem::linop
