// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <utility>

#include <diem/backend/batch.hpp>
#include <diem/backend/functors.hpp>
#include <diem/linop/compose.hpp>
#include <diem/linop/covariance.hpp>
#include <diem/linop/diagonal.hpp>
#include <diem/linop/image_basis.hpp>
#include <diem/posterior/observation.hpp>

/// \file
/// Observations that are diagonal in a basis.
/// \snippet tests/examples/posterior.cpp posterior/in_basis.hpp

namespace diem::posterior {

/// The variance of independent noise, where all rows and items have the same; else none.
[[nodiscard]] inline std::optional<double> common_variance_of(auto& /*b*/, const linop::isotropic_covariance& noise) {
    return noise.variance();
}
template <Backend B>
[[nodiscard]] std::optional<double> common_variance_of(B& b, const linop::diagonal_covariance<B>& noise) {
    const auto values = to_host(b, noise.variances().values().view());
    for (const auto v : values)
        if (v != values.front()) return std::nullopt;
    return values.empty() ? std::nullopt : std::optional(static_cast<double>(values.front()));
}
template <Backend B>
[[nodiscard]] std::optional<double> common_variance_of(B& /*b*/, const auto& /*noise*/) {
    return std::nullopt;
}

namespace detail {

/// From g, the diagonal of H A'A H', and s = H A'y: a = sqrt(g) and y = s / a; both 0 where nothing is seen.
struct gain_and_value {
    index_t features;
    double least;
    template <class T>
    DIEM_HOST_DEVICE void operator()(index_t i, T* g, T* s) const {
        using std::sqrt;
        for (index_t j = i * features; j < (i + 1) * features; ++j) {
            const bool seen = g[j] > T(least);
            g[j] = seen ? sqrt(g[j]) : T(0);
            s[j] = seen ? s[j] / g[j] : T(0);
        }
    }
};

}  // namespace detail

/// What y = A x + e says of the coefficients z = H x, where A'A is diagonal in that basis and e ~ N(0, s^2 I): with
/// H A'A H' = diag(g), p(y | x) is proportional to N(H A'y / sqrt(g); sqrt(g) z, s^2 I). So p(z | y) has the closed forms of
/// element-wise operators. It is for Fourier samples of one coil, whole or by columns, and circular convolutions.
template <Backend B>
class basis_observation {
    using T = scalar_t<B>;

public:
    /// None where A'A is not diagonal, by a random vector of coefficients, within 1e-4 of it, or the noise not of one variance.
    /// Holds copies.
    template <class Observation>
    [[nodiscard]] static std::optional<basis_observation> make(B& b, const Observation& observed,
                                                               const linop::image_basis& basis) {
        const auto variance = common_variance_of(b, observed.noise());
        if (!variance) return std::nullopt;
        const index_t n = observed.forward_operator().cols(), items = observed.items(), few = std::min(block, items);
        double energy = 0, error = 0;
        const auto examine = [&](index_t first, view_t<B> diagonal, view_t<B> value) {
            const index_t count = value.items();
            const auto part = observed.items(first, count);
            const auto& a = part.forward_operator();
            const auto normal = [&](view_t<B> z) {  // z = H A'A H'z
                basis.apply_adjoint(b, const_view_t<B>(z), value);
                linop::normal(a).apply(b, const_view_t<B>(value), z);
                basis.apply(b, z, z);
            };
            batch<B> z(b, n, count), expected(b, n, count);
            b.fill(diagonal, T(1));
            normal(diagonal);
            b.fill_normal(random_key{.seed = 1}.skip_items(static_cast<std::uint32_t>(first)), z.view());
            b.map(functors::product{}, expected.view(), z.cview(), const_view_t<B>(diagonal));
            normal(z.view());
            b.axpby(-1.0, expected.cview(), 1.0, z.view());
            error += square_of(b, z);
            energy += square_of(b, expected);
            a.apply_adjoint(b, part.y(), value);
            basis.apply(b, const_view_t<B>(value), value);
            return error <= 1e-8 * energy;
        };
        {  // most are not, which the first items tell before there is memory of all
            batch<B> g(b, n, few), s(b, n, few);
            if (!examine(0, g.view(), s.view())) return std::nullopt;
        }
        batch<B> g(b, n, items), s(b, n, items);
        for (index_t first = 0; first < items;
             first += block) {  // what is only needed on the way is never of all items
            const index_t count = std::min(block, items - first);
            if (!examine(first, g.view().item_range(first, count), s.view().item_range(first, count)))
                return std::nullopt;
        }
        b.launch(items, 4 * n, detail::gain_and_value{n, 1e-4}, g.view().data(), s.view().data());
        return basis_observation(std::move(s), std::move(g), *variance);
    }

    /// Of z. Refers to this object.
    [[nodiscard]] auto observed(B& b) const {
        return observe(b, y_.cview(), linop::diagonal<B>::per_item(gain_.cview()),
                       linop::isotropic_covariance(y_.features(), variance_));
    }

private:
    static constexpr index_t block = 64;

    basis_observation(batch<B> y, batch<B> gain, double variance)
        : y_(std::move(y)), gain_(std::move(gain)), variance_(variance) {}
    [[nodiscard]] static double square_of(B& b, const batch<B>& x) {
        batch<B, double> each(b, x.items(), 1);
        b.dot(x.view(), x.view(), each.flat());
        double sum = 0;
        for (const double v : to_host(b, each)) sum += v;
        return sum;
    }

    batch<B> y_, gain_;
    double variance_;
};

}  // namespace diem::posterior
