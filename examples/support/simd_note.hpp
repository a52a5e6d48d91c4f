// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "support/report.hpp"

/// The vector instructions of the processor beside those that this program was built for.
namespace support {

/// What the processor has, of what environment() can say.
[[nodiscard]] inline std::string instructions_here() {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f")) return "avx512";
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return "avx2+fma";
    if (__builtin_cpu_supports("avx")) return "avx";
#endif
    return "baseline";
}

/// A sentence where the processor has more than a program was built for, else empty.
[[nodiscard]] inline std::string instructions_note(const std::string& built, const std::string& here) {
    const auto rank = [](const std::string& name) {
        return name == "avx512" ? 3 : name == "avx2+fma" ? 2 : name == "avx" ? 1 : 0;
    };
    if (rank(here) <= rank(built)) return {};
    return "this program was built for " + built + ", the processor has " + here + ": built for that it runs faster";
}
/// The same of this program.
[[nodiscard]] inline std::string instructions_note() {
    return instructions_note(environment().at("instructions").get<std::string>(), instructions_here());
}

}  // namespace support
