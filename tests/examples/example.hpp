// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include <diem/backend/batch.hpp>
#include <diem/backend/eigen.hpp>
#include <diem/nn/ddpm_unet_config.hpp>

#include "support/catch.hpp"

// The examples of the library's documentation, compiled and run: what stands between two lines // [FOLDER/NAME.hpp] is shown on the
// page of that header (tools/check_snippets). `b` is a backend; what an example says in a comment is checked behind it.

namespace examples {

using backend = diem::eigen_backend<float>;

/// For numbers that round.
inline Approx about(double value) { return Approx(value).epsilon(1e-4).margin(1e-5); }

/// A network of others, 8 x 8 x 1.
inline diem::nn::ddpm_unet_config small_ddpm_unet() {
    return {.height = 8,
            .width = 8,
            .channels = 1,
            .stem = 8,
            .hid_channels = {8, 8},
            .hid_blocks = 1,
            .attention = {},
            .noise_channels = 8,
            .embedding = 16,
            .groups = 2};
}

}  // namespace examples

using namespace examples;
