// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "support/html/run_data.hpp"

/// The pictures of a run, inside its page.
namespace support::html {

struct picture {
    std::string group, title, caption;
    std::string file;  ///< a name in the run's folder
    long width = 0, height = 0;
    std::string bytes;  ///< PNG
};
struct album {
    std::vector<picture> pictures;
    std::vector<std::string> left_out;  ///< file names, and why
};

/// A page holds at most so many bytes of PNG, and no larger one.
inline constexpr std::size_t most_picture_bytes = std::size_t{6} << 20, most_bytes_of_one = std::size_t{3} << 20;
/// Of samples along the laps.
inline constexpr std::size_t most_lap_pictures = 8;

/// Those that the program is known to write and that are in the folder; before them those of the report's "pictures", an array
/// of {"file", "title", "caption"}. A file that is missing is none, one that is no PNG is left out.
[[nodiscard]] album pictures_of(const run_data& r);

}  // namespace support::html
