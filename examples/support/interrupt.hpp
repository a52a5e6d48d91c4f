// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <csignal>

/// Ctrl-C as a request: the program finishes its step, saves, and stops.
namespace support {

inline volatile std::sig_atomic_t interrupt_flag = 0;

/// The first Ctrl-C (or SIGTERM) sets the flag; the second ends the program at once.
inline void catch_interrupts() {
    const auto handler = [](int signal) {
        interrupt_flag = 1;
        std::signal(signal, SIG_DFL);
    };
    std::signal(SIGINT, handler);
    std::signal(SIGTERM, handler);
}
[[nodiscard]] inline bool interrupted() { return interrupt_flag != 0; }

}  // namespace support
