// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/backend/eigen.hpp>

#include "support/catch.hpp"

// The examples of the library's documentation, compiled and run: what stands between two lines // [FOLDER/NAME.hpp] is shown on the
// page of that header (tools/check_snippets). `b` is a backend; what an example says in a comment is checked behind it.

namespace examples {

using backend = diem::eigen_backend<float>;

/// For numbers that round.
inline Approx about(double value) { return Approx(value).epsilon(1e-4).margin(1e-5); }

}  // namespace examples

using namespace examples;
