// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <numeric>

#include <diem/backend/eigen/gemm_packed.hpp>
#include <diem/backend/eigen/simd_level.hpp>

/// \file
/// 3x3 convolution as a product whose rows are gathered by pointer: the nine taps of a pixel are nine pointers into the
/// image (or to a row of zeros outside it), so there is no im2col copy. Any stride, any size, any channels.
/// Images are height-width-channel, kernels (3, 3, in, out); conv3x3.hpp documents the operations.

namespace diem::detail::eigen {
inline namespace DIEM_SIMD_NAMESPACE {

/// Sizes of a 3x3 convolution with zero padding 1: x is items x (height, width, in), y is items x (rows(), columns(),
/// out), the channel fastest. Strides are in elements.
struct conv3x3_shape {
    index_t items = 0, height = 0, width = 0, in = 0, out = 0;
    index_t stride = 1;                  ///< 1 or 2
    index_t x_stride = 0, y_stride = 0;  ///< between items; 0 means contiguous

    constexpr index_t rows() const { return (height + stride - 1) / stride; }
    constexpr index_t columns() const { return (width + stride - 1) / stride; }
    constexpr index_t x_step() const { return x_stride ? x_stride : height * width * in; }
    constexpr index_t y_step() const { return y_stride ? y_stride : rows() * columns() * out; }
    /// With x and y exchanged: at stride 1 the shape of the input VJP.
    constexpr conv3x3_shape turned() const { return {items, height, width, out, in, stride, y_stride, x_stride}; }
};

/// Result rows of one unit of work.
inline constexpr index_t conv_band = 4;

constexpr index_t conv_bands(index_t rows) { return (rows + conv_band - 1) / conv_band; }

/// Calls f(item, first_row, last_row) for the bands first .. last - 1 of images with `rows` rows.
template <class F>
void for_bands(index_t rows, index_t first, index_t last, F&& f) {
    const index_t per_item = conv_bands(rows);
    for (index_t band = first; band < last; ++band) {
        const index_t row = band % per_item * conv_band;
        f(band / per_item, row, std::min(row + conv_band, rows));
    }
}

template <class T>
struct conv3x3_direct {
    using S = simd<T>;
    static constexpr index_t chunk = round_up(96, std::lcm(S::rows, 8));  ///< pixels of one product: whole tiles
    static constexpr index_t gather_limit = 16;  ///< with fewer channels the nine taps are copied into one row

    // ------------------------------------------------------------------------------------------------ weights

    static index_t weights_size(const conv3x3_shape& g) {
        return std::max(packed_size<T>(9 * g.in, g.out), packed_size<T>(9 * g.out, g.in));
    }

    /// Panels first .. last - 1 of the (9 in) x out matrix.
    static void pack(const conv3x3_shape& g, const T* kernel, T* packed, index_t first, index_t last) {
        const index_t from = first * S::panel;
        pack_panels<T>(
            9 * g.in, std::min(g.out, last * S::panel) - from,
            [&](index_t k, index_t n) { return kernel[k * g.out + from + n]; }, packed + from * 9 * g.in);
    }

    /// The same of the (9 out) x in matrix of the transposed taps.
    static void pack_adjoint(const conv3x3_shape& g, const T* kernel, T* packed, index_t first, index_t last) {
        packed += first * S::panel * 9 * g.out;
        for (index_t n = first * S::panel; n < std::min(g.in, last * S::panel); n += S::panel)
            for (index_t t = 0; t < 9; ++t, packed += g.out * S::panel)
                for (index_t c = 0; c < S::panel; ++c) {
                    const T* const from = kernel + (t * g.in + n + c) * g.out;
                    for (index_t d = 0; d < g.out; ++d) packed[d * S::panel + c] = n + c < g.in ? from[d] : T(0);
                }
    }

    // ------------------------------------------------------------------------------------- forward and input VJP

    static index_t workspace_size(const conv3x3_shape& g) {
        const index_t depth = std::max(g.in, g.out);
        return depth + chunk * 9 * gather_limit;
    }

    /// Pixels whose products are computed together: pointers to the sources of `taps` taps and to the result.
    struct pixels {
        const T* source[9 * chunk];
        T* target[chunk];
        index_t count = 0;
    };

    /// target (+)= sum over taps of source[tap] weights[ids[tap]] + bias; `all` is the number of taps of the weights.
    static void flush(pixels& p, index_t taps, const int* ids, index_t all, index_t depth, index_t columns,
                      const T* packed, const T* bias, bool accumulate) {
        for (index_t n = 0; n < columns; n += S::panel, packed += all * depth * S::panel)
            tile_blocks<T>(p.count, columns - n, [&]<int R, int V>(index_t r) {
                tile_sums<T, R, V> sums(bias ? bias + n : nullptr, columns - n);
                for (index_t t = 0; t < taps; ++t)
                    sums.add(p.source + t * chunk + r, depth, packed + ids[t] * depth * S::panel);
                sums.write([&](int i) { return p.target[r + i] + n; }, columns - n, accumulate);
            });
        p.count = 0;
    }

    /// The nine taps around (u + 1, v + 1) in a row: `in` values each, zero outside the image.
    static void gather(const conv3x3_shape& g, const T* image, index_t u, index_t v, T* to) {
        const index_t run = 3 * g.in;
        const bool interior = v >= 0 && v + 2 < g.width;
        for (index_t a = 0; a < 3; ++a, ++u, to += run) {
            if (u < 0 || u >= g.height) {
                for (index_t k = 0; k < run; ++k) to[k] = 0;
            } else if (interior) {
                const T* const from = image + (u * g.width + v) * g.in;
                for (index_t k = 0; k < run; ++k) to[k] = from[k];
            } else {
                for (index_t b = 0; b < 3; ++b)
                    for (index_t k = 0; k < g.in; ++k)
                        to[b * g.in + k] =
                            v + b >= 0 && v + b < g.width ? image[(u * g.width + v + b) * g.in + k] : T(0);
            }
        }
    }

    static void forward(const conv3x3_shape& g, const T* packed, const T* bias, const T* x, T* y, bool accumulate,
                        index_t first, index_t last, T* workspace) {
        static constexpr int ids[9] = {0, 1, 2, 3, 4, 5, 6, 7, 8};
        const index_t rows = g.rows(), columns = g.columns(), s = g.stride, in = g.in;
        const bool copy = in < gather_limit;
        T* const zeros = workspace;
        T* const copies = workspace + std::max(g.in, g.out);
        std::fill_n(zeros, in, T(0));
        pixels p;
        const auto finish = [&] {
            if (copy)
                flush(p, 1, ids, 1, 9 * in, g.out, packed, bias, accumulate);
            else
                flush(p, 9, ids, 9, in, g.out, packed, bias, accumulate);
        };
        for_bands(rows, first, last, [&](index_t item, index_t begin, index_t end) {
            const T* const image = x + item * g.x_step();
            T* const result = y + item * g.y_step();
            for (index_t i = begin; i < end; ++i)
                for (index_t j = 0; j < columns; ++j) {
                    const index_t n = p.count++;
                    p.target[n] = result + (i * columns + j) * g.out;
                    if (copy) {
                        p.source[n] = copies + n * 9 * in;
                        gather(g, image, s * i - 1, s * j - 1, copies + n * 9 * in);
                    } else {
                        for (index_t t = 0; t < 9; ++t) {
                            const index_t u = s * i + t / 3 - 1, v = s * j + t % 3 - 1;
                            const bool inside = u >= 0 && u < g.height && v >= 0 && v < g.width;
                            p.source[t * chunk + n] = inside ? image + (u * g.width + v) * in : zeros;
                        }
                    }
                    if (p.count == chunk) finish();
                }
        });
        if (p.count) finish();
    }

    /// x_bar[i, j] (+)= sum of y_bar[(i + 1 - a) / s, (j + 1 - b) / s] kernel[a, b]' over the taps that divide: pixels
    /// of equal (i mod s, j mod s) share their taps and are computed together.
    static void vjp_input(const conv3x3_shape& g, const T* packed, const T* y_bar, T* x_bar, bool accumulate,
                          index_t first, index_t last, T* workspace) {
        const index_t rows = g.rows(), columns = g.columns(), s = g.stride;
        T* const zeros = workspace;
        std::fill_n(zeros, g.out, T(0));
        pixels p;
        for (index_t phase = 0; phase < s * s; ++phase) {
            int ids[9];
            index_t taps = 0;
            for (index_t a = 0; a < 3; ++a)
                for (index_t b = 0; b < 3; ++b)
                    if ((phase / s + 1 + a) % s == 0 && (phase % s + 1 + b) % s == 0)
                        ids[taps++] = static_cast<int>(a * 3 + b);
            const auto finish = [&] { flush(p, taps, ids, 9, g.out, g.in, packed, nullptr, accumulate); };
            for_bands(g.height, first, last, [&](index_t item, index_t begin, index_t end) {
                const T* const image = y_bar + item * g.y_step();
                T* const result = x_bar + item * g.x_step();
                for (index_t i = begin + phase / s; i < end; i += s)
                    for (index_t j = phase % s; j < g.width; j += s) {
                        const index_t n = p.count++;
                        p.target[n] = result + (i * g.width + j) * g.in;
                        for (index_t t = 0; t < taps; ++t) {
                            const index_t u = (i + 1 - ids[t] / 3), v = (j + 1 - ids[t] % 3);
                            const bool inside = u >= 0 && u / s < rows && v >= 0 && v / s < columns;
                            p.source[t * chunk + n] = inside ? image + (u / s * columns + v / s) * g.out : zeros;
                        }
                        if (p.count == chunk) finish();
                    }
            });
            if (p.count) finish();
        }
    }

    // --------------------------------------------------------------------------------------------- parameter VJP

    /// Items copied together, so that small images still give long sums.
    static index_t group(const conv3x3_shape& g) {
        return std::clamp<index_t>(256 / std::max<index_t>(1, g.rows() * g.columns()), 1,
                                   std::max<index_t>(1, g.items));
    }

    static index_t params_workspace_size(const conv3x3_shape& g, index_t in, index_t out) {
        const index_t height = g.height + 2, width = g.width + 2;
        return group(g) * (height * width * round_up(in, S::rows) + g.rows() * g.columns() * round_up(out, S::panel)) +
               S::panel;
    }

    /// One tap of kernel_bar for one block of input channels and one panel of output channels.
    static void params_tile(const conv3x3_shape& g, const T* x_panel, const T* y_panel, index_t items, index_t tap,
                            index_t in, index_t out, T* kernel_bar) {
        const auto run = [&]<int R, int V>(index_t first) {
            tile_sums<T, R, V> sums(nullptr, 0);
            for (index_t m = 0; m < items; ++m)
                for (index_t i = 0; i < g.rows(); ++i) {
                    const index_t row = m * (g.height + 2) + g.stride * i + tap / 3;
                    sums.add_outer(x_panel + (row * (g.width + 2) + tap % 3) * S::rows + first, g.stride * S::rows,
                                   y_panel + (m * g.rows() + i) * g.columns() * S::panel, S::panel, g.columns());
                }
            sums.write([&](int i) { return kernel_bar + (first + i) * g.out; }, out, true);
        };
        row_blocks<S::rows>(0, in, [&]<int R>(index_t first) {
            if (out > S::width)
                run.template operator()<R, 2>(first);
            else
                run.template operator()<R, 1>(first);
        });
    }

    /// kernel_bar[a, b, c, d] (+)= sum over pixels of x[s i + a - 1, s j + b - 1, c] y_bar[i, j, d] for the given channels.
    /// Both factors are copied into panels first: x into [channel block][padded pixel][rows], y_bar into
    /// [panel][pixel][panel].
    static void vjp_params(const conv3x3_shape& g, const T* x, const T* y_bar, T* kernel_bar, index_t in_first,
                           index_t in_last, index_t out_first, index_t out_last, bool accumulate, T* workspace) {
        const index_t pixels = g.rows() * g.columns(), height = g.height + 2, width = g.width + 2;
        if (!accumulate)
            for (index_t t = 0; t < 9; ++t)
                for (index_t c = in_first; c < in_last; ++c)
                    std::fill_n(kernel_bar + (t * g.in + c) * g.out + out_first, out_last - out_first, T(0));
        if (pixels == 0) return;
        const index_t per_group = group(g);
        for (index_t item = 0; item < g.items; item += per_group) {
            const index_t items = std::min(per_group, g.items - item);
            const index_t x_size = items * height * width * S::rows, y_size = items * pixels * S::panel;
            T* const y_panels = workspace;
            T* const x_panels = workspace + round_up(out_last - out_first, S::panel) / S::panel * y_size;

            T* to = x_panels;
            for (index_t c = in_first; c < in_last; c += S::rows) {
                const index_t count = std::min<index_t>(S::rows, in_last - c);
                for (index_t m = 0; m < items; ++m)
                    for (index_t i = 0; i < height; ++i)
                        for (index_t j = 0; j < width; ++j, to += S::rows) {
                            const bool inside = i > 0 && i <= g.height && j > 0 && j <= g.width;
                            const index_t from = (item + m) * g.x_step() + ((i - 1) * g.width + j - 1) * g.in + c;
                            for (index_t k = 0; k < count; ++k) to[k] = inside ? x[from + k] : T(0);
                        }
            }
            to = y_panels;
            for (index_t d = out_first; d < out_last; d += S::panel) {
                const index_t count = std::min<index_t>(S::panel, out_last - d);
                for (index_t m = 0; m < items; ++m) {
                    const T* from = y_bar + (item + m) * g.y_step() + d;
                    for (index_t i = 0; i < pixels; ++i, from += g.out, to += S::panel) {
                        std::copy_n(from, count, to);
                        std::fill_n(to + count, S::panel - count, T(0));
                    }
                }
            }

            for (index_t c = in_first; c < in_last; c += S::rows)
                for (index_t d = out_first; d < out_last; d += S::panel)
                    for (index_t tap = 0; tap < 9; ++tap)
                        params_tile(g, x_panels + (c - in_first) / S::rows * x_size,
                                    y_panels + (d - out_first) / S::panel * y_size, items, tap,
                                    std::min<index_t>(S::rows, in_last - c), std::min<index_t>(S::panel, out_last - d),
                                    kernel_bar + (tap * g.in + c) * g.out + d);
        }
    }
};

}  // namespace DIEM_SIMD_NAMESPACE
}  // namespace diem::detail::eigen
