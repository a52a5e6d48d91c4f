// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <diem/io/json.hpp>

#include "support/html/svg_plot.hpp"

/// What the page of a run is made from, and what is read off it. A report may lack any key, and hold null for any number.
namespace support::html {

struct run_data {
    std::filesystem::path folder;
    std::string name;       ///< of the folder
    diem::io::json report;  ///< an object
};

/// Entries of the laps, objects, in order; from "laps" or "along_laps".
[[nodiscard]] std::vector<diem::io::json> laps_of(const run_data& r);
/// A figure along the laps; NaN where it was not measured.
[[nodiscard]] curve curve_of(const std::vector<diem::io::json>& laps, const std::string& key);
/// log p(y) per observation along the laps of the Gaussian stage.
[[nodiscard]] curve evidence_curve(const run_data& r);
/// The data residual that samples of the true posterior have.
[[nodiscard]] double expected_residual(const run_data& r);
/// Of the laps that took any.
[[nodiscard]] double mean_lap_seconds(const std::vector<diem::io::json>& laps);
/// Figures of restored images under one prior after another; of the first set, where several are restored.
[[nodiscard]] std::vector<diem::io::json> stages_of(const run_data& r);
/// Of the network's EM: done, and as configured. After the last one samples may be judged once more, which is no lap.
[[nodiscard]] std::size_t laps_done(const run_data& r);
[[nodiscard]] std::optional<double> planned_laps(const run_data& r);

using facts = std::vector<std::pair<std::string, std::string>>;  ///< label, value
[[nodiscard]] facts observation_facts(const run_data& r);
[[nodiscard]] facts time_facts(const run_data& r);
[[nodiscard]] facts version_facts(const run_data& r);
/// Every option, by its path of keys.
[[nodiscard]] facts configuration(const run_data& r);
/// Numbers of the report that none of the above shows.
struct figure {
    std::string label, stage;  ///< stage: of the prior it belongs to; empty: of the run
    double value = 0;
};
[[nodiscard]] std::vector<figure> figures(const run_data& r);

/// One sentence: what was done with what.
[[nodiscard]] std::string summary(const run_data& r);

}  // namespace support::html
