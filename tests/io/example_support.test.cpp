// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <csignal>
#include <cstdint>
#include <limits>
#include <sstream>
#include <string>
#include <vector>

#include "support/catch.hpp"
// What the examples share lies beside them, not in the library.
#include "../../examples/support/image_grid.hpp"
#include "../../examples/support/interrupt.hpp"
#include "../../examples/support/numpy_random.hpp"
#include "../../examples/support/progress.hpp"
#include "../../examples/support/report.hpp"
#include "../../examples/support/simd_note.hpp"

#include <diem/io/npy.hpp>

using diem::host_view;
using namespace support;

TEST_CASE("progress: lines") {
    CHECK(clock_text(0) == "0:00");
    CHECK(clock_text(59.6) == "1:00");
    CHECK(clock_text(3661) == "1:01:01");
    CHECK(clock_text(std::numeric_limits<double>::infinity()) == "?");
    CHECK(progress_line("lap 1", 25, 100, 5, 5, "loss 0.5", 8) ==
          "lap 1  [##......]   25 %  25/100  5.00/s  left 0:15  loss 0.5");
    CHECK(progress_line("lap 1", 100, 100, 50, 2, "", 4) == "lap 1  [####]  100 %  100/100  50.0/s  took 0:02");
    CHECK(progress_line("x", 0, 10, 0, 0, "", 0) == "x    0 %  0/10  left ?");
    CHECK(progress_line("x", 0, 0, 0, 0, "", 4) == "x  [####]  100 %  0/0  took 0:00");
    CHECK(progress_line("x", 12, 10, 1, 0, "", 4).find("[####]") != std::string::npos);
}

TEST_CASE("image grid: places, scale, gaps, mask") {
    // Three images of 1 x 2 grey pixels with a stride of 3.
    const float data[] = {-2, 2, 9, 0, -3, 9, 2, std::numeric_limits<float>::quiet_NaN(), 9};
    const host_view<const float> items(data, 2, 3, 3);
    const image plain = image_grid(items, {1, 2, 1}, {.columns = 2, .gap = 1, .background = 7});
    CHECK(plain.shape == diem::io::shape_type{5, 7, 1});
    const std::vector<int> got(plain.data.begin(), plain.data.end());
    CHECK(got == std::vector<int>{7, 7,   7,   7, 7,   7, 7,  //
                                  7, 0,   255, 7, 128, 0, 7,  //
                                  7, 7,   7,   7, 7,   7, 7,  //
                                  7, 255, 0,   7, 7,   7, 7,  //
                                  7, 7,   7,   7, 7,   7, 7});
    const float mask_data[] = {1, 0, 1, 0, 1, 1};
    const image masked = image_grid(items, {1, 2, 1}, {.columns = 3, .scale = 2, .gap = 0, .missing = 50},
                                    host_view<const float>(mask_data, 2, 3));
    CHECK(masked.shape == diem::io::shape_type{2, 12, 1});
    const std::vector<int> row{0, 0, 50, 50, 128, 128, 50, 50, 255, 255, 0, 0};
    CHECK(std::equal(row.begin(), row.end(), masked.data.begin()));
    CHECK(std::equal(row.begin(), row.end(), masked.data.begin() + 12));
    CHECK(image_grid(items, {1, 2, 1}).shape == diem::io::shape_type{5, 7, 1});

    const std::vector<double> colour(12, 0.0);
    CHECK(image_grid(host_view<const double>(colour.data(), 12, 1), {2, 2, 3}, {.gap = 0}).shape ==
          diem::io::shape_type{2, 2, 3});
    CHECK_THROWS_AS(image_grid(items, {2, 2, 1}), diem::shape_error);
    CHECK_THROWS_AS(image_grid(items, {1, 2, 1}, {}, host_view<const float>(mask_data, 2, 2)), diem::shape_error);
    CHECK_THROWS_AS(image_grid(host_view<const float>(data, 2, 0), {1, 2, 1}), diem::value_error);

    const image stacked = stack({plain, plain});
    CHECK(stacked.shape == diem::io::shape_type{10, 7, 1});
    CHECK(stacked.size() == 70);
    CHECK_THROWS_AS(stack({plain, masked}), diem::shape_error);
}

TEST_CASE("report: tables and environment") {
    std::ostringstream out;
    print_table(out, {"what", "dB"}, {{"sample", number(13.579)}, {"m", number(7, 0)}});
    CHECK(out.str() == "what       dB\n-------------\nsample  13.58\nm           7\n");
    CHECK(environment().at("diem") == diem::version);
}

TEST_CASE("report: a program built for less than the processor has") {
    CHECK(support::instructions_note("avx2+fma", "avx512") ==
          "this program was built for avx2+fma, the processor has avx512: built for that it runs faster");
    CHECK(!support::instructions_note("baseline", "avx").empty());
    CHECK(support::instructions_note("avx512", "avx512").empty());
    CHECK(support::instructions_note("avx512", "avx2+fma").empty());  // that ends before, see support/instructions.cpp
    CHECK(support::instructions_note() ==
          support::instructions_note(support::environment()["instructions"], support::instructions_here()));
}

TEST_CASE("interrupt: the first one is a request") {
    catch_interrupts();
    CHECK_FALSE(interrupted());
    std::raise(SIGINT);
    CHECK(interrupted());
    std::signal(SIGINT, SIG_DFL);
    std::signal(SIGTERM, SIG_DFL);
}

TEST_CASE("example data: the digits") {
    const auto digits =
        diem::io::load_npy<std::uint8_t>(std::string(DIEM_TEST_DATA) + "/../../examples/data/digits/digits_8x8.npy");
    const auto labels =
        diem::io::load_npy<std::uint8_t>(std::string(DIEM_TEST_DATA) + "/../../examples/data/digits/labels.npy");
    CHECK(digits.shape == diem::io::shape_type{1797, 8, 8});
    CHECK(labels.shape == diem::io::shape_type{1797});
    CHECK(*std::max_element(digits.data.begin(), digits.data.end()) == 16);
    CHECK(*std::max_element(labels.data.begin(), labels.data.end()) == 9);
    double sum = 0;
    for (const auto value : digits.data) sum += value / 16.0;
    CHECK(sum / static_cast<double>(digits.size()) == Approx(0.3053).margin(1e-4));
}

TEST_CASE("permutations are numpy's", "[examples]") {
    using order = std::vector<diem::index_t>;
    CHECK(support::numpy_permutation(0, 10) == order{2, 8, 4, 9, 1, 6, 7, 3, 0, 5});
    const auto thousand = support::numpy_permutation(3, 1000);
    CHECK(order(thousand.begin(), thousand.begin() + 5) == order{642, 762, 909, 199, 586});
    CHECK(support::numpy_permutation(7, 11) == order{8, 5, 0, 2, 1, 10, 7, 3, 6, 9, 4});
    const auto some = support::numpy_permutation(3547, 300);
    CHECK(order(some.begin(), some.begin() + 8) == order{292, 273, 64, 263, 86, 282, 46, 252});
    CHECK(support::numpy_permutation(4294967295U, 4) == order{1, 0, 2, 3});
    CHECK(support::numpy_permutation(1, 0).empty());
    CHECK_THROWS_AS(support::numpy_permutation(1, -1), diem::value_error);
}
