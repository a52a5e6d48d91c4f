// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <optional>
#include <utility>

#include <diem/backend/batch.hpp>
#include <diem/backend/functors.hpp>
#include <diem/linop/compose.hpp>
#include <diem/linop/covariance.hpp>
#include <diem/linop/diagonal.hpp>
#include <diem/linop/hartley.hpp>
#include <diem/posterior/observation.hpp>

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

/// From g, the diagonal of H A'A H, and s = H A'y: a = sqrt(g) and y = s / a; both 0 where nothing is seen.
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
/// H A'A H = diag(g), p(y | x) is proportional to N(H A'y / sqrt(g); sqrt(g) z, s^2 I). So p(z | y) has the closed forms of
/// element-wise operators. It is for Fourier samples of one coil, whole or by columns, and circular convolutions.
template <Backend B>
class basis_observation {
    using T = scalar_t<B>;

public:
    /// None where A'A is not diagonal, by a random vector of coefficients, within 1e-4 of it, or the noise not of one variance.
    /// Holds copies.
    template <class Observation>
    [[nodiscard]] static std::optional<basis_observation> make(B& b, const Observation& observed,
                                                               const linop::hartley& basis) {
        const auto variance = common_variance_of(b, observed.noise());
        if (!variance) return std::nullopt;
        const auto& a = observed.forward_operator();
        const index_t n = a.cols(), items = observed.items();
        batch<B> g(b, n, items), s(b, n, items);
        const auto normal = [&](view_t<B> z) {  // z = H A'A H z
            basis.apply(b, z, s.view());
            linop::normal(a).apply(b, s.cview(), z);
            basis.apply(b, z, z);
        };
        batch<B> z(b, n, items), expected(b, n, items);
        b.fill(g.view(), T(1));
        normal(g.view());
        b.fill_normal({.seed = 1}, z.view());
        b.map(functors::product{}, expected.view(), z.cview(), g.cview());
        normal(z.view());
        b.axpby(-1.0, expected.cview(), 1.0, z.view());
        if (!(square_of(b, z) <= 1e-8 * square_of(b, expected))) return std::nullopt;
        a.apply_adjoint(b, observed.y(), s.view());
        basis.apply(b, s.cview(), s.view());
        b.launch(items, 4 * n, detail::gain_and_value{n, 1e-4}, g.view().data(), s.view().data());
        return basis_observation(std::move(s), std::move(g), *variance);
    }

    /// Of z. Refers to this object.
    [[nodiscard]] auto observed(B& b) const {
        return observe(b, y_.cview(), linop::diagonal<B>::per_item(gain_.cview()),
                       linop::isotropic_covariance(y_.features(), variance_));
    }

private:
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
