// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>

#include <diem/backend/eigen/conv3x3_direct.hpp>
#include <diem/backend/eigen/conv3x3_tiles_params.hpp>
#include <diem/backend/eigen/simd_level.hpp>
#include <diem/backend/eigen/tiles.hpp>

/// \file
/// 3x3 convolution of stride 1 by tiles of AMX, in the direct form: image and kernel are rounded to bfloat16 themselves. An image
/// is copied into a strip, its rows one after the other with one zero after each; then a tap is a distance in the strip, and 16
/// neighbours of it are the rows of a tile, wherever the image's rows end (sums at the zeros are dropped).

#if defined(DIEM_HAS_TILES)

namespace diem::detail::eigen {
inline namespace DIEM_SIMD_NAMESPACE {

/// As conv3x3_direct.
struct conv3x3_tiles : conv3x3_tiles_params {
    static constexpr index_t steps(index_t depth) { return (depth + channels - 1) / channels; }

    // ------------------------------------------------------------------------------------------------ weights

    static index_t panel_size(index_t depth) { return 9 * steps(depth) * 2 * tile; }
    static index_t weights_size(const conv3x3_shape& g) {
        const auto size = [](index_t depth, index_t results) {
            return (results + panel - 1) / panel * panel_size(depth);
        };
        return std::max(size(g.in, g.out), size(g.out, g.in));
    }

    /// [panel][tap][step][half of the panel][word][column], panels first .. last - 1.
    static void pack(const conv3x3_shape& g, const float* kernel, float* packed, index_t first, index_t last) {
        packed += first * panel_size(g.in);
        for (index_t n = first * panel; n < last * panel; n += panel)
            for (index_t t = 0; t < 9; ++t)
                for (index_t c = 0; c < steps(g.in) * channels; c += channels)
                    for (index_t half = n; half < n + panel; half += S::width)
                        for (index_t k = c; k < c + channels; k += 2, packed += S::width) {
                            const float* const from = kernel + (t * g.in + k) * g.out + half;
                            Q::store_pair(packed, k < g.in ? load_some(from, g.out - half) : S::vec{},
                                          k + 1 < g.in ? load_some(from + g.out, g.out - half) : S::vec{});
                        }
    }
    /// The same of the kernel turned by half a turn and transposed.
    static void pack_adjoint(const conv3x3_shape& g, const float* kernel, float* packed, index_t first, index_t last) {
        packed += first * panel_size(g.out);
        for (index_t n = first * panel; n < last * panel; n += panel)
            for (index_t t = 8; t >= 0; --t)
                for (index_t d = 0; d < steps(g.out) * channels; d += channels)
                    for (index_t half = n; half < n + panel; half += S::width, packed += tile) {
                        S::vec block[S::width];
                        for (index_t c = half; c < half + S::width; ++c) {
                            alignas(64) float words[tile_side];
                            for (index_t k = 0; k < channels; k += S::width)
                                Q::store_row(words, k,
                                             c < g.in
                                                 ? load_some(kernel + (t * g.in + c) * g.out + d + k, g.out - d - k)
                                                 : S::vec{});
                            block[c - half] = S::load(words);
                        }
                        S::transpose(block);
                        for (index_t k = 0; k < tile_side; ++k) S::store(packed + k * S::width, block[k]);
                    }
    }

    // ------------------------------------------------------------------------------------- forward and input VJP

    /// Rows of a strip: what a second cache holds beside the kernel of a panel.
    static index_t strip_rows(index_t rows, index_t columns, index_t depth) {
        constexpr index_t budget = 65536;  // words
        const index_t most = budget / ((columns + 1) * steps(depth) * tile_side) / conv_band * conv_band;
        return std::clamp<index_t>(most, conv_band, conv_bands(rows) * conv_band);
    }
    /// Words between the planes of 32 channels, where rows of sums may read up to 31 places beyond the last one.
    static index_t plane_size(index_t rows, index_t columns) {
        return ((rows + 2) * (columns + 1) + 2 + 2 * tile_side) * tile_side;
    }
    /// Strips that pass a panel of the kernel together, so that a kernel that fits in no cache is read for all of them at once.
    static constexpr index_t most_strips = 16;
    static index_t strips(index_t strip, index_t depth, index_t results) {
        constexpr index_t budget = 131072;  // words
        if ((results + panel - 1) / panel * panel_size(depth) <= budget) return 1;
        return std::clamp<index_t>(budget / strip, 1, most_strips);
    }
    static index_t workspace_size(const conv3x3_shape& g) {
        const auto one = [&](index_t depth, index_t results) {
            const index_t strip = steps(depth) * plane_size(strip_rows(g.height, g.width, depth), g.width);
            return strips(strip, depth, results) * strip;
        };
        return std::max(one(g.in, g.out), one(g.out, g.in)) + panel * panel;
    }

    /// y (+)= conv(x) + bias for the bands first .. last - 1. The input VJP is this with the adjoint's weights.
    static void run(index_t rows, index_t columns, index_t in, index_t out, index_t x_step, index_t y_step,
                    const float* packed, const float* bias, const float* x, float* y, bool accumulate, index_t first,
                    index_t last, float* workspace) {
        const tile_sums_scope scope;
        const index_t most = strip_rows(rows, columns, in), plane = plane_size(most, columns),
                      per_item = conv_bands(rows), strip = steps(in) * plane, together = strips(strip, in, out);
        float* const sums = workspace + together * strip;
        struct {
            index_t rows;
            float* result;
        } of_strip[most_strips];
        for (index_t band = first; band < last;) {
            index_t count = 0;
            for (; count < together && band < last; ++count) {
                const index_t item = band / per_item, begin = band % per_item * conv_band;
                const index_t bands = std::min({last - band, per_item - band % per_item, most / conv_band});
                of_strip[count] = {std::min(bands * conv_band, rows - begin),
                                   y + item * y_step + begin * columns * out};
                fill_strip(x + item * x_step, rows, columns, in, begin, of_strip[count].rows, workspace + count * strip,
                           plane);
                band += bands;
            }
            for (index_t n = 0; n < out; n += panel)
                for (index_t k = 0; k < count; ++k)
                    sum_strip(workspace + k * strip, plane, of_strip[k].rows, columns, in, out,
                              packed + n / panel * panel_size(in), bias ? bias + n : nullptr, out - n,
                              of_strip[k].result + n, accumulate, sums);
        }
    }
    /// A zero, then rows begin - 1 .. begin + count of the image, a zero after each; [32 channels][place][word].
    static void fill_strip(const float* image, index_t rows, index_t columns, index_t depth, index_t begin,
                           index_t count, float* strip, index_t plane) {
        for (index_t c = 0; c < depth; c += channels, strip += plane) {
            const bool whole = depth - c >= channels;
            float* to = strip;
            const auto zeros = [&](index_t places) {
                std::fill_n(to, places * tile_side, 0.0F);
                to += places * tile_side;
            };
            zeros(1);
            for (index_t i = begin - 1; i <= begin + count; ++i) {
                if (i < 0 || i >= rows) {
                    zeros(columns + 1);
                    continue;
                }
                const float* from = image + i * columns * depth + c;
                for (index_t j = 0; j < columns; ++j, from += depth, to += tile_side) {
                    Q::store_row(to, 0, whole ? S::load(from) : load_some(from, depth - c));
                    Q::store_row(to, S::width,
                                 whole ? S::load(from + S::width) : load_some(from + S::width, depth - c - S::width));
                }
                zeros(1);
            }
        }
    }
    /// y, `rows` x `columns` pixels `out` apart, a panel of its channels, of which there are `lanes` or more.
    static void sum_strip(const float* strip, index_t plane, index_t rows, index_t columns, index_t in, index_t out,
                          const float* packed, const float* bias, index_t lanes, float* y, bool accumulate,
                          float* sums) {
        const index_t places = rows * (columns + 1);
        index_t j = 0;  // the column of the next place
        for (index_t q = 0; q < places; q += panel) {
            const index_t count = std::min(panel, places - q);
            with_tiles(count, lanes, [&]<int R, int C>() {
                using tiles = tile_sums_scope;
                tiles::zero<R, C>();
                for (index_t t = 0; t < 9; ++t)
                    tiles::add<R, C>({strip + (q + t / 3 * (columns + 1) + t % 3) * tile_side, tile_side, tile, plane},
                                     {packed + t * steps(in) * 2 * tile, tile_side, tile, 2 * tile}, steps(in));
                tiles::store<R, C>(sums, panel);
            });
            for (index_t r = 0; r < count; ++r)
                if (j++ == columns) {
                    j = 0;
                } else {
                    write_sums(sums + r * panel, std::min(lanes, panel), 1, bias, y, accumulate);
                    y += out;
                }
        }
    }
    static void forward(const conv3x3_shape& g, const float* packed, const float* bias, const float* x, float* y,
                        bool accumulate, index_t first, index_t last, float* workspace) {
        run(g.height, g.width, g.in, g.out, g.x_step(), g.y_step(), packed, bias, x, y, accumulate, first, last,
            workspace);
    }
    static void vjp_input(const conv3x3_shape& g, const float* packed, const float* y_bar, float* x_bar,
                          bool accumulate, index_t first, index_t last, float* workspace) {
        run(g.height, g.width, g.out, g.in, g.y_step(), g.x_step(), packed, nullptr, y_bar, x_bar, accumulate, first,
            last, workspace);
    }
};

}  // namespace DIEM_SIMD_NAMESPACE
}  // namespace diem::detail::eigen

#endif
