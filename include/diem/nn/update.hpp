// SPDX-License-Identifier: Apache-2.0
#pragma once

/// \file
/// Whether a kernel overwrites its result or adds to it.
/// \snippet tests/examples/nn.cpp nn/update.hpp

namespace diem::nn {

/// What a kernel does with its result: y = f(x), or y += f(x). With overwrite the old y is not used (a NaN there does no
/// harm).
enum class update { overwrite, accumulate };

/// The factor of the old value.
template <class T>
constexpr T old_weight(update mode) {
    return mode == update::accumulate ? T(1) : T(0);
}

}  // namespace diem::nn
