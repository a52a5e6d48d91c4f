// SPDX-License-Identifier: Apache-2.0
#pragma once

// What HDF5's C library is needed for is left out where it is: DIEM_HAS_HDF5 says that it is here, as for io/any_array.hpp.
// <diem/diem.hpp> leaves this header out.

#include <algorithm>
#include <charconv>
#include <complex>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <system_error>
#include <utility>

#include <diem/io/any_array.hpp>
#include <diem/io/array_place.hpp>
#include <diem/io/kspace.hpp>
#include <diem/io/mapped.hpp>
#if defined(DIEM_HAS_HDF5)
#include <diem/io/detail/hdf5_rows.hpp>
#include <diem/io/fastmri.hpp>
#include <diem/io/ismrmrd.hpp>
#endif

/// \file
/// K-space and coil maps of any format that this build knows.
/// \snippet tests/examples/io.cpp io/any_kspace.hpp

namespace diem::io {

/// Where numbers lie that are as they are needed in their file: in memory, or there (io/mapped.hpp).
enum class reading { loaded, mapped };

namespace detail {

/// Throws io_error unless numbers of that shape are complex. `name`: for messages.
inline void require_complex(bool complex, const shape_type& shape, const std::string& name) {
    if (!complex)
        throw io_error(name + ": holds real numbers of shape " + to_string(shape) +
                       ", expected complex ones (npy <c8, cfl, HDF5 with r and i)");
}
/// Complex numbers of an array without a header of measurement, as slices.
[[nodiscard]] inline complex_slices slices_of(const numbers<float>& any, third_axis third, const std::string& name) {
    require_complex(any.complex, any.values.shape, name);
    return complex_slices::of(as_slices(from_pairs(any.values), third, name));
}
[[nodiscard]] inline complex_slices open_cfl(const std::filesystem::path& given) {
    const auto shape = cfl_slices_shape(load_cfl_shape(given), given.string());
    const shape_type there{1, shape[1], shape[2], shape[3]};
    const auto data = std::make_shared<input_file>(cfl_path(given, ".cfl"));
    return {{shape[0], shape[1], shape[3], shape[2]}, [=](index_t i) {
                array<std::complex<float>> slice(there);
                const auto bytes = std::as_writable_bytes(std::span(slice.data));
                data->read(static_cast<std::size_t>(i) * bytes.size(), bytes, "data");
                return swap_last_axes(slice);
            }};
}
/// Of an npy file in C order.
[[nodiscard]] inline complex_slices open_npy_slices(const std::filesystem::path& path, third_axis third, reading how) {
    using value = std::complex<float>;
    const auto file = std::make_shared<input_file>(path);
    const npy_header header = read_npy_header(*file);
    require_complex(is_complex(header.type), header.shape, path.string());
    const auto shape = slices_shape(header.shape, third, path.string());
    if (how == reading::mapped && can_map<value>(header)) {
        const auto there = map_npy<value>(path);
        return {shape, there.values, there.file};
    }
    return {shape, [=](index_t i) {
                array<value> slice({1, shape[1], shape[2], shape[3]});
                read_npy_part<value>(*file, header, slice.data.size() * static_cast<std::size_t>(i), slice.data);
                return slice;
            }};
}
#if defined(DIEM_HAS_HDF5)
/// Of a data set of an HDF5 file.
[[nodiscard]] inline complex_slices open_hdf5_slices(const std::shared_ptr<const hdf5_file>& file,
                                                     const std::string& given, third_axis third,
                                                     const std::string& name) {
    const std::string set = only_numbers(*file, given);
    const auto d = file->describe(set);
    require_complex(d.complex, d.shape, name);
    const auto shape = slices_shape(d.shape, third, name);
    const bool one = d.shape.size() < 3 || (d.shape.size() == 3 && third == third_axis::coils);
    const auto rows = std::make_shared<hdf5_rows<std::complex<float>>>(*file, set);
    return {shape, [=](index_t i) {
                auto slice = one ? file->read<std::complex<float>>(set) : rows->read(*file, i);
                slice.shape = {1, shape[1], shape[2], shape[3]};
                return slice;
            }};
}
/// The fewest digits that tell a number from others.
[[nodiscard]] inline std::string shortest(double value) {
    char text[32];
    return {text, std::to_chars(text, text + sizeof text, value).ptr};
}
[[nodiscard]] inline kspace_source open_fastmri(const std::filesystem::path& path) {
    const auto file = std::make_shared<const fastmri_file>(path);
    kspace_source k;
    k.format = "fastMRI";
    k.values = {{file->slices, file->coils, file->height, file->width}, [file](index_t i) {
                    auto slice = file->kspace(i);
                    slice.shape.insert(slice.shape.begin(), 1);
                    return slice;
                }};
    k.stated = true;
    k.measured = [file, path, values = k.values] {
        const kspace_mask said({1, 1, file->width}, file->measured);
        return file->has_mask ? said : both_measured(said, measured_by_zeros(values), path.string());
    };
    const auto add = [&](const std::string& what) { k.notes.push_back(what); };
    if (!file->acquisition.empty()) add("acquisition " + file->acquisition);
    if (file->acceleration) add("acceleration " + shortest(*file->acceleration) + ", as the file says");
    if (file->max) add("max " + shortest(*file->max) + ", as the file says: of its reconstruction");
    if (file->padding_left > 0 || file->padding_right < file->width)
        add("columns outside " + std::to_string(file->padding_left) + " .. " + std::to_string(file->padding_right) +
            " are zero fill");
    if (file->header.reconstructed[0] > 0)
        add("reconstructed as " + std::to_string(file->header.reconstructed[0]) + " x " +
            std::to_string(file->header.reconstructed[1]));
    return k;
}
#endif

[[nodiscard]] inline complex_slices open_slices(const std::filesystem::path& given, third_axis third, reading how) {
    const auto [path, set] = place_of(given);
    const std::string extension = lower_extension(path), name = given.string();
    if (extension == ".cfl" || extension == ".hdr") {
        require_no_name(path, set);
        return open_cfl(path);
    }
    std::error_code code;
    const auto kind = std::filesystem::is_directory(path, code) ? file_kind::unknown : kind_of(path);
    if (kind == file_kind::npy) {
        require_no_name(path, set);
        const auto header = load_npy_header(path);
        if (!header.column_major || header.shape.size() < 2) return open_npy_slices(path, third, how);
    }
#if defined(DIEM_HAS_HDF5)
    if (kind == file_kind::hdf5) return open_hdf5_slices(std::make_shared<const hdf5_file>(path), set, third, name);
#endif
    return slices_of(load_array<float>(given), third, name);
}

}  // namespace detail

/// K-space without a header: what all coils have as zero was not measured. Numbers that are not finite are an io_error naming
/// `name`, where they are read.
[[nodiscard]] inline kspace_source kspace_source_of(const complex_slices& slices, const std::string& format,
                                                    const std::string& name) {
    kspace_source k;
    k.format = format;
    k.values = slices.finite(name);
    k.measured = [values = k.values] { return measured_by_zeros(values); };
    return k;
}
/// Of an array that is there: complex, (height, width), (coils or slices, height, width) or (slices, coils, height, width).
[[nodiscard]] inline kspace_source kspace_source_of(const numbers<float>& any, third_axis third,
                                                    const std::string& name) {
    return kspace_source_of(detail::slices_of(any, third, name), "array", name);
}
[[nodiscard]] inline kspace_data kspace_of(const numbers<float>& any, third_axis third, const std::string& name) {
    return load(kspace_source_of(any, third, name));
}

/// K-space to be read a slice at a time: npy, HDF5's FILE::NAME or MATLAB with complex numbers (see `third_axis`), BART's cfl (see
/// `cfl_slices`), fastMRI (`kspace` at the top of an HDF5 file) and raw data of ISMRMRD (its group "dataset", or GROUP of
/// FILE::GROUP). What was not measured is zero. MATLAB's files, and npy in Fortran order, lie in memory whole. `reading::mapped`:
/// complex64 of npy stays in its file. Throws io_error with file and data set, also where a slice is read.
[[nodiscard]] inline kspace_source open_kspace(const std::filesystem::path& given, third_axis third,
                                               reading how = reading::loaded) {
    const auto [path, name] = place_of(given);
    std::error_code code;
    const std::string extension = lower_extension(path);
    const bool cfl = extension == ".cfl" || extension == ".hdr";
#if defined(DIEM_HAS_HDF5)
    if (!cfl && !std::filesystem::is_directory(path, code) && kind_of(path) == file_kind::hdf5) {
        const detail::hdf5_file file(path);
        const std::string group = name.empty() ? "dataset" : name;
        if (detail::is_ismrmrd(file, group)) return detail::open_ismrmrd(file, group);
        if (name.empty() && file.contains("kspace")) return detail::open_fastmri(path);
    }
#else
    (void)code;
#endif
    return kspace_source_of(detail::open_slices(given, third, how), cfl ? "BART" : "array", given.string());
}
/// The same in memory.
[[nodiscard]] inline kspace_data load_kspace(const std::filesystem::path& given, third_axis third) {
    return load(open_kspace(given, third));
}

/// Coil maps, (slices or 1, coils, height, width). Throws io_error naming `name` also where a number is not finite, which is found
/// where it is read.
[[nodiscard]] inline complex_slices coil_maps_of(const numbers<float>& any, const std::string& name) {
    return detail::slices_of(any, third_axis::coils, name).finite(name);
}
/// The same of a file: npy, cfl or HDF5.
[[nodiscard]] inline complex_slices open_coil_maps(const std::filesystem::path& given, reading how = reading::loaded) {
    return detail::open_slices(given, third_axis::coils, how).finite(given.string());
}
[[nodiscard]] inline array<std::complex<float>> load_coil_maps(const std::filesystem::path& given) {
    return open_coil_maps(given).all();
}

/// A mask of 0 and 1: (columns), (rows, columns) or (slices, rows, columns), real. Throws io_error naming `name` for anything
/// else.
[[nodiscard]] inline kspace_mask kspace_mask_of(const shape_type& shape, std::span<const float> values, bool complex,
                                                const std::string& name) {
    if (complex || shape.empty() || shape.size() > 3 || values.empty())
        throw io_error(name + ": a mask of shape " + to_string(shape) + (complex ? " (complex)" : "") +
                       ", expected real (columns), (rows, columns) or (slices, rows, columns)");
    kspace_mask m;
    m.shape = shape;
    while (m.shape.size() < 3) m.shape.insert(m.shape.begin(), 1);
    m.data.reserve(values.size());
    for (std::size_t i = 0; i < values.size(); ++i) {
        if (values[i] != 0 && values[i] != 1)
            throw io_error(name + ": a mask holds 0 and 1, number " + std::to_string(i) + " is " +
                           std::to_string(values[i]));
        m.data.push_back(values[i] != 0);
    }
    return m;
}
[[nodiscard]] inline kspace_mask kspace_mask_of(const numbers<float>& any, const std::string& name) {
    return kspace_mask_of(any.values.shape, any.values.data, any.complex, name);
}
/// The same of a file.
[[nodiscard]] inline kspace_mask load_kspace_mask(const std::filesystem::path& given) {
    return kspace_mask_of(load_array<float>(given), given.string());
}

}  // namespace diem::io
