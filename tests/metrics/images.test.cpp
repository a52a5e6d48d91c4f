// SPDX-License-Identifier: Apache-2.0
#include <diem/metrics/psnr.hpp>
#include <diem/metrics/ssim.hpp>

#include <cmath>
#include <limits>
#include <vector>

#include "support/backends.hpp"
#include "support/catch.hpp"

using namespace diem;
using namespace diem::metrics;

namespace {
constexpr image_shape shape{9, 11, 3};

/// Two images of 9 x 11 x 3 in [-2, 2] and distorted ones, in float32.
void images(std::vector<float>& x, std::vector<float>& y) {
    for (int k = 0; k < 2 * static_cast<int>(shape.size()); ++k) {
        x.push_back(static_cast<float>((k * 37 % 101) / 25.0 - 2));
        y.push_back(static_cast<float>(static_cast<double>(x.back()) * 0.75 + ((k * 53 % 97) / 97.0 - 0.5) * 0.5));
    }
}
}  // namespace

TEMPLATE_TEST_CASE("PSNR and SSIM equal those of scikit-image", "", DIEM_TEST_BACKENDS) {
    using T = scalar_t<TestType>;
    auto backend = test::make_backend<TestType>();
    std::vector<float> values_x, values_y;
    images(values_x, values_y);
    const auto widened = [](const std::vector<float>& v) { return std::vector<T>(v.begin(), v.end()); };
    const auto x = to_backend(backend, widened(values_x), shape.size(), 2);
    const auto y = to_backend(backend, widened(values_y), shape.size(), 2);
    // k = np.arange(2 * 9 * 11 * 3)
    // x = ((k * 37 % 101) / 25 - 2).astype(np.float32).reshape(2, 9, 11, 3)
    // y = (x * 0.75 + ((k * 53 % 97) / 97 - 0.5).reshape(x.shape) * 0.5).astype(np.float32)
    // x, y = x.astype(np.float64), y.astype(np.float64)
    // [skimage.metrics.structural_similarity(a, b, data_range=4, channel_axis=-1) for a, b in zip(x, y)]
    // [skimage.metrics.peak_signal_noise_ratio(a, b, data_range=4) for a, b in zip(x, y)]
    const double expected_ssim[] = {0.8824855293982212, 0.8815676046069649};
    const double expected_psnr[] = {22.08385637128628, 21.533746392707016};
    ssim_options o;
    o.data_range = 4;
    const auto similarity = ssim(backend, x.cview(), y.cview(), shape, o);
    const auto ratio = psnr(backend, x.cview(), y.cview(), 4.0);
    REQUIRE(similarity.size() == 2);
    REQUIRE(ratio.size() == 2);
    for (std::size_t i = 0; i < 2; ++i) {
        CHECK(std::abs(similarity[i] - expected_ssim[i]) <= 1e-8);  // one float32 rounding of y may differ
        CHECK(std::abs(ratio[i] - expected_psnr[i]) <= 1e-6);
    }
    CHECK(ssim(backend, x.cview(), y.cview().item_range(0, 2), shape, o) == similarity);
    for (const double value : ssim(backend, x.cview(), x.cview(), shape, o)) CHECK(std::abs(value - 1) <= 1e-14);
}

TEMPLATE_TEST_CASE("PSNR and SSIM of closed cases", "", DIEM_TEST_BACKENDS) {
    using T = scalar_t<TestType>;
    auto backend = test::make_backend<TestType>();
    const auto x = to_backend(backend, std::vector<T>{0, 1, -1, 2, 0.5, 0.5}, 3, 2);
    const auto y = to_backend(backend, std::vector<T>{2, 1, -2, 2, 0.5, 0.5}, 3, 2);
    const auto error = mean_squared_error(backend, x.cview(), y.cview());
    CHECK(std::abs(error[0] - 5.0 / 3) <= 1e-15);
    CHECK(error[1] == 0);
    const auto ratio = psnr(backend, x.cview(), y.cview(), 4.0);
    CHECK(std::abs(ratio[0] - 10 * std::log10(16 * 3 / 5.0)) <= 1e-12);
    CHECK(ratio[1] == std::numeric_limits<double>::infinity());

    // Constant images a, b have no variance: (2 a b + c1) / (a^2 + b^2 + c1), c1 = (0.01 range)^2.
    batch<TestType> a(backend, 7 * 8, 1), b(backend, 7 * 8, 1);
    backend.fill(a.view(), T(1));
    backend.fill(b.view(), T(-0.5));
    ssim_options o;
    o.data_range = 4;
    const double c1 = 0.0016;
    CHECK(std::abs(ssim(backend, a.cview(), b.cview(), {7, 8, 1}, o)[0] - (-1 + c1) / (1.25 + c1)) <= 1e-13);

    CHECK_THROWS_AS(psnr(backend, x.cview(), y.cview(), 0.0), value_error);
    CHECK_THROWS_AS(psnr(backend, x.cview(), a.cview(), 4.0), shape_error);
    CHECK_THROWS_AS(ssim(backend, a.cview(), b.cview(), {7, 8, 1}, ssim_options{}), value_error);  // no data range
    CHECK_THROWS_AS(ssim(backend, a.cview(), b.cview(), {14, 4, 1}, o), value_error);
    CHECK_THROWS_AS(ssim(backend, a.cview(), b.cview(), {7, 7, 1}, o), shape_error);
}
