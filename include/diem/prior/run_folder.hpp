// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <diem/core/check.hpp>
#include <diem/core/error.hpp>
#include <diem/io/atomic.hpp>

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

/// The file that keeps samples of a lap, of which `first` is the first.
[[nodiscard]] inline std::string sample_file_name(std::ptrdiff_t lap, std::ptrdiff_t first) {
    return "samples_" + std::to_string(lap) + "_" + std::to_string(first) + ".safetensors";
}

namespace detail {

/// The numbers of a name BEGIN followed by so many of them with "_" between and by ".safetensors"; empty for another name.
[[nodiscard]] inline std::vector<std::ptrdiff_t> numbers_in(std::string_view name, std::string_view begin,
                                                            std::size_t count) {
    constexpr std::string_view end = ".safetensors";
    if (!name.starts_with(begin) || !name.ends_with(end) || name.size() < begin.size() + end.size()) return {};
    std::vector<std::ptrdiff_t> numbers;
    const char* at = name.data() + begin.size();
    const char* const stop = name.data() + name.size() - end.size();
    while (numbers.size() < count) {
        if (!numbers.empty() && (at == stop || *at++ != '_')) return {};
        std::ptrdiff_t number = 0;
        if (at == stop || *at < '0' || *at > '9') return {};
        const auto [next, code] = std::from_chars(at, stop, number);
        if (code != std::errc{}) return {};
        numbers.push_back(number);
        at = next;
    }
    if (at != stop) return {};
    return numbers;
}

/// The lap of which a file of that name keeps samples; none where it keeps none.
[[nodiscard]] inline std::optional<std::ptrdiff_t> lap_of_sample_file(std::string_view name) {
    const auto numbers = numbers_in(name, "samples_", 2);
    return numbers.empty() ? std::nullopt : std::optional(numbers.front());
}

}  // namespace detail

/// Whether a run of learning writes a file of that name: `gaussian_file_name` by the first stage, run.safetensors,
/// prior_K.safetensors and samples_K_I.safetensors by the second.
[[nodiscard]] inline bool is_run_file(std::string_view name, bool first_stage = true) {
    return name == run_file_name || (first_stage && name == gaussian_file_name) ||
           !detail::numbers_in(name, "prior_", 1).empty() || detail::lap_of_sample_file(name).has_value();
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

namespace detail {
/// Removes what a killed run was about to write.
inline void remove_killed_writers_files(const std::filesystem::path& folder) {
    std::set<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
        const auto name = entry.path().filename().string();
        const auto written = name.substr(0, name.rfind(".tmp-"));
        if (written != name && is_run_file(written)) names.insert(written);
    }
    for (const auto& name : names) io::remove_leftovers(folder, name);
}
}  // namespace detail

/// Makes the folder of a run that begins, `first_stage` or not; nothing where none is given, or this rank is not the one that writes. A folder with files of a run
/// is left as it is with `resume`, cleared of them (and of nothing else) with `overwrite`, and refused with neither.
/// Throws io_error, value_error (both).
template <class Run>
void begin_in_folder(const Run& run, bool first_stage) {
    check_value("prior::run", !run.resume || !run.overwrite, "resume and overwrite contradict each other");
    if (!run.writes()) return;
    std::filesystem::create_directories(run.folder);
    detail::remove_killed_writers_files(run.folder);
    if (run.resume) return;
    const auto files = run_files(run.folder, first_stage);
    if (!files.empty() && !run.overwrite)
        throw io_error(run.folder.string() + ": holds a run already (" + files.front().filename().string() +
                       "); resume goes on with it, overwrite begins anew");
    for (const auto& file : files) std::filesystem::remove(file);
}

}  // namespace diem::prior
