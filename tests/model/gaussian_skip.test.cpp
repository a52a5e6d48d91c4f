// SPDX-License-Identifier: Apache-2.0
// A network that adds to the denoiser of a Gaussian.
#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <vector>

#include <diem/diffusion/gaussian.hpp>
#include <diem/model/gaussian_skip.hpp>
#include <diem/model/preconditioned.hpp>
#include <diem/nn/mlp.hpp>

#include "support/backends.hpp"
#include "support/catch.hpp"
#include "support/compare.hpp"

using namespace diem;
using namespace diem::test;

namespace {

template <class B>
using network = model::preconditioned<B, nn::mlp<B>>;

template <class B>
batch<B> draw(B& b, index_t features, index_t items, std::uint32_t step) {
    batch<B> x(b, features, items);
    b.fill_normal(random_key{5, random_lane::user, step, 0}, x.view());
    return x;
}

/// N(mu, d I + u u'), or with other variances beside u u'.
template <class B>
diffusion::gaussian<B> gaussian(B& b, index_t features, index_t rank, bool constant = true) {
    using T = scalar_t<B>;
    std::vector<T> d(static_cast<std::size_t>(features), T(0.2));
    if (!constant)
        for (std::size_t k = 0; k < d.size(); ++k) d[k] = static_cast<T>(0.1 + 0.3 * static_cast<double>(k % 3));
    return {b, draw(b, features, 1, 1), to_backend(b, d, features, 1), draw(b, features, rank, 2)};
}

template <class B>
network<B> untrained(B& b, index_t features) {
    network<B> m(b, nn::mlp<B>({.features = features, .hidden = {8}, .embedding = 4}));
    b.fill(as_batch(m.mutable_parameters()), scalar_t<B>(0));
    return m;
}

}  // namespace

TEMPLATE_TEST_CASE("a network of zeros with a Gaussian skip connection is that Gaussian", "[model]",
                   DIEM_TEST_BACKENDS) {
    using T = scalar_t<TestType>;
    auto b = make_backend<TestType>();
    const index_t n = 7, items = 4;
    for (const index_t rank : {index_t{0}, index_t{1}, index_t{3}, index_t{7}, index_t{-3}, index_t{-7}, index_t{-8}}) {
        const bool constant = rank >= 0;   // else d varies
        const bool spectrum = rank <= -7;  // of frequencies, of cosines
        CAPTURE(rank);
        using kind = linop::image_basis::kind;
        auto g = gaussian(b, n, spectrum ? 0 : std::abs(rank), constant);
        if (spectrum) {
            batch<TestType> d(b, n, 1);
            b.copy(as_batch(g.d()), d.view());
            g = {b, draw(b, n, 1, 1), std::move(d), batch<TestType>(b, n, 0),
                 linop::image_basis(rank == -7 ? kind::hartley : kind::cosine, 1, n, 1)};
        }
        auto m = untrained(b, n);
        m.set_skip(b, g);
        REQUIRE(m.skip() != nullptr);
        CHECK(m.skip()->rank() == (constant ? rank : n));
        const auto x = draw(b, n, items, 3), v = draw(b, n, items, 4);
        const auto levels = to_backend(b, std::vector<T>{T(0.01), T(0.5), T(3), T(60)}, 1, items);
        batch<TestType> y(b, n, items), expected(b, n, items);
        const auto check = [&](const diffusion::noise_level<TestType>& sigma) {
            m.denoise(b, x, sigma, y);
            g.denoise(b, x, sigma, expected);
            CHECK(worst_item_error(to_host(b, y), to_host(b, expected), n) <= tolerance<T>(400));
            const auto l = m.linearize(b, x, sigma);
            CHECK(to_host(b, l.mean()) == to_host(b, y));
            const auto exact = g.linearize(b, x, sigma);
            exact.jacobian().apply(b, v, expected);
            l.jacobian().apply(b, v, y);
            CHECK(worst_item_error(to_host(b, y), to_host(b, expected), n) <= tolerance<T>(400));
            l.jacobian().apply_adjoint(b, v, y);  // S is symmetric
            CHECK(worst_item_error(to_host(b, y), to_host(b, expected), n) <= tolerance<T>(400));
        };
        for (const double sigma : {0.02, 1.0, 40.0}) check(sigma);
        check(const_vector_t<TestType>(levels.flat()));

        m.set_skip(b, std::nullopt);
        m.denoise(b, x, 0.5, y);
        auto plain = untrained(b, n);
        plain.denoise(b, x, 0.5, expected);
        CHECK(to_host(b, y) == to_host(b, expected));
    }
}

TEMPLATE_TEST_CASE("axes within the span of u keep the trace and what lies along them", "[model]", DIEM_TEST_BACKENDS) {
    using T = scalar_t<TestType>;
    auto b = make_backend<TestType>();
    const index_t n = 9, rank = 3;
    const auto g = gaussian(b, n, rank, false);
    const model::gaussian_skip<TestType> skip(b, g, 0);
    CHECK(skip.rank() == rank);
    // S at sigma = 1, by columns; Sigma of the skip connection is S (I - S)^-1.
    std::vector<T> identity(static_cast<std::size_t>(n * n), T(0));
    for (index_t k = 0; k < n; ++k) identity[static_cast<std::size_t>(k * (n + 1))] = T(1);
    const auto unit = to_backend(b, identity, n, n);
    batch<TestType> s(b, n, n), q(b, n, n), w(b, n, 1);
    b.copy(unit.cview(), s.view());
    b.axpby(skip.rest() / (1 + skip.rest()), unit.cview(), 0.0, s.view());
    skip.add(b, skip.gains(b, 1.0), unit, s);
    b.eigh(s.view(), w.flat());
    double trace = 0, expected = 0;
    for (const T v : to_host(b, w)) trace += static_cast<double>(v) / (1 - static_cast<double>(v));
    for (const T v : to_host(b, g.d())) expected += static_cast<double>(v);
    for (const T v : to_host(b, g.u())) expected += static_cast<double>(v) * static_cast<double>(v);
    CHECK(std::abs(trace - expected) <= tolerance<T>(2000) * expected);
}

TEMPLATE_TEST_CASE("directions that u has twice, or that are nothing, are left out", "[model]", DIEM_TEST_BACKENDS) {
    using T = scalar_t<TestType>;
    auto b = make_backend<TestType>();
    const index_t n = 6;
    auto u = to_host(b, draw(b, n, 3, 2));
    std::copy(u.begin(), u.begin() + n, u.begin() + n);
    std::fill(u.begin() + 2 * n, u.end(), T(0));
    const diffusion::gaussian<TestType> g(b, draw(b, n, 1, 1), to_backend(b, std::vector<T>(n, T(0.2)), n, 1),
                                          to_backend(b, u, n, 3));
    auto m = untrained(b, n);
    m.set_skip(b, g);
    CHECK(m.skip()->rank() == 1);
    const auto x = draw(b, n, 2, 3);
    batch<TestType> y(b, n, 2), expected(b, n, 2);
    m.denoise(b, x, 0.5, y);
    g.denoise(b, x, 0.5, expected);
    CHECK(worst_item_error(to_host(b, y), to_host(b, expected), n) <= tolerance<T>(400));
}

TEST_CASE("a Gaussian skip connection of another size is refused", "[model]") {
    using B = test::main_backend<float>;
    auto b = make_backend<B>();
    auto m = untrained(b, 4);
    CHECK_THROWS_AS(m.set_skip(b, gaussian(b, 5, 1)), shape_error);
    CHECK(m.skip() == nullptr);
}
