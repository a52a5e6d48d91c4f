// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <utility>

#include <diem/backend/batch.hpp>
#include <diem/backend/functors.hpp>
#include <diem/core/check.hpp>
#include <diem/linop/concept.hpp>
#include <diem/linop/nonlinear.hpp>

/// \file
/// Observations y = A x + e.
/// \snippet tests/examples/posterior.cpp posterior/observation.hpp

namespace diem::posterior {

/// What was measured: y_i = A_i x_i + e_i, e_i ~ N(0, Sigma_y), for each item of a batch.
///
/// `y`      rows x items, a view of the caller's data
/// `A`      a linear operator (one per item, or one for all), or a `linop::NonlinearOperator`, y_i = f_i(x_i) + e_i, which
///          the posterior denoisers linearise at x_hat; what else needs a linear one does not compile with it
/// `cov_y`  the covariance Sigma_y of the noise (a variance, in squared data units), a `linop::NoiseCovariance`
/// Views must outlive the observation.
template <Backend B, linop::ForwardOperator<B> A, class N>
class observation {
    static_assert(linop::NoiseCovariance<N, B>,
                  "observation: cov_y is not a linop::NoiseCovariance (a symmetric operator with apply_inverse and "
                  "sample), such as linop::isotropic_covariance or linop::diagonal_covariance");

public:
    using operator_type = A;
    using noise_type = N;

    observation(const_view_t<B> y, A a, N cov_y) : y_(y), a_(std::move(a)), cov_y_(std::move(cov_y)) {
        check_size("observation", "y.features()", y.features(), a_.rows());
        check_size("observation", "cov_y.rows()", cov_y_.rows(), a_.rows());
        if (a_.items() != linop::any_items) check_size("observation", "A.items()", a_.items(), y.items());
        if (cov_y_.items() != linop::any_items) check_size("observation", "cov_y.items()", cov_y_.items(), y.items());
    }

    [[nodiscard]] const_view_t<B> y() const { return y_; }
    [[nodiscard]] const A& forward_operator() const { return a_; }
    [[nodiscard]] const N& noise() const { return cov_y_; }
    [[nodiscard]] index_t items() const { return y_.items(); }

    /// The observations of items first .. first + count - 1.
    [[nodiscard]] auto items(index_t first, index_t count) const {
        auto a = a_.items(first, count);
        auto n = cov_y_.items(first, count);
        return observation<B, decltype(a), decltype(n)>(y_.item_range(first, count), std::move(a), std::move(n));
    }

private:
    const_view_t<B> y_;
    A a_;
    N cov_y_;
};

/// An observation with its types deduced.
template <Backend B, class A, class N>
[[nodiscard]] observation<B, A, N> observe(B& /*backend*/, const_view_t<B> y, A a, N cov_y) {
    return {y, std::move(a), std::move(cov_y)};
}

/// y = A x + e with e ~ N(0, cov_y) drawn from `key`. x: cols x n, y: rows x n.
template <Backend B, linop::ForwardOperator<B> A, linop::NoiseCovariance<B> N>
void simulate(B& backend, const A& a, const N& cov_y, const_view_t<B> x, const random_key& key, view_t<B> y) {
    check_size("simulate", "x.features()", x.features(), a.cols());
    check_shape("simulate", "y", y, a.rows(), x.items());
    batch<B> noise(backend, y.features(), y.items());
    cov_y.sample(backend, key, noise.view());
    a.apply(backend, x, y);
    backend.axpby(1.0, noise.cview(), 1.0, y);
}

/// The innovation r = y - A mean, as `value`, and A, or its derivative at `mean` where it is not linear, as `derivative`.
template <Backend B, class Observation>
[[nodiscard]] auto innovation_at(B& b, const Observation& observed, const_view_t<B> mean) {
    auto at = linop::linearize(b, observed.forward_operator(), mean);
    b.map(functors::subtract_from{}, at.value.view(), observed.y());
    return at;
}

}  // namespace diem::posterior
