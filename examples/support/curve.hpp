// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numbers>
#include <string>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/core/check.hpp>
#include <diem/core/random.hpp>
#include <diem/io/config.hpp>
#include <diem/metrics/sinkhorn.hpp>

#include "support/bounds.hpp"

/// Random data on smooth curves, and random projections: what the low-dimensional experiments are made of.
namespace support {

/// Lanes of the random numbers below.
namespace curve_lane {
inline constexpr std::uint32_t shape = diem::random_lane::user + 40;
inline constexpr std::uint32_t position = diem::random_lane::user + 41;
inline constexpr std::uint32_t projection = diem::random_lane::user + 42;
}  // namespace curve_lane

/// A random smooth curve in R^D, each coordinate scaled to [-2, 2]: with a_jk, b_jk, c_jk and u uniform in (0, 1),
///
///     x_j(u) = sum_k a_jk k^-alpha sin(2 pi (k b_jk u + c_jk)),  k = 1 .. ceil(epsilon^(-1 / alpha)).
///
/// Source: the random manifolds of Zenke and Vogels, "The remarkable robustness of surrogate gradient learning" (2021),
/// of dimension one.
class curve {
public:
    curve(diem::index_t features, std::uint64_t seed, double alpha = 3, double epsilon = 1e-3)
        : features_(static_cast<std::size_t>(features)) {
        diem::check_positive("curve", "alpha", alpha);
        diem::check_positive("curve", "epsilon", epsilon);
        const double terms = std::ceil(std::pow(epsilon, -1 / alpha) - 1e-9);
        diem::check_value("curve", terms <= 1e6,
                          "\"alpha\" " + std::to_string(alpha) + " and \"epsilon\" " + std::to_string(epsilon) +
                              " ask for more than a million terms");
        terms_ = static_cast<std::size_t>(terms);
        const diem::random_key key{.seed = seed, .lane = curve_lane::shape};
        for (std::uint32_t n = 0; n < 3 * features_ * terms_; ++n) shape_.push_back(diem::uniform<double>(key, n, 0));
        for (std::size_t k = 1; k <= terms_; ++k) weight_.push_back(std::pow(static_cast<double>(k), -alpha));
        low_.assign(features_, std::numeric_limits<double>::infinity());
        high_.assign(features_, -std::numeric_limits<double>::infinity());
        for (int n = 0; n <= 4096; ++n)
            for (std::size_t j = 0; j < features_; ++j) {
                const double x = coordinate(j, n / 4096.0);
                low_[j] = std::min(low_[j], x);
                high_[j] = std::max(high_[j], x);
            }
    }
    [[nodiscard]] diem::index_t features() const { return static_cast<diem::index_t>(features_); }

    /// The point at u in [0, 1].
    void point(double u, double* x) const {
        for (std::size_t j = 0; j < features_; ++j) x[j] = 4 * (coordinate(j, u) - low_[j]) / (high_[j] - low_[j]) - 2;
    }
    /// Points at uniform u, one after another; `step` numbers the draw.
    [[nodiscard]] std::vector<double> points(diem::index_t count, std::uint64_t seed, std::uint32_t step) const {
        std::vector<double> x(features_ * static_cast<std::size_t>(count));
        const diem::random_key key{.seed = seed, .lane = curve_lane::position, .step = step};
        for (std::uint32_t i = 0; i < static_cast<std::uint32_t>(count); ++i)
            point(diem::uniform<double>(key, i, 0), x.data() + i * features_);
        return x;
    }

private:
    [[nodiscard]] double coordinate(std::size_t j, double u) const {
        double x = 0;
        for (std::size_t k = 0; k < terms_; ++k) {
            const double* p = shape_.data() + 3 * (j * terms_ + k);
            x += p[0] * weight_[k] * std::sin(2 * std::numbers::pi * (static_cast<double>(k + 1) * p[1] * u + p[2]));
        }
        return x;
    }
    std::size_t features_, terms_ = 0;
    std::vector<double> shape_, weight_, low_, high_;
};

/// `count` matrices of rows x D, column-major, whose rows are random directions of unit length.
[[nodiscard]] inline std::vector<double> random_projections(diem::index_t rows, diem::index_t features,
                                                            diem::index_t count, std::uint64_t seed) {
    const diem::random_key key{.seed = seed, .lane = curve_lane::projection};
    const auto r = static_cast<std::size_t>(rows), d = static_cast<std::size_t>(features);
    std::vector<double> a(r * d * static_cast<std::size_t>(count));
    for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i)
        for (std::size_t row = 0; row < r; ++row) {
            double* at = a.data() + i * r * d + row;
            double square = 0;
            for (std::size_t j = 0; j < d; ++j) {
                at[j * r] =
                    diem::normal<double>(key, static_cast<std::uint32_t>(i), static_cast<std::uint32_t>(row * d + j));
                square += at[j * r] * at[j * r];
            }
            for (std::size_t j = 0; j < d; ++j) at[j * r] /= std::sqrt(square);
        }
    return a;
}

/// Host numbers as a batch of the backend's scalar type.
template <diem::Backend B>
[[nodiscard]] diem::batch<B> batch_of(B& b, const std::vector<double>& values, diem::index_t features) {
    using T = diem::scalar_t<B>;
    return diem::to_backend(b, std::vector<T>(values.begin(), values.end()), features,
                            static_cast<diem::index_t>(values.size()) / features);
}

/// Keys "regularization", "iterations" and "tolerance" of an object.
inline void read_sinkhorn(diem::io::config_object& o, diem::metrics::sinkhorn_options& s) {
    o.optional("regularization", s.regularization).at_least(least_level).at_most(most_level);
    o.optional("iterations", s.iterations).at_least(1).at_most(most_steps);
    o.optional("tolerance", s.tolerance).at_least(0.0).at_most(1.0);
}

}  // namespace support
