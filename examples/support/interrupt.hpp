// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <unistd.h>

#include <atomic>
#include <csignal>

/// Ctrl-C (SIGINT), SIGTERM and SIGHUP as a request: the program finishes its step, saves what there is, and ends with
/// 128 + the signal's number: 130, 143, 129.
namespace support {

namespace detail {
inline std::atomic<bool> cancel = false;
inline std::atomic<int> signal = 0;
static_assert(std::atomic<bool>::is_always_lock_free && std::atomic<int>::is_always_lock_free);

/// For each of the three that the caller has not ignored (nohup, a shell's background job): those stay ignored.
inline void on_interrupts(void (*handler)(int)) {
    for (const int request : {SIGINT, SIGTERM, SIGHUP}) {
        struct sigaction action {};
        if (sigaction(request, nullptr, &action) != 0 || action.sa_handler == SIG_IGN) continue;
        action = {};
        action.sa_handler = handler;
        action.sa_flags = SA_RESTART;
        sigemptyset(&action.sa_mask);
        sigaction(request, &action, nullptr);
    }
}
}  // namespace detail

/// From here on a signal ends the program at once, with that status: where there is nothing to save.
inline void exit_on_interrupts() {
    detail::on_interrupts([](int signal) { ::_exit(128 + signal); });
}
/// From here on the first signal asks, and the second ends the program at once.
inline void catch_interrupts() {
    if (detail::cancel) return;
    detail::on_interrupts([](int signal) {
        detail::signal = signal;
        detail::cancel = true;
        exit_on_interrupts();
    });
}

/// What loops of the library look at, true from the first signal on.
[[nodiscard]] inline const std::atomic<bool>& cancel_flag() { return detail::cancel; }
[[nodiscard]] inline bool interrupted() { return detail::cancel; }
/// The exit status of an interrupted program; 0 where no signal came.
[[nodiscard]] inline int interrupt_status() {
    const int signal = detail::signal;
    return signal == 0 ? 0 : 128 + signal;
}

}  // namespace support
