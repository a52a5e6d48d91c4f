// SPDX-License-Identifier: Apache-2.0
#include "support/html_report.hpp"

#include <cstddef>
#include <ctime>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string_view>
#include <utility>

#include <diem/core/error.hpp>
#include <diem/io/atomic.hpp>

#include "support/html/verdicts.hpp"
#include "support/memory.hpp"
#include "support/report.hpp"
#include "support/terminal.hpp"

namespace support {

namespace fs = std::filesystem;
using diem::io::json;

namespace {

/// The command line of this process, quoted for a shell; empty where the system does not tell.
std::string command_line() {
    std::ifstream in("/proc/self/cmdline", std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(in), {}};
    std::string line, word;
    for (const char c : bytes) {
        if (c != '\0') {
            word += c;
            continue;
        }
        constexpr std::string_view plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./=:,+@%";
        if (line.empty()) word = fs::path(word).filename().string();
        if (word.empty() || word.find_first_not_of(plain) != std::string::npos) {
            std::string quoted = "'";
            for (const char q : word) quoted += q == '\'' ? std::string("'\\''") : std::string(1, q);
            word = quoted + "'";
        }
        line += (line.empty() ? "" : " ") + std::exchange(word, {});
    }
    return line;
}

std::string name_of(const fs::path& folder) {
    const auto absolute = fs::absolute(folder).lexically_normal();
    return (absolute.has_filename() ? absolute : absolute.parent_path()).filename().string();
}

std::string time_now() {
    const std::time_t now = std::time(nullptr);
    std::tm utc{};
    char text[32] = "";
    if (::gmtime_r(&now, &utc) != nullptr) std::strftime(text, sizeof text, "%Y-%m-%d %H:%M UTC", &utc);
    return text;
}

}  // namespace

reported_run load_run(const fs::path& folder) {
    std::error_code code;
    for (const char* name : {"report", "posterior"}) {
        const auto file = folder / (std::string(name) + ".json");
        if (!fs::exists(file, code)) continue;
        auto report = diem::io::load_json(file);
        if (!report.is_object()) throw diem::io_error(file.string() + ": is no JSON object");
        return {folder, name_of(folder), std::move(report), name};
    }
    throw diem::io_error(folder.string() + ": holds no report.json and no posterior.json");
}

void save_report(const fs::path& folder, json report, const std::string& name) {
    report["time"] = time_now();
    report["command"] = command_line();
    report["peak_memory_bytes"] = peak_memory();
    diem::io::save_json(folder / (name + ".json"), report);
    diem::io::write_atomically(folder / (name + ".html"),
                               html_report({{folder, name_of(folder), std::move(report), name}}));
}

std::vector<std::string> warnings_of(const json& report) {
    std::vector<std::string> texts;
    for (const auto& v : html::verdicts_of_result({{}, {}, report})) {
        if (v.light < html::level::warning) continue;
        auto text = v.title + (v.text.empty() ? "" : ". " + v.text);
        while (!text.empty() && text.back() == '.') text.pop_back();
        for (std::size_t k = 0; (k = text.find("\xC2\xA0", k)) != std::string::npos;) text.replace(k, 2, 1, ' ');
        texts.push_back(std::move(text));
    }
    return texts;
}

run_report::run_report(fs::path folder, diem::io::json facts) : folder_(std::move(folder)), report_(std::move(facts)) {
    report_["environment"] = environment();
}
run_report::~run_report() {
    if (report_.value("status", "") != "running") return;
    try {
        save("failed", "an error ended the run; what it said is on standard error");
    } catch (const std::exception&) {  // the error that ended the run may be that nothing can be written
    }
}
void run_report::progress(diem::index_t done, diem::index_t total, const char* what) {
    // Not braces alone to the right of =: clang 16 does not destroy what they replace.
    report_["progress"] = diem::io::json{{"done", done}, {"total", total}, {"what", what}};
}
double run_report::seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
}
void run_report::warn(const std::string& program) const {
    for (const auto& text : warnings_of(report_)) std::cerr << program << ": warning: " << text << '\n';
}
void run_report::save(const std::string& status, const std::string& message) {
    report_["status"] = status;
    if (!message.empty()) report_["message"] = message;
    report_["seconds"] = seconds();
    if (folder_.empty()) return;
    save_report(folder_, report_);
    if (status != "running" && status != "failed") tell(report_);
}

}  // namespace support
