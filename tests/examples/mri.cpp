// SPDX-License-Identifier: Apache-2.0
#include <diem/linop/mri.hpp>
#include <diem/mri/coil_compression.hpp>
#include <diem/mri/coil_matrix.hpp>
#include <diem/mri/espirit.hpp>
#include <diem/mri/kspace.hpp>
#include <diem/mri/masks.hpp>
#include <diem/mri/measured.hpp>
#include <diem/mri/resize.hpp>
#include <diem/mri/scaling.hpp>
#include <diem/mri/whitening.hpp>

#include <algorithm>
#include <cmath>
#include <complex>

#include "example.hpp"

namespace {

/// K-space of a disk seen by coils, each of which is loudest at another edge.
diem::batch<backend> disk(backend& b, const diem::mri::kspace_size& size) {
    std::vector<float> image;
    for (diem::index_t c = 0; c < size.coils; ++c)
        for (diem::index_t i = 0; i < size.height; ++i)
            for (diem::index_t j = 0; j < size.width; ++j) {
                const double y = 2 * double(i) / double(size.height) - 1, x = 2 * double(j) / double(size.width) - 1;
                const double angle = 6.283185307179586 * double(c) / double(size.coils);
                const auto seen = x * x + y * y < 0.5
                                      ? std::polar(1 + 0.5 * std::cos(angle) * x + 0.5 * std::sin(angle) * y, angle)
                                      : 0.0;
                image.push_back(static_cast<float>(seen.real()));
                image.push_back(static_cast<float>(seen.imag()));
            }
    auto k = diem::to_backend(b, image, size.numbers(), 1);
    b.fft2(diem::fft_direction::forward, size.height, size.width, k.cview(), k.view());
    return k;
}

}  // namespace

TEST_CASE("mri/kspace.hpp") {
    backend b(1);
    // [mri/kspace.hpp]
    const diem::mri::kspace_size size{.height = 32, .width = 24, .coils = 4};
    diem::batch<backend> slices(b, size.numbers(), 10);  // (coils, height, width, 2) of ten slices
    // [mri/kspace.hpp]
    CHECK(slices.features() == 4 * 32 * 24 * 2);
}

TEST_CASE("mri/coil_matrix.hpp") {
    backend b(1);
    // [mri/coil_matrix.hpp]
    // Two coils into one, the first plus i times the second, at every frequency.
    diem::mri::coil_matrix m(1, 2);
    m(0, 0) = 1;
    m(0, 1) = {0, 1};
    const auto k = diem::to_backend(b, std::vector<float>{1, 2, 3, 4}, 4, 1);  // 1 + 2 i and 3 + 4 i, of one frequency
    const auto mixed = diem::mri::mix_coils(b, m, k.cview(), {.height = 1, .width = 1, .coils = 2});  // -3 + 5 i
    // [mri/coil_matrix.hpp]
    CHECK(diem::to_host(b, mixed) == std::vector<float>{-3, 5});
}

TEST_CASE("mri/coil_compression.hpp") {
    backend b(1);
    const diem::mri::kspace_size size{32, 32, 8};
    const auto kspace = disk(b, size);
    // [mri/coil_compression.hpp]
    const auto compressed = diem::mri::compress_coils(b, kspace.cview(), size, 4);  // the four best of eight coils
    const auto fewer = diem::mri::mix_coils(b, compressed.matrix, kspace.cview(), size);
    const double kept = compressed.kept();  // share of the energy
    // [mri/coil_compression.hpp]
    CHECK(kept > 0.99);
    CHECK(fewer.features() == 4 * 32 * 32 * 2);
}

TEST_CASE("mri/espirit.hpp") {
    backend b(1);
    const diem::mri::kspace_size size{32, 32, 4};
    const auto kspace = disk(b, size);
    // [mri/espirit.hpp]
    // Coil maps from the 16 x 16 frequencies in the centre: (coils, height, width, 2), as kspace.
    const auto maps = diem::mri::espirit(b, kspace.cview(), size, {.calibration = 16, .kernel = 5});
    // [mri/espirit.hpp]
    const auto m = diem::to_host(b, maps);
    double norm = 0;  // over the coils, in the middle of the disk
    for (std::size_t c = 0; c < 4; ++c)
        norm += std::pow(m[2 * (c * 1024 + 16 * 32 + 16)], 2) + std::pow(m[2 * (c * 1024 + 16 * 32 + 16) + 1], 2);
    CHECK(norm == about(1));
}

TEST_CASE("mri/masks.hpp") {
    backend b(1);
    // [mri/masks.hpp]
    // One in four columns of k-space, the 12 in the centre among them: one mask for each of 50 slices.
    auto columns = diem::mri::make_mask(
        b, {.seed = 1}, 64, 96, {.kind = diem::mri::mask_kind::equispaced, .acceleration = 4, .centre = 12}, 50);
    const diem::linop::mri<backend> a(b, 64, 96, diem::linop::common_or_each<backend>::per_item(std::move(columns)));
    // [mri/masks.hpp]
    CHECK(a.items() == 50);
    const auto one = diem::to_host(
        b, diem::mri::make_mask(b, {.seed = 1}, 64, 96,
                                {.kind = diem::mri::mask_kind::equispaced, .acceleration = 4, .centre = 12}));
    CHECK(std::count(one.begin(), one.end(), 1.0F) == 24);
}

TEST_CASE("mri/measured.hpp") {
    backend b(1);
    // [mri/measured.hpp]
    const diem::mri::kspace_size size{.height = 2, .width = 3, .coils = 1};
    const auto k = diem::to_backend(b, std::vector<float>{0, 0, 1, 1, 0, 0, 0, 0, 2, 2, 0, 0}, size.numbers(), 1);
    const auto mask = diem::mri::measured_mask(b, k.cview(), size);  // 0 1 0 in both rows: what is not exactly zero
    // [mri/measured.hpp]
    CHECK(diem::to_host(b, mask) == std::vector<float>{0, 1, 0, 0, 1, 0});
}

TEST_CASE("mri/resize.hpp") {
    backend b(1);
    const diem::mri::kspace_size size{32, 32, 4};
    const auto kspace = disk(b, size);
    // [mri/resize.hpp]
    // Without twofold oversampling of the readout: the images are cut to 16 rows, k-space is that of the cut ones.
    const auto cropped = diem::mri::crop_kspace(b, kspace.cview(), size, 16, 32);
    // [mri/resize.hpp]
    CHECK(cropped.features() == 4 * 16 * 32 * 2);
}

TEST_CASE("mri/scaling.hpp") {
    backend b(1);
    // [mri/scaling.hpp]
    const auto units = diem::mri::scaling::of_complex(1e-4);  // of a scanner whose brightest pixel is 1e-4
    const double bright = units.to_prior(1e-4);               // 2: priors are of images in [-2, 2]
    const double sigma = units.sigma_to_prior(5e-6);          // 0.1
    // [mri/scaling.hpp]
    CHECK(bright == about(2));
    CHECK(sigma == about(0.1));
}

TEST_CASE("mri/whitening.hpp") {
    backend b(1);
    diem::batch<backend> scan(b, 2 * 2 * 4000, 1);  // white, then the second coil is three times as loud
    b.fill_normal({.seed = 1}, scan.view());
    diem::mri::coil_matrix louder(2, 2);
    louder(0, 0) = 1;
    louder(1, 1) = 3;
    scan = diem::mri::mix_coils(b, louder, scan.cview(), {1, 4000, 2});
    // [mri/whitening.hpp]
    const auto noise = diem::mri::noise_of_scan(b, scan.cview(), 2);  // (2 coils, samples, 2) without signal
    const auto w = diem::mri::whitening_matrix(noise);
    const auto white = diem::mri::mix_coils(b, w, scan.cview(), {1, noise.samples, 2});  // of sigma whitened_sigma
    // [mri/whitening.hpp]
    CHECK(noise.sigma(1) / noise.sigma(0) == Approx(3).epsilon(0.05));
    CHECK(diem::mri::noise_of_scan(b, white.cview(), 2).sigma(1) == Approx(diem::mri::whitened_sigma).epsilon(1e-3));
}
