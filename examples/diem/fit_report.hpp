// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include <diem/io/json.hpp>
#include <diem/prior/diagnostics.hpp>
#include <diem/prior/held_out.hpp>
#include <diem/prior/noise_level.hpp>

#include "diem/commands.hpp"
#include "diem/fit_settings.hpp"
#include "support/html_report.hpp"

namespace program {

/// report.json and report.html of `diem fit`; `data`: what is known of the observations.
class fit_report : public support::run_report {
public:
    fit_report(const fit_command& o, const fit_settings& s, diem::io::json data, diem::index_t threads);

    void gaussian(const diem::io::json& notes) { json()["gaussian"] = notes; }
    /// Returns a warning where the noise does not look like what was said of it.
    [[nodiscard]] std::vector<std::string> noise(const diem::prior::noise_level& found);
    void predicted(const diem::prior::held_out_figures& f);
    void laps(const std::vector<diem::prior::lap_diagnostics>& history);
};

}  // namespace program
