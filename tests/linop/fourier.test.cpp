// SPDX-License-Identifier: Apache-2.0
#include <diem/linop/compose.hpp>
#include <diem/linop/cosine.hpp>
#include <diem/linop/fourier.hpp>
#include <diem/linop/hartley.hpp>
#include <diem/linop/mask.hpp>
#include <diem/linop/mri.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "support/compare.hpp"
#include "support/message.hpp"
#include "support/operator_harness.hpp"

using namespace diem;
using namespace diem::test;

namespace {

/// Height and width, even, odd and 1.
std::pair<index_t, index_t> small_image() {
    const auto shape = static_cast<std::size_t>(GENERATE(0, 1, 2, 3));
    return std::vector<std::pair<index_t, index_t>>{{1, 1}, {1, 6}, {4, 6}, {5, 3}}[shape];
}

}  // namespace

TEMPLATE_TEST_CASE("fourier, mri and sense are linear operators", "[linop]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    using numbers = linop::common_or_each<B>;
    B b = make_backend<B>();
    const auto shape = static_cast<std::size_t>(GENERATE(0, 1, 2, 3, 4));
    const index_t height = std::vector<index_t>{1, 1, 4, 5, 9}[shape],
                  width = std::vector<index_t>{1, 6, 6, 3, 1}[shape];
    const index_t items = GENERATE(0, 1, 3), pixels = height * width;
    const auto mask_of = [&](index_t features, index_t count) {
        batch<B> bits(b, features, count);
        linop::draw_mask(b, random_key{5}, 0.5, 1, bits.view());
        return bits;
    };
    SECTION("fourier") {
        check_operator(b, linop::fourier(height, width), items, "fourier");
        check_operator(b, linop::fourier(height, width, 3), items, "fourier of three images");
    }
    SECTION("mri") {
        check_operator(b, linop::mri<B>(b, height, width, numbers::shared(mask_of(width, 1))), items, "columns");
        check_operator(b, linop::mri<B>(b, height, width, numbers::per_item(mask_of(width, items))), items,
                       "columns each");
        check_operator(b, linop::mri<B>(b, height, width, numbers::shared(mask_of(pixels, 1))), items, "full");
        check_operator(b, linop::mri<B>(b, height, width, numbers::per_item(mask_of(pixels, items))), items,
                       "full each");
    }
    SECTION("sense") {
        const auto coils = [&](index_t n, index_t count) { return random_batch(b, 2 * pixels * n, count, 11); };
        const auto check = [&](numbers mask, numbers maps, const char* name) {
            check_operator(b, linop::sense<B>(b, height, width, std::move(mask), std::move(maps)), items, name);
        };
        check(numbers::shared(mask_of(width, 1)), numbers::shared(coils(2, 1)), "all shared");
        check(numbers::per_item(mask_of(width, items)), numbers::shared(coils(3, 1)), "mask each");
        check(numbers::shared(mask_of(pixels, 1)), numbers::per_item(coils(1, items)), "coils each");
        check(numbers::per_item(mask_of(pixels, items)), numbers::per_item(coils(2, items)), "both each");
    }
}

TEMPLATE_TEST_CASE("sense of one flat coil and a real image is mri; a full mask makes F^H F = 1", "[linop]",
                   DIEM_TEST_BACKENDS) {
    using B = TestType;
    using T = scalar_t<B>;
    using numbers = linop::common_or_each<B>;
    B b = make_backend<B>();
    const index_t height = 6, width = 5, pixels = height * width, items = 2;
    const auto host = to_host(b, random_batch(b, pixels, items, 1));
    std::vector<T> as_complex(2 * host.size()), flat(static_cast<std::size_t>(2 * pixels)), columns(5, T(1));
    for (std::size_t k = 0; k < host.size(); ++k) as_complex[2 * k] = host[k];
    for (std::size_t k = 0; k < flat.size(); k += 2) flat[k] = 1;
    columns[1] = columns[4] = 0;
    const auto x = to_backend(b, host, pixels, items), z = to_backend(b, as_complex, 2 * pixels, items);
    const auto coil = to_backend(b, flat, 2 * pixels, 1), some = to_backend(b, columns, width, 1);
    const linop::mri<B> one(b, height, width, numbers::shared(some));
    const linop::sense<B> many(b, height, width, numbers::shared(some), numbers::shared(coil));
    batch<B> y(b, 2 * pixels, items), u(b, 2 * pixels, items);
    one.apply(b, x, y);
    many.apply(b, z, u);
    CHECK(to_host(b, y) == to_host(b, u));
    const auto k_space = to_host(b, y);
    for (std::size_t k = 0; k < k_space.size(); k += 2)  // columns 1 and 4 are hidden, the others are not
        CHECK((k_space[k] == 0) == (k / 2 % 5 == 1 || k / 2 % 5 == 4));

    batch<B> all(b, width, 1), back(b, pixels, items);
    b.fill(all.view(), T(1));
    const linop::mri<B> full(b, height, width, numbers::shared(all));
    full.apply(b, x, y);
    full.apply_adjoint(b, y, back);
    CHECK(close(to_host(b, back), host, largest(host), 16 * static_cast<double>(std::numeric_limits<T>::epsilon())));
}

TEST_CASE("mri and sense refuse sizes that do not fit, and name them", "[linop]") {
    using B = reference_backend<float>;
    using numbers = linop::common_or_each<B>;
    using Catch::Matchers::Contains;
    B b;
    const auto of = [&](index_t features, index_t items) {
        batch<B> ones(b, features, items);
        b.fill(ones.view(), 1);
        return ones;
    };
    CHECK_THROWS_WITH(linop::mri<B>(b, 4, 6, numbers::shared(of(5, 1))),
                      Contains("mri: the mask has 5 numbers, expected 6 (one a column) or 24 (4 x 6)"));
    CHECK_THROWS_WITH(linop::sense<B>(b, 4, 6, numbers::shared(of(6, 1)), numbers::shared(of(50, 1))),
                      Contains("sense: the coils have 50 numbers, expected a multiple of 48 (2 x 4 x 6)"));
    CHECK_THROWS_AS(linop::sense<B>(b, 4, 6, numbers::shared(of(6, 1)), numbers::shared(of(0, 1))), shape_error);
    CHECK_THROWS_WITH(linop::sense<B>(b, 4, 6, numbers::per_item(of(6, 2)), numbers::per_item(of(48, 3))),
                      Contains("items of the second operator is 3, expected 2"));
    CHECK_THROWS_AS(numbers::shared(of(6, 2)), shape_error);
    CHECK_THROWS_AS(linop::mri<B>(b, 0, 6, numbers::shared(of(6, 1))), value_error);
    CHECK_THROWS_AS(linop::sense<B>(b, 0, 6, numbers::shared(of(6, 1)), numbers::shared(of(6, 1))), value_error);
    CHECK_THROWS_AS(linop::fourier(3, -1), value_error);
    CHECK_THROWS_AS(linop::fourier(3, 3, -1), value_error);
}

TEMPLATE_TEST_CASE("the normal operator of mri and sense is the adjoint after the operator", "[linop]",
                   DIEM_TEST_BACKENDS) {
    using B = TestType;
    using T = scalar_t<B>;
    using numbers = linop::common_or_each<B>;
    B b = make_backend<B>();
    const index_t height = 6, width = 5, pixels = height * width, items = 2;
    const bool full = GENERATE(false, true);
    batch<B> mask(b, full ? pixels : width, items);
    linop::draw_mask(b, random_key{5}, 0.5, 1, mask.view());
    const auto check = [&](const auto& a) {
        check_operator(b, linop::normal(a), items, "normal");
        const auto x = random_batch(b, a.cols(), items, 8);
        batch<B> y(b, a.rows(), items), expected(b, a.cols(), items), got(b, a.cols(), items);
        a.apply(b, x, y);
        a.apply_adjoint(b, y, expected);
        linop::normal(a).apply(b, x.cview(), got.view());
        CHECK(close(to_host(b, got), to_host(b, expected), largest(to_host(b, expected)),
                    32 * static_cast<double>(std::numeric_limits<T>::epsilon())));
    };
    check(linop::mri<B>(b, height, width, numbers::per_item(mask)));
    check(
        linop::sense<B>(b, height, width, numbers::per_item(mask), numbers::shared(random_batch(b, 6 * pixels, 1, 9))));
    check(linop::fourier(height, width));  // has no way of its own
}

namespace {
/// Counts what is transformed: the passes over each axis of every image.
struct counting_backend : reference_backend<double> {
    index_t rows = 0, columns = 0;
    template <class P, class Q>
    void fft2(fft_direction direction, index_t height, index_t width, const batch_view<P>& x, const batch_view<Q>& y) {
        const index_t images = x.size() / (2 * height * width);
        if (width > 1) rows += images * height;
        if (height > 1) columns += images * width;
        reference_backend<double>::fft2(direction, height, width, x, y);
    }
};
}  // namespace

TEST_CASE("one pair of transforms a normal product of sense, of the rows alone where columns are hidden", "[linop]") {
    using B = counting_backend;
    using numbers = linop::common_or_each<B>;
    B b;
    const index_t height = 4, width = 6, pixels = height * width, coils = 3;
    const bool full = GENERATE(false, true);
    batch<B> mask(b, full ? pixels : width, 1);
    b.fill(mask.view(), 1);
    const linop::sense<B> a(b, height, width, numbers::shared(mask),
                            numbers::shared(random_batch(b, 2 * coils * pixels, 1, 9)));
    const auto x = random_batch(b, 2 * pixels, 1, 8);
    batch<B> y(b, 2 * pixels, 1);
    linop::normal(a).apply(b, x.cview(), y.view());
    CHECK(b.rows == 2 * coils * height);
    CHECK(b.columns == (full ? 2 * coils * width : 0));
}

TEMPLATE_TEST_CASE("mri and sense refuse what is not a mask, and maps that are not finite", "[linop]",
                   DIEM_TEST_BACKENDS) {
    using B = TestType;
    using T = scalar_t<B>;
    using numbers = linop::common_or_each<B>;
    B b = make_backend<B>();
    const auto with = [&](index_t features, index_t items, std::size_t at, T value) {
        std::vector<T> host(static_cast<std::size_t>(features * items), T(1));
        host[at] = value;
        return to_backend(b, host, features, items);
    };
    constexpr T nan = std::numeric_limits<T>::quiet_NaN(), infinity = std::numeric_limits<T>::infinity();
    for (const T bad : {nan, infinity, T(0.5), T(-1)}) {
        CHECK(message_of<value_error>([&] { linop::mri<B>(b, 4, 6, numbers::per_item(with(6, 2, 7, bad))); }) ==
              "mri: item 1 of the mask has 1 entries that are neither 0 nor 1");
        CHECK(message_of<value_error>([&] {
                  linop::sense<B>(b, 4, 6, numbers::shared(with(24, 1, 23, bad)), numbers::shared(with(48, 1, 0, 1)));
              }) == "sense: item 0 of the mask has 1 entries that are neither 0 nor 1");
    }
    for (const T bad : {nan, infinity, -infinity}) {
        CHECK(message_of<value_error>([&] {  // more numbers than are counted in one part
                  linop::sense<B>(b, 50, 50, numbers::shared(with(50, 1, 0, 1)),
                                  numbers::per_item(with(10000, 2, 19999, bad)));
              }) == "sense: item 1 of the coils has 1 entries that are not finite");
    }
}

TEMPLATE_TEST_CASE("hartley: linear, symmetric, its own inverse, the sum of cosines and sines", "[linop]",
                   DIEM_TEST_BACKENDS) {
    using B = TestType;
    using T = scalar_t<B>;
    B b = make_backend<B>();
    const auto [height, width] = small_image();
    const index_t channels = GENERATE(1, 3), items = GENERATE(0, 1, 3), n = height * width * channels;
    const linop::hartley h(height, width, channels);
    check_operator(b, h, items, "hartley");
    const auto x = random_batch(b, n, items, 3);
    batch<B> y(b, n, items), again(b, n, items);
    h.apply(b, x.cview(), y.view());
    h.apply(b, y.cview(), again.view());
    const auto host = to_host(b, x), coefficients = to_host(b, y), back = to_host(b, again);
    const double pi = std::acos(-1.0);
    for (index_t i = 0; i < items; ++i)
        for (index_t c = 0; c < channels; ++c)
            for (index_t v = 0; v < height; ++v)
                for (index_t u = 0; u < width; ++u) {
                    double sum = 0, size = 0;
                    for (index_t r = 0; r < height; ++r)
                        for (index_t s = 0; s < width; ++s) {
                            const double angle = 2 * pi *
                                                 (double((v - height / 2) * (r - height / 2)) / double(height) +
                                                  double((u - width / 2) * (s - width / 2)) / double(width));
                            const auto value = double(host[std::size_t(i * n + (r * width + s) * channels + c)]);
                            sum += value * (std::cos(angle) + std::sin(angle));
                            size += std::abs(value);
                        }
                    const auto at = std::size_t(i * n + (v * width + u) * channels + c);
                    const double root = std::sqrt(double(height * width)), bound = tolerance<T>(16) * size;
                    CHECK(std::abs(double(coefficients[at]) - sum / root) <= bound);
                    CHECK(std::abs(double(back[at] - host[at])) <= bound);
                }
    CHECK_THROWS_AS(linop::hartley(0, 3), value_error);
    CHECK_THROWS_AS(linop::hartley(3, 3, 0), value_error);
}

TEMPLATE_TEST_CASE("cosine: linear, orthogonal, the sum of cosines along rows, columns and channels", "[linop]",
                   DIEM_TEST_BACKENDS) {
    using B = TestType;
    using T = scalar_t<B>;
    B b = make_backend<B>();
    const auto [height, width] = small_image();
    const index_t channels = GENERATE(1, 2, 3), items = GENERATE(0, 1, 3), n = height * width * channels;
    const linop::cosine c(height, width, channels);
    check_operator(b, c, items, "cosine");
    const auto x = random_batch(b, n, items, 3);
    batch<B> y(b, n, items), again(b, n, items);
    b.copy(x.cview(), y.view());
    c.apply(b, y.cview(), y.view());  // in place
    c.apply_adjoint(b, y.cview(), again.view());
    const auto host = to_host(b, x), coefficients = to_host(b, y), back = to_host(b, again);
    const auto wave = [](index_t k, index_t i, index_t size) {
        return std::sqrt((k == 0 ? 1 : 2) / double(size)) *
               std::cos(std::acos(-1.0) * double((2 * i + 1) * k) / double(2 * size));
    };
    for (index_t i = 0; i < items; ++i)
        for (index_t k = 0; k < n; ++k) {
            double sum = 0, size = 0;
            for (index_t r = 0; r < n; ++r) {
                const double value = double(host[std::size_t(i * n + r)]);
                sum += value * wave(k % channels, r % channels, channels) *
                       wave(k / channels % width, r / channels % width, width) *
                       wave(k / channels / width, r / channels / width, height);
                size += std::abs(value);
            }
            const auto at = std::size_t(i * n + k);
            CHECK(std::abs(double(coefficients[at]) - sum) <= tolerance<T>(16) * size);
            CHECK(std::abs(double(back[at] - host[at])) <= tolerance<T>(16) * size);
        }
    CHECK_THROWS_AS(linop::cosine(0, 3), value_error);
    CHECK_THROWS_AS(linop::cosine(3, 3, 0), value_error);
}
