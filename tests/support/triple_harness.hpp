// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/backend/concept.hpp>
#include <diem/nn/update.hpp>

#include "support/catch.hpp"

/// One check for every kernel triple.
namespace diem::test {

struct extent {
    index_t features, items;
};

/// A kernel y = f(inputs): the first `tangents` inputs have tangents in `jvp`; `vjp` gives a cotangent for every input
/// (parameters included).
template <Backend B>
struct triple {
    using arrays = std::vector<batch<B>>;
    std::string name;
    std::vector<extent> inputs;
    extent result;
    std::size_t tangents = 1;
    std::function<void(B&, arrays&, view_t<B>, nn::update)> forward;
    std::function<void(B&, arrays&, arrays&, view_t<B>, nn::update)> jvp;        // inputs, tangents, y_dot
    std::function<void(B&, arrays&, const_view_t<B>, arrays&, nn::update)> vjp;  // inputs, y_bar, cotangents
    bool always_overwrites_parameters = false;  // cotangents beyond `tangents` ignore the mode
    double cancellation =
        0;  // of the Jacobian's entries, where they are differences of larger terms: the size of those
};

namespace detail {
template <class T>
std::vector<double> widened(const std::vector<T>& v) {
    return {v.begin(), v.end()};
}
inline double inner(const std::vector<double>& a, const std::vector<double>& b) {
    double sum = 0;
    for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
    return sum;
}
inline double norm(const std::vector<double>& a) { return std::sqrt(inner(a, a)); }
/// Largest difference over the largest entry; NaN where anything is not finite.
inline double distance(const std::vector<double>& a, const std::vector<double>& b) {
    double top = 0, worst = 0;
    if (a.size() != b.size()) return std::numeric_limits<double>::quiet_NaN();
    for (std::size_t i = 0; i < a.size(); ++i) {
        if (!std::isfinite(a[i]) || !std::isfinite(b[i])) return std::numeric_limits<double>::quiet_NaN();
        top = std::max(top, std::abs(b[i]));
        worst = std::max(worst, std::abs(a[i] - b[i]));
    }
    return worst / (top > 0 ? top : 1);
}
}  // namespace detail

/// Checks `jvp` against a central difference (double only), <u, J v> = <J' u, v>, the cotangents of all inputs against the
/// difference (double only), overwrite on NaN, and accumulate.
template <Backend B>
void check_triple(B& b, const triple<B>& t) {
    using T = scalar_t<B>;
    using arrays = typename triple<B>::arrays;
    constexpr bool exact = sizeof(T) == 8;
    const double eps = std::numeric_limits<T>::epsilon();
    INFO(t.name << (exact ? " (double)" : " (float)"));
    std::uint32_t draw = 0;
    const auto random = [&](const extent& e) {
        batch<B> x(b, e.features, e.items);
        b.fill_normal(random_key{77, random_lane::user, draw++, 0}, x.view());
        return x;
    };
    const auto filled = [&](const extent& e, double value) {
        batch<B> x(b, e.features, e.items);
        b.fill(x.view(), static_cast<T>(value));
        return x;
    };
    const auto host = [&](const batch<B>& x) { return detail::widened(to_host(b, x)); };
    const double nan = std::numeric_limits<double>::quiet_NaN();
    arrays x, u, bars;
    for (const auto& e : t.inputs) {
        x.push_back(random(e));
        u.push_back(random(e));
        bars.push_back(filled(e, nan));
    }
    const batch<B> y_bar = random(t.result);
    batch<B> y = filled(t.result, nan), y_dot = filled(t.result, nan);
    t.forward(b, x, y.view(), nn::update::overwrite);
    t.jvp(b, x, u, y_dot.view(), nn::update::overwrite);
    t.vjp(b, x, y_bar.cview(), bars, nn::update::overwrite);
    const auto hy = host(y), hd = host(y_dot), hg = host(y_bar);

    // Adjoint identity over the inputs that have tangents.
    double left = detail::inner(hg, hd), right = 0, size = detail::norm(hg) * detail::norm(hd);
    for (std::size_t k = 0; k < t.tangents; ++k) {
        right += detail::inner(host(bars[k]), host(u[k]));
        size += detail::norm(host(bars[k])) * detail::norm(host(u[k]));
        size += t.cancellation * detail::norm(hg) * detail::norm(host(u[k]));
    }
    CHECK(std::abs(left - right) <= 64 * eps * size);

    // Central differences along u, over the first `count` inputs.
    if (exact) {
        const double step = 1e-5;
        const auto difference = [&](std::size_t count) {
            std::vector<double> d[2];
            for (int side = 0; side < 2; ++side) {
                arrays moved;
                for (std::size_t k = 0; k < x.size(); ++k) {
                    batch<B> m(b, t.inputs[k].features, t.inputs[k].items);
                    b.copy(x[k].cview(), m.view());
                    if (k < count) b.axpby(side == 0 ? step : -step, u[k].cview(), 1.0, m.view());
                    moved.push_back(std::move(m));
                }
                batch<B> out = filled(t.result, nan);
                t.forward(b, moved, out.view(), nn::update::overwrite);
                d[side] = host(out);
            }
            for (std::size_t i = 0; i < d[0].size(); ++i) d[0][i] = (d[0][i] - d[1][i]) / (2 * step);
            return d[0];
        };
        CHECK(detail::distance(hd, difference(t.tangents)) <= 1e-7);
        const auto along = difference(x.size());
        double sum = 0, scale = detail::norm(hg) * detail::norm(along);
        for (std::size_t k = 0; k < x.size(); ++k) sum += detail::inner(host(bars[k]), host(u[k]));
        CHECK(std::abs(detail::inner(hg, along) - sum) <= 1e-7 * scale + 1e-12);
    }

    // Accumulate: a second application on top of ones.
    const auto plus_one = [](std::vector<double> v) {
        for (double& e : v) e += 1;
        return v;
    };
    batch<B> y_2 = filled(t.result, 1), dot_2 = filled(t.result, 1);
    arrays bars_2;
    for (const auto& e : t.inputs) bars_2.push_back(filled(e, 1));
    t.forward(b, x, y_2.view(), nn::update::accumulate);
    t.jvp(b, x, u, dot_2.view(), nn::update::accumulate);
    t.vjp(b, x, y_bar.cview(), bars_2, nn::update::accumulate);
    CHECK(detail::distance(host(y_2), plus_one(hy)) <= 16 * eps);
    CHECK(detail::distance(host(dot_2), plus_one(hd)) <= 32 * eps);
    for (std::size_t k = 0; k < x.size(); ++k)
        if (k < t.tangents || !t.always_overwrites_parameters) {
            INFO("cotangent " << k);
            CHECK(detail::distance(host(bars_2[k]), plus_one(host(bars[k]))) <= 64 * eps);
        }
}

}  // namespace diem::test
