// SPDX-License-Identifier: Apache-2.0
#include <diem/linop/mri.hpp>
#include <diem/mri/scaling.hpp>

#include <cmath>
#include <vector>

#include "support/backends.hpp"
#include "support/catch.hpp"
#include "support/compare.hpp"
#include "support/message.hpp"

using namespace diem;
using namespace diem::test;

TEMPLATE_TEST_CASE("scaling: an image and its measurement go along, and come back", "[mri]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    using T = scalar_t<B>;
    using numbers = linop::common_or_each<B>;
    B b = make_backend<B>();
    const index_t height = 6, width = 5, pixels = height * width, items = 2;
    batch<B> x(b, pixels, items), mask(b, width, 1), scaled(b, pixels, items), back(b, pixels, items);
    b.fill_uniform(random_key{5}, x.view());  // magnitudes 0 .. 1
    b.axpby(0.0, x.cview(), 7e-5, x.view());  // in a scanner's units
    b.fill(mask.view(), T(1));
    b.fill(mask.view().feature_range(3, 1), T(0));
    const linop::mri<B> a(b, height, width, numbers::shared(mask));
    for (const mri::scaling s : {mri::scaling::of_magnitude(7e-5), mri::scaling::of_complex(7e-5)}) {
        mri::image_to_prior<B>(b, s, x.cview(), scaled.view());
        for (const T v : to_host(b, scaled)) CHECK((v >= (s.offset < 0 ? -2 : 0) && v <= 2));
        batch<B> y(b, 2 * pixels, items), expected(b, 2 * pixels, items);
        a.apply(b, x, y);
        a.apply(b, scaled, expected);
        mri::measurement_to_prior<B>(b, s, a, y.view());
        CHECK(relative_error(to_host(b, y), to_host(b, expected)) <= tolerance<T>(20));
        mri::image_to_input<B>(b, s, scaled.cview(), back.view());
        CHECK(relative_error(to_host(b, back), to_host(b, x)) <= tolerance<T>(8));
        CHECK(std::abs(s.to_input(s.to_prior(3e-5)) / 3e-5 - 1) <= 1e-14);
        CHECK(s.sigma_to_input(s.sigma_to_prior(1e-6)) == Approx(1e-6));
        CHECK(s.sigma_to_prior(1e-6) == Approx(s.to_prior(1e-6) - s.to_prior(0)));
    }
    CHECK(mri::scaling::of_magnitude(5).to_prior(0) == -2);
    CHECK(mri::scaling::of_magnitude(5).to_prior(5) == 2);
    CHECK(mri::scaling::of_complex(5).to_prior(5) == 2);
    CHECK(contains(message_of<value_error>([] { (void)mri::scaling::of_magnitude(0); }),
                   "scaling::of_magnitude: largest is 0.000000, expected a finite number > 0"));
    CHECK_THROWS_AS(mri::scaling::of_complex(NAN), value_error);
}

TEMPLATE_TEST_CASE("root_sum_of_squares is that of the images of the coils", "[mri]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    using T = scalar_t<B>;
    B b = make_backend<B>();
    const mri::kspace_size size{4, 3, 2};
    batch<B> images(b, size.numbers(), 2), kspace(b, size.numbers(), 2);
    b.fill_normal(random_key{6}, images.view());
    b.fft2(fft_direction::forward, size.height, size.width, images.cview(), kspace.view());
    const auto host = to_host(b, images);
    std::vector<double> expected;
    for (index_t i = 0; i < 2; ++i)
        for (index_t p = 0; p < size.pixels(); ++p) {
            double sum = 0;
            for (index_t c = 0; c < 2; ++c)
                for (index_t k = 0; k < 2; ++k)
                    sum += std::pow(double(host[std::size_t(i * size.numbers() + 2 * (c * size.pixels() + p) + k)]), 2);
            expected.push_back(std::sqrt(sum));
        }
    CHECK(relative_error(to_host(b, mri::root_sum_of_squares(b, kspace.cview(), size)), expected) <= tolerance<T>(20));
}
