// SPDX-License-Identifier: Apache-2.0
#pragma once

// What HDF5's C library is needed for is left out where it is: DIEM_HAS_HDF5 says that it is here, as for io/any_array.hpp.
// <diem/diem.hpp> leaves this header out.

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include <diem/io/any_array.hpp>
#include <diem/io/array_place.hpp>
#include <diem/io/kspace.hpp>
#if defined(DIEM_HAS_HDF5)
#include <diem/io/fastmri.hpp>
#include <diem/io/ismrmrd.hpp>
#endif

/// \file
/// K-space and coil maps of any format that this build knows.
/// \snippet tests/examples/io.cpp io/any_kspace.hpp

namespace diem::io {

namespace detail {

/// Complex numbers of an array without a header of measurement, as slices. `name`: for messages.
[[nodiscard]] inline array<std::complex<float>> slices_of(const numbers<float>& any, third_axis third,
                                                          const std::string& name) {
    if (!any.complex)
        throw io_error(name + ": holds real numbers of shape " + to_string(any.values.shape) +
                       ", expected complex ones (npy <c8, cfl, HDF5 with r and i)");
    return as_slices(from_pairs(any.values), third, name);
}
[[nodiscard]] inline array<std::complex<float>> load_slices(const std::filesystem::path& given, third_axis third) {
    const std::string name = given.string(), extension = lower_extension(place_of(given).path);
    if (extension == ".cfl" || extension == ".hdr") return cfl_slices(load_cfl(given), name);
    return slices_of(load_array<float>(given), third, name);
}

inline void require_finite(const array<std::complex<float>>& values, const std::string& name) {
    for (index_t i = 0; i < values.size(); ++i)
        if (!std::isfinite(values[i].real()) || !std::isfinite(values[i].imag()))
            throw io_error(name + ": number " + std::to_string(i) + " is not finite");
}

#if defined(DIEM_HAS_HDF5)
[[nodiscard]] inline kspace_data load_fastmri_kspace(const std::filesystem::path& path) {
    const fastmri_file file(path);
    kspace_data k;
    k.format = "fastMRI";
    k.values.shape = {file.slices, file.coils, file.height, file.width};
    for (index_t i = 0; i < file.slices; ++i) {  // one slice at a time beside the result
        const auto slice = file.kspace(i);
        k.values.data.insert(k.values.data.end(), slice.data.begin(), slice.data.end());
    }
    const kspace_mask said({1, 1, file.width}, file.measured);
    k.stated = true;
    k.measured = file.has_mask ? said : both_measured(said, measured_by_zeros(k.values), path.string());
    const auto add = [&](const std::string& what) { k.notes.push_back(what); };
    if (!file.acquisition.empty()) add("acquisition " + file.acquisition);
    if (file.padding_left > 0 || file.padding_right < file.width)
        add("columns outside " + std::to_string(file.padding_left) + " .. " + std::to_string(file.padding_right) +
            " are zero fill");
    if (file.header.reconstructed[0] > 0)
        add("reconstructed as " + std::to_string(file.header.reconstructed[0]) + " x " +
            std::to_string(file.header.reconstructed[1]));
    return k;
}
#endif

}  // namespace detail

/// K-space without a header: what all coils have as zero was not measured. Throws io_error naming `name`.
[[nodiscard]] inline kspace_data kspace_of(array<std::complex<float>> slices, const std::string& format,
                                           const std::string& name) {
    kspace_data k;
    k.format = format;
    k.values = std::move(slices);
    detail::require_finite(k.values, name);
    k.measured = measured_by_zeros(k.values);
    return k;
}
/// Of an array that is there: complex, (height, width), (coils or slices, height, width) or (slices, coils, height, width).
[[nodiscard]] inline kspace_data kspace_of(const numbers<float>& any, third_axis third, const std::string& name) {
    return kspace_of(detail::slices_of(any, third, name), "array", name);
}

/// Reads k-space: npy, HDF5's FILE::NAME or MATLAB with complex numbers (see `third_axis`), BART's cfl (see `cfl_slices`), fastMRI
/// (`kspace` at the top of an HDF5 file) and raw data of ISMRMRD (its group "dataset", or GROUP of FILE::GROUP). What was not
/// measured is zero. Throws io_error with file and data set.
[[nodiscard]] inline kspace_data load_kspace(const std::filesystem::path& given, third_axis third) {
    const auto [path, name] = place_of(given);
    std::error_code code;
    const std::string extension = lower_extension(path);
    const bool cfl = extension == ".cfl" || extension == ".hdr";
#if defined(DIEM_HAS_HDF5)
    if (!cfl && !std::filesystem::is_directory(path, code) && kind_of(path) == file_kind::hdf5) {
        const detail::hdf5_file file(path);
        const std::string group = name.empty() ? "dataset" : name;
        if (detail::is_ismrmrd(file, group)) return detail::load_ismrmrd(file, group);
        if (name.empty() && file.contains("kspace")) return detail::load_fastmri_kspace(path);
    }
#else
    (void)code;
#endif
    return kspace_of(detail::load_slices(given, third), cfl ? "BART" : "array", given.string());
}

/// Coil maps, (slices or 1, coils, height, width). Throws io_error naming `name` also where a number is not finite.
[[nodiscard]] inline array<std::complex<float>> coil_maps_of(const numbers<float>& any, const std::string& name) {
    auto maps = detail::slices_of(any, third_axis::coils, name);
    detail::require_finite(maps, name);
    return maps;
}
/// The same of a file: npy, cfl or HDF5.
[[nodiscard]] inline array<std::complex<float>> load_coil_maps(const std::filesystem::path& given) {
    auto maps = detail::load_slices(given, third_axis::coils);
    detail::require_finite(maps, given.string());
    return maps;
}

/// A mask of 0 and 1: (columns), (rows, columns) or (slices, rows, columns), real. Throws io_error naming `name` for anything
/// else.
[[nodiscard]] inline kspace_mask kspace_mask_of(const numbers<float>& any, const std::string& name) {
    const auto& shape = any.values.shape;
    if (any.complex || shape.empty() || shape.size() > 3 || any.values.size() == 0)
        throw io_error(name + ": a mask of shape " + to_string(shape) + (any.complex ? " (complex)" : "") +
                       ", expected real (columns), (rows, columns) or (slices, rows, columns)");
    kspace_mask m;
    m.shape = shape;
    while (m.shape.size() < 3) m.shape.insert(m.shape.begin(), 1);
    m.data.reserve(any.values.data.size());
    for (index_t i = 0; i < any.values.size(); ++i) {
        if (any.values[i] != 0 && any.values[i] != 1)
            throw io_error(name + ": a mask holds 0 and 1, number " + std::to_string(i) + " is " +
                           std::to_string(any.values[i]));
        m.data.push_back(any.values[i] != 0);
    }
    return m;
}
/// The same of a file.
[[nodiscard]] inline kspace_mask load_kspace_mask(const std::filesystem::path& given) {
    return kspace_mask_of(load_array<float>(given), given.string());
}

}  // namespace diem::io
