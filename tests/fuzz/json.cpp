// SPDX-License-Identifier: Apache-2.0
#include <diem/io/config.hpp>

#include "fuzz/input.hpp"

/// Strict JSON with comments, typed reading, and KEY=VALUE.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    fuzz::tolerate([&] { (void)diem::io::parse_json(text, "input"); });
    fuzz::tolerate([&] {
        diem::io::config_source source{diem::io::parse_json(text, "input", {.comments = true}), "input"};
        fuzz::tolerate([&] {
            diem::io::read_config(source, [&](diem::io::config_object& c) {
                std::int64_t n = 0;
                double x = 0;
                std::string s;
                std::optional<std::vector<std::int32_t>> list;
                std::map<std::string, bool> flags;
                fuzz::tolerate([&] { c.optional("n", n).at_least(1).at_most(1000000); });
                fuzz::tolerate([&] { c.optional("x", x).above(0.0); });
                fuzz::tolerate([&] { c.optional("s", s).one_of({"a", "b"}); });
                fuzz::tolerate([&] { c.optional("list", list); });
                fuzz::tolerate([&] { c.optional("flags", flags); });
                c.object("inner", [&](diem::io::config_object& inner) { inner.required("n", n); });
            });
        });
        diem::io::set_entry(source, "inner.n=" + std::string(text.substr(0, 100)));
    });
    return 0;
}
