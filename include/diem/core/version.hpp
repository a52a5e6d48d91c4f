// SPDX-License-Identifier: Apache-2.0
#pragma once

#define DIEM_VERSION_MAJOR 0
#define DIEM_VERSION_MINOR 1
#define DIEM_VERSION_PATCH 0

/// \file
/// The version of the library.
/// \snippet tests/examples/core.cpp core/version.hpp

namespace diem {
inline constexpr const char* version = "0.1.0";
}  // namespace diem
