// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

#include <diem/io/json.hpp>
#include <diem/prior/diagnostics.hpp>

#include "diem/commands.hpp"
#include "diem/fit_settings.hpp"

namespace program {

/// report.json and report.html of `diem fit`: written when the run begins, after each lap and when it ends, by an exception, too.
class fit_report {
public:
    /// `data`: what is known of the observations.
    fit_report(const fit_command& o, const fit_settings& s, diem::io::json data, diem::index_t threads);
    fit_report(const fit_report&) = delete;
    fit_report& operator=(const fit_report&) = delete;
    ~fit_report();

    void gaussian(const diem::io::json& notes) { report_["gaussian"] = notes; }
    void laps(const std::vector<diem::prior::lap_diagnostics>& history);
    void save(const std::string& status, const std::string& message = {});
    [[nodiscard]] diem::io::json& json() { return report_; }

private:
    std::filesystem::path folder_;
    diem::io::json report_;
    std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace program
