// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <string>
#include <utility>

#include "support/terminal.hpp"

/// Progress of long runs on the terminal.
namespace support {

/// "0:07", "12:03", "3:00:59"; "?" for what is not finite.
[[nodiscard]] inline std::string clock_text(double seconds) {
    if (!std::isfinite(seconds) || seconds < 0) return "?";
    const auto s = static_cast<long long>(seconds + 0.5);
    char text[48];
    if (s < 3600)
        std::snprintf(text, sizeof text, "%lld:%02lld", s / 60, s % 60);
    else
        std::snprintf(text, sizeof text, "%lld:%02lld:%02lld", s / 3600, s / 60 % 60, s % 60);
    return text;
}

/// One line: label, bar (where `bar` > 0 is its width), count, rate, time left (or taken, when done), note.
[[nodiscard]] inline std::string progress_line(const std::string& label, long done, long total, double per_second,
                                               double seconds, const std::string& note, int bar) {
    const double share = total > 0 ? std::clamp(static_cast<double>(done) / static_cast<double>(total), 0.0, 1.0) : 1.0;
    std::string line = label + "  ";
    if (bar > 0) {
        const auto filled = static_cast<std::size_t>(share * bar);
        line += '[' + std::string(filled, '#') + std::string(static_cast<std::size_t>(bar) - filled, '.') + "]  ";
    }
    char text[96];
    std::snprintf(text, sizeof text, "%3.0f %%  %ld/%ld", std::floor(100 * share), done, total);
    line += text;
    if (per_second > 0 && std::isfinite(per_second)) {
        std::snprintf(text, sizeof text, "  %.*f/s", per_second < 10 ? 2 : per_second < 100 ? 1 : 0, per_second);
        line += text;
    }
    if (done >= total)
        line += "  took " + clock_text(seconds);
    else
        line += "  left " + clock_text(static_cast<double>(total - done) / per_second);
    return note.empty() ? line : line + "  " + note;
}

/// A live bar where standard error is a terminal, otherwise a plain line every `plain_interval` seconds and at the end; nothing
/// where the program is to be quiet. No colours, no escape sequences.
class progress {
public:
    /// `first`: steps done before (after a resume), left out of the rate.
    progress(std::string label, long total, long first = 0, double plain_interval = 5)
        : label_(std::move(label)), total_(total), first_(first), done_(first), live_(is_live(STDERR_FILENO)),
          interval_(live_ ? 0.1 : plain_interval) {}
    progress(const progress&) = delete;
    progress& operator=(const progress&) = delete;
    ~progress() { finish(); }

    /// `done` steps of the total are done; `note` is shown behind ("loss 0.81").
    void update(long done, std::string note = {}) {
        done_ = done;
        note_ = std::move(note);
        const double now = elapsed();
        if (now - last_ < interval_) return;
        last_ = now;
        print();
    }
    /// The last line; later calls do nothing.
    void finish() {
        if (std::exchange(finished_, true)) return;
        print();
        if (live_ && shows_progress()) std::fputc('\n', stderr);
    }
    /// Seconds that the steps after `done` take at the rate so far; NaN where there is none yet.
    [[nodiscard]] double left(long done) const {
        if (done >= total_) return 0;
        return elapsed() / static_cast<double>(done - first_) * static_cast<double>(total_ - done);
    }
    [[nodiscard]] double elapsed() const {
        return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
    }

private:
    void print() {
        if (!shows_progress()) return;
        const double seconds = elapsed();
        const double rate = seconds > 0 ? static_cast<double>(done_ - first_) / seconds : 0;
        const std::string line = progress_line(label_, done_, total_, rate, seconds, note_, live_ ? 30 : 0);
        if (live_) {  // blanks over what a longer line left
            const std::size_t blanks = shown_ > line.size() ? shown_ - line.size() : 0;
            std::fprintf(stderr, "\r%s%*s", line.c_str(), static_cast<int>(blanks), "");
            shown_ = line.size();
        } else {
            std::fprintf(stderr, "%s\n", line.c_str());
        }
        std::fflush(stderr);
    }

    std::string label_, note_;
    long total_, first_, done_;
    std::size_t shown_ = 0;  ///< characters of the live line
    bool live_, finished_ = false;
    double interval_, last_ = 0;
    std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace support
