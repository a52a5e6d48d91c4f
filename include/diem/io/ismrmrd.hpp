// SPDX-License-Identifier: Apache-2.0
#pragma once

// Needs HDF5's C library (Debian: libhdf5-dev): <diem/diem.hpp> leaves this header out.

#include <algorithm>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <string>
#include <vector>

#include <diem/core/check.hpp>
#include <diem/io/detail/hdf5.hpp>
#include <diem/io/ismrmrd_lines.hpp>

/// \file
/// Raw data of ISMRMRD: an HDF5 file whose group (usually "dataset") holds `xml` and `data`, a table of acquisitions. It is read by
/// HDF5 alone: what the table says of an acquisition is compared with the samples that are there.
/// \snippet tests/io/formats_exchange.cpp io/ismrmrd.hpp

namespace diem::io {

namespace detail {

/// A row of the table, of what is needed; names as in the file.
struct ismrmrd_counters {
    std::uint16_t kspace_encode_step_1, kspace_encode_step_2, average, slice, contrast, phase, repetition, set;
};
struct ismrmrd_head {
    std::uint64_t flags;
    std::uint16_t number_of_samples, available_channels, active_channels, discard_pre, discard_post, center_sample,
        encoding_space_ref, trajectory_dimensions;
    ismrmrd_counters idx;
};
struct ismrmrd_row {
    ismrmrd_head head;
    hvl_t data;  ///< of floats, (re, im)
};

/// How HDF5 fills it: members are found by name.
[[nodiscard]] inline hdf5_id ismrmrd_row_type() {
    using counters = ismrmrd_counters;
    using head = ismrmrd_head;
    const auto compound = [](std::size_t size) { return hdf5_id(H5Tcreate(H5T_COMPOUND, size), H5Tclose); };
    const hdf5_id idx = compound(sizeof(counters)), of_head = compound(sizeof(head)),
                  floats(H5Tvlen_create(H5T_NATIVE_FLOAT), H5Tclose);
    const auto add = [](const hdf5_id& type, const char* name, std::size_t offset, hid_t kind) {
        H5Tinsert(type.get(), name, offset, kind);
    };
    add(idx, "kspace_encode_step_1", offsetof(counters, kspace_encode_step_1), H5T_NATIVE_UINT16);
    add(idx, "kspace_encode_step_2", offsetof(counters, kspace_encode_step_2), H5T_NATIVE_UINT16);
    add(idx, "average", offsetof(counters, average), H5T_NATIVE_UINT16);
    add(idx, "slice", offsetof(counters, slice), H5T_NATIVE_UINT16);
    add(idx, "contrast", offsetof(counters, contrast), H5T_NATIVE_UINT16);
    add(idx, "phase", offsetof(counters, phase), H5T_NATIVE_UINT16);
    add(idx, "repetition", offsetof(counters, repetition), H5T_NATIVE_UINT16);
    add(idx, "set", offsetof(counters, set), H5T_NATIVE_UINT16);
    add(of_head, "flags", offsetof(head, flags), H5T_NATIVE_UINT64);
    add(of_head, "number_of_samples", offsetof(head, number_of_samples), H5T_NATIVE_UINT16);
    add(of_head, "available_channels", offsetof(head, available_channels), H5T_NATIVE_UINT16);
    add(of_head, "active_channels", offsetof(head, active_channels), H5T_NATIVE_UINT16);
    add(of_head, "discard_pre", offsetof(head, discard_pre), H5T_NATIVE_UINT16);
    add(of_head, "discard_post", offsetof(head, discard_post), H5T_NATIVE_UINT16);
    add(of_head, "center_sample", offsetof(head, center_sample), H5T_NATIVE_UINT16);
    add(of_head, "encoding_space_ref", offsetof(head, encoding_space_ref), H5T_NATIVE_UINT16);
    add(of_head, "trajectory_dimensions", offsetof(head, trajectory_dimensions), H5T_NATIVE_UINT16);
    add(of_head, "idx", offsetof(head, idx), idx.get());
    hdf5_id row = compound(sizeof(ismrmrd_row));
    add(row, "head", offsetof(ismrmrd_row, head), of_head.get());
    add(row, "data", offsetof(ismrmrd_row, data), floats.get());
    return row;
}

/// Whether each of these is a member of a compound type.
[[nodiscard]] inline bool has_members(hid_t type, std::initializer_list<const char*> names) {
    if (H5Tget_class(type) != H5T_COMPOUND) return false;
    return std::all_of(names.begin(), names.end(),
                       [&](const char* name) { return H5Tget_member_index(type, name) >= 0; });
}

[[nodiscard]] inline ismrmrd_line line_of(const ismrmrd_row& row) {
    const auto& h = row.head;
    ismrmrd_line l{.flags = h.flags,
                   .samples = h.number_of_samples,
                   .coils = h.active_channels,
                   .before = h.discard_pre,
                   .after = h.discard_post,
                   .center = h.center_sample,
                   .encoding = h.encoding_space_ref,
                   .trajectory = h.trajectory_dimensions,
                   .step_1 = h.idx.kspace_encode_step_1,
                   .step_2 = h.idx.kspace_encode_step_2,
                   .average = h.idx.average,
                   .slice = h.idx.slice,
                   .contrast = h.idx.contrast,
                   .phase = h.idx.phase,
                   .repetition = h.idx.repetition,
                   .set = h.idx.set,
                   .data = {}};
    const auto* values = static_cast<const float*>(row.data.p);
    l.data.reserve(row.data.len / 2);
    for (std::size_t k = 0; k + 1 < row.data.len; k += 2) l.data.emplace_back(values[k], values[k + 1]);
    return l;
}

/// All rows of a table.
[[nodiscard]] inline std::vector<ismrmrd_line> read_ismrmrd_lines(const hdf5_file& file, const std::string& name) {
    const hdf5_silence silence;
    const hdf5_id set = file.open(name);
    const hdf5_id type(H5Dget_type(set.get()), H5Tclose), space(H5Dget_space(set.get()), H5Sclose);
    const auto refuse = [&] { file.fail(name, "is no table of acquisitions (head, data) of ISMRMRD"); };
    if (!has_members(type.get(), {"head", "data"})) refuse();
    const hdf5_id head(H5Tget_member_type(type.get(), static_cast<unsigned>(H5Tget_member_index(type.get(), "head"))),
                       H5Tclose),
        data(H5Tget_member_type(type.get(), static_cast<unsigned>(H5Tget_member_index(type.get(), "data"))), H5Tclose);
    if (!has_members(head.get(), {"flags", "number_of_samples", "active_channels", "center_sample", "idx"}) ||
        H5Tget_class(data.get()) != H5T_VLEN)
        refuse();
    const hssize_t points = H5Sget_simple_extent_npoints(space.get());
    const int axes = H5Sget_simple_extent_ndims(space.get());
    // A row takes more than 100 bytes.
    if (points < 1 || axes < 1 || axes > 2 || static_cast<std::uint64_t>(points) > file.bytes() / 100)
        file.fail(name,
                  "claims " + std::to_string(points) + " acquisitions, expected 1 or more that the file can hold");
    std::vector<hsize_t> extents(static_cast<std::size_t>(axes)), start(extents.size(), 0), count(extents.size(), 1);
    H5Sget_simple_extent_dims(space.get(), extents.data(), nullptr);
    const std::size_t axis = axes == 2 && extents[0] == 1 ? 1 : 0;
    if (extents[axis] != static_cast<hsize_t>(points)) refuse();
    const hdf5_id row = ismrmrd_row_type();
    std::vector<ismrmrd_line> lines;
    std::uint64_t bytes = 0;
    constexpr hsize_t step = 64;
    for (hsize_t first = 0; first < extents[axis]; first += step) {
        start[axis] = first;
        count[axis] = std::min(step, extents[axis] - first);
        const hdf5_id memory(H5Screate_simple(1, &count[axis], nullptr), H5Sclose);
        std::vector<ismrmrd_row> rows(count[axis]);
        if (H5Sselect_hyperslab(space.get(), H5S_SELECT_SET, start.data(), nullptr, count.data(), nullptr) < 0 ||
            H5Dread(set.get(), row.get(), memory.get(), space.get(), H5P_DEFAULT, rows.data()) < 0)
            file.fail(name, "cannot be read: damaged or truncated");
        for (const auto& r : rows) {
            bytes += r.data.len * sizeof(float);
            if (bytes <= file.bytes()) lines.push_back(line_of(r));
        }
        H5Dvlen_reclaim(row.get(), memory.get(), H5P_DEFAULT, rows.data());
        if (bytes > file.bytes()) file.fail(name, "claims more samples than the file can hold");
    }
    return lines;
}

/// Whether the group of an HDF5 file holds raw data of ISMRMRD.
[[nodiscard]] inline bool is_ismrmrd(const hdf5_file& file, const std::string& group) {
    return file.contains(group) && file.contains(group + "/xml") && file.contains(group + "/data");
}
[[nodiscard]] inline kspace_data load_ismrmrd(const hdf5_file& file, const std::string& group) {
    const std::string where = file.path().string() + ": data set \"" + group;
    const auto header = parse_ismrmrd_header(file.text(group + "/xml"), where + "/xml\"");
    return sort_cartesian(header, read_ismrmrd_lines(file, group + "/data"), where + "/data\"");
}

}  // namespace detail

/// K-space of raw data: `sort_cartesian` of the lines in `group`. Readout oversampling is still there, see
/// `kspace_data::readout`. Throws io_error with file and data set.
[[nodiscard]] inline kspace_data load_ismrmrd(const std::filesystem::path& path, const std::string& group = "dataset") {
    const detail::hdf5_file file(path);
    if (!detail::is_ismrmrd(file, group))
        throw io_error(path.string() + ": no raw data of ISMRMRD: there is no \"" + group + "/xml\" and \"" + group +
                       "/data\"");
    return detail::load_ismrmrd(file, group);
}

}  // namespace diem::io
