// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/backend/eigen.hpp>
#include <diem/backend/reference.hpp>
#include <diem/train/augmentation.hpp>

#include "support/catch.hpp"
#include "support/opaque_backend.hpp"

using namespace diem;

TEST_CASE("permutation: every item once, another order in every epoch") {
    for (const index_t n : {1, 2, 3, 15, 16, 17, 100, 1536, 50'000}) {
        std::vector<index_t> first, second;
        const train::permutation a(7, 0, n), b(7, 1, n);
        for (index_t i = 0; i < n; ++i) {
            first.push_back(a(i));
            second.push_back(b(i));
        }
        if (n > 10) CHECK(first != second);
        std::vector<index_t> sorted(static_cast<std::size_t>(n));
        std::iota(sorted.begin(), sorted.end(), index_t{0});
        if (n > 10) CHECK(first != sorted);
        std::sort(first.begin(), first.end());
        std::sort(second.begin(), second.end());
        CHECK(first == sorted);
        CHECK(second == sorted);
    }
}

TEST_CASE("permutation: images and neighbours are uniform") {
    // 20,000 permutations of 20 items: counts of (position -> image) are multinomial; bounds at 5.5 standard deviations.
    const index_t n = 20, epochs = 20'000;
    std::vector<int> image(400), follower(400);
    for (index_t e = 0; e < epochs; ++e) {
        const train::permutation p(3, e, n);
        for (index_t i = 0; i < n; ++i) {
            ++image[static_cast<std::size_t>(i * n + p(i))];
            ++follower[static_cast<std::size_t>(p(i) * n + p((i + 1) % n))];
        }
    }
    const double mean = static_cast<double>(epochs) / n, deviation = std::sqrt(mean);
    for (const int count : image) CHECK(std::abs(count - mean) <= 5.5 * deviation);
    for (std::size_t k = 0; k < 400; ++k)
        CHECK(std::abs(follower[k] - (k % 21 == 0 ? 0.0 : static_cast<double>(epochs) / (n - 1))) <= 5.5 * deviation);
}

namespace {

template <class B>
std::vector<scalar_t<B>> gather(B& b, const std::vector<scalar_t<B>>& values, index_t features, index_t count,
                                index_t first, const train::augmentation_options& o, index_t split, unsigned step = 0) {
    const auto items = static_cast<index_t>(values.size()) / features;
    const auto data = to_backend(b, values, features, items);
    batch<B> out(b, features, count);
    const random_key key{.seed = 5, .step = step};
    for (index_t done = 0; done < count; done += split) {
        const index_t part = std::min(split, count - done);
        train::gather_batch<B>(b, data, {.seed = 5, .items = items}, first + done, o,
                               key.skip_items(static_cast<std::uint32_t>(done)), out.view().item_range(done, part));
    }
    return to_host(b, out);
}

std::vector<float> ramp(index_t n) {
    std::vector<float> values(static_cast<std::size_t>(n));
    for (std::size_t i = 0; i < values.size(); ++i)
        values[i] = static_cast<float>(std::sin(0.37 * static_cast<double>(i) + 0.1) * 1.9);
    return values;
}

}  // namespace

TEST_CASE("gather_batch: the stream goes through all items, epoch after epoch") {
    reference_backend<float> b;
    std::vector<float> values(10);
    std::iota(values.begin(), values.end(), 0.F);
    auto out = gather(b, values, 1, 30, 0, {}, 30);
    for (int epoch = 0; epoch < 3; ++epoch) {
        auto first = out.begin() + epoch * 10;
        std::sort(first, first + 10);
        CHECK(std::equal(values.begin(), values.end(), first));
    }
}

TEST_CASE("gather_batch: the same on every backend, however the batch is split") {
    const train::augmentation_options o{.height = 6,
                                        .width = 5,
                                        .channels = 3,
                                        .flip = 0.5,
                                        .hue = 0.1,
                                        .saturation_min = 0.5,
                                        .saturation_max = 1.5,
                                        .shake = 3};
    const auto values = ramp(90 * 7);
    reference_backend<float> reference;
    const auto expected = gather(reference, values, 90, 20, 13, o, 20);
    eigen_backend<float> eigen(2);
    test::opaque_backend<float> opaque;
    CHECK(gather(eigen, values, 90, 20, 13, o, 3) == expected);
    CHECK(gather(opaque, values, 90, 20, 13, o, 7) == expected);
    CHECK(gather(reference, values, 90, 20, 13, o, 20, 1) != expected);
    for (const float v : expected) CHECK(std::abs(v) <= 2.0F);
}

TEST_CASE("flip mirrors half of the images") {
    reference_backend<float> b;
    const auto values = ramp(12);
    const auto out = gather(b, values, 12, 1000, 0, {.height = 2, .width = 3, .channels = 2, .flip = 0.5}, 1000);
    int same = 0, mirrored = 0;
    for (std::size_t i = 0; i < 1000; ++i) {
        bool is_same = true, is_mirrored = true;
        for (std::size_t y = 0; y < 2; ++y)
            for (std::size_t x = 0; x < 3; ++x)
                for (std::size_t c = 0; c < 2; ++c) {
                    const float v = out[12 * i + (3 * y + x) * 2 + c];
                    is_same = is_same && v == values[(3 * y + x) * 2 + c];
                    is_mirrored = is_mirrored && v == values[(3 * y + 2 - x) * 2 + c];
                }
        same += is_same;
        mirrored += is_mirrored;
    }
    CHECK(same + mirrored == 1000);
    CHECK(std::abs(same - 500) <= 80);  // 5 standard deviations of a fair coin
}

TEST_CASE("shake shifts by whole pixels and reflects without repeating the border") {
    reference_backend<float> b;
    const std::vector<float> values{0, 1, 2, 3, 4, 10, 11, 12, 13, 14, 20, 21, 22, 23, 24, 30, 31, 32, 33, 34};
    const auto out = gather(b, values, 20, 500, 0, {.height = 4, .width = 5, .channels = 1, .shake = 2}, 500);
    std::vector<int> seen(25);
    const auto reflect = [](int i, int n) { return i < 0 ? -i : i >= n ? 2 * (n - 1) - i : i; };
    for (std::size_t i = 0; i < 500; ++i) {
        int found = 0;
        for (int dy = -2; dy <= 2; ++dy)
            for (int dx = -2; dx <= 2; ++dx) {
                bool same = true;
                for (int y = 0; y < 4; ++y)
                    for (int x = 0; x < 5; ++x)
                        same = same && out[20 * i + static_cast<std::size_t>(5 * y + x)] ==
                                           static_cast<float>(10 * reflect(y + dy, 4) + reflect(x + dx, 5));
                if (same) {
                    ++found;
                    ++seen[static_cast<std::size_t>((dy + 2) * 5 + dx + 2)];
                }
            }
        CHECK(found == 1);
    }
    for (const int count : seen) CHECK(std::abs(count - 20) <= 20);
}

TEST_CASE("hue turns the circle, saturation scales the distance to the largest channel") {
    using change = train::detail::colour_change<double>;
    const auto apply = [](double turn, double saturation, std::vector<double> rgb) {
        change{turn, saturation}(rgb.data());
        return rgb;
    };
    const auto near = [](const std::vector<double>& a, const std::vector<double>& b) {
        for (std::size_t k = 0; k < 3; ++k)
            if (!(std::abs(a[k] - b[k]) <= 1e-12)) return false;
        return true;
    };
    CHECK(near(apply(1.0 / 3, 1, {2, -2, -2}), {-2, 2, -2}));   // red to green
    CHECK(near(apply(-1.0 / 3, 1, {2, -2, -2}), {-2, -2, 2}));  // red to blue
    CHECK(near(apply(0.5, 1, {2, -2, -2}), {-2, 2, 2}));        // red to cyan
    CHECK(near(apply(1.0 / 12, 1, {2, -2, -2}), {2, 0, -2}));   // red to orange
    CHECK(near(apply(0, 1, {0.3, -0.7, 1.1}), {0.3, -0.7, 1.1}));
    CHECK(near(apply(0.4, 2, {0.5, 0.5, 0.5}), {0.5, 0.5, 0.5}));  // grey stays
    CHECK(near(apply(0, 0.5, {1, 0, -1}), {1, 0.5, 0}));
    CHECK(near(apply(0, 10, {1, 0, -1}), {1, -0.5, -2}));  // never more than full saturation
    CHECK(near(apply(0.25, 1, apply(-0.25, 1, {1.5, -0.25, 0.75})), {1.5, -0.25, 0.75}));
    CHECK(near(apply(0, 1.5, {-1.5, -3, -3}), {-1.5, -3, -3}));  // beyond the range: unchanged, not clipped
}

TEST_CASE("augmentation options are checked") {
    reference_backend<float> b;
    const auto values = ramp(12);
    CHECK_THROWS_AS(gather(b, values, 12, 1, 0, {.height = 2, .width = 2, .channels = 2, .flip = 1}, 1), shape_error);
    CHECK_THROWS_AS(gather(b, values, 12, 1, 0, {.height = 2, .width = 3, .channels = 2, .flip = 2}, 1), value_error);
    CHECK_THROWS_AS(gather(b, values, 12, 1, 0, {.height = 2, .width = 3, .channels = 2, .hue = 0.1}, 1), value_error);
    CHECK_THROWS_AS(gather(b, values, 12, 1, 0, {.height = 2, .width = 3, .channels = 2, .shake = 2}, 1), value_error);
}
