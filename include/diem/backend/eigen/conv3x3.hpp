// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <string>
#include <type_traits>

#include <diem/backend/eigen/bfloat16.hpp>
#include <diem/backend/eigen/conv3x3_direct.hpp>
#include <diem/backend/eigen/conv3x3_tiles.hpp>
#include <diem/backend/eigen/conv3x3_winograd.hpp>
#include <diem/backend/eigen/simd_level.hpp>
#include <diem/backend/product_precision.hpp>
#include <diem/core/check.hpp>

/// \file
/// 3x3 convolution (cross-correlation) with zero padding 1 and stride 1 or 2, on raw pointers:
///
///   y[i, j] = bias + sum_{a, b} x[s i + a - 1, s j + b - 1] kernel[a, b],  x = 0 outside the image.
///
/// Images are height-width-channel inside an item, the kernel is (3, 3, in, out). Nothing allocates, nothing is shared:
/// the caller passes a workspace per thread and splits the work. Forward and input VJP are split into units (bands of
/// four rows of the result, see conv3x3_units), the parameter VJP into blocks of channels. No result depends on the split.
///
/// The kernel is transformed once (conv3x3_transform_weights) and then used for any number of calls, also with other
/// numbers of items: the algorithm of the first two passes does not depend on `items`.
///
/// Algorithms, and the largest error in float32 relative to max |result| against double, normal data, 32 .. 384 channels
/// (benchmarks/conv3x3.cpp):
///
///   |                 | forward         | input VJP       | parameter VJP   | multiplications       |
///   |-----------------|-----------------|-----------------|-----------------|-----------------------|
///   | direct          | 0.8e-6 - 3.4e-6 | 0.6e-6 - 2.3e-6 | 0.3e-6 - 1.1e-6 | 1                     |
///   | winograd2       | 0.2e-6 - 0.7e-6 | 0.2e-6 - 0.9e-6 | 0.3e-6 - 0.6e-6 | 1 / 2.25              |
///   | winograd4       | 1.2e-6 - 3.2e-6 | 1.3e-6 - 4.0e-6 | 0.9e-6 - 1.6e-6 | 1 / 4                 |
///   | winograd2, bf16 | 2.7e-3 - 4.6e-3 | 3.5e-3 - 4.7e-3 | 4.1e-3 - 5.0e-3 | 1 / 2.25, two at once |
///   | winograd4, bf16 | 1.1e-2 - 2.4e-2 | 1.7e-2 - 2.1e-2 | 1.1e-2 - 1.8e-2 | 1 / 4, two at once    |
///   | tiles, bf16     | 1.5e-3 - 2.1e-3 | 2.3e-3 - 3.1e-3 | 2.1e-3 - 2.6e-3 | 1, 16 x 16 at once    |
///
/// (The direct form sums 9 in products one after the other; Winograd's sums are nine times shorter.) With products in bf16,
/// Winograd's transforms are float32, and transformed kernels and images are rounded; relative to the root mean square of the
/// result its error is 1.7 (winograd2) and 4.8 times (winograd4) that of rounding kernel and image themselves, 0.2 %. Tiles,
/// where a processor has them (tiles.hpp), multiply so fast that the direct form wins, which has that error alone. The direct form
/// of vectors rounds nothing: it is taken where there is little to do.

namespace diem::detail::eigen {
inline namespace DIEM_SIMD_NAMESPACE {

enum class conv_algorithm {
    automatic,
    direct,
    winograd2,
    winograd4,
    tiles  ///< of bf16 products where `has_tiles()`; else direct
};

enum class conv_pass { forward, vjp_input, vjp_params };

/// An algorithm, and to what its products round their operands.
struct conv_method {
    conv_algorithm algorithm = conv_algorithm::automatic;
    product_precision products = product_precision::float32;
    constexpr conv_method(conv_algorithm a = conv_algorithm::automatic,  // NOLINT(google-explicit-constructor)
                          product_precision p = product_precision::float32)
        : algorithm(a), products(p) {}
};

/// The channels of kernel_bar that one call computes: in_first <= c < in_last, out_first <= d < out_last.
struct conv3x3_block {
    index_t in_first = 0, in_last = 0, out_first = 0, out_last = 0;
};

inline void check_conv3x3(const char* where, const conv3x3_shape& g) {
    check_value(where, g.items >= 0 && g.height >= 0 && g.width >= 0 && g.in >= 0 && g.out >= 0,
                "shape has a negative size");
    check_value(where, g.stride == 1 || g.stride == 2, "stride is " + std::to_string(g.stride) + ", expected 1 or 2");
}

inline void check_range(const char* where, const char* what, index_t first, index_t last, index_t size) {
    if (first < 0 || last < first || last > size)
        throw shape_error(std::string(where) + ": " + what + " is " + std::to_string(first) + " .. " +
                          std::to_string(last) + ", expected a part of 0 .. " + std::to_string(size));
}

template <class T, class F>
decltype(auto) with_conv3x3(const conv_method& method, F&& f) {
#if defined(DIEM_HAS_TILES)
    if constexpr (std::is_same_v<T, float>)
        if (method.algorithm == conv_algorithm::tiles) return f(conv3x3_tiles{});
#endif
    const bool winograd2 = method.algorithm == conv_algorithm::winograd2;
    if (!winograd2 && method.algorithm != conv_algorithm::winograd4) return f(conv3x3_direct<T>{});
    if constexpr (std::is_same_v<T, float>)
        if (method.products == product_precision::bf16)
            return winograd2 ? f(conv3x3_winograd<T, 2, bfloat16_factors>{})
                             : f(conv3x3_winograd<T, 4, bfloat16_factors>{});
    return winograd2 ? f(conv3x3_winograd<T, 2>{}) : f(conv3x3_winograd<T, 4>{});
}

/// The algorithm that a call with `requested` uses. Stride 2 is always direct. `automatic` takes winograd4 where it was
/// measured to be faster: it needs enough channels to pay for the transforms, an image that fills its tiles, and, for the
/// parameters, enough tiles to pay for passing over (M + 2)^2 in x out sums. Images of one tile with many channels take
/// winograd2: there the transformed kernel, 36 / 9 times the original, costs more to make and to read than it saves.
/// Forward pass and input VJP are chosen by one image alone, so that an item's result depends on no other.
constexpr conv_algorithm conv3x3_algorithm(const conv3x3_shape& g, conv_pass pass, const conv_method& requested = {}) {
    if (g.stride != 1) return conv_algorithm::direct;
    if (requested.algorithm != conv_algorithm::automatic) return requested.algorithm;
    const index_t tiles = (g.height + 3) / 4 * ((g.width + 3) / 4);
    if (36 * tiles * 3 > 9 * g.height * g.width * 2) return conv_algorithm::direct;
    if (pass == conv_pass::vjp_params)
        return g.in >= 16 && g.out >= 16 && g.items * tiles >= 32 ? conv_algorithm::winograd4 : conv_algorithm::direct;
    if (tiles <= 1 && g.in * g.out > index_t{1} << 16) return conv_algorithm::winograd2;
    const index_t depth = pass == conv_pass::forward ? g.in : g.out;
    const index_t results = pass == conv_pass::forward ? g.out : g.in;
    return depth >= 32 || (depth >= 16 && results >= 16) ? conv_algorithm::winograd4 : conv_algorithm::direct;
}

/// The method that a call with `requested` uses: products in bf16 are those of tiles where the processor has them.
template <class T>
conv_method conv3x3_method(const conv3x3_shape& g, conv_pass pass, const conv_method& requested) {
    const bool tiles = std::is_same_v<T, float> && requested.products == product_precision::bf16 && has_tiles() &&
                       g.stride == 1 && std::min(g.in, g.out) >= 16;
    if (tiles && (requested.algorithm == conv_algorithm::automatic || requested.algorithm == conv_algorithm::tiles))
        return {conv_algorithm::tiles, requested.products};
    if (requested.algorithm == conv_algorithm::tiles) return {conv_algorithm::direct, requested.products};
    return {conv3x3_algorithm(g, pass, requested), requested.products};
}

/// Elements of the transformed kernel of a pass (forward or vjp_input).
template <class T>
index_t conv3x3_weights_size(const conv3x3_shape& g, conv_pass pass, const conv_method& method) {
    check_conv3x3("conv3x3_weights_size", g);
    return with_conv3x3<T>(conv3x3_method<T>(g, pass, method), [&](auto a) { return a.weights_size(g); });
}

/// Panels into which the transformed kernel of a pass is cut, `simd<T>::panel` channels of the result each.
template <class T>
index_t conv3x3_panels(const conv3x3_shape& g, conv_pass pass) {
    const index_t results = pass == conv_pass::forward ? g.out : g.in;
    return (results + simd<T>::panel - 1) / simd<T>::panel;
}

/// weights = the kernel as the forward pass or the input VJP reads it; panels first .. last - 1 of it.
template <class T>
void conv3x3_transform_weights(const conv3x3_shape& g, conv_pass pass, const conv_method& method, const T* kernel,
                               T* weights, index_t first, index_t last) {
    check_conv3x3("conv3x3_transform_weights", g);
    check_range("conv3x3_transform_weights", "panels", first, last, conv3x3_panels<T>(g, pass));
    with_conv3x3<T>(conv3x3_method<T>(g, pass, method), [&](auto a) {
        if (pass == conv_pass::forward)
            a.pack(g, kernel, weights, first, last);
        else
            a.pack_adjoint(g, kernel, weights, first, last);
    });
}
template <class T>
void conv3x3_transform_weights(const conv3x3_shape& g, conv_pass pass, const conv_method& method, const T* kernel,
                               T* weights) {
    conv3x3_transform_weights<T>(g, pass, method, kernel, weights, 0, conv3x3_panels<T>(g, pass));
}

/// Units of work of the forward pass or the input VJP: bands of four rows of y or of x, item after item.
inline index_t conv3x3_units(const conv3x3_shape& g, conv_pass pass) {
    return g.items * conv_bands(pass == conv_pass::forward ? g.rows() : g.height);
}

/// Elements of the workspace that each concurrent call of the forward pass or the input VJP needs.
template <class T>
index_t conv3x3_workspace_size(const conv3x3_shape& g, conv_pass pass, const conv_method& method) {
    check_conv3x3("conv3x3_workspace_size", g);
    return with_conv3x3<T>(conv3x3_method<T>(g, pass, method), [&](auto a) { return a.workspace_size(g); });
}

/// y (+)= conv(x, kernel) + bias for the units first .. last - 1; `bias` may be null.
template <class T>
void conv3x3_forward(const conv3x3_shape& g, const conv_method& method, const T* weights, const T* bias, const T* x,
                     T* y, bool accumulate, index_t first, index_t last, T* workspace) {
    check_conv3x3("conv3x3_forward", g);
    check_range("conv3x3_forward", "units", first, last, conv3x3_units(g, conv_pass::forward));
    with_conv3x3<T>(conv3x3_method<T>(g, conv_pass::forward, method),
                    [&](auto a) { a.forward(g, weights, bias, x, y, accumulate, first, last, workspace); });
}

/// x_bar (+)= conv'(y_bar, kernel), the transpose of the forward pass in x, for the units first .. last - 1.
template <class T>
void conv3x3_vjp_input(const conv3x3_shape& g, const conv_method& method, const T* weights, const T* y_bar, T* x_bar,
                       bool accumulate, index_t first, index_t last, T* workspace) {
    check_conv3x3("conv3x3_vjp_input", g);
    check_range("conv3x3_vjp_input", "units", first, last, conv3x3_units(g, conv_pass::vjp_input));
    with_conv3x3<T>(conv3x3_method<T>(g, conv_pass::vjp_input, method),
                    [&](auto a) { a.vjp_input(g, weights, y_bar, x_bar, accumulate, first, last, workspace); });
}

/// All channels of kernel_bar.
constexpr conv3x3_block conv3x3_all(const conv3x3_shape& g) { return {0, g.in, 0, g.out}; }

/// Elements of the workspace that conv3x3_vjp_params needs for a block.
template <class T>
index_t conv3x3_params_workspace_size(const conv3x3_shape& g, const conv_method& method, const conv3x3_block& block) {
    check_conv3x3("conv3x3_params_workspace_size", g);
    return with_conv3x3<T>(conv3x3_method<T>(g, conv_pass::vjp_params, method), [&](auto a) {
        return a.params_workspace_size(g, block.in_last - block.in_first, block.out_last - block.out_first);
    });
}

/// The blocks that `parts` threads share of the parameter VJP: of result channels, and, where these are too few for all threads,
/// of input channels too.
struct conv3x3_params_split {
    index_t in, out, depth, width;  ///< channels, and those of a block
    [[nodiscard]] constexpr index_t across() const { return (out + width - 1) / width; }
    [[nodiscard]] constexpr index_t blocks() const { return across() * std::max<index_t>(1, (in + depth - 1) / depth); }
    [[nodiscard]] constexpr conv3x3_block operator[](index_t k) const {
        const index_t c = k / across() * depth, d = k % across() * width;
        return {c, std::min(in, c + depth), d, std::min(out, d + width)};
    }
};
template <class T>
conv3x3_params_split conv3x3_split_params(const conv3x3_shape& g, const conv_method& method, index_t parts) {
    conv3x3_params_split split{g.in, g.out, 0, 64};
    // What a block does with its channels before it multiplies costs nothing where vectors do, and a part of the time of tiles: of
    // x more than of y_bar, so that x is cut first.
    if (conv3x3_method<T>(g, conv_pass::vjp_params, method).algorithm == conv_algorithm::tiles) {
        constexpr index_t panel = simd<T>::panel;
        const index_t of_in = std::clamp<index_t>((g.in + panel - 1) / panel, 1, parts),
                      of_out = (parts + of_in - 1) / of_in;
        split.width = std::max<index_t>(round_up((g.out + of_out - 1) / of_out, panel), panel);
    }
    const index_t across = std::max<index_t>(1, split.across()), rows = (parts + across - 1) / across;
    split.depth = std::max<index_t>(round_up((g.in + rows - 1) / rows, 16), 16);
    return split;
}

/// kernel_bar[a, b, c, d] (+)= sum over items and pixels of x[s i + a - 1, s j + b - 1, c] y_bar[i, j, d] for the block.
/// Blocks whose edges are multiples of 16 (float, AVX2; simd<T>::panel in general) cost no extra work.
template <class T>
void conv3x3_vjp_params(const conv3x3_shape& g, const conv_method& method, const T* x, const T* y_bar, T* kernel_bar,
                        bool accumulate, const conv3x3_block& block, T* workspace) {
    check_conv3x3("conv3x3_vjp_params", g);
    check_range("conv3x3_vjp_params", "in", block.in_first, block.in_last, g.in);
    check_range("conv3x3_vjp_params", "out", block.out_first, block.out_last, g.out);
    with_conv3x3<T>(conv3x3_method<T>(g, conv_pass::vjp_params, method), [&](auto a) {
        a.vjp_params(g, x, y_bar, kernel_bar, block.in_first, block.in_last, block.out_first, block.out_last,
                     accumulate, workspace);
    });
}

/// bias_bar[d] (+)= sum over items and pixels of y_bar[i, j, d] for first <= d < last: of 64 pixels in T, of these in double.
template <class T>
void conv3x3_vjp_bias(const conv3x3_shape& g, const T* y_bar, T* bias_bar, bool accumulate, index_t first,
                      index_t last) {
    using S = simd<T>;
    constexpr index_t run = 64;
    check_conv3x3("conv3x3_vjp_bias", g);
    check_range("conv3x3_vjp_bias", "out", first, last, g.out);
    const index_t pixels = g.rows() * g.columns(), items = pixels > 0 ? g.items : 0;  // of no pixels: y_bar may be null
    for (index_t d = first; d < last; d += S::width) {
        const index_t count = std::min<index_t>(S::width, last - d);
        double sum[S::width] = {};
        for (index_t m = 0; m < items; ++m) {
            const T* from = y_bar + m * g.y_step() + d;
            for (index_t i = 0; i < pixels; i += run) {
                typename S::vec part = {};
                for (index_t k = i; k < std::min(i + run, pixels); ++k, from += g.out) part += load_some(from, count);
                for (index_t k = 0; k < S::width; ++k) sum[k] += static_cast<double>(part[k]);
            }
        }
        for (index_t k = 0; k < count; ++k)
            bias_bar[d + k] = static_cast<T>(sum[k] + (accumulate ? static_cast<double>(bias_bar[d + k]) : 0.0));
    }
}

}  // namespace DIEM_SIMD_NAMESPACE
}  // namespace diem::detail::eigen
