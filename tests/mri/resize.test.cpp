// SPDX-License-Identifier: Apache-2.0
#include <diem/linop/mri.hpp>
#include <diem/mri/resize.hpp>

#include <vector>

#include "support/backends.hpp"
#include "support/catch.hpp"
#include "support/compare.hpp"
#include "support/message.hpp"

using namespace diem;
using namespace diem::test;

TEMPLATE_TEST_CASE("resize: about the origin, and k-space of the cut image", "[mri]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    using T = scalar_t<B>;
    B b = make_backend<B>();
    const mri::kspace_size size{7, 6, 2};
    batch<B> x(b, size.numbers(), 3);
    b.fill_normal(random_key{5}, x.view());
    const auto values = to_host(b, x);
    for (const auto& [height, width] : {std::pair<index_t, index_t>{4, 3}, {9, 8}, {3, 9}}) {
        const auto y = to_host(b, mri::resize_images<B>(b, x.cview(), size, height, width));
        std::vector<T> want;
        for (index_t n = 0; n < 3 * size.coils; ++n)
            for (index_t i = 0; i < height; ++i)
                for (index_t j = 0; j < width; ++j)
                    for (index_t part = 0; part < 2; ++part) {
                        const index_t r = i - height / 2 + 3, c = j - width / 2 + 3;
                        const bool inside = r >= 0 && r < 7 && c >= 0 && c < 6;
                        want.push_back(inside ? values[static_cast<std::size_t>(2 * ((n * 7 + r) * 6 + c) + part)]
                                              : T(0));
                    }
        CHECK(y == want);
    }
    // A mask of columns stays what it is where rows are cut: the other columns are zero, those measured as if all were.
    batch<B> k(b, size.numbers(), 3), cut(b, 2 * 2 * 4 * 6, 3);
    b.fft2(fft_direction::forward, 7, 6, x.cview(), k.view());
    auto some = to_host(b, k);
    for (std::size_t n = 0; n < some.size(); ++n)
        if (n / 2 % 6 == 1 || n / 2 % 6 == 4) some[n] = 0;
    b.fft2(fft_direction::forward, 4, 6, mri::resize_images<B>(b, x.cview(), size, 4, 6).cview(), cut.view());
    auto want = to_host(b, cut);
    for (std::size_t n = 0; n < want.size(); ++n)
        if (n / 2 % 6 == 1 || n / 2 % 6 == 4) want[n] = 0;
    const auto masked = to_backend(b, some, size.numbers(), 3);
    CHECK(relative_error(to_host(b, mri::crop_kspace<B>(b, masked.cview(), size, 4, 6)), want) <= tolerance<T>(40));
    CHECK(contains(message_of<value_error>([&] { (void)mri::crop_kspace<B>(b, k.cview(), size, 8, 6); }),
                   "asked for 8 x 6"));
    CHECK_THROWS_AS(mri::resize_images<B>(b, k.cview(), size, 0, 6), value_error);
    CHECK_THROWS_AS(mri::resize_images<B>(b, k.cview(), {7, 7, 2}, 4, 6), shape_error);
}
