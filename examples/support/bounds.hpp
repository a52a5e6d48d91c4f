// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <diem/core/view.hpp>

/// What numbers of a command line or a configuration may be at most.
namespace support {

/// Counts have an upper bound, so that no product of two of them wraps.
inline constexpr diem::index_t most_laps = 1000000, most_steps = 1000000, most_samples = 1000000,
                               most_count = 1000000000;
/// Of a side of an image, and of what is counted along one.
inline constexpr diem::index_t most_extent = diem::index_t{1} << 20;
/// Noise levels whose squares, and one over them, are numbers of single precision.
inline constexpr double least_level = 1e-15, most_level = 1e15;

}  // namespace support
