// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

/// Curves as inline SVG. Colours are classes of the page's style (support/html/style.hpp), so that they follow its scheme.
namespace support::html {

inline constexpr int colour_count = 5;

/// NaN of y is a gap. `colour`: 1 .. 10; from 6 on those of 1 .. 5 again, dashed.
struct curve {
    std::string name;
    std::vector<double> x, y;
    int colour = 1;
};

struct plot {
    std::string title, x_label = "lap";
    std::vector<curve> curves{};
    std::optional<double> target{};  ///< a dashed line
    std::string target_name{};
    bool from_zero =
        false;  ///< the axis of y reaches 0, unless it is logarithmic: that is where values span two decades
    bool logarithmic_x = false;  ///< where all x are positive
};

/// Where there is a number to be drawn.
[[nodiscard]] bool has_points(const plot& p);
/// Of thousands of points a few hundred are drawn, first and last among them.
[[nodiscard]] std::string line_plot(const plot& p);
/// Shares of each x that add to 1 at most, as areas one above another.
[[nodiscard]] std::string share_plot(const plot& p);
/// Points of sets, one over another, the axes equally scaled.
[[nodiscard]] std::string scatter_plot(const plot& p);
/// Names beside their colours; empty for one curve without a target.
[[nodiscard]] std::string legend(const plot& p);

/// About `count` round numbers (1, 2 or 5 times a power of ten) from `low` to `high`; decades where `logarithmic`.
[[nodiscard]] std::vector<double> ticks(double low, double high, int count, bool logarithmic);

}  // namespace support::html
