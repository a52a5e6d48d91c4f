// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <concepts>
#include <string>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/backend/concept.hpp>
#include <diem/core/check.hpp>

/// \file
/// The Frechet distance of two sets of features, as of the FID.
/// \snippet tests/examples/metrics.cpp metrics/frechet.hpp

namespace diem::metrics {

/// Mean and covariance of a set of feature vectors. `cov` is features x features, symmetric, with divisor count - 1.
struct moments {
    index_t features = 0, count = 0;
    std::vector<double> mean, cov;
};

namespace detail {
/// y = y sqrt(max(a, 0)) sqrt(max(b, 0)).
struct scale_by_roots {
    template <class V>
    DIEM_HOST_DEVICE void operator()(V& y, const V& a, const V& b) const {
        using std::abs;
        using std::sqrt;
        using T = typename diem::detail::random_scalar<V>::type;
        y = y * sqrt(T(0.5) * (a + abs(a))) * sqrt(T(0.5) * (b + abs(b)));
    }
};

inline void check_moments(const char* name, const moments& m) {
    check_value("frechet_distance", m.count >= 2,
                std::string(name) + " has " + std::to_string(m.count) + " items, expected at least 2");
    check_size("frechet_distance", std::string(name) + ".mean.size()", static_cast<index_t>(m.mean.size()), m.features);
    check_size("frechet_distance", std::string(name) + ".cov.size()", static_cast<index_t>(m.cov.size()),
               m.features * m.features);
}
}  // namespace detail

/// Accumulates `moments` over batches in float64, on a double backend of its own choice (`eigen_backend<double>`); the
/// batches may come from any backend. Per batch, with X_c the centred batch, delta the difference of the means and n_a,
/// n_b the counts: S += X_c X_c' + n_a n_b / (n_a + n_b) delta delta' (Chan, Golub, LeVeque 1979), so nothing cancels.
template <Backend B>
    requires std::same_as<scalar_t<B>, double>
class moments_accumulator {
public:
    /// `backend` must outlive the accumulator.
    moments_accumulator(B& backend, index_t features) : backend_(&backend), scatter_(backend, features, features) {
        check_value("moments_accumulator", features > 0, "features must be > 0");
        mean_.assign(static_cast<std::size_t>(features), 0.0);
        backend.fill(scatter_.view(), 0.0);
    }

    [[nodiscard]] index_t features() const { return scatter_.features(); }
    [[nodiscard]] index_t count() const { return count_; }

    /// Adds the items of `x`, features x items, in the memory of `from`. value_error where one is not finite: the batch is
    /// then left out as a whole.
    template <Backend From>
    void add(From& from, const_view_t<From> x) {
        const index_t d = features(), n = x.items();
        check_size("moments_accumulator::add", "x.features()", x.features(), d);
        if (n == 0) return;
        const auto host = to_host(from, x);
        const auto size = static_cast<std::size_t>(d);
        std::vector<double> centred(size * (static_cast<std::size_t>(n) + 1)), mean(size, 0.0);
        for (std::size_t k = 0; k < host.size(); ++k) {
            centred[k] = static_cast<double>(host[k]);
            mean[k % size] += centred[k];
        }
        for (std::size_t j = 0; j < size; ++j) {
            mean[j] /= static_cast<double>(n);
            if (!std::isfinite(mean[j]))
                throw value_error("moments_accumulator::add: feature " + std::to_string(j) + " is not finite");
        }
        for (std::size_t k = 0; k < host.size(); ++k) centred[k] -= mean[k % size];
        // The shift of the mean as one more column.
        const double old = static_cast<double>(count_), added = static_cast<double>(n), total = old + added;
        double* const shift = centred.data() + host.size();
        for (std::size_t j = 0; j < size; ++j) {
            const double delta = mean[j] - mean_[j];
            shift[j] = std::sqrt(old * added / total) * delta;
            mean_[j] += delta * (added / total);
        }
        count_ += n;
        const auto columns = to_backend(*backend_, centred, d, n + 1);
        backend_->gemm(1.0, columns.view(), op::none, columns.view(), op::transpose, 1.0, scatter_.view());
    }

    /// The moments so far. value_error with fewer than two items.
    [[nodiscard]] moments result() const {
        check_value("moments_accumulator::result", count_ >= 2,
                    "has " + std::to_string(count_) + " items, expected at least 2");
        moments m{features(), count_, mean_, to_host(*backend_, scatter_)};
        for (double& value : m.cov) value /= static_cast<double>(count_ - 1);
        return m;
    }

private:
    B* backend_;
    batch<B> scatter_;
    std::vector<double> mean_;
    index_t count_ = 0;
};

/// Moments of one batch, see `moments_accumulator`.
template <Backend B, Backend From>
[[nodiscard]] moments moments_of(B& backend, From& from, const_view_t<From> x) {
    moments_accumulator<B> sum(backend, x.features());
    sum.add(from, x);
    return sum.result();
}

/// Squared Frechet distance of N(m1, S1) and N(m2, S2), the usual figure of the "Frechet Inception distance" for whatever
/// features were given:
///
///     |m1 - m2|^2 + tr(S1 + S2 - 2 (S1^1/2 S2 S1^1/2)^1/2)
///
/// The trace of the last root is taken as the sum of the square roots of the eigenvalues of L^1/2 V' S2 V L^1/2, S1 = V L V'.
/// Eigenvalues below zero (rounding, fewer items than features) count as zero, and so does a result below zero.
/// Source: Dowson, Landau 1982; Heusel et al. 2017 (where `sqrtm` of the unsymmetric S1 S2 is used instead).
template <Backend B>
    requires std::same_as<scalar_t<B>, double>
[[nodiscard]] double frechet_distance(B& backend, const moments& a, const moments& b) {
    detail::check_moments("a", a);
    detail::check_moments("b", b);
    check_size("frechet_distance", "b.features", b.features, a.features);
    const index_t d = a.features;
    double distance = 0;
    for (std::size_t j = 0; j < a.mean.size(); ++j) {
        const double delta = a.mean[j] - b.mean[j];
        distance += delta * delta;
    }
    for (std::size_t j = 0; j < a.cov.size(); j += static_cast<std::size_t>(d) + 1) distance += a.cov[j] + b.cov[j];
    check_value("frechet_distance", std::isfinite(distance), "moments are not finite");

    auto v = to_backend(backend, a.cov, d, d);
    auto s = to_backend(backend, b.cov, d, d);
    batch<B> w(backend, d, 1), product(backend, d, d);
    backend.eigh(v.view(), w.flat());
    backend.gemm(1.0, s.view(), op::none, v.view(), op::none, 0.0, product.view());
    backend.gemm(1.0, v.view(), op::transpose, product.view(), op::none, 0.0, s.view());
    const const_vector_t<B> values = w.flat();
    backend.map(detail::scale_by_roots{}, s.view(), per_feature{values}, per_item{values});
    backend.eigh(s.view(), w.flat());
    for (const double value : to_host(backend, w)) distance -= 2 * std::sqrt(value < 0 ? 0.0 : value);
    return distance < 0 ? 0.0 : distance;
}

/// Of two batches of features in the memory of `from`.
template <Backend B, Backend From>
[[nodiscard]] double frechet_distance(B& backend, From& from, const_view_t<From> x, const_view_t<From> y) {
    return frechet_distance(backend, moments_of(backend, from, x), moments_of(backend, from, y));
}

}  // namespace diem::metrics
