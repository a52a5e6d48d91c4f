// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

#include <diem/core/view.hpp>
#include <diem/io/json.hpp>

/// The page of a run: one HTML file without scripts that needs nothing beside it. It is made of a report and of the pictures and
/// samples in the run's folder; a program shows that by `save_report`, and `diem report` by `html_report` again.
///
/// What it reads of the report, all of it optional: "program", "status" (completed, running, cancelled, rejected), "message", "time",
/// "command", "environment"; "observations", "features", "rows", "operator", "observed_share", "expected_residual", "sigma_y",
/// "unseen_features", "unseen_directions", "unseen_items"; "laps" or "along_laps" (prior::to_json of a lap's diagnostics, and any other numbers),
/// "gaussian.log_evidence", "held_out_values", "noise", "stages", "pictures"; "seconds", "peak_memory_bytes"; "config", "gaussian", "em".
///
/// A program that learns no prior says by itself what it has to say: "summary", a sentence; "verdicts", each {"level" (good, note, warning,
/// bad), "title", "text"}; "charts", each {"title", "x_label", "curves" (each {"name", "x", "y"}), and as there is need "logarithmic_x",
/// "from_zero", "target", "target_name", "note"}; "tables", each {"title", "head", "rows"}; "progress", {"done", "total", "what"};
/// "resumes", false where it has no --resume.
namespace support {

struct reported_run {
    std::filesystem::path folder;
    std::string name;             ///< heading; of two runs also what tells them apart
    diem::io::json report;        ///< an object
    std::string file = "report";  ///< its name in the folder, without the extension
};

/// A run as its folder holds it: report.json, or posterior.json. Throws io_error where there is none, or where it is no JSON object.
[[nodiscard]] reported_run load_run(const std::filesystem::path& folder);

/// The page of one run, or of two beside each other.
[[nodiscard]] std::string html_report(const std::vector<reported_run>& runs);

/// Writes FOLDER/NAME.json and FOLDER/NAME.html, each atomically; adds time, command line and memory to the report. Called again
/// as a run goes on. Throws io_error.
void save_report(const std::filesystem::path& folder, diem::io::json report, const std::string& name = "report");

/// What of a run's result should make people look, in words, the worst first: the page's verdicts that are no good ones. What is known
/// of the data before the run is not among them.
[[nodiscard]] std::vector<std::string> warnings_of(const diem::io::json& report);

/// report.json and report.html of a run, from when it begins: saved whenever there is news, and, should an exception end the run,
/// as "failed".
class run_report {
public:
    /// `facts`: of the program, what it was given and how it runs; the environment is added. Without a folder nothing is written.
    run_report(std::filesystem::path folder, diem::io::json facts);
    run_report(const run_report&) = delete;
    run_report& operator=(const run_report&) = delete;
    ~run_report();

    [[nodiscard]] diem::io::json& json() { return report_; }
    /// "progress": so many of `what` are done.
    void progress(diem::index_t done, diem::index_t total, const char* what);
    /// Of what was learned, on standard error, as "PROGRAM: warning: ...".
    void warn(const std::string& program) const;
    /// Since the run began.
    [[nodiscard]] double seconds() const;
    /// `status`: running, completed, cancelled, rejected or failed; `message`, where there is a new one. At the end of a run the report is
    /// also told (support/terminal.hpp). Throws io_error.
    void save(const std::string& status, const std::string& message = {});

private:
    std::filesystem::path folder_;
    diem::io::json report_;
    std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace support
