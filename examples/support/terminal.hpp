// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <string>

#include <diem/core/error.hpp>
#include <diem/io/json.hpp>

/// What a program says: words on standard output, or one JSON value there, or nothing; bars on standard error.
namespace support {

namespace detail {
inline bool quiet = false, json = false, told = true;
inline std::streambuf* standard_output = nullptr;
}  // namespace detail

/// Before anything is said. With `json` there are no words, with `quiet` neither words nor bars: what is written to std::cout
/// goes nowhere.
inline void talk(bool quiet, bool json) {
    detail::quiet = quiet;
    detail::json = json;
    if (quiet || json) detail::standard_output = std::cout.rdbuf(nullptr);
}
[[nodiscard]] inline bool shows_progress() { return !detail::quiet; }
/// The result of a program for machines; said where that was asked for.
inline void tell(const diem::io::json& result) {
    if (!detail::json) return;
    std::ostream out(detail::standard_output);
    out << result.dump(2, ' ', false, diem::io::json::error_handler_t::replace) << '\n' << std::flush;
    detail::told = out.good();
}

/// A bar needs a terminal that can go back on its line.
[[nodiscard]] inline bool is_live(int descriptor) {
    const char* const kind = std::getenv("TERM");
    return ::isatty(descriptor) != 0 && (kind == nullptr || std::strcmp(kind, "dumb") != 0);
}

/// A file must never be opened as standard output: where the caller closed it, writing to it fails. Nor does writing too much to a file
/// end the program.
inline void keep_standard_streams() {
    static_cast<void>(
        std::signal(SIGXFSZ, SIG_IGN));  // a file longer than `ulimit -f` allows: writing fails, as on a full disk
    for (int descriptor = 0; descriptor <= STDERR_FILENO; ++descriptor)
        if (::fcntl(descriptor, F_GETFD) < 0 && errno == EBADF)
            static_cast<void>(::open("/dev/null", descriptor == STDIN_FILENO ? O_WRONLY : O_RDONLY));
}

/// Everything that was said is out. Throws io_error where it is not: a full disk, a closed descriptor.
inline void finish_talking() {
    errno = 0;
    if (std::cout.rdbuf() != nullptr) {
        std::cout.flush();
        detail::told = std::cout.good();
    }
    if (detail::told) return;
    const int reason = errno;
    throw diem::io_error(std::string("standard output: cannot be written") +
                         (reason != 0 ? std::string(": ") + std::strerror(reason) : ""));
}

}  // namespace support
