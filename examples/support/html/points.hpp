// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "support/html/run_data.hpp"
#include "support/html/svg_plot.hpp"

namespace support::html {

/// Of data of few dimensions: the report's "truth_file", an npy of points beside it, and samples of the priors (prior_network.npy,
/// prior_gaussian.npy), in pairs of coordinates. A plot for each pair and run; none where there are no such files.
[[nodiscard]] std::vector<plot> point_plots(const std::vector<run_data>& all);

}  // namespace support::html
