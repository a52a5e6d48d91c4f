// SPDX-License-Identifier: Apache-2.0
#include <diem/metrics/calibration.hpp>
#include <diem/metrics/frechet.hpp>
#include <diem/metrics/inception_score.hpp>
#include <diem/metrics/psnr.hpp>
#include <diem/metrics/sinkhorn.hpp>
#include <diem/metrics/ssim.hpp>

#include <cmath>

#include "example.hpp"

TEST_CASE("metrics/calibration.hpp") {
    backend b(1);
    // [metrics/calibration.hpp]
    diem::batch<backend> truth(b, 16, 50), x(b, 16, 50 * 19);  // 19 posterior samples of each of 50 items
    b.fill_normal({.seed = 1}, truth.view());
    b.fill_normal({.seed = 2}, x.view());  // here of the truth's own distribution
    const auto ranks = diem::metrics::rank_truth(b, x.cview(), truth.cview());
    const double inside = ranks.coverage(0.8);  // near 0.8: the samples are spread as the truth is
    // [metrics/calibration.hpp]
    CHECK(inside == Approx(0.8).margin(0.06));
}

TEST_CASE("metrics/frechet.hpp") {
    backend b(1);
    // [metrics/frechet.hpp]
    diem::batch<backend> x(b, 4, 1000), y(b, 4, 1000);  // features of two sets of images, from any network
    b.fill_normal({.seed = 1}, x.view());
    b.fill_normal({.seed = 1}, y.view());
    b.map(diem::functors::add{}, y.view(),
          diem::per_feature{diem::to_backend(b, std::vector<float>{3, 0, 0, 0}, 4, 1).flat()});
    diem::eigen_backend<double> in_double(1);
    const double distance = diem::metrics::frechet_distance(in_double, b, x.cview(), y.cview());  // 9: the means' alone
    // [metrics/frechet.hpp]
    CHECK(distance == Approx(9).epsilon(1e-3));
}

TEST_CASE("metrics/inception_score.hpp") {
    backend b(1);
    // [metrics/inception_score.hpp]
    // Class probabilities of four images by a classifier that is sure of each; two classes, equally often.
    const auto p = diem::to_backend(b, std::vector<float>{1, 0, 0, 1, 1, 0, 0, 1}, 2, 4);
    const auto score = diem::metrics::inception_score(b, p.cview(), 1);  // score.mean is 2, the number of classes
    // [metrics/inception_score.hpp]
    CHECK(score.mean == about(2));
}

TEST_CASE("metrics/psnr.hpp") {
    backend b(1);
    const auto truth = diem::to_backend(b, std::vector<float>{0, 0, 0, 0}, 2, 2),
               restored = diem::to_backend(b, std::vector<float>{0.4F, 0.4F, 0.04F, 0.04F}, 2, 2);
    // [metrics/psnr.hpp]
    // One number for each item, in dB: data in [-2, 2] have a range of 4.
    const auto decibels = diem::metrics::psnr<backend>(b, restored.cview(), truth.cview(), 4);
    // [metrics/psnr.hpp]
    CHECK(decibels[0] == about(20));
    CHECK(decibels[1] == about(40));
}

TEST_CASE("metrics/sinkhorn.hpp") {
    backend b(1);
    // [metrics/sinkhorn.hpp]
    // Two clouds of points in the plane, one shifted by (1, 0) against the other.
    const auto u = diem::to_backend(b, std::vector<float>{0, 0, 0, 1}, 2, 2),
               v = diem::to_backend(b, std::vector<float>{1, 0, 1, 1}, 2, 2);
    const double cost = diem::metrics::transport(b, u.cview(), v.cview(), {.regularization = 0.01}).cost;  // 1
    const double apart = diem::metrics::symmetric_divergence(b, u.cview(), v.cview(), {.regularization = 0.01});
    // [metrics/sinkhorn.hpp]
    CHECK(cost == Approx(1).epsilon(1e-3));
    CHECK(apart == Approx(1).epsilon(1e-2));
}

TEST_CASE("metrics/ssim.hpp") {
    backend b(1);
    // [metrics/ssim.hpp]
    const diem::metrics::image_shape image{16, 16, 1};
    diem::batch<backend> x(b, image.size(), 2), y(b, image.size(), 2);
    b.fill_uniform({.seed = 1}, x.view());
    b.axpby(0.9, x.cview(), 0.0, y.view());                                                       // of less contrast
    const auto similar = diem::metrics::ssim(b, x.cview(), y.cview(), image, {.data_range = 1});  // one number an item
    // [metrics/ssim.hpp]
    CHECK(similar[0] > 0.95);
    CHECK(similar[0] < 1);
    CHECK(diem::metrics::ssim(b, x.cview(), x.cview(), image, {.data_range = 1})[1] == about(1));
}
