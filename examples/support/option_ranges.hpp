// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <charconv>
#include <cstdint>
#include <string>
#include <system_error>

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
/// Whole numbers below 2^64, in decimal. CLI11 takes -1 and what is larger for others of them.
[[nodiscard]] inline CLI::Validator any_seed() {
    return {[](std::string& input) {
                std::uint64_t value = 0;
                const auto [end, error] = std::from_chars(input.data(), input.data() + input.size(), value);
                if (error == std::errc() && end == input.data() + input.size()) return std::string();
                return "Value " + input + " is no whole number from 0 to 18446744073709551615";
            },
            ""};
}
[[nodiscard]] inline CLI::Range count_in(diem::index_t least, diem::index_t most = most_count) { return {least, most}; }

}  // namespace support
