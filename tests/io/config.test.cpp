// SPDX-License-Identifier: Apache-2.0
#include <diem/io/config.hpp>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/temporary_folder.hpp"

using namespace diem;
using namespace diem::io;
using namespace diem::test;

namespace {

struct settings {
    int rank = 8;
    std::uint64_t seed = 0;
    double sigma_y = 0.01;
    float rate = 1e-3F;
    bool verbose = false;
    std::string scheme = "ddpm";
    std::vector<int> channels{1, 2};
    std::map<std::string, int> heads;
    std::optional<double> sigma_max;
    int depth = 1;
    std::vector<std::vector<double>> table;
};

settings read(const std::string& text) {
    settings s;
    read_config({parse_json(text, "file.json"), "file.json"}, [&](config_object& c) {
        c.required("rank", s.rank).at_least(1).at_most(100);
        c.optional("seed", s.seed);
        c.optional("sigma_y", s.sigma_y).above(0.0).below(10.0);
        c.optional("rate", s.rate);
        c.optional("verbose", s.verbose);
        c.optional("scheme", s.scheme).one_of({"ddpm", "ddim"});
        c.optional("sigma_max", s.sigma_max);
        c.optional("table", s.table);
        c.ignore("comment");
        c.object("net", [&](config_object& net) {
            net.optional("channels", s.channels).satisfies(!s.channels.empty(), "at least one level");
            net.optional("heads", s.heads);
            net.object("inner", [&](config_object& inner) {
                inner.required("depth", s.depth);
                if (s.depth == 13) inner.fail("depth", "13 does not go with this");
            });
        });
    });
    return s;
}
std::string refusal(const std::string& text) {
    return message_of<config_error>([&] { (void)read(text); });
}

}  // namespace

TEST_CASE("config: values, defaults, nesting") {
    const settings s = read(R"({"rank": 3, "seed": 18446744073709551615, "sigma_y": 1, "rate": 0.5, "verbose": true,
        "scheme": "ddim", "sigma_max": 2.5, "table": [[1], [], [2, 3.5]], "comment": [1, {}],
        "net": {"channels": [4, 8], "heads": {"1": 2}, "inner": {"depth": -5}}})");
    CHECK(s.rank == 3);
    CHECK(s.seed == 18446744073709551615U);
    CHECK(s.sigma_y == 1);
    CHECK(s.rate == 0.5F);
    CHECK(s.verbose);
    CHECK(s.scheme == "ddim");
    CHECK(s.sigma_max == 2.5);
    CHECK(s.table == std::vector<std::vector<double>>{{1}, {}, {2, 3.5}});
    CHECK(s.channels == std::vector<int>{4, 8});
    CHECK(s.heads == std::map<std::string, int>{{"1", 2}});
    CHECK(s.depth == -5);
    const settings d = read(R"({"rank": 1, "sigma_max": null})");
    CHECK(d.sigma_y == 0.01);
    CHECK(d.channels == std::vector<int>{1, 2});
    CHECK_FALSE(d.sigma_max.has_value());
}

TEST_CASE("config: unknown and missing keys are named with their path") {
    CHECK(
        refusal(R"({"rank": 1, "rankk": 2})") ==
        "file.json: \"rankk\": unknown key; known here: rank, seed, sigma_y, rate, verbose, scheme, sigma_max, table, "
        "comment, net");
    CHECK(refusal(R"({"rank": 1, "net": {"inner": {"depth": 1, "x": 0}}})") ==
          "file.json: \"net.inner.x\": unknown key; known here: depth");
    CHECK(message_of<config_error>([] {
              const json text = {{"c", 1}};
              config_object o(text, "file.json", "");
              int a = 0, b = 0;
              o.optional("a", a);
              o.optional("b", b);
              o.optional("a", a);
              o.finish();
          }) == "file.json: \"c\": unknown key; known here: a, b");
    CHECK(refusal("{}") == "file.json: \"rank\": is missing");
    CHECK(refusal(R"({"rank": 1, "net": {"inner": {}}})") == "file.json: \"net.inner.depth\": is missing");
    CHECK(refusal(R"({"rank": 1, "net": {"inner": {"depth": 13}}})") ==
          "file.json: \"net.inner.depth\": 13 does not go with this");
}

TEST_CASE("config: wrong types are named with key, expectation and value") {
    CHECK(refusal(R"({"rank": "3"})") == "file.json: \"rank\": expected an integer, got \"3\"");
    CHECK(refusal(R"({"rank": 3.0})") == "file.json: \"rank\": expected an integer, got 3.0");
    CHECK(refusal(R"({"rank": true})") == "file.json: \"rank\": expected an integer, got true");
    CHECK(refusal(R"({"rank": null})") == "file.json: \"rank\": expected an integer, got null");
    CHECK(refusal(R"({"rank": 1, "sigma_y": "1"})") == "file.json: \"sigma_y\": expected a number, got \"1\"");
    CHECK(refusal(R"({"rank": 1, "verbose": 1})") == "file.json: \"verbose\": expected true or false, got 1");
    CHECK(refusal(R"({"rank": 1, "scheme": 1})") == "file.json: \"scheme\": expected a string, got 1");
    CHECK(refusal(R"({"rank": 1, "net": 1})") == "file.json: \"net\": expected an object, got 1");
    CHECK(refusal(R"({"rank": 1, "net": {"channels": 4}})") == "file.json: \"net.channels\": expected an array, got 4");
    CHECK(refusal(R"({"rank": 1, "net": {"channels": [4, "8"]}})") ==
          "file.json: \"net.channels[1]\": expected an integer, got \"8\"");
    CHECK(refusal(R"({"rank": 1, "net": {"heads": [1]}})") == "file.json: \"net.heads\": expected an object, got [1]");
    CHECK(refusal(R"({"rank": 1, "net": {"heads": {"1": "2"}}})") ==
          "file.json: \"net.heads.1\": expected an integer, got \"2\"");
    CHECK(refusal(R"({"rank": 1, "table": [[1], [2, []]]})") ==
          "file.json: \"table[1][1]\": expected a number, got []");
    CHECK(refusal("[1]") == "file.json: (top): expected an object, got [1]");
    CHECK(contains(refusal(R"({"rank": ")" + std::string(1000, 'x') + "\"}"), "..."));
    CHECK(refusal(R"({"rank": ")" + std::string(1000, 'x') + "\"}").size() < 200);
}

TEST_CASE("config: values out of range") {
    CHECK(refusal(R"({"rank": 0})") == "file.json: \"rank\": is 0, expected at least 1");
    CHECK(refusal(R"({"rank": 101})") == "file.json: \"rank\": is 101, expected at most 100");
    CHECK(refusal(R"({"rank": 3000000000})") == "file.json: \"rank\": integer out of range: 3000000000");
    CHECK(refusal(R"({"rank": 1, "seed": -1})") == "file.json: \"seed\": integer out of range: -1");
    CHECK(refusal(R"({"rank": 1, "sigma_y": 0})") == "file.json: \"sigma_y\": is 0.0, expected above 0.0");
    CHECK(refusal(R"({"rank": 1, "sigma_y": 10})") == "file.json: \"sigma_y\": is 10.0, expected below 10.0");
    CHECK(refusal(R"({"rank": 1, "rate": 1e300})") == "file.json: \"rate\": number out of range: 1e+300");
    CHECK(refusal(R"({"rank": 1, "scheme": "x"})") ==
          "file.json: \"scheme\": is \"x\", expected one of [\"ddpm\",\"ddim\"]");
    CHECK(refusal(R"({"rank": 1, "net": {"channels": []}})") ==
          "file.json: \"net.channels\": is [], expected at least one level");
}

TEST_CASE("config: files") {
    const temporary_folder folder;
    write_bytes(folder / "c.json", "{ // comment\n \"a\": 1 }");
    int a = 0;
    read_config(load_config(folder / "c.json"), [&](config_object& c) { c.required("a", a); });
    CHECK(a == 1);
    const std::string message =
        message_of<config_error>([&] { read_config(load_config(folder / "c.json"), [](config_object&) {}); });
    CHECK(message == (folder / "c.json").string() + ": \"a\": unknown key; known here: none");
    write_bytes(folder / "c.json", "{ \"a\": }");
    CHECK(contains(message_of<io_error>([&] { (void)load_config(folder / "c.json"); }), "offset 7"));
    CHECK_THROWS_AS(load_config(folder / "absent.json"), io_error);
}

TEST_CASE("config: entries set from outside") {
    config_source c{json{{"a", 1}, {"b", {{"c", 2}}}}, "file.json"};
    set_entry(c, "a=2.5");
    set_entry(c, "b.c=[1, 2]");
    set_entry(c, "b.name=cg");
    set_entry(c, "new.deep=true");
    set_entry(c, "text=a=b");
    CHECK(c.value ==
          json{{"a", 2.5}, {"b", {{"c", {1, 2}}, {"name", "cg"}}}, {"new", {{"deep", true}}}, {"text", "a=b"}});
    const auto message = [&](const char* assignment) {
        return message_of<config_error>([&] { set_entry(c, assignment); });
    };
    CHECK(message("a") == "file.json: \"a\": expected KEY=VALUE");
    CHECK(message("b..c=1") == "file.json: \"b..c=1\": expected KEY=VALUE, with no empty key");
    CHECK(message("=1") == "file.json: \"=1\": expected KEY=VALUE, with no empty key");
    CHECK(message("a.c=1") == "file.json: \"a\": is no object, so that it has no keys to set");
    // Deeper than what reads, copies and prints it may go.
    std::string keys = "deep", values = "deep=";
    for (int k = 0; k < 100000; ++k) {
        keys += ".a";
        values += '[';
    }
    CHECK(message((keys + "=1").c_str()).find("nested too deeply") != std::string::npos);
    set_entry(c, values);
    CHECK(c.value["deep"].is_string());
}
