// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>

#include <diem/backend/eigen/bfloat16.hpp>
#include <diem/backend/eigen/conv3x3_direct.hpp>
#include <diem/backend/eigen/gemm_packed.hpp>
#include <diem/backend/eigen/simd_level.hpp>
#include <diem/backend/eigen/tiles.hpp>

/// \file
/// The parameter VJP of conv3x3_tiles.hpp: sums over pixels. All items lie in one strip, one after the other, with a row of zeros
/// between them and a zero after each row. Of x each channel is a row of the left factor, read from the place that a tap says;
/// pairs of pixels of y_bar are the words of the right one.

#if defined(DIEM_HAS_TILES)

namespace diem::detail::eigen {
inline namespace DIEM_SIMD_NAMESPACE {

struct conv3x3_tiles_params {
    using S = simd<float>;
    using Q = bfloat16_factors::instructions;
    static constexpr index_t panel = S::panel, channels = 32;  ///< of a step: 16 words
    static constexpr index_t tile = tile_side * tile_side;     ///< words
    static_assert(panel == 2 * tile_side && S::width == tile_side);

    /// Places of all items, one zero row between them.
    static index_t places_in_all(const conv3x3_shape& g) { return g.items * (g.height + 1) * (g.width + 1); }
    /// Places that are summed together: few enough for all taps of 32 channels by 32 to read them from the first cache, and
    /// enough not to read the two rows around them too often. Strips are alike.
    static index_t params_places(const conv3x3_shape& g) {
        const index_t most = std::max<index_t>(256, 6 * (g.width + 1)), all = places_in_all(g),
                      strips = std::max<index_t>(1, (all + most / 2) / most);
        return std::max(round_up((all + strips - 1) / strips, channels), channels);
    }
    /// Words of one channel of x along a strip: read from any place, up to two rows further.
    static index_t row_size(const conv3x3_shape& g, index_t places) {
        return round_up(places + 2 * (g.width + 1) + 2 + 2 * S::width, 4 * S::width) / 2 +
               S::width;  // an odd number of lines
    }
    static index_t params_workspace_size(const conv3x3_shape& g, index_t in, index_t out) {
        const index_t places = params_places(g);
        return round_up(in, panel) * row_size(g, places) + round_up(out, panel) * places / 2 + panel * panel +
               round_up(std::max(in, out), panel);
    }

    /// The pixels of the places of all items, one after the other.
    class places_of {
    public:
        places_of(const conv3x3_shape& g, const float* images, index_t step, index_t depth, index_t place)
            : g_(g), images_(images), step_(step), depth_(depth) {
            const index_t width = g.width + 1, per_item = (g.height + 1) * width;
            item_ = (place + per_item * 4) / per_item - 4;  // rounded down: the first two rows lie before the images
            const index_t inside = place - item_ * per_item;
            row_ = inside / width;
            column_ = inside % width;
        }
        /// The next one from its channel `first` on; `outside` between rows, between items and around them.
        const float* next(index_t first, const float* outside) {
            const bool is = item_ >= 0 && item_ < g_.items && row_ < g_.height && column_ < g_.width;
            const float* const at =
                is ? images_ + item_ * step_ + (row_ * g_.width + column_) * depth_ + first : outside;
            if (++column_ > g_.width) {
                column_ = 0;
                if (++row_ > g_.height) {
                    row_ = 0;
                    ++item_;
                }
            }
            return at;
        }

    private:
        const conv3x3_shape& g_;
        const float* images_;
        index_t step_, depth_, item_ = 0, row_ = 0, column_ = 0;
    };

    /// As conv3x3_direct::vjp_params.
    static void vjp_params(const conv3x3_shape& g, const float* x, const float* y_bar, float* kernel_bar,
                           index_t in_first, index_t in_last, index_t out_first, index_t out_last, bool accumulate,
                           float* workspace) {
        const tile_sums_scope scope;
        const index_t in = in_last - in_first, out = out_last - out_first, most = params_places(g),
                      row = row_size(g, most), width = g.width + 1, all = places_in_all(g);
        float* const x_rows = workspace;
        float* const y_words = x_rows + round_up(in, panel) * row;
        float* const sums = y_words + round_up(out, panel) * most / 2;
        float* const zeros = sums + panel * panel;
        std::fill_n(zeros, round_up(std::max(in, out), panel), 0.0F);
        for (index_t first = 0; first == 0 || first < all; first += most) {  // once of no items, too
            const index_t places = round_up(std::min(most, all - first), channels);
            // Place q of the strip of x is place first + q - width - 1 of the images: the first tap's.
            places_of x_places(g, x, g.x_step(), g.in, first - width - 1);
            for (index_t q = 0; q < places + 2 * width + 2; q += S::width) {
                const float* from[S::width];
                for (index_t k = 0; k < S::width; ++k) from[k] = x_places.next(in_first, zeros);
                for (index_t c = 0; c < in; c += S::width) {
                    S::vec block[S::width];
                    for (index_t k = 0; k < S::width; ++k) block[k] = load_some(from[k] + c, in - c);
                    S::transpose(block);
                    for (index_t k = 0; k < S::width; ++k) Q::store_row(x_rows + (c + k) * row, q, block[k]);
                }
            }
            places_of y_places(g, y_bar, g.y_step(), g.out, first);
            for (index_t q = 0; q < places; q += 2) {
                const float* const even = y_places.next(out_first, zeros);
                const float* const odd = y_places.next(out_first, zeros);
                float* const to = y_words + q / channels * 2 * tile + q % channels / 2 * tile_side;
                for (index_t d = 0; d < out; d += S::width)
                    Q::store_pair(to + d / panel * panel * most / 2 + d % panel / S::width * tile,
                                  load_some(even + d, out - d), load_some(odd + d, out - d));
            }
            for (index_t c = 0; c < in; c += panel)
                for (index_t d = 0; d < out; d += panel)
                    for (index_t tap = 0; tap < 9; ++tap) {
                        const index_t offset = tap / 3 * width + tap % 3;
                        add_params(reinterpret_cast<const float*>(
                                       reinterpret_cast<const std::uint16_t*>(x_rows + c * row) + offset),
                                   row, y_words + d * most / 2, places / channels, in - c, out - d,
                                   accumulate || first > 0, sums,
                                   kernel_bar + (tap * g.in + in_first + c) * g.out + out_first + d, g.out);
                    }
        }
    }
    /// A tile's sums over the places of a strip, `rows` x `columns` of kernel_bar, which may go on from what is there.
    static void add_params(const float* x_rows, index_t row, const float* y_words, index_t count, index_t rows,
                           index_t columns, bool go_on, float* sums, float* kernel_bar, index_t leading) {
        rows = std::min(rows, panel);
        columns = std::min(columns, panel);
        with_tiles(rows, columns, [&]<int R, int C>() {
            using tiles = tile_sums_scope;
            // Not added to it afterwards: sums do not depend on where strips and blocks of channels end.
            const bool whole = rows == R * tile_side && columns == C * tile_side;
            const auto some = [&](const auto& f) {
                for (index_t i = 0; i < rows; ++i)
                    for (index_t k = 0; k < columns; ++k) f(kernel_bar[i * leading + k], sums[i * panel + k]);
            };
            float* const to = whole ? kernel_bar : sums;
            const index_t apart = whole ? leading : panel;
            if (go_on && !whole) some([](float at, float& sum) { sum = at; });
            if (go_on)
                tiles::load<R, C>(to, apart);
            else
                tiles::zero<R, C>();
            tiles::add<R, C>({x_rows, row, tile_side * row, tile_side}, {y_words, tile_side, tile, 2 * tile}, count);
            tiles::store<R, C>(to, apart);
            if (!whole) some([](float& at, float sum) { at = sum; });
        });
    }
};

}  // namespace DIEM_SIMD_NAMESPACE
}  // namespace diem::detail::eigen

#endif
