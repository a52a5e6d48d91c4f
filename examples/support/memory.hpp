// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/resource.h>
#include <unistd.h>
#if defined(__GLIBC__)
#include <malloc.h>
#endif

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>
#include <utility>

#include <diem/backend/control_groups.hpp>
#include <diem/core/bfloat16.hpp>
#include <diem/core/error.hpp>
#include <diem/io/array_place.hpp>
#include <diem/train/moments.hpp>

#include "support/report.hpp"

namespace support {

/// Bytes of addresses, and of data, that this process has already: what its own limits count.
struct taken_memory {
    double addresses = 0, data = 0;
};
[[nodiscard]] inline taken_memory memory_taken() {
    double pages[6] = {};
    std::ifstream file("/proc/self/statm");
    for (double& each : pages) file >> each;
    const double page = static_cast<double>(::sysconf(_SC_PAGESIZE));
    return file ? taken_memory{pages[0] * page, pages[5] * page} : taken_memory{};
}
/// Bytes that this process may have: of the machine and its control groups, and what its own limits (ulimit -v, -d) leave.
[[nodiscard]] inline double memory_here() {
    double bytes = static_cast<double>(::sysconf(_SC_PHYS_PAGES)) * static_cast<double>(::sysconf(_SC_PAGESIZE));
    diem::for_each_control_group("", "memory", [&bytes](const std::string& folder) {
        for (const char* file : {"/memory.max", "/memory.limit_in_bytes"}) {
            double limit = 0;
            if (std::ifstream(folder + file) >> limit && limit > 0) bytes = std::min(bytes, limit);
        }
    });
    const auto taken = memory_taken();
    for (const auto& [kind, used] : {std::pair{RLIMIT_AS, taken.addresses}, std::pair{RLIMIT_DATA, taken.data}}) {
        struct rlimit limit {};
        if (::getrlimit(kind, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
            bytes = std::min(bytes, std::max(0.0, static_cast<double>(limit.rlim_cur) - used));
    }
    return bytes;
}
/// What was read and freed goes back to the system. Small pieces, such as HDF5 takes for its tables, stay with malloc else.
inline void give_back_memory() {
#if defined(__GLIBC__)
    ::malloc_trim(0);
#endif
}
/// Most bytes of memory that this process ever held.
[[nodiscard]] inline double peak_memory() {
    struct rusage usage {};
    if (::getrusage(RUSAGE_SELF, &usage) != 0) return 0;
#if defined(__APPLE__)
    return static_cast<double>(usage.ru_maxrss);
#else
    return static_cast<double>(usage.ru_maxrss) * 1024;
#endif
}
[[nodiscard]] inline std::string gib(double bytes) {
    if (bytes < 0x1p30 / 10) return number(bytes / 0x1p20, 1) + " MiB";
    return number(bytes / 0x1p30, bytes < 0x1p30 ? 2 : bytes < 0x1p40 ? 1 : 0) + " GiB";
}
/// Whole MiB, for plans.
[[nodiscard]] inline std::string mib(std::size_t bytes) {
    return number(static_cast<double>(bytes) / 0x1p20, 0) + " MiB";
}
/// Of a network of so many parameters in training: weights, gradient, average, two moments.
template <class T>
[[nodiscard]] constexpr std::size_t training_state_bytes(
    diem::index_t parameters, diem::train::moment_precision moments = diem::train::moment_precision::float32) {
    const bool half = moments == diem::train::moment_precision::bf16;
    return static_cast<std::size_t>(parameters) * (3 * sizeof(T) + 2 * (half ? sizeof(diem::bfloat16) : sizeof(T)));
}
/// Throws memory_error where more is needed than there is: "--count: 1000 samples need 12 GiB, ...; REMEDY".
inline void check_memory(const std::string& what, double bytes, const std::string& remedy) {
    const double there = memory_here();
    if (bytes > there)
        throw diem::memory_error(what + " needs " + gib(bytes) + " of memory, there are " + gib(there) + "; " + remedy);
}
/// Throws memory_error where what is to be read, FILE or FILE::NAME, is in a file larger than the memory there is; nothing
/// where there is no file.
inline void check_file(const std::filesystem::path& given) {
    const auto file = diem::io::place_of(given).path;
    std::error_code code;
    const auto bytes = std::filesystem::file_size(file, code);
    if (!code)
        check_memory(file.string() + ": reading it", static_cast<double>(bytes), "fewer items at once need less");
}

}  // namespace support
