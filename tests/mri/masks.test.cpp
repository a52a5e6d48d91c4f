// SPDX-License-Identifier: Apache-2.0
#include <diem/linop/mri.hpp>
#include <diem/mri/masks.hpp>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "support/backends.hpp"
#include "support/catch.hpp"
#include "support/message.hpp"

using namespace diem;
using namespace diem::test;
using mri::mask_kind;

namespace {

template <class B = main_backend<float>>
std::vector<scalar_t<B>> drawn(index_t height, index_t width, const mri::mask_options& o, index_t items = 1,
                               random_key key = random_key{4}) {
    B b = make_backend<B>();
    return to_host(b, mri::make_mask(b, key, height, width, o, items));
}
template <class T>
index_t count(const std::vector<T>& mask) {
    return static_cast<index_t>(std::count(mask.begin(), mask.end(), T(1)));
}
/// Nothing but 0 and 1, and 1 in columns (or the square) first .. first + side - 1.
template <class T>
bool holds_centre(const std::vector<T>& mask, index_t rows, index_t width, index_t side, bool square) {
    for (const T v : mask)
        if (v != 0 && v != 1) return false;
    const auto from = [&](index_t n) { return n / 2 - side / 2; };
    for (index_t y = 0; y < rows; ++y)
        for (index_t x = 0; x < width; ++x) {
            const bool inside =
                x >= from(width) && x < from(width) + side && (!square || (y >= from(rows) && y < from(rows) + side));
            if (inside && mask[static_cast<std::size_t>(y * width + x)] != 1) return false;
        }
    return true;
}

}  // namespace

TEST_CASE("masks of the method: 2 ceil(60 / R) of 320 columns in the centre, 320 / R in expectation", "[mri]") {
    for (const double r : {4.0, 6.0, 8.0}) {
        const index_t items = 4000, centre = 2 * static_cast<index_t>(std::ceil(60 / r));
        const auto masks = drawn(320, 320, {.acceleration = r}, items);
        std::vector<double> seen(320, 0);
        for (index_t i = 0; i < items; ++i)
            for (index_t x = 0; x < 320; ++x) seen[std::size_t(x)] += double(masks[std::size_t(i * 320 + x)]);
        const double p = 200 / (320 * r - 120);
        double outside = 0;
        for (index_t x = 0; x < 320; ++x) {
            if (x >= 160 - centre / 2 && x < 160 + centre / 2) {
                CHECK(seen[std::size_t(x)] == items);
                continue;
            }
            outside += seen[std::size_t(x)];
            // Five standard deviations of a binomial number.
            CHECK(std::abs(seen[std::size_t(x)] - p * items) <= 5 * std::sqrt(p * (1 - p) * items));
        }
        const double trials = double(items * (320 - centre));
        CHECK(std::abs(outside - p * trials) <= 4 * std::sqrt(p * (1 - p) * trials));
        if (r != 8)  // 60 / R is whole
            CHECK(double(centre) + p * double(320 - centre) == Approx(320 / r));
    }
}

TEST_CASE("masks hold as many positions as they should, with the centre, for one slice or one each", "[mri]") {
    const mask_kind kind = GENERATE(mask_kind::equispaced, mask_kind::random, mask_kind::poisson_disk);
    const bool full = kind != mask_kind::equispaced && GENERATE(false, true);
    const index_t height = 38, width = GENERATE(36, 41), n = full ? height * width : width;
    const index_t centre = GENERATE(0, 5, 8);
    const mri::mask_options o{.kind = kind, .acceleration = 3, .centre = centre, .full_size = full, .falloff = 1};
    const auto masks = drawn(height, width, o, 3);
    std::vector<std::vector<float>> each;
    for (index_t i = 0; i < 3; ++i) {
        each.emplace_back(masks.begin() + i * n, masks.begin() + (i + 1) * n);
        CHECK(count(each.back()) == std::llround(double(n) / 3));
        CHECK(holds_centre(each.back(), full ? height : 1, width, centre, full));
    }
    if (kind != mask_kind::equispaced) CHECK(each[0] != each[1]);
    // The same for the same key and item, on every backend; another for another seed.
    CHECK(drawn(height, width, o, 3) == masks);
    CHECK(drawn(height, width, o, 1, random_key{4}.skip_items(2)) == each[2]);
    const auto again = drawn<main_backend<double>>(height, width, o, 3);
    CHECK(std::equal(masks.begin(), masks.end(), again.begin(), again.end()));
    CHECK(drawn(height, width, o, 3, random_key{5}) != masks);
}

TEST_CASE("equispaced columns: steps outside the centre differ by one at most, starts by seed", "[mri]") {
    const index_t width = 101, centre = 9;
    std::vector<bool> starts(20, false);
    for (std::uint32_t seed = 0; seed < 50; ++seed) {
        const auto mask =
            drawn(1, width, {.kind = mask_kind::equispaced, .acceleration = 4, .centre = centre}, 1, random_key{seed});
        std::vector<index_t> places;  // in the list of columns outside the centre
        for (index_t x = 0, k = 0; x < width; ++x) {
            if (x >= width / 2 - centre / 2 && x < width / 2 - centre / 2 + centre) continue;
            if (mask[std::size_t(x)] == 1) places.push_back(k);
            ++k;
        }
        REQUIRE(places.size() == 25 - 9);
        const double step = 92.0 / 16;
        for (std::size_t k = 1; k < places.size(); ++k) {
            CHECK(places[k] - places[k - 1] >= std::floor(step));
            CHECK(places[k] - places[k - 1] <= std::ceil(step));
        }
        starts[std::size_t(places[0])] = true;
    }
    CHECK(std::count(starts.begin(), starts.end(), true) == 6);  // every one below a step
}

TEST_CASE("Poisson disks keep their distance", "[mri]") {
    const index_t height = 60, width = 50;
    const double falloff = GENERATE(0.0, 1.5), r = 8;
    const auto mask =
        drawn(height, width,
              {.kind = mask_kind::poisson_disk, .acceleration = r, .centre = 0, .full_size = true, .falloff = falloff});
    struct place {
        double y, x, weight;
    };
    std::vector<place> places;
    for (index_t y = 0; y < height; ++y)
        for (index_t x = 0; x < width; ++x)
            if (mask[std::size_t(y * width + x)] == 1)
                places.push_back(
                    {double(y), double(x),
                     1 + falloff * std::hypot(2 * double(y - height / 2) / height, 2 * double(x - width / 2) / width)});
    CHECK(index_t(places.size()) == height * width / 8);
    // The radius that holds: the least distance over the smaller weight of two.
    double radius = 1e9, area = 0;
    for (std::size_t i = 0; i < places.size(); ++i)
        for (std::size_t j = 0; j < i; ++j)
            radius = std::min(radius, std::hypot(places[i].y - places[j].y, places[i].x - places[j].x) /
                                          std::min(places[i].weight, places[j].weight));
    for (const auto& p : places) area += p.weight * p.weight;
    // Disks of half the radius do not overlap. Thrown at random until no more fits they cover 0.547 of the plane (E. L.
    // Hinrichsen et al., 1986); four fifths of that radius at least, for the grid and for those left out.
    const double jammed = 2 * std::sqrt(0.547 * double(height * width) / (3.14159265 * area));
    CHECK(radius >= 0.8 * jammed);
}

TEMPLATE_TEST_CASE("masks go into operators", "[mri]", DIEM_TEST_BACKENDS) {
    using B = TestType;
    using numbers = linop::common_or_each<B>;
    B b = make_backend<B>();
    const linop::mri<B> all(b, 12, 10, numbers::shared(mri::make_mask(b, random_key{1}, 12, 10, {.acceleration = 2})));
    const linop::mri<B> each(
        b, 12, 10,
        numbers::per_item(mri::make_mask(b, random_key{1}, 12, 10, {.kind = mask_kind::random, .full_size = true}, 4)));
    CHECK(all.items() == linop::any_items);
    CHECK(each.items() == 4);
    CHECK(count(to_host(b, mri::make_mask(b, random_key{1}, 5, 7, {.acceleration = 1}))) == 7);
    CHECK(mri::make_mask(b, random_key{1}, 5, 7, {}, 0).items() == 0);
}

TEST_CASE("masks that cannot be are refused, with the reason", "[mri]") {
    const auto why = [](index_t height, index_t width, const mri::mask_options& o) {
        return message_of<value_error>([&] { (void)drawn(height, width, o); });
    };
    CHECK(contains(why(8, 8, {.acceleration = 0.5}),
                   "make_mask: acceleration is 0.500000, expected a finite number >= 1"));
    CHECK(contains(why(8, 8, {.acceleration = NAN}), "acceleration is nan"));
    CHECK(contains(why(8, 8, {.centre = 9}), "centre is 9, larger than the k-space of 8 x 8"));
    CHECK(contains(why(7, 8, {.centre = 8, .full_size = true}), "centre is 8, larger than the k-space of 7 x 8"));
    CHECK(contains(why(8, 8, {.acceleration = 4, .centre = 3}),
                   "the centre holds 3 positions, acceleration 4.000000 leaves 2 of 8"));
    CHECK(contains(why(8, 8, {.centre = -2}), "centre is -2"));
    CHECK(contains(why(8, 8, {.kind = mask_kind::equispaced, .full_size = true}), "equispaced masks are of columns"));
    CHECK(contains(why(8, 8, {.falloff = -1}), "falloff is -1.000000"));
    CHECK(contains(why(0, 8, {}), "k-space is 0 x 8"));
}
