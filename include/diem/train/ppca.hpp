// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/backend/concept.hpp>
#include <diem/backend/functors.hpp>
#include <diem/core/check.hpp>
#include <diem/train/detail/factor_analysis.hpp>
#include <diem/train/detail/leading_eigenpairs.hpp>

/// \file
/// Probabilistic PCA and factor analysis.
/// \snippet tests/examples/train.cpp train/ppca.hpp

namespace diem::train {

/// What stands beside the low-rank part: one number for all features (probabilistic PCA), or one per feature (factor
/// analysis).
enum class rest { isotropic, diagonal };

struct ppca_options {
    index_t rank = 64;  ///< columns of the factor
    train::rest rest = train::rest::isotropic;
    /// The eigenproblem (of size min(samples, features)) is decomposed in full up to this size, or where rank is above a
    /// sixth of it; else subspace iteration finds the leading part.
    index_t exact_below = 512;
    index_t oversampling = -1;     ///< extra columns of the subspace; -1: max(16, rank / 2)
    index_t max_iterations = 100;  ///< of the subspace iteration
    double tolerance = 0;          ///< ||C q - l q|| <= tolerance l_max; 0: 64 epsilon
    index_t rest_iterations = 20;  ///< factor-analysis updates; rest::diagonal only
    double least_rest = 1e-6;      ///< lower bound of a diagonal rest, and the rest at full rank (variance)
    std::uint64_t seed = 0;        ///< of the subspace iteration's start
};

/// N(mean, diag(diagonal) + factor factor').
template <Backend B>
struct ppca_result {
    batch<B> mean;      ///< D x 1
    batch<B> diagonal;  ///< D x 1, >= 0
    batch<B> factor;    ///< D x rank, columns by ascending eigenvalue; only factor factor' is defined (signs are free)
    std::vector<double> eigenvalues;  ///< the `rank` leading ones of the covariance, ascending
    index_t iterations = 0;           ///< of the subspace iteration; 0 where decomposed in full
    bool converged = true;            ///< the subspace iteration met its tolerance
};

namespace detail {

template <Backend B>
void check_ppca(const ppca_options& o, index_t features) {
    check_value("train::ppca", o.rank >= 0 && o.rank <= features,
                "options.rank is " + std::to_string(o.rank) + ", expected 0 to the number of features, " +
                    std::to_string(features));
    check_value("train::ppca", o.max_iterations >= 1, "options.max_iterations is below 1");
    check_value("train::ppca", o.tolerance >= 0, "options.tolerance is negative or not a number");
    check_value("train::ppca", o.rest_iterations >= 0, "options.rest_iterations is negative");
    check_value("train::ppca", o.least_rest > 0 || (o.least_rest == 0 && o.rest == rest::isotropic),
                "options.least_rest is not above 0");
}

inline bool decomposes(const ppca_options& o, index_t size) { return size <= o.exact_below || 6 * o.rank > size; }

template <Backend B, class Multiply>
eigenpairs<B> iterate(B& b, const Multiply& c, double trace, index_t size, const ppca_options& o) {
    if (trace == 0) {  // nothing varies
        eigenpairs<B> zero{batch<B>(b, size, std::min(o.rank, size)), {}, 0, true};
        b.fill(zero.vectors.view(), scalar_t<B>(0));
        zero.values.assign(static_cast<std::size_t>(zero.vectors.items()), 0.0);
        return zero;
    }
    const double eps = static_cast<double>(std::numeric_limits<scalar_t<B>>::epsilon());
    const index_t extra = o.oversampling >= 0 ? o.oversampling : std::max<index_t>(16, o.rank / 2);
    return subspace_iteration<B>(b, c, size, std::min(o.rank, size), extra, o.max_iterations,
                                 o.tolerance > 0 ? o.tolerance : 64 * eps, o.seed);
}

/// d = (trace - sum of the leading eigenvalues) / (D - rank), at least 0; least_rest at full rank.
inline double isotropic_rest(double trace, const std::vector<double>& values, index_t features, const ppca_options& o) {
    if (o.rank == features) return o.least_rest;
    double left = trace;
    for (const double l : values) left -= l;
    return std::max(left / static_cast<double>(features - o.rank), 0.0);
}

/// Sets factor and isotropic diagonal from eigenpairs whose vectors have the given squared norms.
template <Backend B>
void set_factor(B& b, const eigenpairs<B>& e, const std::vector<double>& square_norms, double d, ppca_result<B>& out) {
    using T = scalar_t<B>;
    const index_t features = out.factor.features(), rank = out.factor.items(), got = e.vectors.items();
    std::vector<double> scale(e.values);
    for (std::size_t k = 0; k < scale.size(); ++k)
        scale[k] = square_norms[k] > 0 ? std::sqrt(std::max(scale[k] - d, 0.0) / square_norms[k]) : 0;
    b.fill(out.factor.view(), T(0));
    scale_items<B>(b, scale, e.vectors.cview(), out.factor.view().item_range(rank - got, got));
    b.fill(out.diagonal.view(), static_cast<T>(d));
    out.eigenvalues.assign(static_cast<std::size_t>(rank - got), 0.0);
    out.eigenvalues.insert(out.eigenvalues.end(), e.values.begin(), e.values.end());
    out.iterations = e.iterations;
    out.converged = e.converged;
    check_size("train::ppca", "factor.features()", features, e.vectors.features());
}

/// Start of the factor analysis: a given model, or the isotropic result with the rest that its factor leaves.
template <Backend B, class Covariance>
void diagonal_rest(B& b, const Covariance& c, const ppca_options& o, const ppca_result<B>* start, ppca_result<B>& out) {
    const index_t n = out.factor.features();
    if (o.rank == n) return;  // C is in the factor; beside a rest of next to nothing updates get lost in rounding
    batch<B> variance(b, n, 1);
    if (start != nullptr) {
        check_shape("train::ppca", "start.factor", start->factor.view(), n, o.rank);
        b.copy(start->factor.cview(), out.factor.view());
        b.copy(start->diagonal.cview(), out.diagonal.view());
    } else {
        c.variances(b, variance.view());
        b.launch(n, o.rank, remaining_variance{n, o.rank, o.least_rest}, variance.cview().data(),
                 out.factor.cview().data(), out.diagonal.view().data());
    }
    factor_analysis<B>(b, c, o.rest_iterations, o.least_rest, out.diagonal.view(), out.factor.view());
}

}  // namespace detail

/// Maximum-likelihood N(mean, d I + u u') for a covariance C that is already known: with eigenpairs l_i, q_i of C,
///
///     d = (tr C - sum_{i <= rank} l_i) / (D - rank),  u_i = q_i sqrt(max(l_i - d, 0))
///
/// (Tipping and Bishop, "Probabilistic principal component analysis", JRSS B 1999). rest::diagonal: factor-analysis updates
/// from there, or from `start` (then no update lowers the likelihood below the start's). C: D x D, symmetric, overwritten;
/// mean: D x 1. Throws shape_error; value_error for options out of range or a C that is not finite.
template <Backend B>
[[nodiscard]] ppca_result<B> ppca_of_covariance(B& b, const_view_t<B> mean, view_t<B> c, const ppca_options& options,
                                                const ppca_result<B>* start = nullptr) {
    const index_t n = mean.features();
    check_shape("train::ppca_of_covariance", "mean", mean, n, 1);
    check_shape("train::ppca_of_covariance", "C", c, n, n);
    detail::check_ppca<B>(options, n);
    ppca_result<B> out{batch<B>(b, n, 1), batch<B>(b, n, 1), batch<B>(b, n, options.rank), {}};
    b.copy(mean, out.mean.view());
    const detail::dense_covariance<B> covariance{c};
    covariance.variances(b, out.diagonal.view());
    double trace = 0;
    for (const auto v : to_host(b, out.diagonal)) trace += static_cast<double>(v);
    check_value("train::ppca_of_covariance", std::isfinite(trace), "the trace of C is not finite");
    batch<B> kept;
    const bool diagonal = options.rest == rest::diagonal, full = detail::decomposes(options, n);
    if (diagonal && full) {
        kept = batch<B>(b, n, n);
        b.copy(const_view_t<B>(c), kept.view());
    }
    const auto e =
        full ? detail::decompose<B>(b, c, options.rank) : detail::iterate<B>(b, covariance, trace, n, options);
    detail::set_factor(b, e, std::vector<double>(e.values.size(), 1.0),
                       detail::isotropic_rest(trace, e.values, n, options), out);
    if (diagonal)
        detail::diagonal_rest(b, detail::dense_covariance<B>{full ? kept.cview() : const_view_t<B>(c)}, options, start,
                              out);
    return out;
}

/// Maximum-likelihood mean and diagonal + low-rank covariance of the items of x: D x samples. As `ppca_of_covariance` with
/// C = sum (x_i - mean)(x_i - mean)' / samples (biased). With fewer samples than features the smaller
/// Gram matrix is taken. Throws value_error for no samples, options out of range, or an x that is not finite.
template <Backend B>
[[nodiscard]] ppca_result<B> ppca(B& b, const_view_t<B> x, const ppca_options& options,
                                  const ppca_result<B>* start = nullptr) {
    using T = scalar_t<B>;
    const index_t n = x.features(), samples = x.items(), size = std::min(n, samples);
    check_value("train::ppca", samples >= 1, "x has no samples");
    detail::check_ppca<B>(options, n);
    ppca_result<B> out{batch<B>(b, n, 1), batch<B>(b, n, 1), batch<B>(b, n, options.rank), {}};
    batch<B> centred(b, n, samples), ones(b, samples, 1);
    b.fill(ones.view(), T(1) / static_cast<T>(samples));
    b.gemm(T(1), x, op::none, ones.cview(), op::none, T(0), out.mean.view());
    b.map(functors::difference{}, centred.view(), x, per_feature{const_vector_t<B>(out.mean.flat())});
    double trace = 0;
    for (const double v : detail::item_dots<B>(b, centred, centred)) trace += v;
    trace /= static_cast<double>(samples);
    check_value("train::ppca", std::isfinite(trace), "x is not finite");

    const bool inner = samples < n;
    // Measured: forming the small matrix pays unless it is large, in memory (64 MiB in float32) as in time.
    constexpr index_t largest_formed = 4096;
    const detail::sample_covariance<B> covariance{centred.cview(), false};
    detail::eigenpairs<B> e;
    if (detail::decomposes(options, size) || size <= largest_formed) {
        batch<B> gram(b, size, size);
        b.gemm(T(1) / static_cast<T>(samples), centred.cview(), inner ? op::transpose : op::none, centred.cview(),
               inner ? op::none : op::transpose, T(0), gram.view());
        e = detail::decomposes(options, size)
                ? detail::decompose<B>(b, gram.view(), std::min(options.rank, size))
                : detail::iterate<B>(b, detail::dense_covariance<B>{gram.cview()}, trace, size, options);
    } else {
        e = detail::iterate<B>(b, detail::sample_covariance<B>{centred.cview(), inner}, trace, size, options);
    }
    // Rayleigh quotients |x' q|^2 / samples in float64: their errors are second order in those of the vectors.
    std::vector<double> square_norms = detail::item_dots<B>(b, e.vectors, e.vectors);
    batch<B> product(b, inner ? n : samples, e.vectors.items());
    b.gemm(T(1), centred.cview(), inner ? op::none : op::transpose, e.vectors.cview(), op::none, T(0), product.view());
    const std::vector<double> products = detail::item_dots<B>(b, product, product);
    for (std::size_t k = 0; k < products.size(); ++k)
        e.values[k] = square_norms[k] > 0 ? products[k] / (square_norms[k] * static_cast<double>(samples)) : 0;
    if (inner) {
        e.vectors = std::move(product);
        square_norms = products;
    }
    detail::set_factor(b, e, square_norms, detail::isotropic_rest(trace, e.values, n, options), out);
    if (options.rest == rest::diagonal) detail::diagonal_rest(b, covariance, options, start, out);
    return out;
}

}  // namespace diem::train
