// SPDX-License-Identifier: Apache-2.0
#pragma once

// Needs HDF5's C library (Debian: libhdf5-dev): <diem/diem.hpp> leaves this header out.

#include <cmath>
#include <complex>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <diem/core/check.hpp>
#include <diem/io/array.hpp>
#include <diem/io/detail/hdf5.hpp>
#include <diem/io/hdf5_writer.hpp>
#include <diem/io/ismrmrd_header.hpp>

/// \file
/// Measurements in the layout of fastMRI (Zbontar et al. 2018, arXiv 1811.08839): HDF5 with `kspace` (slices, coils, height,
/// width) or (slices, height, width), centred, height the readout and width the phase encoding; `mask` of the columns;
/// `ismrmrd_header`; reconstructions.
/// \snippet tests/examples/io.cpp io/fastmri.hpp

namespace diem::io {

/// A file of one volume, read slice by slice. Throws io_error with file and data set.
class fastmri_file {
public:
    explicit fastmri_file(const std::filesystem::path& path) : file_(path) {
        const auto kspace = file_.describe("kspace");
        const auto& shape = kspace.shape;
        if (!kspace.complex || (shape.size() != 3 && shape.size() != 4) || element_count(shape) == 0)
            file_.fail("kspace", "has shape " + to_string(shape) + (kspace.complex ? "" : " of real numbers") +
                                     ", expected complex (slices, coils, height, width) or (slices, height, width)");
        slices = shape[0];
        multicoil = shape.size() == 4;
        coils = multicoil ? shape[1] : 1;
        height = shape[shape.size() - 2];
        width = shape.back();
        if (file_.contains("ismrmrd_header"))
            header =
                parse_ismrmrd_header(file_.text("ismrmrd_header"), path.string() + ": data set \"ismrmrd_header\"");
        acquisition = file_.text_attribute("acquisition").value_or("");
        acceleration = file_.number_attribute("acceleration");
        max = file_.number_attribute("max");
        for (const char* name : {"reconstruction_rss", "reconstruction_esc"})
            if (reconstruction_name.empty() && file_.contains(name)) reconstruction_name = name;
        read_padding();
        read_measured();
    }

    index_t slices = 0, coils = 1, height = 0, width = 0;
    bool multicoil = false;
    ismrmrd_header header;                    ///< zeros where the file has none
    std::string acquisition;                  ///< e.g. "AXT2", "CORPD_FBK"; "" where it is not said
    std::optional<double> acceleration, max;  ///< attributes
    index_t padding_left = 0;                 ///< columns before it and from `padding_right` on are zero fill
    index_t padding_right = 0;
    bool has_mask = false;               ///< test files have one; others are fully sampled
    std::vector<std::uint8_t> measured;  ///< of each column: was it measured (mask and padding)?
    std::string reconstruction_name;     ///< reconstruction_rss, reconstruction_esc or ""

    /// (coils, height, width). Columns that were not measured are zero.
    [[nodiscard]] array<std::complex<float>> kspace(index_t slice) const {
        auto k = file_.read<std::complex<float>>("kspace", slice, 1);
        k.shape = {coils, height, width};
        for (index_t n = 0; n < k.size(); ++n) {
            auto& value = k[n];
            if (measured[static_cast<std::size_t>(n % width)] == 0) value = 0;
            if (!std::isfinite(value.real()) || !std::isfinite(value.imag()))
                file_.fail("kspace", "slice " + std::to_string(slice) + " holds numbers that are not finite");
        }
        return k;
    }
    /// (height, width) of the reference reconstruction, which is cropped. Throws io_error where there is none.
    [[nodiscard]] array<float> reconstruction(index_t slice) const {
        auto image =
            file_.read<float>(reconstruction_name.empty() ? "reconstruction_rss" : reconstruction_name, slice, 1);
        if (image.shape.size() != 3) file_.fail(reconstruction_name, "has shape " + to_string(image.shape));
        image.shape.erase(image.shape.begin());
        return image;
    }

private:
    /// fastMRI states the padding by the limits of encoding, some files by attributes.
    void read_padding() {
        const auto left = file_.number_attribute("padding_left"), right = file_.number_attribute("padding_right");
        double from = 0, to = static_cast<double>(width);
        if (left && right) {
            from = *left;
            to = *right;
        } else if (header.lines && header.encoded[1] > 0) {
            from = static_cast<double>(header.encoded[1] / 2 - header.lines->center);
            to = from + static_cast<double>(header.lines->maximum) + 1;
        }
        if (!(from >= 0 && from < to && to <= static_cast<double>(width)))
            throw io_error(file_.path().string() + ": padding_left and padding_right are " + std::to_string(from) +
                           " and " + std::to_string(to) + ", \"kspace\" has " + std::to_string(width) + " columns");
        padding_left = static_cast<index_t>(from);
        padding_right = static_cast<index_t>(to);
    }
    void read_measured() {
        measured.assign(static_cast<std::size_t>(width), 1);
        has_mask = file_.contains("mask");
        if (has_mask) {
            const auto mask = file_.read<float>("mask");
            if (mask.size() != width)
                file_.fail("mask", "has shape " + to_string(mask.shape) + ", \"kspace\" has " + std::to_string(width) +
                                       " columns");
            for (index_t k = 0; k < width; ++k) {
                if (mask[k] != 0 && mask[k] != 1) file_.fail("mask", "holds other values than 0 and 1");
                measured[static_cast<std::size_t>(k)] = mask[k] != 0;
            }
        }
        for (index_t k = 0; k < width; ++k)
            if (k < padding_left || k >= padding_right) measured[static_cast<std::size_t>(k)] = 0;
    }

    detail::hdf5_file file_;
};

/// Writes `reconstruction` (slices, height, width), as fastMRI's evaluation reads it, atomically. Throws shape_error, io_error.
inline void save_fastmri_reconstruction(const std::filesystem::path& path, const array<float>& images) {
    if (images.shape.size() != 3)
        throw shape_error("save_fastmri_reconstruction: images have shape " + to_string(images.shape) +
                          ", expected (slices, height, width)");
    hdf5_writer out(path);
    out.add("reconstruction", images.shape, std::span<const float>(images.data));
    out.commit();
}

}  // namespace diem::io
