// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>

#include <diem/backend/eigen/conv3x3_direct.hpp>
#include <diem/backend/eigen/conv3x3_transforms.hpp>
#include <diem/backend/eigen/simd_level.hpp>

/// \file
/// 3x3 convolution of stride 1 by Winograd's minimal filtering F(M x M, 3 x 3), M = 2 or 4 (Lavin & Gray, CVPR 2016,
/// arXiv 1509.09308): y = A' [(G g G') . (B' d B)] A for tiles d of (M + 2)^2 pixels that overlap by two. The sums over
/// channels become (M + 2)^2 products, with 2.25 (M = 2) or 4 (M = 4) times fewer multiplications than the direct form.
/// The parameter VJP is the exact transpose, g_bar = G' [sum over tiles (B' d B) (A y_bar A')] G.

namespace diem::detail::eigen {
inline namespace DIEM_SIMD_NAMESPACE {

template <class T, int M, class P = exact_factors<T>>
struct conv3x3_winograd {
    using factors = P;
    using S = simd<T>;
    using V = typename S::vec;
    using F = winograd_transform<M>;
    static constexpr int tile = M, size = F::size, points = size * size;
    static constexpr index_t group = 2 * S::panel;  ///< result channels computed together

    /// Tiles transformed together.
    static constexpr index_t tiles_min = round_up(24, S::rows), tiles_max = round_up(96, S::rows);

    // ------------------------------------------------------------------------------------------------ weights

    /// Elements between the packed factors of two points: not a power of two.
    static constexpr index_t factor_size(index_t in, index_t out) {
        return packed_size<T>(P::words(in), out) + S::panel;
    }

    /// size^2 packed in x out factors (out x in for the adjoint).
    static index_t weights_size(const conv3x3_shape& g) {
        return points * std::max(factor_size(g.in, g.out), factor_size(g.out, g.in));
    }

    /// to = G g G' for one panel of columns and index k of the depth; tap t is at g[t * step].
    static void transform_kernel(const T* g, index_t step, T* to, index_t factor, index_t k) {
        P::with_arithmetic([&]<class Q>(Q q) { transform_kernel(q, g, step, to, factor, k); });
    }
    template <class Q>
    static void transform_kernel(Q /*arithmetic*/, const T* g, index_t step, T* to, index_t factor, index_t k) {
        for (int half = 0; half < S::panel; half += S::width) {
            V taps[9], rows[3 * size], u[size];
            DIEM_UNROLL for (int t = 0; t < 9; ++t) taps[t] = S::load(g + t * step + half);
            DIEM_UNROLL for (int q = 0; q < 3; ++q) F::template kernel<T>(taps + q, rows + q, 3);
            for (int i = 0; i < size; ++i) {
                F::template kernel<T>(rows + 3 * i, u, 1);
                DIEM_UNROLL for (int j = 0; j < size; ++j)
                    Q::store_columns(to + (i * size + j) * factor + half, k, u[j]);
            }
        }
    }

    /// The panels of result channels first .. last - 1.
    static void pack(const conv3x3_shape& g, const T* kernel, T* packed, index_t first, index_t last) {
        for (index_t p = first; p < last; ++p)
            pack_piece(g, kernel, packed + p * P::words(g.in) * S::panel, factor_size(g.in, g.out), p * S::panel, 0,
                       g.in);
    }
    /// The panel from result channel n, channels c_first (even) .. c_last - 1; points are `factor` apart.
    static void pack_piece(const conv3x3_shape& g, const T* kernel, T* packed, index_t factor, index_t n,
                           index_t c_first, index_t c_last) {
        T taps[9 * S::panel] = {};
        const index_t count = std::min<index_t>(S::panel, g.out - n);
        for (index_t c = c_first; c < c_last; ++c) {
            const T* const from = kernel + c * g.out + n;
            const bool whole = count == S::panel;
            if (!whole)
                for (index_t t = 0; t < 9; ++t) std::copy_n(from + t * g.in * g.out, count, taps + t * S::panel);
            transform_kernel(whole ? from : taps, whole ? g.in * g.out : S::panel,
                             packed + P::word(c - c_first) * S::panel, factor, c);
        }
    }

    /// `pack` of the kernel turned by half a turn and transposed.
    static void pack_adjoint(const conv3x3_shape& g, const T* kernel, T* packed, index_t first, index_t last) {
        for (index_t p = first; p < last; ++p)
            pack_adjoint_piece(g, kernel, packed + p * P::words(g.out) * S::panel, factor_size(g.out, g.in),
                               p * S::panel, 0, g.out);
    }
    /// `pack_piece` of it: the panel from input channel n, result channels d_first (even) .. d_last - 1.
    static void pack_adjoint_piece(const conv3x3_shape& g, const T* kernel, T* packed, index_t factor, index_t n,
                                   index_t d_first, index_t d_last) {
        T taps[S::width][9 * S::panel];
        const index_t columns = std::min<index_t>(S::panel, g.in - n);
        for (index_t d = d_first; d < d_last; d += S::width) {
            const index_t count = std::min<index_t>(S::width, d_last - d);
            for (index_t t = 0; t < 9; ++t)
                for (index_t half = 0; half < S::panel; half += S::width) {
                    V block[S::width];
                    for (index_t c = 0; c < S::width; ++c) {
                        block[c] = V{};
                        if (half + c >= columns) continue;
                        const T* const from = kernel + ((8 - t) * g.in + n + half + c) * g.out + d;
                        block[c] = count == S::width ? S::load(from) : S::load(from, count);
                        __builtin_prefetch(from + S::width);  // rows lie apart: no prefetcher of the hardware sees them
                    }
                    S::transpose(block);
                    for (index_t k = 0; k < S::width; ++k) S::store(taps[k] + t * S::panel + half, block[k]);
                }
            for (index_t k = 0; k < count; ++k)
                transform_kernel(taps[k], S::panel, packed + P::word(d - d_first + k) * S::panel, factor, d + k);
        }
    }

    // ------------------------------------------------------------------------------------------------- tiles

    /// Elements between tiles in a transformed plane: whole panels, and not a power of two (cache sets).
    static constexpr index_t pitch(index_t channels) { return round_up(channels, S::panel) + S::panel; }

    /// Tiles transformed together.
    static index_t tiles(index_t in) {
        constexpr index_t budget = 262144 / sizeof(T);
        return std::clamp<index_t>(round_up(budget / (points * pitch(P::words(in))), S::rows), tiles_min, tiles_max);
    }

    /// Elements between planes of `count` tiles, not a power of two either.
    static constexpr index_t plane_size(index_t count, index_t ld) { return count * ld + S::panel; }

    /// plane[i, j][tile][channel] = transform of the tile's pixels: B' d B (extent = size) or A y A' (extent = M). Products
    /// then sum over channels, or over tiles (`over_tiles`).
    template <int extent, bool over_tiles = false>
    static void transform(const T* const* pointers, index_t count, index_t channels, T* planes, index_t plane) {
        P::with_arithmetic(
            [&]<class Q>(Q) { transform_by<Q, extent, over_tiles>(pointers, count, channels, planes, plane); });
    }
    /// (A function, not the lambda itself: what that refers to would be read again after every store.)
    template <class Q, int extent, bool over_tiles>
    static void transform_by(const T* const* pointers, index_t count, index_t channels, T* planes, index_t plane) {
        const index_t ld = pitch(over_tiles ? channels : P::words(channels));
        T copies[extent * extent][S::width];
        const T* copied[extent * extent];
        const auto one = [](const V* from, V* to) {
            if constexpr (extent == size)
                F::template input<T>(from, to);
            else
                F::template output_adjoint<T>(from, to);
        };
        for (index_t t = 0; t < count; ++t, pointers += extent * extent)
            for (index_t c = 0; c < channels; c += S::width) {
                V d[extent * size], in[extent], column[size];
                const T* const* from = pointers;
                index_t offset = c;
                if (channels - c < S::width) {  // whole vectors are read of a copy
                    for (int k = 0; k < extent * extent; ++k) {
                        S::store(copies[k], S::load(pointers[k] + c, channels - c));
                        copied[k] = copies[k];
                    }
                    from = copied;
                    offset = 0;
                }
                for (int j = 0; j < extent; ++j) {
                    DIEM_UNROLL for (int i = 0; i < extent; ++i) in[i] = S::load(from[i * extent + j] + offset);
                    one(in, column);
                    DIEM_UNROLL for (int i = 0; i < size; ++i) d[i * extent + j] = column[i];
                }
                for (int i = 0; i < size; ++i) {
                    one(d + i * extent, column);
                    DIEM_UNROLL for (int j = 0; j < size; ++j) {
                        T* const to = planes + (i * size + j) * plane;
                        if constexpr (over_tiles)
                            Q::store_columns(to + P::word(t) * ld + c, t, column[j]);
                        else
                            Q::store_row(to + t * ld, c, column[j]);
                    }
                }
            }
    }

    // ------------------------------------------------------------------------------------- forward and input VJP

    static index_t workspace_size(const conv3x3_shape& g) {
        const auto one = [](index_t in) {
            return points * (plane_size(tiles(in), pitch(P::words(in))) + plane_size(tiles(in), pitch(group))) +
                   round_up(in, S::panel);
        };
        return std::max(one(g.in), one(g.out));
    }

    /// y (+)= conv(x) + bias for the bands first .. last - 1. The input VJP is this with the adjoint's weights.
    static void run(index_t rows, index_t columns, index_t in, index_t out, index_t x_step, index_t y_step,
                    const T* packed, const T* bias, const T* x, T* y, bool accumulate, index_t first, index_t last,
                    T* workspace) {
        const index_t limit = tiles(in), depth = P::words(in), ld = pitch(depth), ldm = pitch(group),
                      factor = factor_size(in, out);
        const index_t plane = plane_size(limit, ld), sum_plane = plane_size(limit, ldm);
        T* const planes = workspace;
        T* const sums = planes + points * plane;
        T* const zeros = sums + points * sum_plane;
        const T* sources[tiles_max * size * size];
        T* targets[tiles_max * M * M];
        std::fill_n(zeros, in, T(0));

        // Sources and targets are walked together, one block of tiles at a time.
        index_t count = 0;
        const auto block = [&] {
            transform<size>(sources, count, in, planes, plane);
            for (index_t n = 0; n < out; n += group) {
                const index_t channels = std::min(group, out - n);
                for (int k = 0; k < points; ++k)
                    gemm_packed<T, P>(planes + k * plane, ld, count, depth, packed + k * factor + n * depth,
                                      round_up(channels, S::width), nullptr, sums + k * sum_plane, ldm,
                                      sums_to::replace);
                inverse(sums, sum_plane, ldm, count, channels, bias ? bias + n : nullptr, targets, n, accumulate);
            }
            count = 0;
        };
        for_bands(rows, first, last, [&](index_t item, index_t begin, index_t end) {
            for (index_t i = begin; i < end; i += M)
                for (index_t j = 0; j < columns; j += M) {
                    place<size>(x + item * x_step, rows, columns, in, i - 1, j - 1, static_cast<const T*>(zeros),
                                sources + count * size * size);
                    place<M>(y + item * y_step, rows, columns, out, i, j, static_cast<T*>(nullptr),
                             targets + count * M * M);
                    if (++count == limit) block();
                }
        });
        if (count) block();
    }

    /// Pointers to the extent^2 pixels from (i, j), `outside` where there is none.
    template <int extent, class Pixel>
    static void place(Pixel* image, index_t rows, index_t columns, index_t channels, index_t i, index_t j,
                      Pixel* outside, Pixel** to) {
        for (index_t u = i; u < i + extent; ++u)
            for (index_t v = j; v < j + extent; ++v)
                *to++ = u >= 0 && u < rows && v >= 0 && v < columns ? image + (u * columns + v) * channels : outside;
    }

    /// targets (+)= A' m A + bias for `channels` channels from the n-th.
    static void inverse(const T* sums, index_t plane, index_t ld, index_t count, index_t channels, const T* bias,
                        T* const* targets, index_t n, bool accumulate) {
        for (index_t t = 0; t < count; ++t, targets += M * M)
            for (index_t c = 0; c < channels; c += S::width) {
                const index_t lanes = channels - c;
                V half[size * M];
                for (int j = 0; j < size; ++j) {
                    V m[size], column[M];
                    DIEM_UNROLL for (int i = 0; i < size; ++i) m[i] =
                        S::load(sums + (i * size + j) * plane + t * ld + c);
                    F::template output<T>(m, column);
                    DIEM_UNROLL for (int i = 0; i < M; ++i) half[i * size + j] = column[i];
                }
                V offset = {};
                if (bias) offset = lanes >= S::width ? S::load(bias + c) : S::load(bias + c, lanes);
                for (int i = 0; i < M; ++i) {
                    V y[M];
                    F::template output<T>(half + i * size, y);
                    DIEM_UNROLL for (int j = 0; j < M; ++j) {
                        T* const to = targets[i * M + j];
                        if (!to) continue;
                        V value = y[j] + offset;
                        if (lanes >= S::width) {
                            if (accumulate) value += S::load(to + n + c);
                            S::store(to + n + c, value);
                        } else {
                            if (accumulate) value += S::load(to + n + c, lanes);
                            S::store(to + n + c, value, lanes);
                        }
                    }
                }
            }
    }

    static void forward(const conv3x3_shape& g, const T* packed, const T* bias, const T* x, T* y, bool accumulate,
                        index_t first, index_t last, T* workspace) {
        run(g.height, g.width, g.in, g.out, g.x_step(), g.y_step(), packed, bias, x, y, accumulate, first, last,
            workspace);
    }
    static void vjp_input(const conv3x3_shape& g, const T* packed, const T* y_bar, T* x_bar, bool accumulate,
                          index_t first, index_t last, T* workspace) {
        run(g.height, g.width, g.out, g.in, g.y_step(), g.x_step(), packed, nullptr, y_bar, x_bar, accumulate, first,
            last, workspace);
    }

    // --------------------------------------------------------------------------------------------- parameter VJP

    static constexpr index_t params_tiles = 64;

    static index_t params_workspace_size(const conv3x3_shape&, index_t in, index_t out) {
        return points * (in * round_up(out, S::panel) + plane_size(P::words(params_tiles), pitch(in)) +
                         plane_size(P::words(params_tiles), pitch(out))) +
               std::max(round_up(in, S::panel), round_up(out, S::panel));
    }

    /// As conv3x3_direct::vjp_params.
    static void vjp_params(const conv3x3_shape& g, const T* x, const T* y_bar, T* kernel_bar, index_t in_first,
                           index_t in_last, index_t out_first, index_t out_last, bool accumulate, T* workspace) {
        const index_t in = in_last - in_first, out = out_last - out_first;
        const index_t ldx = pitch(in), ldy = pitch(out), ldu = round_up(out, S::panel), limit = params_tiles;
        const index_t x_plane = plane_size(P::words(limit), ldx), y_plane = plane_size(P::words(limit), ldy);
        T* const sums = workspace;
        T* const x_planes = sums + points * in * ldu;
        T* const y_planes = x_planes + points * x_plane;
        T* const zeros = y_planes + points * y_plane;
        std::fill_n(sums, points * in * ldu, T(0));
        std::fill_n(zeros, std::max(in, out), T(0));
        const T* x_from[params_tiles * size * size];
        const T* y_from[params_tiles * M * M];
        index_t count = 0;
        const auto block = [&] {
            transform<size, true>(x_from, count, in, x_planes, x_plane);
            transform<M, true>(y_from, count, out, y_planes, y_plane);
            for (int k = 0; k < points; ++k)
                for (index_t n = 0; n < out; n += S::panel)
                    outer_product<T, P>(x_planes + k * x_plane, ldx, in, P::words(count), y_planes + k * y_plane + n,
                                        ldy, round_up(std::min<index_t>(S::panel, out - n), S::width),
                                        sums + k * in * ldu + n, ldu, true);
            count = 0;
        };
        for_bands(g.height, 0, g.items * conv_bands(g.height), [&](index_t item, index_t begin, index_t end) {
            for (index_t i = begin; i < end; i += M)
                for (index_t j = 0; j < g.width; j += M) {
                    const T* const none = zeros;
                    place<size>(x + item * g.x_step() + in_first, g.height, g.width, g.in, i - 1, j - 1, none,
                                x_from + count * size * size);
                    place<M>(y_bar + item * g.y_step() + out_first, g.height, g.width, g.out, i, j, none,
                             y_from + count * M * M);
                    if (++count == limit) block();
                }
        });
        if (count) block();
        for (index_t c = 0; c < in; ++c)
            for (index_t d = 0; d < out; d += S::width) {
                typename S::vec u[points], rows[3 * size], g_bar[9];
                for (int i = 0; i < points; ++i) u[i] = S::load(sums + (i * in + c) * ldu + d);
                for (int j = 0; j < size; ++j) F::template kernel_adjoint<T>(u + j, rows + j, size);
                for (int p = 0; p < 3; ++p) F::template kernel_adjoint<T>(rows + p * size, g_bar + 3 * p, 1);
                for (int t = 0; t < 9; ++t) {
                    T* const to = kernel_bar + (t * g.in + in_first + c) * g.out + out_first + d;
                    const index_t lanes = out - d;
                    if (accumulate) g_bar[t] += load_some(to, lanes);
                    if (lanes >= S::width)
                        S::store(to, g_bar[t]);
                    else
                        S::store(to, g_bar[t], lanes);
                }
            }
    }
};

}  // namespace DIEM_SIMD_NAMESPACE
}  // namespace diem::detail::eigen
