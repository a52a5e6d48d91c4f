// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <numeric>
#include <vector>

#include <diem/linop/convolution.hpp>
#include <diem/linop/dense.hpp>
#include <diem/linop/mask.hpp>
#include <diem/linop/radon.hpp>

#include "support/compare.hpp"
#include "support/operator_harness.hpp"

using namespace diem;
using namespace diem::test;
using linop::border;
using linop::image_extent;

namespace {

template <class B, class A, class T = typename B::scalar>
std::vector<T> product(B& b, const A& a, const std::vector<T>& x, index_t items = 1) {
    const auto in = to_backend<B, T>(b, x, a.cols(), items);
    batch<B> out(b, a.rows(), items);
    a.apply(b, in.view(), out.view());
    return to_host(b, out);
}

/// The pixel at (i, j) of a channel, by the words of `border`.
double pixel(const std::vector<double>& x, const image_extent& image, index_t i, index_t j, index_t c, border kind) {
    const auto inside = [&](index_t k, index_t n) {
        if (kind == border::circular)
            while (k < 0 || k >= n) k += k < 0 ? n : -n;
        if (kind == border::reflect)
            while (k < 0 || k >= n) k = k < 0 ? -1 - k : 2 * n - 1 - k;
        return k;
    };
    i = inside(i, image.height);
    j = inside(j, image.width);
    if (i < 0 || j < 0 || i >= image.height || j >= image.width) return 0;
    return x[static_cast<std::size_t>((i * image.width + j) * image.channels + c)];
}
template <class T>
std::vector<double> doubles(const std::vector<T>& v) {
    return {v.begin(), v.end()};
}

}  // namespace

TEMPLATE_TEST_CASE("a sparse matrix is its dense one, shared and per item", "[linop]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    using T = scalar_t<B>;
    B b = make_backend<B>();
    // Rows without entries, and two entries in one place.
    const std::vector<linop::sparse_entry> entries{{3, 0, 0}, {0, 1, 1}, {0, 1, 0}, {1, 2, 2}, {3, 2, 1}};
    const index_t outer = GENERATE(1, 2), inner = GENERATE(1, 3), items = GENERATE(0, 2);
    const auto places = std::make_shared<const typename linop::sparse<B>::pattern>(b, 4, 3, entries);
    const auto one = random_positive(b, 3, 1, 1), each = random_positive(b, 3, items, 2);
    const auto shared = linop::sparse<B>::shared(places, one, outer, inner);
    const auto per_item = linop::sparse<B>::per_item(places, each, outer, inner);
    check_operator(b, shared, items);
    check_operator(b, per_item, items);
    if (outer > 1 || inner > 1) return;
    std::vector<T> matrices;
    const auto p = to_host(b, each);
    for (index_t i = 0; i < items; ++i) {
        std::vector<T> m(12, T(0));
        for (const auto& e : entries)
            m[static_cast<std::size_t>(e.col * 4 + e.row)] += p[static_cast<std::size_t>(i * 3 + e.parameter)];
        matrices.insert(matrices.end(), m.begin(), m.end());
    }
    const auto dense = linop::dense<B>::per_item(to_backend<B, T>(b, matrices, 12, items), 4, 3);
    const auto x = to_host(b, random_batch(b, 3, items, 3));
    CHECK(relative_error(product(b, per_item, x, items), product(b, dense, x, items)) <= tolerance<T>(8));
}

TEMPLATE_TEST_CASE("convolutions are their sums, for every border and way", "[linop]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    using T = scalar_t<B>;
    B b = make_backend<B>();
    using convolution = linop::convolution<B>;
    const auto kind = GENERATE(border::zero, border::circular, border::reflect);
    const auto how = GENERATE(convolution::method::direct, convolution::method::fourier);
    // Odd and even kernels, also larger than the image.
    const auto [height, width] = GENERATE(std::pair<index_t, index_t>{3, 3}, std::pair<index_t, index_t>{2, 5},
                                          std::pair<index_t, index_t>{9, 4}, std::pair<index_t, index_t>{1, 1});
    const image_extent image{5, 4, GENERATE(1, 3)};
    const index_t items = 2;
    const auto kernels = random_positive(b, height * width, items, 1);
    const auto shared = convolution::shared(b, image, kernels.cview().item_range(0, 1), height, width, kind, how);
    const auto per_item = convolution::per_item(b, image, kernels.cview(), height, width, kind, how);
    check_operator(b, shared, items);
    check_operator(b, per_item, items);

    const auto x = to_host(b, random_batch(b, image.size(), items, 2));
    const auto k = doubles(to_host(b, kernels));
    std::vector<double> expected;
    for (index_t n = 0; n < items; ++n) {
        const std::vector<double> item(x.begin() + n * image.size(), x.begin() + (n + 1) * image.size());
        for (index_t i = 0; i < image.height; ++i)
            for (index_t j = 0; j < image.width; ++j)
                for (index_t c = 0; c < image.channels; ++c) {
                    double sum = 0;
                    for (index_t u = 0; u < height; ++u)
                        for (index_t v = 0; v < width; ++v)
                            sum += k[static_cast<std::size_t>((n * height + u) * width + v)] *
                                   pixel(item, image, i + height / 2 - u, j + width / 2 - v, c, kind);
                    expected.push_back(sum);
                }
    }
    CHECK(relative_error(product(b, per_item, x, items), expected) <= tolerance<T>(64));
    const std::vector<T> first(x.begin(), x.begin() + image.size());
    expected.resize(first.size());
    CHECK(relative_error(product(b, shared, first), expected) <= tolerance<T>(64));
}

TEMPLATE_TEST_CASE("operators on images are linear with exact adjoints", "[linop]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    B b = make_backend<B>();
    const image_extent image{GENERATE(1, 7), 5, GENERATE(1, 3)};
    const index_t items = GENERATE(0, 2);
    const auto kind = GENERATE(border::zero, border::circular, border::reflect);
    for (const auto f : {linop::filter::box, linop::filter::bicubic})
        check_operator(b, linop::downsample(b, image, 3, 2, f), items, "downsample");
    check_operator(b, linop::window(b, image, -2, 1, 9, 3, kind), items, "window");
    check_operator(b, linop::differences(b, image), items, "differences");
    check_operator(b, linop::to_grey(b, image, std::vector<double>(static_cast<std::size_t>(image.channels), 0.5)),
                   items, "to_grey");
    check_operator(b, linop::radon(b, image, {0, 30, 135}, 9), items, "radon");
    std::vector<double> degrees;
    for (index_t k = 0; k < 2 * items; ++k) degrees.push_back(37.0 * static_cast<double>(k));
    check_operator(b, linop::radon_per_item<B>(b, image, degrees, 2, 9), items, "radon_per_item");
}

TEMPLATE_TEST_CASE("small images by hand", "[linop]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    using T = scalar_t<B>;
    B b = make_backend<B>();
    using values = std::vector<T>;
    const image_extent image{2, 3, 1};
    const values x{1, 2, 3, 4, 5, 6};
    CHECK(product(b, linop::window(b, image, 1, 1, 1, 2), x) == values{5, 6});
    CHECK(product(b, linop::window(b, image, -1, 0, 3, 3), x) == values{0, 0, 0, 1, 2, 3, 4, 5, 6});
    CHECK(product(b, linop::window(b, image, 0, -2, 1, 7, border::reflect), x) == values{2, 1, 1, 2, 3, 3, 2});
    CHECK(product(b, linop::window(b, image, 0, -2, 1, 7, border::circular), x) == values{2, 3, 1, 2, 3, 1, 2});
    CHECK(product(b, linop::differences(b, image), x) == values{3, 3, 3, 1, 1, 1, 1});
    CHECK(product(b, linop::to_grey(b, {1, 2, 3}, {1, 10, 100}), {1, 2, 3, 4, 5, 6}) == values{321, 654});
    // The last block has one column only.
    CHECK(product(b, linop::downsample(b, image, 2, 2, linop::filter::box), x) == values{3, T(4.5)});

    // Bicubic: constants stay, and so do straight lines away from the border; odd strides have a pixel at the centre.
    const image_extent wide{1, 60, 1};
    values line(60);
    std::iota(line.begin(), line.end(), T(0));
    for (const index_t stride : {2, 3, 4}) {
        const auto small = linop::downsample(b, wide, 1, stride, linop::filter::bicubic);
        CHECK(relative_error(product(b, small, values(60, T(3))),
                             values(static_cast<std::size_t>(60 / stride), T(3))) <= tolerance<T>(16));
        const auto y = product(b, small, line);
        for (std::size_t o = 3; o + 3 < y.size(); ++o)
            CHECK(std::abs(static_cast<double>(y[o]) - ((static_cast<double>(o) + 0.5) * double(stride) - 0.5)) <=
                  60 * tolerance<T>(16));
    }
}

TEMPLATE_TEST_CASE("the Radon transform keeps mass, sums columns and rows, and knows a disc", "[linop]",
                   DIEM_TEST_BACKENDS) {
    using B = TestType;
    using T = scalar_t<B>;
    B b = make_backend<B>();
    const index_t n = 41, detectors = 61;
    const image_extent image{n, n, 1};
    const auto x = to_host(b, random_positive(b, n * n, 1, 1));
    const double mass = std::accumulate(x.begin(), x.end(), 0.0);
    const std::vector<double> degrees{0, 90, 17, 45, 120};
    const auto y = product(b, linop::radon(b, image, degrees, detectors), x);
    for (std::size_t k = 0; k < degrees.size(); ++k) {
        const auto first = y.begin() + static_cast<std::ptrdiff_t>(k) * detectors;
        CHECK(std::abs(std::accumulate(first, first + detectors, 0.0) / mass - 1) <= tolerance<T>(64));
    }
    // At 0 degrees x is the position, so that detectors are columns; at 90 degrees they are rows, from below.
    for (index_t j = 0; j < n; ++j) {
        double column = 0, row = 0;
        for (index_t i = 0; i < n; ++i) {
            column += x[static_cast<std::size_t>(i * n + j)];
            row += x[static_cast<std::size_t>((n - 1 - j) * n + i)];
        }
        CHECK(std::abs(y[static_cast<std::size_t>(10 + j)] / column - 1) <= tolerance<T>(64));
        CHECK(std::abs(y[static_cast<std::size_t>(detectors + 10 + j)] / row - 1) <= tolerance<T>(64));
    }
    // A disc of radius r has chords of 2 sqrt(r^2 - t^2). Its pixels are in or out, so that a strip's error is that of
    // the chords' ends: some hundredths of the diameter on this grid.
    std::vector<T> disc;
    const double r = 15;
    for (index_t i = 0; i < n; ++i)
        for (index_t j = 0; j < n; ++j) disc.push_back(std::hypot(double(i - 20), double(j - 20)) <= r ? T(1) : T(0));
    const auto seen = product(b, linop::radon(b, image, {0, 17, 45, 73}, detectors), disc);
    for (index_t k = 0; k < 4; ++k)
        for (index_t d = 0; d < detectors; ++d) {
            const double t = static_cast<double>(d) - 30;
            const double chord = std::abs(t) < r - 1 ? 2 * std::sqrt(r * r - t * t) : std::abs(t) > r + 1 ? 0 : -1;
            if (chord >= 0) CHECK(std::abs(seen[static_cast<std::size_t>(k * detectors + d)] - chord) <= 0.06 * 2 * r);
        }
}

TEMPLATE_TEST_CASE("angles of its own for each item are those of an operator for each", "[linop]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    using T = scalar_t<B>;
    B b = make_backend<B>();
    // Along the axes, beside them, in all quadrants; detectors enough, and too few.
    const std::vector<std::vector<double>> degrees{{0, 90, 180}, {270, 45, -17}, {100, 200, 1e-9}};
    std::vector<double> all;
    for (const auto& of : degrees) all.insert(all.end(), of.begin(), of.end());
    for (const index_t detectors : {17, 6}) {
        const image_extent image{9, 12, 2};
        const linop::radon_per_item<B> each(b, image, all, 3, detectors);
        const auto x = random_batch(b, image.size(), 3, 8), y = random_batch(b, each.rows(), 3, 9);
        batch<B> ax(b, each.rows(), 3), aty(b, image.size(), 3);
        each.apply(b, x.cview(), ax.view());
        each.apply_adjoint(b, y.cview(), aty.view());
        for (index_t i = 0; i < 3; ++i) {
            const auto one = linop::radon(b, image, degrees[static_cast<std::size_t>(i)], detectors);
            batch<B> p(b, each.rows(), 1), q(b, image.size(), 1);
            one.apply(b, x.cview().item_range(i, 1), p.view());
            one.apply_adjoint(b, y.cview().item_range(i, 1), q.view());
            CHECK(relative_error(to_host(b, ax.cview().item_range(i, 1)), to_host(b, p)) <= tolerance<T>(32));
            CHECK(relative_error(to_host(b, aty.cview().item_range(i, 1)), to_host(b, q)) <= tolerance<T>(32));
        }
    }
    CHECK_THROWS_AS(linop::radon_per_item<B>(b, {4, 4, 1}, {0, 1, 2}, 2, 5), shape_error);
    CHECK_THROWS_AS(linop::radon_per_item<B>(b, {4, 4, 1}, {0, 1}, 2, 0), value_error);
}

TEST_CASE("kernels, boxes and what is refused", "[linop]") {
    using B = main_backend<float>;
    B b = make_backend<B>();
    const auto sum = [](const std::vector<double>& k) { return std::accumulate(k.begin(), k.end(), 0.0); };
    const auto gauss = linop::gaussian_kernel(5, 1.0);
    CHECK(std::abs(sum(gauss) - 1) <= 1e-14);
    CHECK(std::abs(gauss[2 * 5 + 3] / gauss[2 * 5 + 2] - std::exp(-0.5)) <= 1e-14);
    const auto along = linop::motion_kernel(9, 5, 0), up = linop::motion_kernel(9, 5, 90);
    CHECK(std::abs(sum(along) - 1) <= 1e-14);
    for (std::size_t u = 0; u < 9; ++u)
        for (std::size_t v = 0; v < 9; ++v) {
            CHECK(std::abs(along[u * 9 + v] - up[v * 9 + u]) <= 1e-14);
            if (u != 4) CHECK(along[u * 9 + v] == 0);
        }
    CHECK(std::abs(along[4 * 9 + 4] - 0.2) <= 1e-2);

    const image_extent image{6, 8, 2};
    batch<B> masks(b, image.size(), 50);
    linop::draw_box_mask(b, random_key{.seed = 2}, image, 3, 4, masks.view());
    const auto values = to_host(b, masks);
    bool differ = false;
    for (std::size_t i = 0; i < 50; ++i) {
        const auto first = values.begin() + static_cast<std::ptrdiff_t>(i * 96);
        CHECK(std::accumulate(first, first + 96, 0.0F) == 96 - 3 * 4 * 2);
        differ = differ || !std::equal(first, first + 96, values.begin());
    }
    CHECK(differ);

    CHECK_THROWS_AS(linop::draw_box_mask(b, random_key{}, image, 7, 1, masks.view()), value_error);
    CHECK_THROWS_AS(linop::to_grey(b, image), shape_error);
    CHECK_THROWS_AS(linop::radon(b, image, {0}, 0), value_error);
    CHECK_THROWS_AS(linop::window(b, image, 0, 0, 0, 1), value_error);
    CHECK_THROWS_AS(linop::downsample(b, image, 0, 1, linop::filter::box), value_error);
    CHECK_THROWS_AS(linop::downsample(b, {0, 1, 1}, 1, 1, linop::filter::box), value_error);
    batch<B> kernel(b, 9, 2);
    b.fill(kernel.view(), 1.0F);
    CHECK_THROWS_AS(linop::convolution<B>::shared(b, image, kernel.cview(), 3, 3, border::zero), shape_error);
    CHECK_THROWS_AS(linop::convolution<B>::per_item(b, image, kernel.cview(), 3, 2, border::zero), shape_error);
    using pattern = linop::sparse<B>::pattern;
    CHECK_THROWS_AS(pattern(b, 2, 2, {{2, 0, 0}}), value_error);
    CHECK_THROWS_AS(
        linop::sparse<B>::shared(std::make_shared<const pattern>(b, 2, 2, std::vector<linop::sparse_entry>{{0, 0, 1}}),
                                 to_backend<B, float>(b, {1}, 1, 1)),
        value_error);
}
