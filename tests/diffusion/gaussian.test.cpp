// SPDX-License-Identifier: Apache-2.0
#include <diem/diffusion/gaussian.hpp>

#include <cmath>
#include <vector>

#include "diffusion/helpers.hpp"
#include "support/backends.hpp"
#include "support/catch.hpp"
#include "support/compare.hpp"

using namespace diem;
using namespace diem::test;
namespace dif = diem::diffusion;

namespace {

template <class B>
dif::gaussian<B> make_prior(B& b, index_t features, index_t rank, bool zero_d = true) {
    using T = typename B::scalar;
    auto mu = numbers<T>(features, 1, 11), d = numbers<T>(features, 1, 12), u = numbers<T>(features * rank, 1, 13);
    for (T& value : d) value = value * value;
    if (zero_d && features > 1) d[1] = 0;
    return dif::gaussian<B>(b, to_backend(b, mu, features, 1), to_backend(b, d, features, 1),
                            to_backend(b, u, features, rank));
}

}  // namespace

TEMPLATE_TEST_CASE("gaussian: concepts", "", DIEM_TEST_BACKENDS) {
    STATIC_REQUIRE((dif::ScoreModel<dif::gaussian<TestType>, TestType>));
    STATIC_REQUIRE((linop::SymmetricOperator<dif::gaussian_jacobian<TestType>, TestType>));
    STATIC_REQUIRE((linop::SymmetricOperator<dif::harmonic_covariance<TestType>, TestType>));
    auto b = make_backend<TestType>();
    CHECK(make_prior(b, 4, 2).rank() == 2);
}

TEMPLATE_TEST_CASE("gaussian: Jacobian is symmetric, the difference quotient, and Tweedie holds", "",
                   DIEM_TEST_BACKENDS) {
    using B = TestType;
    using T = typename B::scalar;
    auto b = make_backend<B>();
    const index_t features = GENERATE(1, 7, 40), rank = GENERATE(0, 1, 5), items = 3;
    const double sigma = GENERATE(0.01, 0.7, 30.0);
    const auto prior = make_prior(b, features, rank);
    const auto x = numbers<T>(features, items, 1), v = numbers<T>(features, items, 2),
               w = numbers<T>(features, items, 3);
    const auto bx = to_backend(b, x, features, items);
    const auto lin = prior.linearize(b, bx, sigma);
    CHECK(relative_error(apply_denoise(b, prior, x, features, sigma), to_host(b, lin.mean())) == 0);
    const auto jv = apply_operator(b, lin.jacobian(), v, features), jw = apply_operator(b, lin.jacobian(), w, features);
    for (index_t i = 0; i < items; ++i) {
        const double a = host_dot(w, jv, features, i), c = host_dot(jw, v, features, i);
        CHECK(std::abs(a - c) <= tolerance<T>(64) * (host_norm(w, features, i) * host_norm(v, features, i)));
    }
    // The denoiser is affine: a difference over a long step is its Jacobian to rounding.
    auto moved = x;
    for (std::size_t k = 0; k < x.size(); ++k) moved[k] += v[k];
    const auto d0 = apply_denoise(b, prior, x, features, sigma), d1 = apply_denoise(b, prior, moved, features, sigma);
    std::vector<T> quotient(x.size());
    for (std::size_t k = 0; k < x.size(); ++k) quotient[k] = d1[k] - d0[k];
    for (std::size_t k = 0; k < x.size(); ++k)
        CHECK(std::abs(static_cast<double>(quotient[k] - jv[k])) <= tolerance<T>(200));
    // Tweedie: the score is the gradient of the log density of x_t. Central differences, exact for a quadratic.
    if constexpr (sizeof(T) == 8) {
        batch<B, double> out(b, items, 1);
        const double h = 0.1 * sigma;
        const auto log_p = [&](double step) {
            auto shifted = x;
            for (std::size_t k = 0; k < x.size(); ++k) shifted[k] += static_cast<T>(step) * v[k];
            prior.log_density(b, to_backend(b, shifted, features, items), sigma, out.flat());
            return to_host(b, out);
        };
        const auto up = log_p(h), down = log_p(-h);
        for (index_t i = 0; i < items; ++i) {
            double slope = 0, size = 0;
            for (index_t j = 0; j < features; ++j) {
                const auto k = static_cast<std::size_t>(i * features + j);
                slope += (d0[k] - x[k]) / (sigma * sigma) * v[k];
                size += std::abs(d0[k] - x[k]) / (sigma * sigma) * std::abs(v[k]);
            }
            const auto n = static_cast<std::size_t>(i);
            CHECK(std::abs((up[n] - down[n]) / (2 * h) - slope) <= 1e-10 * (size + 1) + 1e-14 * std::abs(up[n]) / h);
        }
    }
}
