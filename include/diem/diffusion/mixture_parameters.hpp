// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include <diem/backend/reference.hpp>
#include <diem/core/check.hpp>

/// \file
/// Mixtures of Gaussians on the host, in double: parameters, moments, and the closed-form posterior under a linear
/// observation. For small D, and what samplers are tested against.
/// \snippet tests/examples/diffusion.cpp diffusion/mixture_parameters.hpp

namespace diem::diffusion {

/// sum_k weight_k N(mean_k, cov_k): weight K numbers; mean D x K; cov K matrices D x D, one after another.
struct mixture_parameters {
    index_t features = 0;
    std::vector<double> weight, mean, cov;

    [[nodiscard]] index_t components() const { return static_cast<index_t>(weight.size()); }

    /// Throws shape_error; value_error where weights are negative, not finite or sum to zero, or where mean or cov is not
    /// finite or cov not symmetric (to 1e-6 of its largest entry).
    void check(const char* where) const {
        const index_t d = features, k = components();
        check_size(where, "mean.size()", static_cast<index_t>(mean.size()), d * k);
        check_size(where, "cov.size()", static_cast<index_t>(cov.size()), d * d * k);
        const auto finite = [](double v) { return std::isfinite(v); };
        check_value(where, std::all_of(mean.begin(), mean.end(), finite), "mean is not finite");
        check_value(where, std::all_of(cov.begin(), cov.end(), finite), "cov is not finite");
        double sum = 0;
        for (const double w : weight) {
            check_value(where, w >= 0 && std::isfinite(w), "a weight is negative or not finite");
            sum += w;
        }
        check_value(where, sum > 0, "the weights sum to zero");
        double largest = 0;
        for (const double c : cov) largest = std::max(largest, std::abs(c));
        for (index_t n = 0; n < k; ++n)
            for (index_t i = 0; i < d; ++i)
                for (index_t j = 0; j < i; ++j)
                    check_value(where, std::abs(entry(n, i, j) - entry(n, j, i)) <= 1e-6 * largest,
                                "cov of component " + std::to_string(n) + " is not symmetric");
    }

private:
    [[nodiscard]] double entry(index_t n, index_t i, index_t j) const {
        return cov[static_cast<std::size_t>((n * features + j) * features + i)];
    }
};

/// Mean (D) and covariance (D x D) of a mixture, or of anything.
struct moments {
    std::vector<double> mean, cov;
};

/// mean = sum w_k m_k; cov = sum w_k (C_k + (m_k - mean)(m_k - mean)'). The weights must sum to one.
[[nodiscard]] inline moments mixture_moments(const mixture_parameters& m) {
    m.check("mixture_moments");
    const auto d = static_cast<std::size_t>(m.features);
    moments out{std::vector<double>(d), std::vector<double>(d * d)};
    for (std::size_t k = 0; k < m.weight.size(); ++k)
        for (std::size_t i = 0; i < d; ++i) out.mean[i] += m.weight[k] * m.mean[k * d + i];
    for (std::size_t k = 0; k < m.weight.size(); ++k)
        for (std::size_t j = 0; j < d; ++j)
            for (std::size_t i = 0; i < d; ++i)
                out.cov[j * d + i] +=
                    m.weight[k] * (m.cov[(k * d + j) * d + i] +
                                   (m.mean[k * d + i] - out.mean[i]) * (m.mean[k * d + j] - out.mean[j]));
    return out;
}

/// p(x | y) for y = A x + e, e ~ N(0, diag(cov_y)), cov_y > 0: again a mixture. A is rows x D, column-major; one
/// observation. With S_k = A C_k A' + diag(cov_y) and gain G_k = C_k A' S_k^-1,
///
///     weight_k ~ weight_k N(y; A m_k, S_k),  mean_k = m_k + G_k (y - A m_k),
///     cov_k = (I - G_k A) C_k (I - G_k A)' + G_k diag(cov_y) G_k'   (Joseph's form: a sum of positive terms).
///
/// Throws shape_error, value_error.
[[nodiscard]] inline mixture_parameters mixture_posterior(const mixture_parameters& prior, const std::vector<double>& a,
                                                          const std::vector<double>& cov_y,
                                                          const std::vector<double>& y) {
    const char* where = "mixture_posterior";
    prior.check(where);
    const index_t d = prior.features, rows = static_cast<index_t>(y.size());
    check_size(where, "A.size()", static_cast<index_t>(a.size()), rows * d);
    check_size(where, "cov_y.size()", static_cast<index_t>(cov_y.size()), rows);
    for (const double v : cov_y) check_positive(where, "cov_y", v);

    reference_backend<double> b;
    const auto view = [](auto& v, index_t r, index_t c) { return host_view<double>(v.data(), r, c); };
    const auto matrix = [](auto& v, index_t r, index_t c) {
        return matrix_batch<double*>(v.data(), r, c, r, index_t{0}, index_t{1});
    };
    const auto size = [](index_t r, index_t c) { return static_cast<std::size_t>(r * c); };
    std::vector<double> a_copy = a, ac(size(rows, d)), s(size(rows, rows)), r(size(rows, 1));
    std::vector<double> joseph(size(d, d)), jc(size(d, d)), scaled(size(rows, d)), log_weight;
    mixture_parameters out = prior;
    for (index_t k = 0; k < prior.components(); ++k) {
        std::vector<double> c(prior.cov.begin() + k * d * d, prior.cov.begin() + (k + 1) * d * d);
        std::vector<double> m(prior.mean.begin() + k * d, prior.mean.begin() + (k + 1) * d);
        const auto av = view(a_copy, rows, d), acv = view(ac, rows, d), cv = view(c, d, d), sv = view(s, rows, rows);
        b.gemm(1, av, op::none, cv, op::none, 0, acv);
        b.gemm(1, acv, op::none, av, op::transpose, 0, sv);
        r = y;
        b.gemm(-1, av, op::none, view(m, d, 1), op::none, 1, view(r, rows, 1));
        for (index_t i = 0; i < rows; ++i) s[size(i, rows + 1)] += cov_y[size(i, 1)];
        int info = 0;
        b.cholesky(matrix(s, rows, rows), host_vector<int>(&info, 1));
        check_value(where, info == 0, "A cov A' + diag(cov_y) is not positive definite");
        double log_density = 0;
        std::vector<double> white = r;
        b.trsm(matrix(s, rows, rows), op::none, matrix(white, rows, 1));
        for (index_t i = 0; i < rows; ++i)
            log_density -= white[size(i, 1)] * white[size(i, 1)] / 2 + std::log(s[size(i, rows + 1)]);
        const double w = prior.weight[size(k, 1)];
        log_weight.push_back(log_density + std::log(w));
        // ac becomes G' = S^-1 A C.
        b.trsm(matrix(s, rows, rows), op::none, matrix(ac, rows, d));
        b.trsm(matrix(s, rows, rows), op::transpose, matrix(ac, rows, d));
        b.gemm(1, acv, op::transpose, view(r, rows, 1), op::none, 1, view(m, d, 1));
        std::fill(joseph.begin(), joseph.end(), 0.0);
        for (index_t i = 0; i < d; ++i) joseph[size(i, d + 1)] = 1;
        b.gemm(-1, acv, op::transpose, av, op::none, 1, view(joseph, d, d));
        b.gemm(1, view(joseph, d, d), op::none, cv, op::none, 0, view(jc, d, d));
        b.gemm(1, view(jc, d, d), op::none, view(joseph, d, d), op::transpose, 0, cv);
        for (index_t j = 0; j < d; ++j)
            for (index_t i = 0; i < rows; ++i)
                scaled[size(j, rows) + size(i, 1)] = cov_y[size(i, 1)] * ac[size(j, rows) + size(i, 1)];
        b.gemm(1, acv, op::transpose, view(scaled, rows, d), op::none, 1, cv);
        std::copy(m.begin(), m.end(), out.mean.begin() + k * d);
        std::copy(c.begin(), c.end(), out.cov.begin() + k * d * d);
    }
    const double top = *std::max_element(log_weight.begin(), log_weight.end());
    double sum = 0;
    for (std::size_t k = 0; k < log_weight.size(); ++k) sum += out.weight[k] = std::exp(log_weight[k] - top);
    for (double& w : out.weight) w /= sum;
    return out;
}

}  // namespace diem::diffusion
