// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>

#include <diem/core/view.hpp>

/// \file
/// Internal: how many items a pass over the data takes at once.
namespace diem::prior::detail {

/// Items of so many numbers that a pass over the data takes at once: 256, and fewer where these would be more than 16 MiB of float32,
/// as k-space of many coils is.
[[nodiscard]] inline index_t items_at_once(index_t rows, index_t cols) {
    return std::clamp<index_t>((index_t{1} << 22) / std::max<index_t>({rows, cols, 1}), 1, 256);
}

}  // namespace diem::prior::detail
