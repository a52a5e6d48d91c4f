// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "support/html/run_data.hpp"

/// Whether a run can be trusted, in words.
namespace support::html {

enum class level { good, note, warning, bad };

struct verdict {
    level light = level::good;
    std::string title, text;
};

/// The worst first.
[[nodiscard]] std::vector<verdict> verdicts_of(const run_data& r);
/// Those of what was learned and drawn alone: not of the status, and not of what is known of data and noise before.
[[nodiscard]] std::vector<verdict> verdicts_of_result(const run_data& r);

}  // namespace support::html
