// SPDX-License-Identifier: Apache-2.0
#include "diem/outputs.hpp"

#include <array>
#include <string_view>

#include <diem/prior/run_folder.hpp>

namespace program {

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
