// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <sched.h>
#endif

#include <diem/backend/control_groups.hpp>

/// \file
/// How many threads this process may use: the cores that it may run on, and the share of them that its control groups give
/// it. A process in a container, or under a batch system, often has fewer than the machine.
/// \snippet tests/examples/backend.cpp backend/host_threads.hpp

namespace diem {

namespace detail {

/// The first line of a file, empty where there is none.
inline std::string first_line(const std::string& path) {
    std::ifstream file(path);
    std::string line;
    std::getline(file, line);
    return line;
}

/// quota / period in cores; 0: no limit, or nothing that can be understood.
inline double cores_of_quota(std::string_view quota, std::string_view period) {
    double q = 0, p = 0;
    const auto number = [](std::string_view text, double& out) {
        const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), out);
        return code == std::errc() && end == text.data() + text.size() && std::isfinite(out) && out > 0;
    };
    return number(quota, q) && number(period, p) ? q / p : 0;
}

/// Limit of one control group: version 2 has cpu.max ("QUOTA PERIOD" or "max PERIOD"), version 1 two files.
inline double cores_of_group(const std::string& folder) {
    const std::string line = first_line(folder + "/cpu.max");
    if (!line.empty()) {
        const auto space = std::min(line.find(' '), line.size());
        return cores_of_quota(std::string_view(line).substr(0, space),
                              std::string_view(line).substr(std::min(space + 1, line.size())));
    }
    return cores_of_quota(first_line(folder + "/cpu.cfs_quota_us"), first_line(folder + "/cpu.cfs_period_us"));
}

}  // namespace detail

/// The cores that the control groups of this process grant it, e.g. 1.5; 0 where they set no limit. `root`: see
/// `for_each_control_group`.
inline double cgroup_cores(const std::string& root = "") {
    double least = 0;
    for_each_control_group(root, "cpu", [&least](const std::string& folder) {
        const double cores = detail::cores_of_group(folder);
        if (cores > 0 && (least == 0 || cores < least)) least = cores;
    });
    return least;
}

/// Cores that the calling thread may run on, at least 1.
inline int affinity_cores() {
#if defined(__linux__)
    // Masks are as long as the machine's; the kernel refuses a shorter one.
    for (std::size_t most = 1024; most <= (std::size_t{1} << 20); most *= 4) {
        std::vector<cpu_set_t> mask((most + CPU_SETSIZE - 1) / CPU_SETSIZE);
        const std::size_t bytes = mask.size() * sizeof(cpu_set_t);
        if (sched_getaffinity(0, bytes, mask.data()) == 0) return std::max(1, CPU_COUNT_S(bytes, mask.data()));
    }
#endif
    return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

/// Threads worth having: `affinity` cores and a quota of `cores` (0: none), of which a part counts as a whole.
constexpr int threads_for(int affinity, double cores) {
    if (!(cores > 0) || cores >= affinity) return affinity;
    const int whole = static_cast<int>(cores);
    return whole < cores ? whole + 1 : whole;
}

/// The default number of threads of a backend on this host, at least 1.
inline int host_threads() { return threads_for(affinity_cores(), cgroup_cores()); }

}  // namespace diem
