// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <signal.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>
#include <string>

namespace support {

/// From now on a mapped file that is not there any more (cut short by another process, or on a disk that fails) ends the
/// process with "diem: WORDS" and status 1: there is no going on from it.
inline void say_at_bus_error(const std::string& words) {
    static char text[1024];  // a handler may not allocate
    const std::string line = ("diem: " + words).substr(0, sizeof text - 2) + "\n";
    std::memcpy(text, line.c_str(), line.size() + 1);
    struct sigaction action = {};
    action.sa_handler = [](int) {
        static_cast<void>(!::write(STDERR_FILENO, text, std::strlen(text)));
        ::_exit(1);
    };
    ::sigaction(SIGBUS, &action, nullptr);
}

}  // namespace support
