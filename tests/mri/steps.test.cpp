// SPDX-License-Identifier: Apache-2.0
#include <diem/linop/compose.hpp>
#include <diem/linop/covariance.hpp>
#include <diem/linop/identity.hpp>
#include <diem/linop/mri.hpp>
#include <diem/mri/coil_compression.hpp>
#include <diem/mri/espirit.hpp>
#include <diem/mri/masks.hpp>
#include <diem/mri/measured.hpp>
#include <diem/mri/whitening.hpp>
#include <diem/solver/cg.hpp>

#include <cmath>
#include <complex>
#include <utility>
#include <vector>

#include "support/backends.hpp"
#include "support/catch.hpp"

using namespace diem;
using namespace diem::test;

namespace {

/// Images of an ellipse behind coils around it: (coils, height, width, 2).
std::vector<float> coil_images(const mri::kspace_size& size) {
    std::vector<float> out;
    for (index_t c = 0; c < size.coils; ++c) {
        const double turn = 6.283185307179586 * double(c) / double(size.coils);
        for (index_t i = 0; i < size.height; ++i)
            for (index_t j = 0; j < size.width; ++j) {
                const double y = 2 * double(i) / double(size.height) - 1, x = 2 * double(j) / double(size.width) - 1;
                const double far = std::pow(x - 1.2 * std::cos(turn), 2) + std::pow(y - 1.2 * std::sin(turn), 2);
                const double body = x * x / 0.4 + y * y / 0.6 < 1 ? 1 + 0.3 * std::sin(6 * x + 3 * y) : 0;
                const auto v = body * std::polar(std::exp(-far / 2), turn + 0.4 * x);
                out.push_back(static_cast<float>(v.real()));
                out.push_back(static_cast<float>(v.imag()));
            }
    }
    return out;
}
double energy(const std::vector<float>& v) {
    double sum = 0;
    for (const float x : v) sum += double(x) * double(x);
    return sum;
}

}  // namespace

TEST_CASE("from noisy, accelerated k-space to an image: whiten, compress, maps, operator, CG-SENSE", "[mri]") {
    using B = main_backend<float>;
    B b = make_backend<B>();
    const mri::kspace_size size{64, 60, 8};
    auto full = to_backend(b, coil_images(size), size.numbers(), 1);
    b.fft2(fft_direction::forward, size.height, size.width, full.cview(), full.view());

    // Noise that coils share: half of a coil's comes from the one before it.
    mri::coil_matrix mixing(size.coils, size.coils);
    for (index_t c = 0; c < size.coils; ++c) {
        mixing(c, c) = 0.01 * double(1 + c % 3);
        mixing(c, (c + 1) % size.coils) = {0, 0.005};
    }
    const auto noise_like = [&](index_t samples, std::uint32_t step) {
        batch<B> white(b, 2 * size.coils * samples, 1);
        b.fill_normal(random_key{2, random_lane::user, step}, white.view());
        return mri::mix_coils(b, mixing, white, {1, samples, size.coils});
    };
    const auto scan = noise_like(4000, 1);
    auto kspace = noise_like(size.pixels(), 2);
    b.axpby(1.0, full.cview(), 1.0, kspace.view());
    {  // what is not measured is zero
        const auto positions =
            mri::make_mask(b, random_key{3}, size.height, size.width,
                           {.kind = mri::mask_kind::poisson_disk, .acceleration = 4, .centre = 20, .full_size = true});
        const auto m = to_host(b, positions);
        auto host = to_host(b, kspace);
        for (std::size_t i = 0; i < host.size(); ++i) host[i] *= m[i / 2 % m.size()];
        kspace = to_backend(b, host, size.numbers(), 1);
    }

    // [steps]
    const auto noise = mri::noise_of_scan(b, scan, size.coils);  // or noise_of_corners(b, kspace, size)
    const auto white = mri::mix_coils(b, mri::whitening_matrix(noise), kspace, size);
    const auto compression = mri::compress_coils(b, white, size, 6);
    const auto y = mri::mix_coils(b, compression.matrix, white, size);
    const mri::kspace_size reduced{size.height, size.width, 6};

    using numbers = linop::common_or_each<B>;
    auto maps = mri::espirit(b, y, reduced, {.calibration = mri::calibration_width(b, y, reduced)});
    auto mask = mri::measured_mask(b, y, reduced);
    const linop::sense<B> a(b, reduced.height, reduced.width, numbers::shared(std::move(mask)),
                            numbers::shared(std::move(maps)));
    const linop::isotropic_covariance sigma_y{a.rows(), mri::whitened_sigma * mri::whitened_sigma};
    // [steps]

    CHECK(mri::calibration_width(b, y, reduced) == 20);
    CHECK(compression.kept() >= 0.99);
    // CG-SENSE: (A'A + lambda) x = A'y, in units of the noise.
    const auto m = linop::sum(linop::normal(a), linop::scaling(a.cols(), 0.01));
    batch<B> rhs(b, a.cols(), 1), x(b, a.cols(), 1);
    a.apply_adjoint(b, y, rhs);
    b.fill(x.view(), 0);
    solver::solver_options o;
    o.max_iterations = 60;
    o.relative_tolerance = 1e-4;
    (void)solver::cg(b, m, rhs.cview(), x.view(), o);

    // The residual of what was measured is the noise: of 6 coils and 960 positions, less what the image takes up.
    batch<B> residual(b, a.rows(), 1);
    a.apply(b, x, residual);
    b.axpby(1.0, y.cview(), -1.0, residual.view());
    const double measured = 2.0 * 6 * 960;
    const double per_number = energy(to_host(b, residual)) / (measured * sigma_y.variance());
    INFO("squared residual over variance: " << per_number);
    CHECK(per_number >= 1 - double(a.cols()) / measured);
    CHECK(per_number <= 1.5);
    // What was not measured is predicted: nothing (zero filling) would be an error of 1.
    batch<B> ones(b, reduced.pixels(), 1), predicted(b, a.rows(), 1);
    b.fill(ones.view(), 1);
    const linop::sense<B> everywhere(b, reduced.height, reduced.width, numbers::shared(std::move(ones)),
                                     numbers::shared(mri::espirit(b, y, reduced, {.calibration = 20})));
    everywhere.apply(b, x, predicted);
    const auto white_truth = mri::mix_coils(b, mri::whitening_matrix(noise), full, size);
    const auto truth = to_host(b, mri::mix_coils(b, compression.matrix, white_truth, size));
    const auto got = to_host(b, predicted), seen = to_host(b, y);
    double wrong = 0, all = 0;
    for (std::size_t i = 0; i < got.size(); i += 2) {
        if (seen[i] != 0 || seen[i + 1] != 0) continue;
        for (std::size_t k = i; k < i + 2; ++k) {
            wrong += std::pow(double(got[k]) - double(truth[k]), 2);
            all += std::pow(double(truth[k]), 2);
        }
    }
    INFO("relative error of hidden frequencies: " << std::sqrt(wrong / all));
    CHECK(std::sqrt(wrong / all) <= 0.5);
}
