// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include <diem/core/error.hpp>

/// \file
/// To what products may be rounded.
/// \snippet tests/examples/backend.cpp backend/product_precision.hpp

namespace diem {

/// To what the operands of float32 products may be rounded, so that they are faster and less accurate. Sums stay float32;
/// float64 products are never rounded. Which products that are is the backend's: on the CPU those of networks alone
/// (convolutions, linear layers, attention), on CUDA devices all of them. Where the processor or the device has no units for
/// it, the same comes out, slower, or float32.
enum class product_precision {
    float32,  ///< not at all
    tf32,     ///< 10 bits; CUDA devices alone
    bf16,     ///< 7 bits: bfloat16
};

/// "float32", "tf32" or "bf16", as settings and programs spell them. Throws value_error for others.
[[nodiscard]] inline product_precision product_precision_of(const std::string& name) {
    if (name == "float32") return product_precision::float32;
    if (name == "tf32") return product_precision::tf32;
    if (name == "bf16") return product_precision::bf16;
    throw value_error("product_precision: is \"" + name + "\", expected float32, tf32 or bf16");
}

}  // namespace diem
