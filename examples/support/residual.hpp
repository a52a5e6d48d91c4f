// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace support {

/// Data residuals of samples over those that samples of the true posterior have: beyond the first they fit the data poorly, beyond
/// the second they do not.
inline constexpr double poor_residual = 3, bad_residual = 30;

[[nodiscard]] inline const char* verdict_of(double ratio) {
    return ratio <= poor_residual  ? "samples fit the data"
           : ratio <= bad_residual ? "samples fit the data poorly"
                                   : "samples do not fit the data";
}

}  // namespace support
