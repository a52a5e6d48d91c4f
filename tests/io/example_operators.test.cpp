// SPDX-License-Identifier: Apache-2.0
#include <string>
#include <vector>

#include <diem/backend/eigen.hpp>
#include <diem/testing/operator.hpp>

#include "support/catch.hpp"
#include "support/temporary_folder.hpp"
// What the examples share lies beside them, not in the library.
#include "../../examples/support/image_operators.hpp"

using namespace diem;

namespace {
using B = eigen_backend<float>;
std::vector<support::image_step> steps(const std::string& text, const std::filesystem::path& folder = ".") {
    return support::read_image_steps(io::json::parse(text), "a.json", folder);
}
std::vector<float> product(B& b, const support::any_operator<B>& a, const std::vector<float>& x) {
    const auto in = to_backend<B, float>(b, x, a.cols(), static_cast<index_t>(x.size()) / a.cols());
    batch<B> out(b, a.rows(), in.items());
    a.apply(b, in.cview(), out.view());
    return to_host(b, out);
}
}  // namespace

TEST_CASE("operators on images from JSON: what they are") {
    B b(1);
    const auto made = [&](const std::string& text) { return support::make_image_operator(b, steps(text)); };
    using values = std::vector<float>;
    // A window, then means of pairs; a list of one and the object alone are the same.
    const auto chain = made(R"([{"type": "window", "shape": [1, 3, 1], "left": 1, "size": [1, 4]},
                                {"type": "downsample", "stride": [1, 2]}])");
    CHECK(product(b, chain, {1, 2, 4, 10, 20, 40}) == values{3, 0, 30, 0});
    const auto alone = made(R"({"type": "differences", "shape": [1, 3, 1]})");
    CHECK(product(b, alone, {1, 2, 4}) == values{1, 2});
    CHECK(product(b, made(R"([{"type": "differences", "shape": [1, 3, 1], "comment": "x"}])"), {1, 2, 4}) ==
          values{1, 2});
    // Two of the same x, below one another; a chain inside.
    const auto stacked = made(R"({"type": "stack", "shape": [1, 2, 2], "parts": [
        {"type": "grey", "weights": [1, 10]}, [{"type": "window", "size": [1, 1]}, {"type": "grey", "weights": [0, 1]}]]})");
    CHECK(product(b, stacked, {1, 2, 3, 4}) == values{21, 43, 2});

    const auto everything = made(R"([{"type": "blur", "shape": [8, 6, 3], "gaussian": 1.5, "border": "zero"},
        {"type": "blur", "motion": [5, 30], "border": "circular"},
        {"type": "downsample", "stride": [2, 1], "filter": "bicubic"},
        {"type": "stack", "parts": [{"type": "radon", "degrees": [0, 20]}, {"type": "differences"}]}])");
    const auto found = testing::check_operator(b, everything, {.wrong_sizes = true});
    INFO(found.text());
    CHECK(found.passed());
}

TEST_CASE("operators on images from JSON: files, one for all items or one per item") {
    B b(1);
    const test::temporary_folder folder;
    const auto write = [&](const char* name, const io::shape_type& shape, const std::vector<float>& v) {
        io::save_npy(folder.path() / name, shape, std::span<const float>(v));
    };
    write("one.npy", {1, 2}, {2, 3});
    write("two.npy", {2, 1, 2}, {2, 3, 5, 7});
    write("masks.npy", {2, 1, 2, 1}, {1, 0, 0, 1});
    write("flat.npy", {4}, {1, 2, 3, 4});
    const auto made = [&](const std::string& text) {
        return support::make_image_operator(b, steps(text, folder.path()));
    };
    using values = std::vector<float>;
    // The kernel's origin is its second place: y_j = 2 x_(j+1) + 3 x_j.
    const auto one = made(R"({"type": "blur", "shape": [1, 2, 1], "kernel": "one.npy", "border": "zero"})");
    CHECK(product(b, one, {1, 10, 1, 10}) == values{23, 30, 23, 30});
    const auto two = made(R"([{"type": "blur", "shape": [1, 2, 1], "kernel": "two.npy", "border": "zero"},
                              {"type": "mask", "values": "masks.npy"}])");
    CHECK(two.items() == 2);
    CHECK(product(b, two, {1, 10, 1, 10}) == values{23, 0, 0, 70});
    CHECK(testing::check_operator(b, two, {.wrong_sizes = true}).passed());
    CHECK_THROWS_AS(made(R"({"type": "blur", "shape": [1, 2, 1], "kernel": "flat.npy"})"), shape_error);
    CHECK_THROWS_AS(made(R"([{"type": "mask", "shape": [1, 3, 1], "values": "masks.npy"}])"), shape_error);
    CHECK_THROWS_AS(made(R"({"type": "blur", "shape": [1, 2, 1], "kernel": "none.npy"})"), io_error);

    // Columns from above of the first item, rows from below of the second one.
    write("angles.npy", {2, 1}, {0, 90});
    const auto turned =
        made(R"({"type": "radon", "shape": [2, 2, 1], "angles": 1, "degrees_of_items": "angles.npy", "detectors": 2})");
    CHECK(turned.items() == 2);
    CHECK(product(b, turned, {1, 2, 4, 8, 1, 2, 4, 8}) == values{5, 10, 12, 3});
    CHECK_THROWS_AS(made(R"({"type": "radon", "shape": [2, 2, 1], "angles": 2, "degrees_of_items": "angles.npy"})"),
                    shape_error);

    auto value = io::json::parse(R"([{"type": "stack", "parts": [{"type": "blur", "kernel": "one.npy"}]}])");
    support::make_files_absolute(value, folder.path());
    CHECK(value[0]["parts"][0]["kernel"] == std::filesystem::absolute(folder.path() / "one.npy").string());
}

TEST_CASE("operators on images from JSON: errors name the key") {
    const auto fails = [](const std::string& text, const std::string& message) {
        INFO(text);
        CHECK_THROWS_WITH(steps(text), Catch::Matchers::Contains(message));
    };
    fails("[]", "no operator in the list");
    fails(R"([{"type": "grey"}])", "\"[0].shape\": is missing");
    fails(R"([{"type": "gray", "shape": [2, 2, 1]}])", "\"[0].type\": is \"gray\", expected one of blur");
    fails(R"([{"type": "grey", "shape": [2, 2, 3]}, {"type": "grey"}])", "\"[1].weights\"");
    fails(R"([{"type": "grey", "shape": [2, 2, 3]}, {"type": "differences", "shape": [2, 2, 1]}])",
          "\"[1].shape\": unknown key");
    fails(R"([{"type": "blur", "shape": [2, 2, 3]}])", "one of \"kernel\", \"gaussian\" and \"motion\"");
    fails(R"([{"type": "blur", "shape": [2, 2, 3], "gaussian": 1, "border": "wrap"}])", "\"[0].border\"");
    fails(R"({"type": "downsample", "shape": [2, 2, 3], "stride": [0, 1]})", "\"stride\"");
    fails(R"({"type": "radon", "shape": [2, 2, 3]})", "\"angles\"");
    fails(R"({"type": "radon", "shape": [2, 2, 3], "degrees": [0], "degrees_of_items": "a.npy"})",
          "\"degrees_of_items\"");
    fails(R"({"type": "stack", "shape": [2, 2, 3], "parts": [{"type": "grey", "x": 1}]})",
          "\"parts[0].x\": unknown key");
    CHECK(!support::is_image_operator(io::json::parse(R"({"type": "mask", "values": "m.npy"})")));
    CHECK(!support::is_image_operator(io::json::parse(R"({"type": "dense"})")));
    CHECK(!support::is_image_operator(io::json::parse(R"("blur")")));
}

TEST_CASE("operators of several sizes: each for its items") {
    B b(1);
    const auto ones = [&](index_t n) {
        return diem::linop::common_or_each<B>::shared(
            to_backend(b, std::vector<float>(static_cast<std::size_t>(n), 1), n, 1));
    };
    std::vector<support::any_operator<B>> parts;
    parts.push_back(diem::linop::mri<B>(b, 3, 4, ones(4)));
    parts.push_back(
        support::any_operator<B>::in_turn({diem::linop::window(b, {3, 4, 1}, -1, 0, 5, 4, diem::linop::border::zero),
                                           diem::linop::mri<B>(b, 5, 4, ones(20))}));
    const auto a = support::any_operator<B>::for_items(parts, {2, 3});
    CHECK(a.rows() == 40);
    CHECK(a.cols() == 12);
    CHECK(a.items() == 5);
    const auto found = testing::check_operator(b, a, {.wrong_sizes = true});
    INFO(found.text());
    CHECK(found.passed());
    std::vector<float> x(60);
    for (std::size_t k = 0; k < x.size(); ++k) x[k] = static_cast<float>(k % 7) - 3;
    const auto y = product(b, a, x);
    const auto first = product(b, parts[0], {x.begin(), x.begin() + 24}),
               rest = product(b, parts[1], {x.begin() + 24, x.end()});
    CHECK(std::vector<float>(y.begin(), y.begin() + 24) == std::vector<float>(first.begin(), first.begin() + 24));
    CHECK(std::vector<float>(y.begin() + 24, y.begin() + 40) == std::vector<float>(16, 0));
    CHECK(std::vector<float>(y.begin() + 80, y.end()) == rest);
    CHECK(product(b, a.items(1, 2), {x.begin() + 12, x.begin() + 36}) ==
          std::vector<float>(y.begin() + 40, y.begin() + 120));
    CHECK_THROWS_AS(support::any_operator<B>::for_items({}, {}), value_error);
    CHECK_THROWS_AS(support::any_operator<B>::for_items(parts, {2}), shape_error);
}
