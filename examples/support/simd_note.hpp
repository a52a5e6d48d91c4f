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

/// 0: as built; above: the processor has more, below: less, and the program may end at any time.
[[nodiscard]] inline int instructions_beyond() {
    const auto rank = [](const std::string& name) {
        return name == "avx512" ? 3 : name == "avx2+fma" ? 2 : name == "avx" ? 1 : 0;
    };
    return rank(instructions_here()) - rank(environment().at("instructions").get<std::string>());
}

/// A sentence where they differ, else empty.
[[nodiscard]] inline std::string instructions_note() {
    const int beyond = instructions_beyond();
    if (beyond == 0) return {};
    const auto built = environment().at("instructions").get<std::string>(), here = instructions_here();
    if (beyond < 0)
        return "this program was built for " + built + ", the processor has only " + here + ": build it there";
    return "this program was built for " + built + ", the processor has " + here + ": built for that it runs faster";
}

}  // namespace support
