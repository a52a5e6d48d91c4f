// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include <CLI/CLI.hpp>

#include <diem/core/view.hpp>

#include "support/bounds.hpp"
#include "support/report.hpp"

/// Values that options of a command line may take.
namespace support {

/// Numbers in [least, most]. CLI::Range, and so CLI::PositiveNumber, let "nan" pass.
[[nodiscard]] inline CLI::Validator number_in(double least, double most) {
    const std::string text = "[" + brief(least) + " - " + brief(most) + "]";
    return {[least, most, text](std::string& input) {
                double value = 0;
                if (CLI::detail::lexical_cast(input, value) && value >= least && value <= most) return std::string();
                return "Value " + input + " not in range " + text;
            },
            "FLOAT in " + text};
}
[[nodiscard]] inline CLI::Range count_in(diem::index_t least, diem::index_t most = most_count) { return {least, most}; }

}  // namespace support
