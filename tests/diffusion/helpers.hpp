// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <type_traits>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/core/random.hpp>
#include <diem/diffusion/concept.hpp>
#include <diem/diffusion/mixture_parameters.hpp>
#include <diem/linop/concept.hpp>

namespace diem::test {

/// Standard normals, features x items.
template <class T>
std::vector<T> numbers(index_t features, index_t items, std::uint64_t seed) {
    std::vector<T> out;
    for (index_t i = 0; i < items; ++i)
        for (index_t j = 0; j < features; ++j)
            out.push_back(static_cast<T>(normal<double>(random_key{.seed = seed}, static_cast<std::uint32_t>(i),
                                                        static_cast<std::uint32_t>(j))));
    return out;
}

template <Backend B, class M>
std::vector<scalar_t<B>> apply_denoise(B& b, M& model, const std::vector<scalar_t<B>>& x, index_t features,
                                       std::type_identity_t<diffusion::noise_level<B>> sigma) {
    const auto items = static_cast<index_t>(x.size()) / features;
    batch<B> y(b, features, items);
    model.denoise(b, to_backend(b, x, features, items), sigma, y.view());
    return to_host(b, y);
}
/// A x, or A' x.
template <Backend B, class A>
std::vector<scalar_t<B>> apply_operator(B& b, const A& a, const std::vector<scalar_t<B>>& x, index_t features,
                                        bool adjoint = false) {
    const auto items = static_cast<index_t>(x.size()) / features;
    batch<B> y(b, features, items);
    const auto in = to_backend(b, x, features, items);
    adjoint ? a.apply_adjoint(b, in, y.view()) : a.apply(b, in, y.view());
    return to_host(b, y);
}

template <class T>
double host_dot(const std::vector<T>& a, const std::vector<T>& b, index_t features, index_t item) {
    double sum = 0;
    for (index_t j = 0; j < features; ++j) {
        const auto k = static_cast<std::size_t>(item * features + j);
        sum += static_cast<double>(a[k]) * static_cast<double>(b[k]);
    }
    return sum;
}
template <class T>
double host_norm(const std::vector<T>& a, index_t features, index_t item) {
    return std::sqrt(host_dot(a, a, features, item));
}

/// Well separated and overlapping components, with weights that differ.
inline diffusion::mixture_parameters test_mixture(index_t features, index_t components) {
    diffusion::mixture_parameters m{features, {}, numbers<double>(features, components, 21), {}};
    for (double& value : m.mean) value *= 1.5;
    for (index_t k = 0; k < components; ++k) {
        m.weight.push_back(1.0 + static_cast<double>(k));
        const auto root = numbers<double>(features, features, 22 + static_cast<std::uint64_t>(k));
        for (index_t i = 0; i < features; ++i)
            for (index_t j = 0; j < features; ++j) {
                double sum = i == j ? 0.01 : 0.0;
                for (index_t l = 0; l < features; ++l)
                    sum += 0.2 * root[static_cast<std::size_t>(i * features + l)] *
                           root[static_cast<std::size_t>(j * features + l)];
                m.cov.push_back(sum);
            }
    }
    double total = 0;
    for (const double w : m.weight) total += w;
    for (double& w : m.weight) w /= total;
    return m;
}

/// Sample mean and covariance of the items of x.
template <class T>
diffusion::moments sample_moments(const std::vector<T>& x, index_t features) {
    const auto d = static_cast<std::size_t>(features), n = x.size() / d;
    diffusion::moments m{std::vector<double>(d), std::vector<double>(d * d)};
    for (std::size_t k = 0; k < x.size(); ++k) m.mean[k % d] += static_cast<double>(x[k]) / static_cast<double>(n);
    for (std::size_t i = 0; i < n; ++i)
        for (std::size_t c = 0; c < d; ++c)
            for (std::size_t r = 0; r < d; ++r)
                m.cov[c * d + r] += (static_cast<double>(x[i * d + c]) - m.mean[c]) *
                                    (static_cast<double>(x[i * d + r]) - m.mean[r]) / static_cast<double>(n - 1);
    return m;
}

/// The largest deviation of sample moments from exact ones, in standard errors of a Gaussian with these moments: of the
/// mean sqrt(C_ii / n), of a covariance sqrt((C_ii C_jj + C_ij^2) / n).
template <class T>
double worst_z_score(const std::vector<T>& x, const diffusion::moments& exact) {
    const std::size_t d = exact.mean.size();
    const auto n = static_cast<double>(x.size() / d);
    const auto got = sample_moments(x, static_cast<index_t>(d));
    double worst = 0;
    const auto add = [&](double error, double variance) {
        const double z = std::abs(error) / std::sqrt(variance / n + 1e-300);
        if (!(z <= worst) && !std::isnan(worst)) worst = z;
    };
    for (std::size_t i = 0; i < d; ++i) {
        const double cii = exact.cov[i * d + i];
        add(got.mean[i] - exact.mean[i], cii);
        for (std::size_t j = 0; j < d; ++j) {
            const double cij = exact.cov[i * d + j];
            add(got.cov[i * d + j] - cij, cii * exact.cov[j * d + j] + cij * cij);
        }
    }
    return worst;
}

}  // namespace diem::test
