// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "support/outputs.hpp"

namespace program {

using support::outputs;

/// Whether `diem fit` writes files of this name, exactly: into its folder, or into `checkpoint` there.
[[nodiscard]] bool fit_writes(const std::string& name, bool in_checkpoint);

}  // namespace program
