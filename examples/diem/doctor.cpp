// SPDX-License-Identifier: Apache-2.0
#include <sys/utsname.h>
#include <unistd.h>

#include <cstddef>
#include <fstream>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

#include <CLI/Version.hpp>
#include <Eigen/Core>

#include <diem/backend/host_threads.hpp>
#include <diem/io/json.hpp>

#include "diem/commands.hpp"
#include "support/memory.hpp"
#include "support/place_options.hpp"
#include "support/report.hpp"
#include "support/simd_note.hpp"
#include "support/terminal.hpp"

namespace program {

using namespace diem;

namespace {

/// The value of "KEY : value" in a file of /proc; empty where there is none.
std::string entry_of(const char* file, const std::string& key) {
    std::ifstream in(file);
    for (std::string line; std::getline(in, line);) {
        const auto colon = line.find(':');
        if (line.rfind(key, 0) != 0 || colon == std::string::npos) continue;
        const auto first = line.find_first_not_of(" \t", colon + 1);
        return first == std::string::npos ? "" : line.substr(first);
    }
    return {};
}
double gib_of(const std::string& kib) { return kib.empty() ? 0 : std::stod(kib) / (1 << 20); }

}  // namespace

int doctor() {
    io::json j = support::environment();
    struct utsname system {};
    if (::uname(&system) == 0) j["system"] = std::string(system.sysname) + " " + system.release + " " + system.machine;
    j["processor"] = entry_of("/proc/cpuinfo", "model name");
    j["processor_instructions"] = support::instructions_here();
    const double quota = cgroup_cores();
    j["cores"] = {{"usable", affinity_cores()}, {"quota", quota > 0 ? io::json(quota) : io::json(nullptr)}};
    j["threads"] = host_threads();
    j["memory_gib"] = {{"total", gib_of(entry_of("/proc/meminfo", "MemTotal"))},
                       {"limit", support::memory_here() / 0x1p30},
                       {"available", gib_of(entry_of("/proc/meminfo", "MemAvailable"))}};
    j["libraries"] = {{"eigen", std::to_string(EIGEN_WORLD_VERSION) + "." + std::to_string(EIGEN_MAJOR_VERSION) + "." +
                                    std::to_string(EIGEN_MINOR_VERSION)},
                      {"nlohmann_json", std::to_string(NLOHMANN_JSON_VERSION_MAJOR) + "." +
                                            std::to_string(NLOHMANN_JSON_VERSION_MINOR) + "." +
                                            std::to_string(NLOHMANN_JSON_VERSION_PATCH)},
                      {"cli11", CLI11_VERSION}};
    std::string why = "there is none";
    const int devices = support::cuda_devices(why);
    j["cuda_devices"] = devices;
    if (devices == 0) j["cuda"] = why;

    std::vector<std::pair<std::string, std::string>> rows;
    for (const auto& [key, value] : j.items())
        rows.emplace_back(key, value.is_string() ? value.get<std::string>() : value.dump());
    std::size_t width = 0;
    for (const auto& [key, value] : rows) width = std::max(width, key.size());
    for (const auto& [key, value] : rows) std::cout << key << std::string(width + 2 - key.size(), ' ') << value << '\n';
    if (const auto note = support::instructions_note(); !note.empty()) std::cout << "note: " << note << '\n';
    support::tell(j);
    return 0;
}

}  // namespace program
