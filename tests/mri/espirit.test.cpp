// SPDX-License-Identifier: Apache-2.0
#include <diem/mri/espirit.hpp>

#include <algorithm>
#include <cmath>
#include <complex>
#include <limits>
#include <vector>

#include "support/backends.hpp"
#include "support/compare.hpp"
#include "support/golden.hpp"
#include "support/message.hpp"
#include "support/operator_harness.hpp"

using namespace diem;
using namespace diem::test;

TEMPLATE_TEST_CASE("golden espirit: the maps of SigPy", "[mri]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    using T = scalar_t<B>;
    B b = make_backend<B>();
    for (auto& file : golden_files("espirit")) {
        const io::json& c = file.config();
        const mri::kspace_size size{c.at("height"), c.at("width"), c.at("coils")};
        const auto kspace = file.input<T>("kspace");
        const auto maps = mri::espirit(b, to_backend(b, kspace.data, kspace.features(), kspace.items()).cview(), size,
                                       {.calibration = c.at("calibration"),
                                        .kernel = c.at("kernel"),
                                        .threshold = c.at("threshold"),
                                        .crop = c.at("crop")});
        check_golden(file, "maps", to_host(b, maps));
    }
}

TEMPLATE_TEST_CASE("espirit of coils that see the same image, each times a number, finds the numbers", "[mri]",
                   DIEM_TEST_BACKENDS) {
    using B = TestType;
    using T = scalar_t<B>;
    B b = make_backend<B>();
    const mri::kspace_size size{16, 13, 3}, one{16, 13, 1};
    const std::vector<std::complex<double>> seen{{0.5, 0}, {0, -2}, {-1, 1}};
    const double norm = std::sqrt(0.25 + 4 + 2);
    const auto image = to_host(b, random_batch(b, one.numbers(), 1, 1));
    std::vector<T> kspace;
    for (const auto& a : seen)
        for (std::size_t k = 0; k < image.size(); k += 2) {
            const std::complex<double> v = a * std::complex<double>(double(image[k]), double(image[k + 1]));
            kspace.push_back(static_cast<T>(v.real()));
            kspace.push_back(static_cast<T>(v.imag()));
        }
    // The kernels of white noise span all patches of one coil: the eigenvalue is 1 everywhere.
    const auto maps = to_host(
        b, mri::espirit(b, to_backend(b, kspace, size.numbers(), 1).cview(), size, {.calibration = 13, .kernel = 3}));
    std::vector<double> expected;
    for (const auto& a : seen)
        for (index_t p = 0; p < size.pixels(); ++p) {
            expected.push_back(a.real() / norm);
            expected.push_back(a.imag() / norm);
        }
    CHECK(relative_error(maps, expected) <= tolerance<T>(50));
}

TEMPLATE_TEST_CASE("espirit: norm one or zero, each slice by itself, zero of zero", "[mri]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    using T = scalar_t<B>;
    B b = make_backend<B>();
    const mri::kspace_size size{9, 7, 2};
    const mri::espirit_options options{.calibration = 7, .kernel = 4, .threshold = 0.4, .crop = 0.75};
    auto kspace = random_batch(b, size.numbers(), 3, 2);
    b.fill(kspace.view().item_range(1, 1), T(0));
    const auto maps = to_host(b, mri::espirit(b, kspace.cview(), size, options));
    const auto n = static_cast<std::size_t>(size.numbers());
    index_t inside = 0;
    for (std::size_t i = 0; i < 3; ++i) {
        const auto alone =
            to_host(b, mri::espirit<B>(b, kspace.cview().item_range(static_cast<index_t>(i), 1), size, options));
        CHECK(std::vector<T>(maps.begin() + std::ptrdiff_t(i * n), maps.begin() + std::ptrdiff_t((i + 1) * n)) ==
              alone);
        for (std::size_t p = 0; p < n / 2; p += 2) {
            double sum = 0;
            for (std::size_t k = 0; k < 2; ++k)
                sum += std::pow(double(alone[p + k]), 2) + std::pow(double(alone[n / 2 + p + k]), 2);
            if (sum == 0) continue;
            ++inside;
            CHECK(std::abs(sum - 1) <= tolerance<T>(20));
            CHECK(alone[p + 1] == 0);  // the phase of the first coil
            CHECK(alone[p] >= 0);
            CHECK(i != 1);
        }
    }
    CHECK(inside > 0);
    CHECK(inside < 2 * size.pixels());
}

TEMPLATE_TEST_CASE("espirit of the smallest k-space, and of one whose first coil is dead, has no NaN", "[mri]",
                   DIEM_TEST_BACKENDS) {
    using B = TestType;
    using T = scalar_t<B>;
    B b = make_backend<B>();
    const auto dot =
        to_host(b, mri::espirit(b, random_batch(b, 2, 1, 3).cview(), {1, 1, 1}, {.calibration = 1, .kernel = 1}));
    CHECK(relative_error(dot, std::vector<double>{1, 0}) <= tolerance<T>(10));
    const mri::kspace_size size{6, 6, 2};
    auto kspace = random_batch(b, size.numbers(), 1, 4);
    b.fill(kspace.view().feature_range(0, size.numbers() / 2), T(0));
    const auto maps = to_host(b, mri::espirit(b, kspace.cview(), size, {.calibration = 6, .kernel = 2}));
    std::vector<double> expected(static_cast<std::size_t>(size.numbers()), 0);
    for (const T v : maps) CHECK(std::isfinite(v));
    for (index_t p = 0; p < size.pixels(); ++p) {
        const auto first = static_cast<std::size_t>(2 * p),
                   second = first + static_cast<std::size_t>(2 * size.pixels());
        CHECK(maps[first] == 0);
        CHECK(std::abs(std::hypot(double(maps[second]), double(maps[second + 1])) - 1) <= tolerance<T>(10));
    }
}

TEST_CASE("espirit refuses what it cannot use, and says why", "[mri]") {
    using B = main_backend<float>;
    B b = make_backend<B>();
    const mri::kspace_size size{12, 10, 2};
    const auto kspace = random_batch(b, size.numbers(), 2, 5);
    const auto why = [&](const mri::kspace_size& s, const mri::espirit_options& o) {
        return message_of([&] { (void)mri::espirit(b, kspace.cview(), s, o); });
    };
    CHECK(why(size, {}) == "espirit: calibration is 24, larger than the k-space of 12 x 10");
    CHECK(why(size, {.calibration = 11}) == "espirit: calibration is 11, larger than the k-space of 12 x 10");
    CHECK(why(size, {.calibration = 5}) == "espirit: calibration is 5, expected at least the kernel's 6");
    CHECK(why(size, {.calibration = 5, .kernel = 0}) == "espirit: kernel is 0, expected at least 1");
    CHECK(contains(why(size, {.calibration = 10, .threshold = 0}),
                   "threshold is 0.000000, expected a number in [1e-6, 1)"));
    CHECK(contains(why(size, {.calibration = 10, .threshold = NAN}), "threshold is nan"));
    CHECK(contains(why(size, {.calibration = 10, .crop = 2}), "crop is 2.000000, expected a number in [0, 1]"));
    CHECK(why({12, 10, 3}, {}) == "espirit: kspace.features() (2 x coils x height x width) is 480, expected 720");
    CHECK(contains(why({12, 0, 2}, {}), "k-space is 2 coils of 12 x 0, expected at least 1 each"));
    auto host = to_host(b, kspace);
    CHECK(mri::calibration_width<B>(b, kspace.cview(), size) == 10);
    CHECK(to_host(b, mri::measured_mask<B>(b, kspace.cview(), size)) == std::vector<float>(240, 1.0F));
    for (const std::size_t coil : {0, 1})  // row 4, column 3 of the second slice
        for (const std::size_t k : {0, 1}) host[480 + 240 * coil + 2 * 43 + k] = 0;
    const auto holes = to_backend(b, host, size.numbers(), 2);
    const auto holed = to_host(b, mri::measured_mask<B>(b, holes.cview(), size));
    CHECK(std::count(holed.begin(), holed.end(), 0.0F) == 1);
    CHECK(holed[120 + 43] == 0);
    CHECK(mri::calibration_width<B>(b, holes.cview(), size) == 3);  // rows 5 .. 7, columns 4 .. 6
    CHECK(mri::calibration_width<B>(b, holes.cview().item_range(0, 1), size) == 10);
    CHECK(contains(message_of<value_error>([&] { (void)mri::espirit(b, holes.cview(), size, {.calibration = 10}); }),
                   "espirit: item 1: 1 of the 100 frequencies of the calibration square are not measured"));
    host = to_host(b, kspace);
    for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
        host[500] = bad;
        const auto broken = to_backend(b, host, size.numbers(), 2);
        CHECK(message_of<value_error>([&] { (void)mri::espirit(b, broken.cview(), size, {.calibration = 10}); }) ==
              "espirit: item 1 of the kspace has 1 entries that are not finite");
    }
}
