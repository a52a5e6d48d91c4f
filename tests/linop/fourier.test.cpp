// SPDX-License-Identifier: Apache-2.0
#include <diem/linop/fourier.hpp>
#include <diem/linop/mask.hpp>
#include <diem/linop/mri.hpp>

#include <algorithm>
#include <vector>

#include "support/operator_harness.hpp"

using namespace diem;
using namespace diem::test;

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
        check_operator(b, linop::mri<B>(height, width, numbers::shared(mask_of(width, 1))), items, "columns");
        check_operator(b, linop::mri<B>(height, width, numbers::per_item(mask_of(width, items))), items,
                       "columns each");
        check_operator(b, linop::mri<B>(height, width, numbers::shared(mask_of(pixels, 1))), items, "full");
        check_operator(b, linop::mri<B>(height, width, numbers::per_item(mask_of(pixels, items))), items, "full each");
    }
    SECTION("sense") {
        const auto coils = [&](index_t n, index_t count) { return random_batch(b, 2 * pixels * n, count, 11); };
        const auto check = [&](numbers mask, numbers maps, const char* name) {
            check_operator(b, linop::sense<B>(height, width, std::move(mask), std::move(maps)), items, name);
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
    const linop::mri<B> one(height, width, numbers::shared(some));
    const linop::sense<B> many(height, width, numbers::shared(some), numbers::shared(coil));
    batch<B> y(b, 2 * pixels, items), u(b, 2 * pixels, items);
    one.apply(b, x, y);
    many.apply(b, z, u);
    CHECK(to_host(b, y) == to_host(b, u));
    const auto k_space = to_host(b, y);
    for (std::size_t k = 0; k < k_space.size(); k += 2)  // columns 1 and 4 are hidden, the others are not
        CHECK((k_space[k] == 0) == (k / 2 % 5 == 1 || k / 2 % 5 == 4));

    batch<B> all(b, width, 1), back(b, pixels, items);
    b.fill(all.view(), T(1));
    const linop::mri<B> full(height, width, numbers::shared(all));
    full.apply(b, x, y);
    full.apply_adjoint(b, y, back);
    CHECK(close(to_host(b, back), host, largest(host), 16 * static_cast<double>(std::numeric_limits<T>::epsilon())));
}

TEST_CASE("mri and sense refuse sizes that do not fit, and name them", "[linop]") {
    using B = reference_backend<float>;
    using numbers = linop::common_or_each<B>;
    using Catch::Matchers::Contains;
    B b;
    const auto of = [&](index_t features, index_t items) { return random_batch(b, features, items, 3); };
    CHECK_THROWS_WITH(linop::mri<B>(4, 6, numbers::shared(of(5, 1))),
                      Contains("mri: the mask has 5 numbers, expected 6 (one a column) or 24 (4 x 6)"));
    CHECK_THROWS_WITH(linop::sense<B>(4, 6, numbers::shared(of(6, 1)), numbers::shared(of(50, 1))),
                      Contains("sense: the coils have 50 numbers, expected a multiple of 48 (2 x 4 x 6)"));
    CHECK_THROWS_AS(linop::sense<B>(4, 6, numbers::shared(of(6, 1)), numbers::shared(of(0, 1))), shape_error);
    CHECK_THROWS_WITH(linop::sense<B>(4, 6, numbers::per_item(of(6, 2)), numbers::per_item(of(48, 3))),
                      Contains("items of the second operator is 3, expected 2"));
    CHECK_THROWS_AS(numbers::shared(of(6, 2)), shape_error);
    CHECK_THROWS_AS(linop::mri<B>(0, 6, numbers::shared(of(6, 1))), value_error);
    CHECK_THROWS_AS(linop::sense<B>(0, 6, numbers::shared(of(6, 1)), numbers::shared(of(6, 1))), value_error);
    CHECK_THROWS_AS(linop::fourier(3, -1), value_error);
    CHECK_THROWS_AS(linop::fourier(3, 3, -1), value_error);
}
