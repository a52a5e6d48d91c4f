// SPDX-License-Identifier: Apache-2.0
#include <diem/linop/compose.hpp>
#include <diem/linop/dense.hpp>
#include <diem/linop/diagonal.hpp>
#include <diem/linop/identity.hpp>
#include <diem/linop/lambda.hpp>
#include <diem/linop/mask.hpp>
#include <diem/linop/subsample.hpp>

#include "support/operator_harness.hpp"

using namespace diem;
using namespace diem::test;

namespace {
/// Each item twice the one before: scaling by 2^(first + i), a map that depends on the item's number.
struct item_powers {
    index_t first, features, x_stride, y_stride;
    template <class T>
    DIEM_HOST_DEVICE void operator()(index_t i, const T* x, T* y) const {
        for (index_t j = 0; j < features; ++j)
            y[i * y_stride + j] = static_cast<T>(index_t{1} << (first + i)) * x[i * x_stride + j];
    }
};
struct apply_powers {
    template <class B, class In, class Out>
    void operator()(B& b, In x, Out y, index_t first) const {
        b.launch(x.items(), x.features(), item_powers{first, x.features(), x.stride(), y.stride()}, x.data(), y.data());
    }
};
struct apply_half {
    template <class B, class In, class Out>
    void operator()(B& b, In x, Out y) const {
        b.axpby(0.5, x, 0.0, y);
    }
};
}  // namespace

TEMPLATE_TEST_CASE("identity and scaling", "[linop]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    B b = make_backend<B>();
    const index_t n = GENERATE(0, 1, 37), items = GENERATE(0, 1, 4);
    SECTION("identity") { check_operator(b, linop::identity(n), items); }
    SECTION("scaling") { check_operator(b, linop::scaling(n, -1.5), items); }
    SECTION("scaling by zero") { check_operator(b, linop::scaling(n, 0), items); }
}

TEMPLATE_TEST_CASE("diagonal and mask", "[linop]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    B b = make_backend<B>();
    const index_t n = GENERATE(0, 1, 37), items = GENERATE(0, 1, 4);
    const auto one = random_batch(b, n, 1, 10), each = random_batch(b, n, items, 11);
    batch<B> bits(b, n, items);
    linop::draw_mask(b, random_key{3}, 0.5, 1, bits.view());
    SECTION("shared") { check_operator(b, linop::diagonal<B>::shared(one), items); }
    SECTION("per item") { check_operator(b, linop::diagonal<B>::per_item(each), items); }
    SECTION("owned") { check_operator(b, linop::diagonal<B>::per_item(random_batch(b, n, items, 12)), items); }
    SECTION("mask per item") { check_operator(b, linop::mask<B>::per_item(bits), items); }
    SECTION("mask shared") {
        batch<B> bit(b, n, 1);
        linop::draw_mask(b, random_key{3}, 0.5, 1, bit.view());
        check_operator(b, linop::mask<B>::shared(bit), items);
    }
}

TEMPLATE_TEST_CASE("dense", "[linop]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    B b = make_backend<B>();
    const index_t rows = GENERATE(0, 1, 5, 19), cols = GENERATE(0, 1, 7), items = GENERATE(0, 1, 4);
    SECTION("shared") { check_operator(b, linop::dense<B>::shared(random_batch(b, rows, cols, 20)), items); }
    SECTION("per item") {
        check_operator(b, linop::dense<B>::per_item(random_batch(b, rows * cols, items, 21), rows, cols), items);
    }
}

TEMPLATE_TEST_CASE("subsample", "[linop]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    B b = make_backend<B>();
    const index_t block = GENERATE(1, 2, 3), channels = GENERATE(0, 1, 3), items = GENERATE(0, 1, 3);
    check_operator(b, linop::subsample(2 * block, 3 * block, channels, block), items);
}

TEMPLATE_TEST_CASE("lambda", "[linop]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    B b = make_backend<B>();
    const index_t n = GENERATE(0, 1, 9), items = GENERATE(0, 1, 4);
    SECTION("numbered items") { check_operator(b, linop::make_symmetric_operator(n, items, apply_powers{}), items); }
    SECTION("one for all") {
        check_operator(b, linop::make_operator(n, n, linop::any_items, apply_half{}, apply_half{}), items);
    }
}

TEMPLATE_TEST_CASE("operators made of operators", "[linop]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    B b = make_backend<B>();
    const index_t m = GENERATE(0, 1, 6), n = GENERATE(1, 8), items = GENERATE(0, 1, 3);
    // Positive: of 1 x 1 matrices that nearly cancel nothing but rounding would be left.
    const auto a = linop::dense<B>::per_item(random_positive(b, m * n, items, 30), m, n);
    const auto c = linop::dense<B>::shared(random_positive(b, m, n, 31));
    const auto d = linop::diagonal<B>::per_item(random_batch(b, n, items, 32));
    SECTION("adjoint") { check_operator(b, linop::adjoint(a), items); }
    SECTION("sum") { check_operator(b, linop::sum(a, c), items); }
    SECTION("sum of three") { check_operator(b, linop::sum(c, a, c), items); }
    SECTION("sum of symmetric ones") {
        const auto s = linop::sum(d, linop::identity(n));
        static_assert(linop::SymmetricOperator<decltype(s), B>);
        check_operator(b, s, items);
    }
    SECTION("compose") { check_operator(b, linop::compose(a, d), items); }
    SECTION("A D A'") {
        const auto s = linop::compose(a, d, linop::adjoint(a));
        static_assert(!linop::SymmetricOperator<decltype(s), B>);
        check_operator(b, s, items);
        check_operator(b, linop::assume_symmetric(s), items);
    }
    SECTION("stack") { check_operator(b, linop::stack(a, d), items); }
    SECTION("stack of three") { check_operator(b, linop::stack(linop::identity(n), a, c), items); }
}

TEMPLATE_TEST_CASE("operators do what their formulas say", "[linop]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    using T = scalar_t<B>;
    B b = make_backend<B>();
    const auto product = [&](const auto& a, const std::vector<T>& x, index_t items) {
        const auto in = to_backend<B, T>(b, x, a.cols(), items);
        batch<B> out(b, a.rows(), items);
        a.apply(b, in.view(), out.view());
        return to_host(b, out);
    };
    using values = std::vector<T>;
    const auto batch_of = [&](const values& v, index_t features, index_t items) {
        return to_backend<B, T>(b, v, features, items);
    };
    CHECK(product(linop::scaling(2, 3), {1, 2}, 1) == values{3, 6});
    CHECK(product(linop::diagonal<B>::shared(batch_of({2, 3}, 2, 1)), {1, 1, 5, 7}, 2) == values{2, 3, 10, 21});
    CHECK(product(linop::diagonal<B>::per_item(batch_of({2, 3, 4, 5}, 2, 2)), {1, 1, 5, 7}, 2) == values{2, 3, 20, 35});
    // ((1, 3), (2, 4)) by columns
    CHECK(product(linop::dense<B>::shared(batch_of({1, 2, 3, 4}, 2, 2)), {1, 10}, 1) == values{31, 42});
    CHECK(product(linop::dense<B>::per_item(batch_of({1, 2, 3, 4, 0, 1, 1, 0}, 4, 2), 2, 2), {1, 10, 5, 6}, 2) ==
          values{31, 42, 6, 5});
    CHECK(product(linop::mask<B>::per_item(batch_of({1, 0, 0, 1}, 2, 2)), {5, 6, 7, 8}, 2) == values{5, 0, 0, 8});
    // A 2 x 4 image of two channels.
    CHECK(product(linop::subsample(2, 4, 2, 2), {1, 10, 2, 20, 3, 30, 4, 40, 5, 50, 6, 60, 7, 70, 8, 80}, 1) ==
          values{T(3.5), 35, T(5.5), 55});
    CHECK(product(linop::stack(linop::identity(2), linop::scaling(2, 2)), {1, 2}, 1) == values{1, 2, 2, 4});
    CHECK(product(linop::sum(linop::identity(2), linop::scaling(2, 2)), {1, 2}, 1) == values{3, 6});
    CHECK(product(linop::compose(linop::dense<B>::shared(batch_of({1, 2, 3, 4}, 2, 2)),
                                 linop::diagonal<B>::shared(batch_of({1, 10}, 2, 1))),
                  {1, 1}, 1) == values{31, 42});
    CHECK(product(linop::adjoint(linop::dense<B>::shared(batch_of({1, 2, 3, 4}, 2, 2))), {1, 10}, 1) == values{21, 43});
}

TEMPLATE_TEST_CASE("drawn masks", "[linop]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    using T = scalar_t<B>;
    B b = make_backend<B>();
    const index_t pixels = 500, channels = 3, items = 8;
    const random_key key{5, random_lane::observation, 2};
    batch<B> m(b, pixels * channels, items), rest(b, pixels * channels, items - 3);
    linop::draw_mask(b, key, 0.25, channels, m.view());
    linop::draw_mask(b, key.skip_items(3), 0.25, channels, rest.view());
    const auto host = to_host(b, m);
    CHECK(to_host(b, rest) == to_host(b, m.cview().item_range(3, items - 3)));
    double kept = 0;
    for (std::size_t p = 0; p < host.size(); p += 3) {
        CHECK((host[p] == T(0) || host[p] == T(1)));
        CHECK((host[p] == host[p + 1] && host[p] == host[p + 2]));
        kept += static_cast<double>(host[p]);
    }
    const double n = static_cast<double>(pixels * items);
    CHECK(std::abs(kept / n - 0.25) <= 4 * std::sqrt(0.25 * 0.75 / n));
    linop::draw_mask(b, key, 0.0, channels, m.view());
    CHECK(largest(to_host(b, m)) == 0);
    CHECK_THROWS_AS(linop::draw_mask(b, key, 1.5, channels, m.view()), value_error);
    CHECK_THROWS_AS(linop::draw_mask(b, key, 0.5, 7, m.view()), value_error);
}

TEST_CASE("operators refuse parts that do not fit", "[linop]") {
    using B = reference_backend<float>;
    B b;
    const auto a = linop::dense<B>::shared(random_batch(b, 3, 2, 40));
    CHECK_THROWS_AS(linop::sum(a, linop::identity(3)), shape_error);
    CHECK_THROWS_AS(linop::compose(a, a), shape_error);
    CHECK_THROWS_AS(linop::stack(a, linop::identity(3)), shape_error);
    CHECK_THROWS_AS(linop::assume_symmetric(a), shape_error);
    CHECK_THROWS_AS(linop::sum(linop::diagonal<B>::per_item(random_batch(b, 3, 2, 41)),
                               linop::diagonal<B>::per_item(random_batch(b, 3, 4, 42))),
                    shape_error);
    CHECK_THROWS_AS(linop::dense<B>::per_item(random_batch(b, 5, 2, 43), 2, 3), shape_error);
    CHECK_THROWS_AS(linop::diagonal<B>::shared(random_batch(b, 5, 2, 43)), shape_error);
    CHECK_THROWS_AS(linop::subsample(5, 4, 1, 2), value_error);
    CHECK_THROWS_AS(linop::subsample(4, 4, 1, 0), value_error);
    CHECK_THROWS_AS(linop::identity(-1), value_error);
    CHECK_THROWS_AS(linop::scaling(2, std::numeric_limits<double>::infinity()), value_error);
    CHECK_THROWS_WITH(linop::compose(a, linop::identity(5)),
                      Catch::Matchers::Contains("compose: rows of the second operator is 5, expected 2"));
}

TEST_CASE("an operator that owns its numbers keeps them alive through copies and slices", "[linop]") {
    using B = reference_backend<float>;
    B b;
    const auto make = [&] {
        return linop::diagonal<B>::per_item(to_backend<B, float>(b, {1, 2, 3, 4}, 2, 2)).items(1, 1);
    };
    const auto part = make();
    const auto other = random_batch(b, 2, 2, 50);  // would take the memory that a dead owner gave back
    const auto x = to_backend<B, float>(b, {1, 1}, 2, 1);
    batch<B> y(b, 2, 1);
    part.apply(b, x, y);
    CHECK(to_host(b, y) == std::vector<float>{3, 4});
}
