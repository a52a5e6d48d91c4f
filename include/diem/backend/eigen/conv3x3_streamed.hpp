// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>

#include <diem/backend/eigen/conv3x3.hpp>
#include <diem/backend/eigen/simd_level.hpp>

/// \file
/// The forward pass and the input VJP by Winograd's method where the kernel is large and the tiles are few: a transformed
/// kernel, 36 / 9 of the original, would be written to memory and read back for a handful of products. Here the images are
/// transformed first, as a whole; then each panel of result channels transforms the kernel piece by piece, in a cache, and
/// uses each piece at once. Work is split over panels, not over images, so that the kernel is read once. Beyond `most_tiles`
/// the whole kernel pays: of twice as many tiles it was 1.1 - 1.3 times as fast. Sums are made in the
/// order of `conv3x3_winograd::run`: which of the two is taken, by the numbers of images and threads, makes no difference to
/// them.

namespace diem::detail::eigen {
inline namespace DIEM_SIMD_NAMESPACE {

/// Of a pass: `in` and x are what it reads (for the VJP the channels of the result, y_bar), `out` and y what it writes.
template <class T, int M, class P = exact_factors<T>>
struct conv3x3_streamed {
    using W = conv3x3_winograd<T, M, P>;
    using S = simd<T>;
    static constexpr int size = W::size, points = W::points;
    static constexpr index_t depth = 64;       ///< channels of a piece of the kernel
    static constexpr index_t most_tiles = 64;  ///< that share a transformed piece
    static constexpr index_t piece = P::words(depth) * S::panel + S::panel;
    static constexpr index_t ld_sums = S::panel + S::width;

    static index_t across(const conv3x3_shape& g) { return (g.width + M - 1) / M; }
    static index_t per_item(const conv3x3_shape& g) { return (g.height + M - 1) / M * across(g); }
    static index_t tiles(const conv3x3_shape& g) { return g.items * per_item(g); }
    static index_t panels(const conv3x3_shape& g) { return (g.out + S::panel - 1) / S::panel; }
    static index_t pitch(const conv3x3_shape& g) { return W::pitch(P::words(g.in)); }
    static index_t plane(const conv3x3_shape& g) { return W::plane_size(tiles(g), pitch(g)); }
    /// f(item, first row, first column) of a tile.
    template <class F>
    static void at(const conv3x3_shape& g, index_t tile, const F& f) {
        const index_t item = tile / per_item(g), inside = tile % per_item(g);
        f(item, inside / across(g) * M, inside % across(g) * M);
    }

    /// Elements of the transformed images; and of the workspace of each concurrent call of the two functions below.
    static index_t planes_size(const conv3x3_shape& g) { return points * plane(g); }
    static index_t images_workspace_size(const conv3x3_shape& g) { return round_up(g.in, S::panel); }
    static index_t results_workspace_size() { return points * (piece + W::plane_size(most_tiles, ld_sums)); }

    /// Tiles first .. last - 1 of x.
    static void transform_images(const conv3x3_shape& g, const T* x, T* planes, index_t first, index_t last,
                                 T* workspace) {
        std::fill_n(workspace, g.in, T(0));
        const T* const outside = workspace;
        for (index_t t = first; t < last; ++t)
            at(g, t, [&](index_t item, index_t i, index_t j) {
                const T* sources[size * size];
                W::template place<size>(x + item * g.x_step(), g.height, g.width, g.in, i - 1, j - 1, outside, sources);
                W::template transform<size>(sources, 1, g.in, planes + t * pitch(g), plane(g));
            });
    }

    /// y (+)= pass(x) + bias for the panels first .. last - 1 of its channels; `bias` may be null.
    static void results(const conv3x3_shape& g, conv_pass pass, const T* kernel, const T* bias, const T* planes, T* y,
                        bool accumulate, index_t first, index_t last, T* workspace) {
        T* const pieces = workspace;
        T* const sums = pieces + points * piece;
        const index_t sum_plane = W::plane_size(most_tiles, ld_sums), count = tiles(g);
        for (index_t panel = first; panel < last; ++panel) {
            const index_t n = panel * S::panel, channels = std::min<index_t>(S::panel, g.out - n);
            for (index_t c = 0; c < g.in; c += depth) {
                const index_t part = std::min(depth, g.in - c);
                if (pass == conv_pass::forward)
                    W::pack_piece(g, kernel, pieces, piece, n, c, c + part);
                else  // which takes the shape of the forward pass
                    W::pack_adjoint_piece(g.turned(), kernel, pieces, piece, n, c, c + part);
                for (int k = 0; k < points; ++k)
                    gemm_packed<T, P>(planes + k * plane(g) + P::word(c), pitch(g), count, P::words(part),
                                      pieces + k * piece, round_up(channels, S::width), nullptr, sums + k * sum_plane,
                                      ld_sums, c > 0 ? sums_to::go_on : sums_to::replace);
            }
            for (index_t t = 0; t < count; ++t)
                at(g, t, [&](index_t item, index_t i, index_t j) {
                    T* targets[M * M];
                    W::template place<M>(y + item * g.y_step(), g.height, g.width, g.out, i, j,
                                         static_cast<T*>(nullptr), targets);
                    W::inverse(sums + t * ld_sums, sum_plane, ld_sums, 1, channels, bias ? bias + n : nullptr, targets,
                               n, accumulate);
                });
        }
    }
};

/// What conv3x3_streamed needs for a pass by `method`; not `possible` where that is not Winograd's or has more tiles.
struct conv3x3_streamed_plan {
    bool possible = false;
    index_t tiles = 0, panels = 0;                                    ///< into which the two functions below are split
    index_t planes = 0, images_workspace = 0, results_workspace = 0;  ///< elements
};
/// Calls f with the conv3x3_streamed of the method and the pass's own shape; not where there is none.
template <class T, class F>
void with_conv3x3_streamed(const conv3x3_shape& g, conv_pass pass, const conv_method& method, const F& f) {
    with_conv3x3<T>(conv3x3_method<T>(g, pass, method), [&]<class A>(A) {
        if constexpr (requires { typename A::factors; })
            f(conv3x3_streamed<T, A::tile, typename A::factors>{}, pass == conv_pass::forward ? g : g.turned());
    });
}
template <class T>
conv3x3_streamed_plan conv3x3_streamed_sizes(const conv3x3_shape& g, conv_pass pass, const conv_method& method) {
    conv3x3_streamed_plan p;
    with_conv3x3_streamed<T>(g, pass, method, [&](auto s, const conv3x3_shape& own) {
        p = {
            s.tiles(own) <= s.most_tiles, s.tiles(own), s.panels(own), s.planes_size(own), s.images_workspace_size(own),
            s.results_workspace_size()};
    });
    return p;
}
template <class T>
void conv3x3_streamed_images(const conv3x3_shape& g, conv_pass pass, const conv_method& method, const T* x, T* planes,
                             index_t first, index_t last, T* workspace) {
    with_conv3x3_streamed<T>(g, pass, method, [&](auto s, const conv3x3_shape& own) {
        s.transform_images(own, x, planes, first, last, workspace);
    });
}
template <class T>
void conv3x3_streamed_results(const conv3x3_shape& g, conv_pass pass, const conv_method& method, const T* kernel,
                              const T* bias, const T* planes, T* y, bool accumulate, index_t first, index_t last,
                              T* workspace) {
    with_conv3x3_streamed<T>(g, pass, method, [&](auto s, const conv3x3_shape& own) {
        s.results(own, pass, kernel, bias, planes, y, accumulate, first, last, workspace);
    });
}

}  // namespace DIEM_SIMD_NAMESPACE
}  // namespace diem::detail::eigen
