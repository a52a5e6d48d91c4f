// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <iostream>
#include <optional>
#include <string>

#include <diem/core/check.hpp>
#include <diem/io/any_array.hpp>

#include "diem/commands.hpp"
#include "diem/outputs.hpp"
#include "support/memory.hpp"
#include "support/terminal.hpp"

namespace program {

using namespace diem;

int convert(const convert_command& o) {
    auto place = outputs::file("OUT", o.out);
    place.reads("IN", o.in).check();
    std::optional<io::pixel_range> range;
    if (!o.range.empty()) {
        range.emplace(io::pixel_range{o.range[0], o.range[1]});
        check_value("--range", range->low < range->high && std::isfinite(range->high - range->low),
                    "expected two numbers, the first below the second");
    }
    support::check_file(o.in);
    const auto numbers = io::load_array<float>(o.in);
    place.prepare();
    io::save_array(o.out, numbers, range);
    std::cout << o.out.string() << ' ' << io::to_string(numbers.values.shape)
              << (numbers.complex ? ", complex (real and imaginary parts last)" : "") << '\n';
    support::tell({{"program", "diem convert"},
                   {"out", o.out.string()},
                   {"shape", numbers.values.shape},
                   {"complex", numbers.complex}});
    return 0;
}

std::string formats_of_arrays() { return "Formats of this program: " + io::array_formats() + "."; }

}  // namespace program
