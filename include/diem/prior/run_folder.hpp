// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include <diem/core/check.hpp>
#include <diem/core/error.hpp>

/// \file
/// What a run keeps in its folder, and the one rule of folders that hold a run already.
/// \snippet tests/examples/prior.cpp prior/run_folder.hpp

namespace diem::prior {

inline constexpr const char* gaussian_file_name = "gaussian.safetensors";
inline constexpr const char* run_file_name = "run.safetensors";

/// The file that keeps the prior of a lap.
[[nodiscard]] inline std::string lap_file_name(std::ptrdiff_t lap) {
    return "prior_" + std::to_string(lap) + ".safetensors";
}

/// Whether a run of learning writes a file of that name: `gaussian_file_name` by the first stage, run.safetensors and
/// prior_K.safetensors by the second.
[[nodiscard]] inline bool is_run_file(std::string_view name, bool first_stage = true) {
    if (name == run_file_name || (first_stage && name == gaussian_file_name)) return true;
    constexpr std::string_view begin = "prior_", end = ".safetensors";
    if (name.size() <= begin.size() + end.size() || !name.starts_with(begin) || !name.ends_with(end)) return false;
    const auto number = name.substr(begin.size(), name.size() - begin.size() - end.size());
    return std::all_of(number.begin(), number.end(), [](char c) { return c >= '0' && c <= '9'; });
}

/// The files of a run in a folder, sorted; none where there is no such folder.
[[nodiscard]] inline std::vector<std::filesystem::path> run_files(const std::filesystem::path& folder,
                                                                  bool first_stage = true) {
    std::vector<std::filesystem::path> files;
    if (!std::filesystem::is_directory(folder)) return files;
    for (const auto& entry : std::filesystem::directory_iterator(folder))
        if (is_run_file(entry.path().filename().string(), first_stage)) files.push_back(entry.path());
    std::sort(files.begin(), files.end());
    return files;
}

/// Makes the folder of a run that begins, `first_stage` or not; nothing where none is given, or this rank is not the one that writes. A folder with files of a run
/// is left as it is with `resume`, cleared of them (and of nothing else) with `overwrite`, and refused with neither.
/// Throws io_error, value_error (both).
template <class Run>
void begin_in_folder(const Run& run, bool first_stage) {
    check_value("prior::run", !run.resume || !run.overwrite, "resume and overwrite contradict each other");
    if (!run.writes()) return;
    std::filesystem::create_directories(run.folder);
    if (run.resume) return;
    const auto files = run_files(run.folder, first_stage);
    if (!files.empty() && !run.overwrite)
        throw io_error(run.folder.string() + ": holds a run already (" + files.front().filename().string() +
                       "); resume goes on with it, overwrite begins anew");
    for (const auto& file : files) std::filesystem::remove(file);
}

}  // namespace diem::prior
