// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "support/html/run_data.hpp"

/// The parts of the page (support/html_report.hpp), each of one run or of two beside each other; empty where there is nothing to show.
namespace support::html {

using runs = std::vector<run_data>;

[[nodiscard]] std::string verdict_section(const runs& all);
[[nodiscard]] std::string observation_section(const runs& all);
/// "charts" and "tables" of the report, see support/html_report.hpp.
[[nodiscard]] std::string result_section(const runs& all);
[[nodiscard]] std::string picture_section(const runs& all);
[[nodiscard]] std::string curve_section(const runs& all);
[[nodiscard]] std::string held_out_section(const runs& all);
[[nodiscard]] std::string figure_section(const runs& all);
[[nodiscard]] std::string time_section(const runs& all);
[[nodiscard]] std::string reproduction_section(const runs& all);

/// "A", "B" of two runs, empty of one.
[[nodiscard]] std::string letter(const runs& all, std::size_t k);
/// The same of each run, two in columns under their letters.
template <class Part>
[[nodiscard]] std::string beside(const runs& all, Part part) {
    if (all.size() == 1) return part(all[0]);
    std::string out = "<div class=\"columns\">";
    for (std::size_t k = 0; k < all.size(); ++k)
        out += "<div><h3>" + letter(all, k) + "</h3>" + part(all[k]) + "</div>";
    return out + "</div>";
}
/// Rows by label, a column of each run.
[[nodiscard]] std::string fact_table(const runs& all, facts (*of)(const run_data&), const std::string& head);

}  // namespace support::html
