// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>

#include <diem/core/view.hpp>

/// diem mri maps|whiten|info: what comes before a reconstruction. Each returns the exit status.
namespace program {

struct mri_command {
    std::filesystem::path kspace, out;
    std::filesystem::path noise;  ///< a noise scan, (coils, samples) complex; empty: the file's own, corners, or edge
    bool whiten = false;          ///< maps: of whitened k-space
    diem::index_t calibration = 24;  ///< maps: at most, of the measured square
    diem::index_t kernel = 6;
    double threshold = 0.02, crop = 0.95;
};

/// Coil maps by ESPIRiT, of each slice, by its lines for calibration where it has such: npy or cfl.
int mri_maps(const mri_command& o);
/// K-space whose noise is white, of covariance 1: npy or cfl; lines for calibration alone beside it, as OUT_calibration.
int mri_whiten(const mri_command& o);
/// Sizes, coils, acceleration, padding, noise.
int mri_info(const mri_command& o);

}  // namespace program
