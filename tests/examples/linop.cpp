// SPDX-License-Identifier: Apache-2.0
#include <diem/linop/compose.hpp>
#include <diem/linop/concept.hpp>
#include <diem/linop/convolution.hpp>
#include <diem/linop/cosine.hpp>
#include <diem/linop/covariance.hpp>
#include <diem/linop/data.hpp>
#include <diem/linop/dense.hpp>
#include <diem/linop/diagonal.hpp>
#include <diem/linop/fourier.hpp>
#include <diem/linop/hartley.hpp>
#include <diem/linop/identity.hpp>
#include <diem/linop/image.hpp>
#include <diem/linop/image_basis.hpp>
#include <diem/linop/lambda.hpp>
#include <diem/linop/low_rank.hpp>
#include <diem/linop/low_rank_covariance.hpp>
#include <diem/linop/mask.hpp>
#include <diem/linop/mri.hpp>
#include <diem/linop/nonlinear.hpp>
#include <diem/linop/nonlinear_image.hpp>
#include <diem/linop/radon.hpp>
#include <diem/linop/sparse.hpp>
#include <diem/linop/subsample.hpp>

#include <cmath>
#include <numeric>
#include <utility>
#include <vector>

#include "example.hpp"

namespace {

/// A x.
template <class A>
std::vector<float> product(backend& b, const A& a, const std::vector<float>& x) {
    const auto n = static_cast<diem::index_t>(x.size()) / a.cols();
    diem::batch<backend> y(b, a.rows(), n);
    a.apply(b, diem::to_backend(b, x, a.cols(), n), y.view());
    return diem::to_host(b, y);
}

// [linop/concept.hpp]
/// y_j = x_(j+1) - x_j of n numbers: an operator of one's own, for any number of items and any backend.
struct steps_between {
    using operator_tag = diem::linop::linear_tag;
    diem::index_t n;
    [[nodiscard]] diem::index_t rows() const { return n - 1; }
    [[nodiscard]] diem::index_t cols() const { return n; }
    [[nodiscard]] diem::index_t items() const { return diem::linop::any_items; }
    [[nodiscard]] steps_between items(diem::index_t, diem::index_t) const { return *this; }
    template <diem::Backend B>
    void apply(B& b, diem::const_view_t<B> x, diem::view_t<B> y) const {
        b.copy(x.feature_range(1, n - 1), y);
        b.axpby(-1.0, x.feature_range(0, n - 1), 1.0, y);
    }
    template <diem::Backend B>
    void apply_adjoint(B& b, diem::const_view_t<B> y, diem::view_t<B> x) const {
        b.fill(x, diem::scalar_t<B>(0));
        b.axpby(1.0, y, 1.0, x.feature_range(1, n - 1));
        b.axpby(-1.0, y, 1.0, x.feature_range(0, n - 1));
    }
};
static_assert(diem::linop::LinearOperator<steps_between, diem::eigen_backend<float>>);
// [linop/concept.hpp]

}  // namespace

TEST_CASE("linop/concept.hpp") {
    backend b(1);
    CHECK(product(b, steps_between{3}, {1, 2, 4}) == std::vector<float>{1, 2});
    CHECK(product(b, diem::linop::adjoint(steps_between{3}), {1, 2}) == std::vector<float>{-1, -1, 2});
}

TEST_CASE("linop/compose.hpp") {
    backend b(1);
    // [linop/compose.hpp]
    const auto twice = diem::linop::scaling(2, 2.0);
    const auto swap = diem::linop::dense<backend>::shared(diem::to_backend(b, std::vector<float>{0, 1, 1, 0}, 2, 2));
    const auto first = diem::linop::compose(twice, swap);  // (x1, x2) -> (2 x2, 2 x1)
    const auto both = diem::linop::stack(first, twice);    // (2 x2, 2 x1, 2 x1, 2 x2)
    const auto normal = diem::linop::normal(both);         // A'A = 8 I
    // [linop/compose.hpp]
    CHECK(product(b, both, {1, 5}) == std::vector<float>{10, 2, 2, 10});
    CHECK(product(b, normal, {1, 5}) == std::vector<float>{8, 40});
}

TEST_CASE("linop/convolution.hpp") {
    backend b(1);
    // [linop/convolution.hpp]
    const auto kernel = diem::linop::gaussian_kernel(5, 1.0);  // 5 x 5, of sum 1
    const auto k = diem::to_backend(b, std::vector<float>(kernel.begin(), kernel.end()), 25, 1);
    const diem::linop::image_extent image{16, 16, 3};
    const auto blur =
        diem::linop::convolution<backend>::shared(b, image, k.cview(), 5, 5, diem::linop::border::reflect);
    // [linop/convolution.hpp]
    const auto grey = product(b, blur, std::vector<float>(16 * 16 * 3, 0.5F));  // what is the same everywhere stays so
    CHECK(grey[0] == about(0.5));
    CHECK(grey[400] == about(0.5));
}

TEST_CASE("linop/covariance.hpp") {
    backend b(1);
    // [linop/covariance.hpp]
    const diem::linop::isotropic_covariance same(3, 0.01);  // noise of standard deviation 0.1
    const auto d = diem::to_backend(b, std::vector<float>{0.01F, 0.04F, 1}, 3, 1);
    const auto of_each_row = diem::linop::diagonal_covariance<backend>::shared(b, d);
    diem::batch<backend> e(b, 3, 1000);
    of_each_row.sample(b, {.seed = 1}, e.view());  // e ~ N(0, diag(d))
    // [linop/covariance.hpp]
    double squares = 0;
    const auto noise = diem::to_host(b, e);
    for (std::size_t i = 0; i < 1000; ++i) squares += double(noise[3 * i + 1]) * double(noise[3 * i + 1]);
    CHECK(squares / 1000 == Approx(0.04).epsilon(0.2));
    CHECK(product(b, same, {1, 2, 3})[1] == about(0.02));
}

TEST_CASE("linop/data.hpp") {
    backend b(1);
    // [linop/data.hpp]
    auto d = diem::to_backend(b, std::vector<float>{1, 2}, 2, 1);
    const auto refers = diem::linop::diagonal<backend>::shared(d);  // d must outlive it, and may change
    const auto owns = diem::linop::diagonal<backend>::shared(diem::to_backend(b, std::vector<float>{3, 4}, 2, 1));
    b.fill(d.view(), 5.0F);
    // [linop/data.hpp]
    CHECK(product(b, refers, {1, 1}) == std::vector<float>{5, 5});
    CHECK(product(b, owns, {1, 1}) == std::vector<float>{3, 4});
}

TEST_CASE("linop/dense.hpp") {
    backend b(1);
    // [linop/dense.hpp]
    // Two matrices of 1 x 3, one for each item, column-major.
    const auto a =
        diem::linop::dense<backend>::per_item(diem::to_backend(b, std::vector<float>{1, 1, 1, 1, 0, -1}, 3, 2), 1, 3);
    const auto x = diem::to_backend(b, std::vector<float>{1, 2, 3, 1, 2, 3}, 3, 2);
    diem::batch<backend> y(b, a.rows(), 2);
    a.apply(b, x, y);  // 6 and -2
    // [linop/dense.hpp]
    CHECK(diem::to_host(b, y) == std::vector<float>{6, -2});
}

TEST_CASE("linop/diagonal.hpp") {
    backend b(1);
    // [linop/diagonal.hpp]
    const auto a = diem::linop::diagonal<backend>::shared(diem::to_backend(b, std::vector<float>{1, 10, 100}, 3, 1));
    const auto x = diem::to_backend(b, std::vector<float>{1, 2, 3, 4, 5, 6}, 3, 2);
    diem::batch<backend> y(b, 3, 2);
    a.apply(b, x, y);  // 1, 20, 300; 4, 50, 600
    // [linop/diagonal.hpp]
    CHECK(diem::to_host(b, y) == std::vector<float>{1, 20, 300, 4, 50, 600});
}

TEST_CASE("linop/fourier.hpp") {
    backend b(1);
    // [linop/fourier.hpp]
    const diem::linop::fourier f(8, 8);  // complex images of 8 x 8 pixels, (re, im) side by side
    diem::batch<backend> x(b, f.cols(), 1), y(b, f.rows(), 1), back(b, f.cols(), 1);
    b.fill_normal({.seed = 1}, x.view());
    f.apply(b, x.cview(), y.view());
    f.apply_adjoint(b, y.cview(), back.view());  // F is unitary: back is x
    // [linop/fourier.hpp]
    CHECK(diem::to_host(b, back)[77] == about(diem::to_host(b, x)[77]));
}

TEST_CASE("linop/cosine.hpp") {
    backend b(1);
    // [linop/cosine.hpp]
    const diem::linop::cosine c(4, 4, 3);  // rows, columns and colours; the adjoint is the inverse
    diem::batch<backend> x(b, 48, 1), z(b, 48, 1), back(b, 48, 1);
    b.fill(x.view(), 1.0F);
    c.apply(b, x.cview(), z.view());  // sqrt(48) first; 0 elsewhere
    c.apply_adjoint(b, z.cview(), back.view());
    // [linop/cosine.hpp]
    CHECK(diem::to_host(b, z)[0] == about(std::sqrt(48)));
    CHECK(diem::to_host(b, z)[3] == about(0));
    CHECK(diem::to_host(b, back)[5] == about(1));
}

TEST_CASE("linop/image_basis.hpp") {
    backend b(1);
    // [linop/image_basis.hpp]
    diem::linop::image_basis h = diem::linop::hartley(4, 4);  // what a Gaussian may have its variances of
    h = diem::linop::cosine(4, 4);
    diem::batch<backend> x(b, 16, 1), z(b, 16, 1);
    b.fill(x.view(), 1.0F);
    h.apply(b, x.cview(), z.view());
    // [linop/image_basis.hpp]
    CHECK(diem::to_host(b, z)[0] == about(4));
}

TEST_CASE("linop/hartley.hpp") {
    backend b(1);
    // [linop/hartley.hpp]
    const diem::linop::hartley h(4, 4, 1);  // a real image has as many real coefficients, and h is its own inverse
    diem::batch<backend> x(b, 16, 1), z(b, 16, 1);
    b.fill(x.view(), 1.0F);
    h.apply(b, x.cview(), z.view());  // sqrt(16) at frequency zero, in the middle; 0 elsewhere
    // [linop/hartley.hpp]
    CHECK(diem::to_host(b, z)[10] == about(4));
    CHECK(diem::to_host(b, z)[3] == about(0));
    CHECK(product(b, h, diem::to_host(b, z))[5] == about(1));
}

TEST_CASE("linop/identity.hpp") {
    backend b(1);
    // [linop/identity.hpp]
    const diem::linop::identity denoising(64);      // y = x + e: A of a denoising problem
    const diem::linop::scaling detector(64, 0.25);  // y = x / 4
    // [linop/identity.hpp]
    CHECK(product(b, denoising, std::vector<float>(64, 3)) == std::vector<float>(64, 3));
    CHECK(product(b, detector, std::vector<float>(64, 3)) == std::vector<float>(64, 0.75F));
}

TEST_CASE("linop/image.hpp") {
    backend b(1);
    // [linop/image.hpp]
    const diem::linop::image_extent image{32, 32, 3};
    const auto shrink = diem::linop::downsample(b, image, 4, 4, diem::linop::filter::bicubic);  // 8 x 8 x 3
    const auto cut = diem::linop::window(b, image, 8, 8, 16, 16);  // the middle, 16 x 16 x 3
    const auto grey = diem::linop::to_grey(b, image);              // 32 x 32
    // [linop/image.hpp]
    CHECK(shrink.rows() == 8 * 8 * 3);
    CHECK(cut.rows() == 16 * 16 * 3);
    CHECK(grey.rows() == 32 * 32);
    CHECK(product(b, shrink, std::vector<float>(32 * 32 * 3, 0.5F))[7] == about(0.5));
}

TEST_CASE("linop/lambda.hpp") {
    backend b(1);
    // [linop/lambda.hpp]
    // The mean of a signal of 4 numbers, made of two functions: y = A x, and x = A'y.
    const auto mean = diem::linop::make_operator(
        1, 4, diem::linop::any_items,
        [](backend& on, auto x, auto y) {
            on.fill(y, 0.0F);
            for (int j = 0; j < 4; ++j) on.axpby(0.25, x.feature_range(j, 1), 1.0, y);
        },
        [](backend& on, auto y, auto x) {
            for (int j = 0; j < 4; ++j) on.axpby(0.25, y, 0.0, x.feature_range(j, 1));
        });
    // [linop/lambda.hpp]
    CHECK(product(b, mean, {1, 2, 3, 6}) == std::vector<float>{3});
    CHECK(product(b, diem::linop::adjoint(mean), {8}) == std::vector<float>{2, 2, 2, 2});
}

TEST_CASE("linop/low_rank.hpp") {
    backend b(1);
    // [linop/low_rank.hpp]
    // S = 0.5 I + diag(d) + u u' of three numbers and one direction, and S^-1 r by the Woodbury identity.
    const auto d = diem::to_backend(b, std::vector<float>{0.5F, 0.5F, 0.5F}, 3, 1),
               u = diem::to_backend(b, std::vector<float>{1, 1, 1}, 3, 1);
    diem::linop::low_rank_innovation<backend> s(b, 3, 1, 1, false);
    s.factor(b, {}, 0.5, {}, d.flat(), u.cview());
    const auto r = diem::to_backend(b, std::vector<float>{4, 4, 4}, 3, 1);
    diem::batch<backend> y(b, 3, 1);
    s.solve(b, r.cview(), y.view());  // S (1, 1, 1)' = (4, 4, 4)'
    // [linop/low_rank.hpp]
    CHECK(diem::to_host(b, y)[0] == about(1));
}

TEST_CASE("linop/low_rank_covariance.hpp") {
    backend b(1);
    // [linop/low_rank_covariance.hpp]
    // Noise of its own in each of three rows, and an offset that they share.
    const auto own = diem::to_backend(b, std::vector<float>{1, 1, 1}, 3, 1),
               shared = diem::to_backend(b, std::vector<float>{2, 2, 2}, 3, 1);
    const auto sigma_y = diem::linop::low_rank_covariance<backend>::shared(b, own, shared);  // I + u u', u = (2, 2, 2)
    // [linop/low_rank_covariance.hpp]
    CHECK(product(b, sigma_y, {1, 0, 0}) == std::vector<float>{5, 4, 4});
}

TEST_CASE("linop/mask.hpp") {
    backend b(1);
    // [linop/mask.hpp]
    diem::batch<backend> values(b, 32 * 32 * 3, 100);                // a mask for each of 100 colour images
    diem::linop::draw_mask(b, {.seed = 1}, 0.25, 3, values.view());  // a quarter of the pixels is kept
    const auto a = diem::linop::mask<backend>::per_item(std::move(values));
    // One for all items:
    const auto same = diem::linop::mask<backend>::shared(diem::to_backend(b, std::vector<float>{1, 0, 1}, 3, 1));
    // [linop/mask.hpp]
    const auto drawn = diem::to_host(b, a.values().view());
    CHECK(std::accumulate(drawn.begin(), drawn.end(), 0.0) / double(drawn.size()) == Approx(0.25).epsilon(0.02));
    CHECK(drawn[0] == drawn[2]);
    CHECK(product(b, same, {7, 8, 9}) == std::vector<float>{7, 0, 9});
}

TEST_CASE("linop/mri.hpp") {
    backend b(1);
    // [linop/mri.hpp]
    // Every second column of k-space of 16 x 16 pixels, measured by two coils of the same sensitivity.
    std::vector<float> columns(16), maps(2 * 16 * 16 * 2);
    for (std::size_t j = 0; j < 16; j += 2) columns[j] = 1;
    for (std::size_t k = 0; k < maps.size(); k += 2) maps[k] = std::sqrt(0.5F);  // (re, im)
    using of_items = diem::linop::common_or_each<backend>;
    const diem::linop::sense<backend> a(b, 16, 16, of_items::shared(diem::to_backend(b, columns, 16, 1)),
                                        of_items::shared(diem::to_backend(b, maps, 2 * 16 * 16 * 2, 1)));
    // a takes complex images, (16, 16, 2), to (coils, 16, 16, 2)
    // [linop/mri.hpp]
    CHECK(a.cols() == 16 * 16 * 2);
    CHECK(a.rows() == 2 * 16 * 16 * 2);
    std::vector<float> point(16 * 16 * 2);
    point[2 * (8 * 16 + 8)] = 1;
    const auto y = product(b, a, point);
    CHECK(y[0] == about(std::sqrt(0.5) / 16));
    CHECK(y[2] == 0);
}

TEST_CASE("linop/nonlinear.hpp") {
    backend b(1);
    // [linop/nonlinear.hpp]
    // A sensor behind a lens of transmission 1 / 2 that saturates at 1.
    const auto f =
        diem::linop::after(diem::linop::clipping(3, {.gain = 1, .low = 0, .high = 1}), diem::linop::scaling(3, 0.5));
    const auto x = diem::to_backend(b, std::vector<float>{1, 2, 3}, 3, 1);
    const auto at = diem::linop::linearize(b, f, x.cview());  // at.value: f(x); at.derivative: f'(x), a LinearOperator
    // [linop/nonlinear.hpp]
    CHECK(diem::to_host(b, at.value) == std::vector<float>{0.5F, 1, 1});
    CHECK(product(b, at.derivative, {1, 1, 1})[0] == 0.5F);
    CHECK(product(b, at.derivative, {1, 1, 1})[2] == 0);
}

TEST_CASE("linop/nonlinear_image.hpp") {
    backend b(1);
    // [linop/nonlinear_image.hpp]
    const diem::linop::image_extent image{16, 16, 1};
    const auto f = diem::linop::fourier_magnitudes(b, image, 32, 32);  // phase retrieval, oversampled twice
    const auto g = diem::linop::jpeg(b, image, 50);                    // rounded coefficients, of quality 50
    // [linop/nonlinear_image.hpp]
    CHECK(f.rows() == 32 * 32);
    const auto levels = product(b, g, std::vector<float>(16 * 16, 1.3F));
    CHECK(levels[0] == std::round(levels[0]));
    CHECK(levels[9] == 0);
}

TEST_CASE("linop/radon.hpp") {
    backend b(1);
    // [linop/radon.hpp]
    const diem::linop::image_extent slice{32, 32, 1};
    std::vector<double> degrees;
    for (int k = 0; k < 60; ++k) degrees.push_back(3.0 * k);
    const auto a = diem::linop::radon(b, slice, degrees, 46);  // 46 detectors, as long as the diagonal
    // [linop/radon.hpp]
    const auto sinogram = product(b, a, std::vector<float>(32 * 32, 1));  // every projection has all of the slice
    CHECK(std::accumulate(sinogram.begin(), sinogram.begin() + 46, 0.0) == Approx(1024));
    CHECK(std::accumulate(sinogram.begin() + 46 * 7, sinogram.begin() + 46 * 8, 0.0) == Approx(1024));
}

TEST_CASE("linop/sparse.hpp") {
    backend b(1);
    // [linop/sparse.hpp]
    // Means of neighbours in a signal of four numbers: each row a list of (column, weight).
    const auto a = diem::linop::make_sparse(b, 4, {{{0, 0.5}, {1, 0.5}}, {{1, 0.5}, {2, 0.5}}, {{2, 0.5}, {3, 0.5}}});
    // [linop/sparse.hpp]
    CHECK(product(b, a, {1, 3, 5, 9}) == std::vector<float>{2, 4, 7});
}

TEST_CASE("linop/subsample.hpp") {
    backend b(1);
    // [linop/subsample.hpp]
    const diem::linop::subsample low_resolution(2, 4, 1, 2);  // means of 2 x 2 pixels of an image of 2 x 4
    const auto x = diem::to_backend(b, std::vector<float>{1, 3, 0, 0, 5, 7, 0, 4}, 8, 1);
    diem::batch<backend> y(b, 2, 1);
    low_resolution.apply(b, x.cview(), y.view());  // 4 and 1
    // [linop/subsample.hpp]
    CHECK(diem::to_host(b, y) == std::vector<float>{4, 1});
}
