// SPDX-License-Identifier: Apache-2.0
#include <diem/linop/compose.hpp>
#include <diem/linop/dense.hpp>
#include <diem/linop/identity.hpp>
#include <diem/linop/lambda.hpp>
#include <diem/testing/operator.hpp>

#include "support/operator_harness.hpp"

using namespace diem;

namespace {

/// One wrong thing at a time, of y = x / 2.
enum class fault { none, adjoint_factor, affine, adds, contiguous, writes_gaps, neighbour, slices, asymmetric };

struct half_item {
    fault wrong;
    bool adjoint;
    index_t n, items, first, x_stride, y_stride;
    template <class T>
    DIEM_HOST_DEVICE void operator()(index_t i, const T* x, T* y) const {
        const bool packed = wrong == fault::contiguous;
        const T* in = x + i * (packed ? n : x_stride);
        T* out = y + i * (packed ? n : y_stride);
        T scale = T(0.5);
        if (wrong == fault::adjoint_factor && adjoint) scale *= T(-5);
        if (wrong == fault::slices) scale *= T(1 + i);  // and does not know where its slice begins
        for (index_t j = 0; j < n; ++j) {
            T value = scale * in[j];
            if (wrong == fault::asymmetric && !adjoint && j == 0) value += in[n - 1];
            if (wrong == fault::asymmetric && adjoint && j == n - 1) value += in[0];
            if (wrong == fault::affine) value += T(1);
            if (wrong == fault::adds) value += out[j];
            if (wrong == fault::neighbour && i + 1 < items) value += T(0) * x[(i + 1) * x_stride + j];
            out[j] = value;
        }
        if (wrong == fault::writes_gaps && y_stride > n) out[n] = T(0);
    }
};
template <class B>
struct half {
    using operator_tag = linop::symmetric_tag;
    fault wrong;
    index_t n;
    [[nodiscard]] index_t rows() const { return n; }
    [[nodiscard]] index_t cols() const { return n; }
    [[nodiscard]] index_t items() const { return linop::any_items; }
    [[nodiscard]] half items(index_t, index_t) const { return *this; }
    void apply(B& b, const_view_t<B> x, view_t<B> y) const { run(b, x, y, false); }
    void apply_adjoint(B& b, const_view_t<B> x, view_t<B> y) const { run(b, x, y, true); }

private:
    void run(B& b, const_view_t<B> x, view_t<B> y, bool adjoint) const {
        b.launch(x.items(), n, half_item{wrong, adjoint, n, x.items(), 0, x.stride(), y.stride()}, x.data(), y.data());
    }
};

}  // namespace

TEMPLATE_TEST_CASE("check_operator names what is wrong", "[testing]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    B b = test::make_backend<B>();
    const auto failed = [&](fault wrong) {
        std::vector<std::string> names;
        for (const auto& f : testing::check_operator(b, half<B>{wrong, 6}).figures)
            if (!f.passed()) names.push_back(f.name);
        return names;
    };
    using names = std::vector<std::string>;
    const auto has = [](const names& all, const std::string& name) {
        return std::find(all.begin(), all.end(), name) != all.end();
    };
    CHECK(failed(fault::none) == names{});
    CHECK(failed(fault::adjoint_factor) == names{"adjoint", "symmetric"});
    CHECK(has(failed(fault::affine), "A linear"));
    CHECK(has(failed(fault::adds), "A overwrites"));
    CHECK(has(failed(fault::contiguous), "A strided views"));
    CHECK(has(failed(fault::writes_gaps), "A gaps"));
    CHECK(has(failed(fault::neighbour), "A items"));
    CHECK(has(failed(fault::slices), "slices"));
    CHECK(failed(fault::asymmetric) == names{"symmetric"});
}

TEMPLATE_TEST_CASE("the adjoint error is that of a factor, for any size", "[testing]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    B b = test::make_backend<B>();
    const index_t n = GENERATE(1, 10, 20000);
    const double factor = GENERATE(-5.0, 0.0, 1.001, 1.0);
    const auto a = linop::make_operator(
        n, n, linop::any_items, [](auto& backend, auto x, auto y) { backend.axpby(2.0, x, 0.0, y); },
        [factor](auto& backend, auto y, auto x) { backend.axpby(2.0 * factor, y, 0.0, x); });
    const double expected = std::abs(1 - factor) / (1 + std::abs(factor));
    const double error = testing::adjoint_error(b, a, random_key{.seed = 4});
    CHECK(std::abs(error - expected) <= 16 * static_cast<double>(std::numeric_limits<scalar_t<B>>::epsilon()));
    if (factor == 1)
        CHECK_NOTHROW(testing::require_adjoint(b, a, random_key{.seed = 4}));
    else
        CHECK_THROWS_WITH(testing::require_adjoint(b, a, random_key{.seed = 4}, "diem fit: operator"),
                          Catch::Matchers::Contains("diem fit: operator: apply_adjoint is not the adjoint of apply"));
}

TEST_CASE("require_adjoint on operators per item, without rows, and with NaN", "[testing]") {
    using B = test::main_backend<float>;
    B b = test::make_backend<B>();
    const random_key key{.seed = 9};
    CHECK_NOTHROW(testing::require_adjoint(b, linop::identity(0), key));
    CHECK_NOTHROW(
        testing::require_adjoint(b, linop::dense<B>::per_item(test::random_batch(b, 3 * 5, 100, 1), 3, 5), key));
    batch<B> nothing(b, 2, 2);
    b.fill(nothing.view(), NAN);
    CHECK_THROWS_WITH(testing::require_adjoint(b, linop::dense<B>::shared(nothing), key),
                      Catch::Matchers::Contains("not finite"));
}

TEST_CASE("a report names its figures", "[testing]") {
    testing::report r;
    r.add("one", 1, 2, "below");
    CHECK(r.passed());
    r.add("two", NAN, 2, "NaN never passes");
    CHECK(!r.passed());
    CHECK(r["one"].passed());
    CHECK_THROWS_AS(r["three"], value_error);
    CHECK(r.text() == "ok      one: 1, bound 2 (below)\nFAILED  two: nan, bound 2 (NaN never passes)\n");
}
