// SPDX-License-Identifier: Apache-2.0

// Every primitive of every backend against the reference backend, on odd sizes and strides.
#include <cmath>
#include <vector>

#include <diem/backend/batch.hpp>

#include "support/backends.hpp"
#include "support/catch.hpp"
#include "support/compare.hpp"

using namespace diem;
using test::relative_error;
using test::tolerance;

namespace {

template <class B>
using T = typename B::scalar;

/// A batch with a stride longer than its items, normal numbers in it, and a NaN after every item.
template <class B>
struct padded {
    using S = T<B>;
    B& b;
    batch<B> memory;
    index_t features;
    padded(B& backend, index_t f, index_t n, std::uint32_t step) : b(backend), memory(backend, f + 3, n), features(f) {
        b.fill(memory.view(), std::numeric_limits<S>::quiet_NaN());
        reference_backend<S> r;
        batch<reference_backend<S>> values(r, f, n);
        r.fill_normal({7, 1, step, 0}, values.view());
        const auto host = to_host(r, values);
        b.upload(host_view<const S>(host.data(), f, n), view());
    }
    view_t<B> view() { return memory.view().feature_range(0, features); }
    std::vector<S> host() { return to_host(b, const_view_t<B>(view())); }
};

struct affine {
    template <class V>
    DIEM_HOST_DEVICE void operator()(V& y, const V& x, const V& a, const V& b) const {
        using std::exp;
        y = a * x + b / (exp(-x) + b * b);
    }
};
struct rotate {
    template <class V>
    DIEM_HOST_DEVICE void operator()(V& x, V& y) const {
        const V z = x;
        x = y;
        y = -z;
    }
};
struct count_up {
    template <class S>
    DIEM_HOST_DEVICE void operator()(index_t i, S* y, const int* k) const {
        y[i] += static_cast<S>(k[i] + i);
    }
};

}  // namespace

TEMPLATE_TEST_CASE("map takes views, per-item and per-feature operands", "[backend]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    B b = test::make_backend<B>();
    reference_backend<T<B>> r;
    for (const auto& [f, n] : {std::pair{0, 3}, {1, 1}, {5, 0}, {17, 3}, {16, 4}, {301, 70}}) {
        const auto go = [&, f = f, n = n](auto& k) {
            using K = std::remove_reference_t<decltype(k)>;
            padded<K> y(k, f, n, 1), x(k, f, n, 2), a(k, n, 1, 3), c(k, f, 1, 4);
            k.map(affine{}, y.view(), const_view_t<K>(x.view()),
                  per_item{const_vector_t<K>(const_view_t<K>(a.view()).data(), n)},
                  per_feature{const_vector_t<K>(const_view_t<K>(c.view()).data(), f)});
            k.map(rotate{}, x.view(), y.view());
            auto both = x.host();
            const auto other = y.host();
            both.insert(both.end(), other.begin(), other.end());
            return both;
        };
        REQUIRE(relative_error(go(b), go(r)) <= tolerance<T<B>>(8));
    }
}

TEMPLATE_TEST_CASE("map refuses operands of other sizes", "[backend]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    B b = test::make_backend<B>();
    padded<B> x(b, 4, 3, 1), y(b, 4, 2, 1), a(b, 2, 1, 1);
    CHECK_THROWS_AS(b.map(rotate{}, x.view(), y.view()), shape_error);
    CHECK_THROWS_AS(b.axpby(1.0, const_view_t<B>(x.view()), 1.0, y.view()), shape_error);
    CHECK_THROWS_AS(b.copy(const_view_t<B>(x.view()), y.view()), shape_error);
    CHECK_THROWS_AS(b.gemm(1, const_view_t<B>(x.view()), op::none, const_view_t<B>(y.view()), op::none, 0, x.view()),
                    shape_error);
}

TEMPLATE_TEST_CASE("axpby skips operands with coefficient zero, even NaN", "[backend]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    using S = T<B>;
    B b = test::make_backend<B>();
    const S nan = std::numeric_limits<S>::quiet_NaN();
    const std::vector<double> alpha = {0, 2, 1, 0, 0.5}, beta = {1, 0, 1, 0, -1};
    std::vector<S> x(5 * 9), y(5 * 9);
    for (std::size_t k = 0; k < x.size(); ++k) {
        const std::size_t i = k / 9;
        x[k] = alpha[i] == 0 ? nan : S(k);
        y[k] = beta[i] == 0 ? nan : S(100 + k);
    }
    auto dx = to_backend(b, x, 9, 5);
    auto dy = to_backend(b, y, 9, 5);
    auto da = to_backend(b, alpha, 5, 1);
    auto db = to_backend(b, beta, 5, 1);
    b.axpby(const_vector_t<B, double>(da.cview().data(), 5), dx.cview(),
            const_vector_t<B, double>(db.cview().data(), 5), dy.view());
    const auto got = to_host(b, dy);
    for (std::size_t k = 0; k < x.size(); ++k) {
        const std::size_t i = k / 9;
        const double expected =
            (alpha[i] == 0 ? 0 : alpha[i] * double(x[k])) + (beta[i] == 0 ? 0 : beta[i] * double(y[k]));
        REQUIRE(std::abs(double(got[k]) - expected) <= tolerance<S>(4) * 200);
    }
    b.axpby(0.0, dx.cview(), 2.0, dy.view());
    CHECK(std::isfinite(to_host(b, dy)[0]));
}

TEMPLATE_TEST_CASE("dot accumulates in float64 per item", "[backend]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    B b = test::make_backend<B>();
    reference_backend<T<B>> r;
    for (const auto& [f, n] : {std::pair{0, 3}, {1, 2}, {13, 5}, {200000, 2}}) {
        const auto go = [&, f = f, n = n](auto& k) {
            using K = std::remove_reference_t<decltype(k)>;
            padded<K> x(k, f, n, 1), y(k, f, n, 2);
            batch<K, double> out(k, n, 1);
            k.dot(const_view_t<K>(x.view()), const_view_t<K>(y.view()), out.flat());
            return to_host(k, out);
        };
        REQUIRE(relative_error(go(b), go(r)) <= 1e-11);
    }
}

TEMPLATE_TEST_CASE("gemm and gemm_batched in every orientation", "[backend]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    B b = test::make_backend<B>();
    reference_backend<T<B>> r;
    for (const auto ta : {op::none, op::transpose})
        for (const auto tb : {op::none, op::transpose})
            for (const auto& [m, n, k] :
                 {std::tuple{1, 1, 1}, {7, 5, 3}, {0, 4, 2}, {4, 3, 0}, {130, 70, 60}, {33, 200, 90}})
                for (const double beta : {0.0, 1.0, -0.5}) {
                    const auto go = [&, ta = ta, tb = tb, m = m, n = n, k = k](auto& q) {
                        using K = std::remove_reference_t<decltype(q)>;
                        padded<K> a(q, ta == op::none ? m : k, ta == op::none ? k : m, 1);
                        padded<K> c(q, tb == op::none ? k : n, tb == op::none ? n : k, 2), y(q, m, n, 3);
                        if (beta == 0) q.fill(y.view(), std::numeric_limits<T<K>>::quiet_NaN());
                        q.gemm(T<K>(1.5), const_view_t<K>(a.view()), ta, const_view_t<K>(c.view()), tb, T<K>(beta),
                               y.view());
                        return y.host();
                    };
                    REQUIRE(relative_error(go(b), go(r)) <= tolerance<T<B>>(16 + k));
                }
    const auto batched = [](auto& q) {
        using K = std::remove_reference_t<decltype(q)>;
        padded<K> a(q, 4 * 3, 6, 1), x(q, 3, 6, 2), y(q, 4, 6, 3), z(q, 3, 6, 4);
        q.gemm_batched(1, as_matrices(const_view_t<K>(a.view()), 4, 3), op::none, as_columns(const_view_t<K>(x.view())),
                       op::none, 0, as_columns(y.view()));
        q.gemm_batched(2, as_matrices(const_view_t<K>(a.view()), 4, 3), op::transpose,
                       as_columns(const_view_t<K>(y.view())), op::none, 1, as_columns(z.view()));
        return z.host();
    };
    CHECK(relative_error(batched(b), batched(r)) <= tolerance<T<B>>(40));
}

TEMPLATE_TEST_CASE("cholesky, trsm and eigh", "[backend]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    using S = T<B>;
    B b = test::make_backend<B>();
    const index_t n = 23;
    padded<B> g(b, n, n + 9, 1);
    batch<B> m(b, n * n, 3), x(b, n * 2, 3), w(b, n, 1);
    const auto matrix = [&](index_t i) { return m.view().item_range(i, 1).reshaped(n, n); };
    b.gemm(1, const_view_t<B>(g.view()), op::none, const_view_t<B>(g.view()), op::transpose, 0, matrix(0));
    b.axpby(-1.0, const_view_t<B>(matrix(0)), 0.0, matrix(1));
    b.copy(const_view_t<B>(matrix(0)), matrix(2));
    const auto a = to_host(b, const_view_t<B>(matrix(0)));
    b.fill_normal({3, 0, 0, 0}, x.view());
    const auto rhs = to_host(b, x);

    batch<B, int> info(b, 3, 1);
    const auto l = as_matrices(m.view(), n, n);
    b.cholesky(l, info.flat());
    CHECK(to_host(b, info) == std::vector<int>{0, 1, 0});
    b.trsm(l, op::none, as_matrices(x.view(), n, 2));
    b.trsm(l, op::transpose, as_matrices(x.view(), n, 2));
    const auto solution = to_host(b, x);
    for (const std::size_t item : {0, 2})
        for (std::size_t c = 0; c < 2; ++c) {
            double worst = 0, scale = 0;
            for (std::size_t i = 0; i < std::size_t(n); ++i) {
                double sum = -double(rhs[item * 2 * n + c * n + i]);
                for (std::size_t j = 0; j < std::size_t(n); ++j)
                    sum += double(a[i + j * n]) * double(solution[item * 2 * n + c * n + j]);
                worst = std::max(worst, std::abs(sum));
                scale = std::max(scale, std::abs(double(rhs[item * 2 * n + c * n + i])));
            }
            CHECK(worst / scale <= tolerance<S>(2000));
        }

    auto q = to_backend(b, a, n, n);
    b.eigh(q.view(), w.flat());
    const auto vectors = to_host(b, q);
    const auto values = to_host(b, w);
    double worst = 0;
    for (std::size_t i = 0; i < std::size_t(n); ++i)
        for (std::size_t j = 0; j < std::size_t(n); ++j) {
            double sum = 0, unit = 0;
            for (std::size_t k = 0; k < std::size_t(n); ++k) {
                sum += double(vectors[i + k * n]) * double(values[k]) * double(vectors[j + k * n]);
                unit += double(vectors[k + i * n]) * double(vectors[k + j * n]);
            }
            worst = std::max({worst, std::abs(sum - double(a[i + j * n])) / double(values[n - 1]),
                              std::abs(unit - (i == j ? 1 : 0))});
        }
    CHECK(worst <= tolerance<S>(100));
    CHECK(std::is_sorted(values.begin(), values.end()));
}

TEMPLATE_TEST_CASE("cholesky of matrices that are cut into blocks", "[backend]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    using S = T<B>;
    B b = test::make_backend<B>();
    for (const index_t n : {31, 32, 33, 150, 271}) {
        CAPTURE(n);
        padded<B> g(b, n, n + 9, 1);
        batch<B> m(b, n * n, 2);
        const auto matrix = m.view().item_range(0, 1).reshaped(n, n);
        b.gemm(1, const_view_t<B>(g.view()), op::none, const_view_t<B>(g.view()), op::transpose, 0, matrix);
        const auto size = static_cast<std::size_t>(n);
        std::vector<S> a = to_host(b, const_view_t<B>(matrix)), both = a;
        for (std::size_t i = 0; i < size; ++i) a[i * size + i] += static_cast<S>(n);
        both = a;
        both.insert(both.end(), a.begin(), a.end());
        both[size * size + (size - 3) * (size + 1)] = -1;  // the second one's pivot of row n - 2, from 1
        m = to_backend(b, both, n * n, 2);

        batch<B, int> info(b, 2, 1);
        b.cholesky(as_matrices(m.view(), n, n), info.flat());
        CHECK(to_host(b, info) == std::vector<int>{0, static_cast<int>(n) - 2});
        const auto l = to_host(b, m);
        double worst = 0;
        for (std::size_t i = 0; i < size; ++i)
            for (std::size_t j = 0; j <= i; ++j) {
                double sum = 0;
                for (std::size_t k = 0; k <= j; ++k) sum += double(l[k * size + i]) * double(l[k * size + j]);
                worst = std::max(worst, std::abs(sum - double(a[j * size + i])) / double(a[j * size + j]));
            }
        CHECK(worst <= tolerance<S>(static_cast<double>(n)));
    }
}

TEMPLATE_TEST_CASE("eigh takes float64 on every backend", "[backend]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    B b = test::make_backend<B>();
    // Second differences: eigenvalues 2 - 2 cos(k pi / (n + 1)).
    const index_t n = 17;
    std::vector<double> a(n * n, 0);
    for (std::size_t i = 0; i < std::size_t(n); ++i) {
        a[i * n + i] = 2;
        if (i + 1 < std::size_t(n)) a[i * n + i + 1] = -1;  // the lower triangle alone
    }
    auto v = to_backend(b, a, n, n);
    batch<B, double> w(b, n, 1);
    b.eigh(v.view(), w.flat());
    const auto values = to_host(b, w);
    for (std::size_t k = 0; k < std::size_t(n); ++k)
        CHECK(std::abs(values[k] - 2 + 2 * std::cos(double(k + 1) * 3.14159265358979324 / (n + 1))) <= 1e-13);
}

TEMPLATE_TEST_CASE("random fills are those of core/random, for any split", "[backend]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    using S = T<B>;
    B b = test::make_backend<B>();
    const random_key key{42, 5, 9, 3};
    batch<B> z(b, 101, 7), u(b, 101, 7);
    b.fill_normal(key, z.view());
    b.fill_uniform(key, u.view());
    const auto zs = to_host(b, z), us = to_host(b, u);
    for (std::uint32_t i = 0; i < 7; ++i)
        for (std::uint32_t j = 0; j < 101; ++j) {
            REQUIRE(us[i * 101 + j] == uniform<S>(key, i, j));
            REQUIRE(std::abs(double(zs[i * 101 + j] - normal<S>(key, i, j))) <= tolerance<S>(16));
        }
    batch<B> rest(b, 101, 4);
    b.fill_normal(key.skip_items(3), rest.view());
    const auto part = to_host(b, rest);
    CHECK(std::equal(part.begin(), part.end(), zs.begin() + 3 * 101));
}

TEMPLATE_TEST_CASE("launch visits every index once", "[backend]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    B b = test::make_backend<B>();
    const index_t n = 10007;
    batch<B> y(b, n, 1);
    batch<B, int> k(b, n, 1);
    b.fill(y.view(), T<B>(1));
    b.fill(k.view(), 2);
    b.launch(n, 100, count_up{}, y.view().data(), k.cview().data());
    const auto host = to_host(b, y);
    bool good = true;
    for (index_t i = 0; i < n; ++i) good = good && host[std::size_t(i)] == T<B>(3 + i);
    CHECK(good);
}

TEMPLATE_TEST_CASE("buffers are served again", "[backend]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    B b = test::make_backend<B>();
    for (int lap = 0; lap < 3; ++lap) {
        batch<B> x(b, 1000, 3), y(b, 17, 2);
        batch<B> z = std::move(x);
        b.fill(z.view(), T<B>(1));
        CHECK(b.memory().allocations() == 2);
    }
    CHECK(b.memory().bytes_in_use() == 0);
    CHECK(b.memory().peak_bytes() >= 3000 * sizeof(T<B>));
}
