// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "support/golden.hpp"

using namespace diem;
using namespace diem::test;

namespace {

/// The kinds that some test reads: the tests' sources say golden_files("<kind>").
std::set<std::string> tested_kinds() {
    std::set<std::string> kinds;
    const std::string call = std::string("golden_files(") + '"';
    for (const auto& entry : std::filesystem::recursive_directory_iterator(DIEM_TESTS_DIR)) {
        if (entry.path().extension() != ".cpp") continue;
        std::ifstream stream(entry.path());
        const std::string text{std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
        for (std::size_t at = text.find(call); at != std::string::npos; at = text.find(call, at + 1)) {
            const std::size_t begin = at + call.size();
            kinds.insert(text.substr(begin, text.find('"', begin) - begin));
        }
    }
    return kinds;
}

}  // namespace

TEST_CASE("golden: every kind is tested; others are named") {
    const auto paths = golden_paths();
    const auto tested = tested_kinds();
    std::map<std::string, std::vector<std::string>> untested;
    std::size_t known = 0;
    for (const auto& path : paths) {
        const golden_file file(path);
        if (tested.count(file.kind()) != 0)
            ++known;
        else
            untested[file.kind()].push_back(file.name());
    }
    std::cout << "golden: " << known << " of " << paths.size() << " files in " << golden_folder().string()
              << " are of a kind that a test reads\n";
    for (const auto& [kind, names] : untested) {
        std::cout << "golden: no test knows kind " << kind << ":";
        for (const auto& name : names) std::cout << ' ' << name;
        std::cout << '\n';
    }
    CHECK(known > 0);
    if (!golden_kinds_may_miss()) CHECK(known == paths.size());
}

TEST_CASE("golden: every file can be compared with itself, and a change beyond the tolerance fails") {
    std::size_t compared = 0;
    for (const auto& path : golden_paths()) {
        golden_file file(path);
        for (const auto& name : file.outputs()) {
            if (!file.config().at("tolerance").contains(name)) {
                auto counts = file.output<int>(name);
                CHECK(file.compare<int>(name, counts.data).passed());
                ++compared;
                if (counts.data.empty()) continue;
                ++counts.data.back();
                CHECK_FALSE(file.compare<int>(name, counts.data).passed());
                continue;
            }
            auto values = file.output<double>(name);
            check_golden(file, name, values);
            check_golden(file, name, file.output<float>(name));
            ++compared;
            if (values.data.empty()) continue;
            values.data.back() = std::numeric_limits<double>::quiet_NaN();
            CHECK_FALSE(file.compare<double>(name, values.data).passed());
            values.data.back() = 1e9;
            CHECK_FALSE(file.compare<double>(name, values.data).passed());
            values.data.pop_back();
            CHECK_FALSE(file.compare<double>(name, values.data).passed());
        }
        CHECK_THROWS_AS(file.input("no such input"), io_error);
    }
    CHECK(compared > 0);
}

TEST_CASE("golden: the scale of a comparison") {
    const auto folder = std::filesystem::temp_directory_path() / ("diem_golden_" + std::to_string(::getpid()));
    std::filesystem::create_directories(folder);
    const auto path = folder / "made.safetensors";
    const io::array<double> matrix({2, 2}, {1, 2, 1e-6, 0}), vector({2}, {4, -8}), zero({2}, {0, 0}),
        strong({2}, {1, 100}), weak({2}, {1e-5, 0});
    io::safetensors_writer writer;
    const auto tolerances = [](double t) { return io::json{{"float32", 1e6 * t}, {"float64", t}}; };
    writer.metadata("config", io::json{{"kind", "made"},
                                       {"parameters", {"a"}},
                                       {"tolerance",
                                        {{"matrix", tolerances(1e-6)},
                                         {"vector", tolerances(1e-6)},
                                         {"zero", tolerances(1e-6)},
                                         {"grad/strong", tolerances(1e-6)},
                                         {"grad/weak", tolerances(1e-6)}}}}
                                  .dump());
    writer.add("out/matrix", matrix);
    writer.add("out/vector", vector);
    writer.add("out/zero", zero);
    writer.add("out/grad/strong", strong);
    writer.add("out/grad/weak", weak);
    writer.write(path);
    golden_file file(path);
    std::filesystem::remove_all(folder);

    using values = std::vector<double>;
    const auto error = [&](const char* name, const values& got) { return file.compare<double>(name, got).error; };
    CHECK(error("matrix", values{1.5, 2, 1e-6, 0}) == Approx(0.25));  // slice 0: scale 2
    CHECK(error("matrix", values{1, 2, 1e-6, 1e-3}) == Approx(0.5));  // slice 1: scale 1e-3 * 2
    CHECK(error("vector", values{5, -8}) == Approx(0.125));           // scale 8
    CHECK(error("zero", values{0, 0.5}) == Approx(0.5));              // scale 1
    CHECK(error("grad/strong", values{2, 100}) == Approx(0.01));      // scale 100
    CHECK(error("grad/weak", values{1e-5, 0.05}) == Approx(0.5));     // scale 1e-3 * 100
    CHECK(file.tolerance<double>("matrix") == 1e-6);
    CHECK(file.tolerance<float>("matrix") == 1.0);
    CHECK(file.compare<double>("vector", values{4, -8 - 7e-6}).passed());
    CHECK_FALSE(file.compare<double>("vector", values{4, -8 - 9e-6}).passed());
    CHECK_FALSE(file.compare<double>("vector", values{4}).passed());
    CHECK(std::isnan(error("vector", values{4, std::numeric_limits<double>::quiet_NaN()})));
    CHECK(std::isnan(error("matrix", values{1, 2, std::numeric_limits<double>::infinity(), 0})));
}
