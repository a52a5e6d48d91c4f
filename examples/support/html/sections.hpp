// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "support/html/run_data.hpp"

/// The parts of the page (support/html_report.hpp), each of one run or of two beside each other; empty where there is nothing to show.
namespace support::html {

using runs = std::vector<run_data>;

[[nodiscard]] std::string verdict_section(const runs& all);
[[nodiscard]] std::string observation_section(const runs& all);
[[nodiscard]] std::string picture_section(const runs& all);
[[nodiscard]] std::string curve_section(const runs& all);
[[nodiscard]] std::string held_out_section(const runs& all);
[[nodiscard]] std::string figure_section(const runs& all);
[[nodiscard]] std::string time_section(const runs& all);
[[nodiscard]] std::string reproduction_section(const runs& all);

/// "A", "B" of two runs, empty of one.
[[nodiscard]] std::string letter(const runs& all, std::size_t k);
/// Rows by label, a column of each run.
[[nodiscard]] std::string fact_table(const runs& all, facts (*of)(const run_data&), const std::string& head);

}  // namespace support::html
