// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdexcept>
#include <string>

/// \file
/// What the library throws.
/// \snippet tests/examples/core.cpp core/error.hpp

namespace diem {

/// Base of everything the library throws.
struct error : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/// Sizes of arguments do not fit together.
struct shape_error : error {
    using error::error;
};

/// A value is outside its range, or not finite.
struct value_error : error {
    using error::error;
};

/// A function was called where its contract forbids it: the message says which and where.
struct usage_error : error {
    using error::error;
};

/// There is not as much memory as was asked for: the message says what was asked for, in GiB.
struct memory_error : error {
    using error::error;
};

/// A file cannot be read, written or understood: the message names path and, where known, byte offset.
struct io_error : error {
    using error::error;
};

/// A configuration has an unknown key, a wrong type or an impossible value: the message names the key.
struct config_error : error {
    using error::error;
};

/// A device call failed: the message names the call and its code.
struct device_error : error {
    using error::error;
};

}  // namespace diem
