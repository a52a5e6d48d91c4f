// SPDX-License-Identifier: Apache-2.0
#include <diem/io/json.hpp>
#include <diem/model/config.hpp>

#include "fuzz/input.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    fuzz::tolerate([&] {
        const auto config = diem::model::parse_network(diem::io::parse_json(text, "input"));
        // What was read is written and read again to the same.
        const auto written = diem::model::to_json(config);
        if (diem::model::to_json(diem::model::parse_network(written)) != written) std::abort();
    });
    return 0;
}
