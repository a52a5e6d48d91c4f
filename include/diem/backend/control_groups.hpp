// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <fstream>
#include <string>
#include <string_view>

/// \file
/// Internal: control groups of this process.

namespace diem {

namespace detail {

/// Whether `name` is among the names between commas.
inline bool is_among(std::string_view names, std::string_view name) {
    while (!names.empty()) {
        const auto comma = std::min(names.find(','), names.size());
        if (names.substr(0, comma) == name) return true;
        names.remove_prefix(std::min(comma + 1, names.size()));
    }
    return false;
}

}  // namespace detail

/// f(folder) for each control group of this process that may limit it by `controller` ("cpu", "memory"), and for all above it; a
/// folder may be missing. Read from `root`/proc/self/cgroup (lines "ID:CONTROLLERS:PATH") and `root`/sys/fs/cgroup.
///
/// Inside a container the path may be one of the host's, which is not seen there; the container's own group is then the
/// root of what is seen.
template <class F>
void for_each_control_group(const std::string& root, const std::string& controller, const F& f) {
    const std::string mount = root + "/sys/fs/cgroup";
    const auto upwards = [&f](const std::string& top, std::string path) {
        for (;;) {
            f(top + path);
            const auto slash = path.find_last_of('/');
            if (slash == std::string::npos) return;
            path.resize(slash);
        }
    };
    std::ifstream file(root + "/proc/self/cgroup");
    for (std::string line; std::getline(file, line);) {
        const auto first = line.find(':');
        const auto second = first == std::string::npos ? first : line.find(':', first + 1);
        if (second == std::string::npos) continue;
        const std::string controllers = line.substr(first + 1, second - first - 1);
        std::string path = line.substr(second + 1);
        if (path.find("/..") != std::string::npos) path = "";  // outside of what this process sees
        while (!path.empty() && path.back() == '/') path.pop_back();
        if (controllers.empty()) {
            upwards(mount, path);
        } else if (detail::is_among(controllers,
                                    controller)) {  // version 1: each set of controllers has a folder of its own
            upwards(mount + "/" + controllers, path);
            if (controllers != controller) upwards(mount + "/" + controller, path);
        }
    }
}

}  // namespace diem
