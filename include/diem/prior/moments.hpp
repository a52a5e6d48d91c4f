// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/core/check.hpp>
#include <diem/posterior/sample.hpp>

/// \file
/// What is counted, mended and measured of samples before something is learned from them.
/// \snippet tests/examples/prior.cpp prior/moments.hpp

namespace diem::prior {

namespace detail {

/// Values of sample i into [low, high].
template <class T>
struct clip_sample {
    index_t features, stride;
    T low, high;
    DIEM_HOST_DEVICE void operator()(index_t i, T* x) const {
        T* item = x + i * stride;
        for (index_t j = 0; j < features; ++j) item[j] = item[j] < low ? low : item[j] > high ? high : item[j];
    }
};

template <class T>
struct is_outside {
    index_t features, stride;
    double low, high;
    DIEM_HOST_DEVICE void operator()(index_t i, const T* x, int* out) const {
        const T* item = x + i * stride;
        int outside = 0;
        for (index_t j = 0; j < features; ++j) {
            const auto v = static_cast<double>(item[j]);
            outside = outside != 0 || v < low || v > high ? 1 : 0;
        }
        out[i] = outside;
    }
};

/// Adds feature j of `items` samples, less those of the first sample of all, to its sums: of values and of squares.
template <class T>
struct add_to_moments {
    index_t items, stride;
    DIEM_HOST_DEVICE void operator()(index_t j, const T* x, const T* first, double* sums) const {
        const auto shift = static_cast<double>(first[j]);
        double sum = sums[2 * j], squares = sums[2 * j + 1];
        for (index_t i = 0; i < items; ++i) {
            const double v = static_cast<double>(x[j + i * stride]) - shift;
            sum += v;
            squares += v * v;
        }
        sums[2 * j] = sum;
        sums[2 * j + 1] = squares;
    }
};
/// Mean and standard deviation of feature j from its sums over n samples.
template <class T>
struct finish_moments {
    index_t items;
    DIEM_HOST_DEVICE void operator()(index_t j, const T* first, const double* sums, T* mean, T* deviation) const {
        using std::sqrt;
        const auto n = static_cast<double>(items);
        const double m = sums[2 * j] / n, variance = sums[2 * j + 1] / n - m * m;
        mean[j] = static_cast<T>(static_cast<double>(first[j]) + m);
        deviation[j] = static_cast<T>(variance > 0 ? sqrt(variance) : 0);
    }
};

}  // namespace detail

/// Mean and standard deviation of each feature over samples.
template <Backend B>
struct sample_moments {
    batch<B> mean, deviation;  ///< D x 1; empty: not known
};
template <Backend B>
[[nodiscard]] sample_moments<B> moments_of(B& b, const_view_t<B> x) {
    check_value("prior::moments_of", x.items() > 0, "there are no samples");
    constexpr index_t block = 256;  // one pass over x, which may lie on a disk
    const index_t d = x.features(), n = x.items();
    sample_moments<B> m{batch<B>(b, d, 1), batch<B>(b, d, 1)};
    batch<B, double> sums(b, 2 * d, 1);
    b.fill(sums.view(), 0.0);
    for (index_t first = 0; first < n; first += block) {
        const index_t count = std::min(block, n - first);
        b.launch(d, 4 * count, detail::add_to_moments<scalar_t<B>>{count, x.stride()},
                 x.item_range(first, count).data(), x.data(), sums.view().data());
    }
    b.launch(d, 8, detail::finish_moments<scalar_t<B>>{n}, x.data(), sums.cview().data(), m.mean.view().data(),
             m.deviation.view().data());
    return m;
}

/// `lap_diagnostics::change`; NaN where the first is not known. `resolved`: the least spread it is told in.
template <Backend B>
[[nodiscard]] double change_of(B& b, const sample_moments<B>& before, const sample_moments<B>& now, double resolved) {
    if (before.mean.features() == 0) return std::numeric_limits<double>::quiet_NaN();
    const auto m0 = to_host(b, before.mean), s0 = to_host(b, before.deviation), m1 = to_host(b, now.mean),
               s1 = to_host(b, now.deviation);
    double moved = 0, scale = 0;
    for (std::size_t j = 0; j < m0.size(); ++j) {
        const double dm = static_cast<double>(m1[j] - m0[j]), ds = static_cast<double>(s1[j] - s0[j]);
        moved += dm * dm + ds * ds;
        scale += static_cast<double>(s0[j]) * static_cast<double>(s0[j]);
    }
    scale = std::max(scale, static_cast<double>(m0.size()) * resolved * resolved);
    return scale > 0 ? std::sqrt(moved / scale) : std::numeric_limits<double>::quiet_NaN();
}

/// `lap_diagnostics::variance`.
template <Backend B>
[[nodiscard]] double variance_of(B& b, const sample_moments<B>& m) {
    double sum = 0;
    const auto deviation = to_host(b, m.deviation);
    for (const auto s : deviation) sum += static_cast<double>(s) * static_cast<double>(s);
    return sum / static_cast<double>(deviation.size());
}

/// Brings the values of samples into [low, high].
template <Backend B>
void clip_samples(B& b, view_t<B> x, double low, double high) {
    using T = scalar_t<B>;
    b.launch(x.items(), x.features(),
             detail::clip_sample<T>{x.features(), x.stride(), static_cast<T>(low), static_cast<T>(high)}, x.data());
}

/// Of each sample whether a value lies beyond [low, high].
template <Backend B>
[[nodiscard]] std::vector<int> outside(B& b, const_view_t<B> x, double low, double high) {
    batch<B, int> out(b, x.items(), 1);
    b.launch(x.items(), x.features(), detail::is_outside<scalar_t<B>>{x.features(), x.stride(), low, high}, x.data(),
             out.view().data());
    return to_host(b, out);
}

/// The samples without those that have a value beyond [low, high], in their order.
template <Backend B>
[[nodiscard]] batch<B> remove_outside(B& b, const_view_t<B> x, double low, double high) {
    const auto drop = outside<B>(b, x, low, high);
    const index_t n = x.items(), kept = n - std::count(drop.begin(), drop.end(), 1);
    batch<B> out(b, x.features(), n);  // as large as x, so that it lies where x does
    out.keep_items(kept);
    for (index_t from = 0, to = 0; from < n;) {  // runs of samples that stay
        const auto at = drop.begin() + from;
        const index_t run = std::find(at, drop.end(), 1) - at;
        if (run > 0) b.copy(x.item_range(from, run), out.view().item_range(to, run));
        to += run;
        from += run + 1;
    }
    return out;
}

/// Overwrites samples that are not finite: by the item before them that is, else by the next one; where none is, by zero.
template <Backend B>
void replace_non_finite(B& b, view_t<B> x, const std::vector<bool>& finite) {
    std::vector<index_t> good;
    for (index_t i = 0; i < x.items(); ++i)
        if (finite[static_cast<std::size_t>(i)]) good.push_back(i);
    if (static_cast<index_t>(good.size()) == x.items()) return;
    for (index_t i = 0; i < x.items(); ++i) {
        if (finite[static_cast<std::size_t>(i)]) continue;
        const auto next = std::lower_bound(good.begin(), good.end(), i);
        const view_t<B> item = x.item_range(i, 1);
        if (good.empty())
            b.fill(item, scalar_t<B>(0));
        else
            b.copy(const_view_t<B>(x.item_range(next != good.begin() ? *(next - 1) : *next, 1)), item);
    }
}

}  // namespace diem::prior
