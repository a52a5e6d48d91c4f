// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "diem/files.hpp"

/// What `diem posterior` writes: mean, standard deviation and samples of each observation, in the formats asked for.
namespace program {

/// Which files there will be.
struct result_files {
    std::vector<std::string> formats;  ///< npy, cfl, hdf5
    bool complex = false;              ///< x is complex, (re, im): numbers are complex in files
    bool deviation = true;             ///< two samples or more
    /// Their names.
    [[nodiscard]] std::vector<std::string> names() const;
    /// Throws value_error for a format that is none of these, io_error for one that this build cannot write.
    void check() const;
};

/// In units of the user.
class posterior_results {
public:
    /// `values`: sample s n + i of observation i, times `scale`.
    posterior_results(const std::vector<float>& values, index_t items, index_t count, index_t features,
                      std::optional<support::image_shape> image, double scale);

    /// Of samples, (items, count, ...), as they stand in files.
    [[nodiscard]] diem::io::shape_type shape() const;
    [[nodiscard]] const std::vector<float>& samples() const { return samples_; }  ///< (items, count, features)
    [[nodiscard]] const std::vector<float>& mean() const { return mean_; }
    /// Of each feature, or of each complex number: the root of the sum of both variances. Empty of one sample.
    [[nodiscard]] const std::vector<float>& deviation() const { return deviation_; }

    /// samples, mean, std: npy, cfl (height: READ, width: PHS1, items: SLICE, samples: AVG), and as fastMRI's evaluation reads them
    /// in reconstruction.h5: the data set `reconstruction` (the magnitude of a complex mean) with `std` and `samples`. In npy the
    /// magnitudes of complex numbers also have files of their own.
    void save(const std::filesystem::path& out, const result_files& files) const;

private:
    void save_npy(const std::filesystem::path& out) const;
    void save_cfl(const std::filesystem::path& out) const;
    void save_hdf5(const std::filesystem::path& out) const;
    /// Extents of one image in files, where a complex number is one.
    [[nodiscard]] diem::io::shape_type shape_of_item() const;

    index_t items_, count_, features_;
    std::optional<support::image_shape> image_;
    std::vector<float> samples_, mean_, deviation_;
};

}  // namespace program
