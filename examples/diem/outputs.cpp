// SPDX-License-Identifier: Apache-2.0
#include "diem/outputs.hpp"

#include <array>
#include <string_view>
#include <utility>

#include <diem/core/error.hpp>
#include <diem/io/atomic.hpp>
#include <diem/prior/run_folder.hpp>

#include "diem/files.hpp"

namespace program {

using namespace diem;
namespace fs = std::filesystem;

outputs outputs::file(std::string option, const fs::path& name) {
    outputs o(std::move(option), name.parent_path());
    o.writes({name.filename().string()});
    return o;
}
outputs& outputs::reads(std::string option, fs::path from) {
    if (!from.empty()) inputs_.push_back({std::move(option), std::move(from)});
    return *this;
}
outputs& outputs::reads(const std::string& option, const std::vector<fs::path>& from) {
    for (const auto& path : from) reads(option, path);
    return *this;
}
outputs& outputs::writes(std::vector<std::string> names) {
    names_.insert(names_.end(), names.begin(), names.end());
    return *this;
}

void outputs::check() const {
    std::error_code code;
    for (const auto& name : names_)
        for (const auto& in : inputs_)
            if (fs::equivalent(where_ / name, in.path, code))
                throw value_error(option_ + " " + where_.string() + ": " + (where_ / name).string() +
                                  " would be written, and is what " + in.option + " reads (" + in.path.string() +
                                  "); choose another place");
}
void outputs::prepare() const {
    check();
    try {
        if (!where_.empty()) make_folder(where_);
        for (const auto& name : names_) io::probe_writable(where_ / name);
    } catch (const io_error& e) {
        throw io_error(option_ + ": " + e.what());
    }
}

namespace {

/// BEFORE, digits, AFTER.
bool is_numbered(std::string_view name, std::string_view before, std::string_view after) {
    if (!name.starts_with(before) || !name.ends_with(after) || name.size() <= before.size() + after.size())
        return false;
    name.remove_prefix(before.size());
    name.remove_suffix(after.size());
    return name.find_first_not_of("0123456789") == std::string_view::npos;
}

}  // namespace

bool fit_writes(const std::string& name, bool in_checkpoint) {
    if (in_checkpoint) return diem::prior::is_run_file(name);
    constexpr std::array<std::string_view, 8> names{
        "gaussian.safetensors", "prior.safetensors",    "report.json",           "report.html",
        "observed.png",         "samples_gaussian.png", "samples_diffusion.png", "seen.png"};
    for (const auto& each : names)
        if (name == each) return true;
    return is_numbered(name, "lap_", ".png") || is_numbered(name, "lap_", "_posterior.png");
}

}  // namespace program
