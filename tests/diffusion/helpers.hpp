// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <type_traits>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/core/random.hpp>
#include <diem/diffusion/concept.hpp>
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

}  // namespace diem::test
