// SPDX-License-Identifier: Apache-2.0
#pragma once

// Needs HDF5's C library (Debian: libhdf5-dev): <diem/diem.hpp> leaves this header out.

#include <algorithm>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <memory>
#include <string>
#include <utility>
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

/// How HDF5 fills it: members are found by name. `samples`: with the data, else the head alone.
[[nodiscard]] inline hdf5_id ismrmrd_row_type(bool samples) {
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
    if (samples) add(row, "data", offsetof(ismrmrd_row, data), floats.get());
    return row;
}

/// Whether each of these is a member of a compound type.
[[nodiscard]] inline bool has_members(hid_t type, std::initializer_list<const char*> names) {
    if (H5Tget_class(type) != H5T_COMPOUND) return false;
    return std::all_of(names.begin(), names.end(),
                       [&](const char* name) { return H5Tget_member_index(type, name) >= 0; });
}

[[nodiscard]] inline ismrmrd_line line_of(const ismrmrd_head& h) {
    return {.flags = h.flags,
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
}

/// A table of acquisitions.
class ismrmrd_table {
public:
    ismrmrd_table(const std::filesystem::path& path, std::string name) : file_(path), name_(std::move(name)) {
        const hdf5_silence silence;
        set_ = file_.open(name_);
        space_ = hdf5_id(H5Dget_space(set_.get()), H5Sclose);
        const hdf5_id type(H5Dget_type(set_.get()), H5Tclose);
        const auto refuse = [&] { file_.fail(name_, "is no table of acquisitions (head, data) of ISMRMRD"); };
        if (!has_members(type.get(), {"head", "data"})) refuse();
        const auto member = [&](const char* of) {
            return hdf5_id(H5Tget_member_type(type.get(), static_cast<unsigned>(H5Tget_member_index(type.get(), of))),
                           H5Tclose);
        };
        if (!has_members(member("head").get(),
                         {"flags", "number_of_samples", "active_channels", "center_sample", "idx"}) ||
            H5Tget_class(member("data").get()) != H5T_VLEN)
            refuse();
        const hssize_t points = H5Sget_simple_extent_npoints(space_.get());
        const int axes = H5Sget_simple_extent_ndims(space_.get());
        // A row takes more than 100 bytes.
        if (points < 1 || axes < 1 || axes > 2 || static_cast<std::uint64_t>(points) > file_.bytes() / 100)
            file_.fail(name_,
                       "claims " + std::to_string(points) + " acquisitions, expected 1 or more that the file can hold");
        std::vector<hsize_t> extents(static_cast<std::size_t>(axes));
        H5Sget_simple_extent_dims(space_.get(), extents.data(), nullptr);
        start_.resize(extents.size());
        axis_ = axes == 2 && extents[0] == 1 ? 1 : 0;
        if (extents[axis_] != static_cast<hsize_t>(points)) refuse();
        rows_ = extents[axis_];
    }

    /// All rows without their samples, of which there may be no more than the file can hold.
    [[nodiscard]] std::vector<ismrmrd_line> heads() const {
        constexpr hsize_t step = 1024;
        const hdf5_id type = ismrmrd_row_type(false);
        std::vector<ismrmrd_line> lines;
        std::uint64_t bytes = 0;
        for (hsize_t first = 0; first < rows_; first += step) {
            std::vector<ismrmrd_row> rows(std::min(step, rows_ - first));
            read(type, first, rows);
            for (const auto& r : rows) {
                lines.push_back(line_of(r.head));
                bytes += std::uint64_t{8} * r.head.number_of_samples * r.head.active_channels;
            }
            if (bytes > file_.bytes()) file_.fail(name_, "claims more samples than the file can hold");
        }
        return lines;
    }
    /// Samples of a row.
    [[nodiscard]] std::vector<std::complex<float>> samples(std::size_t row) const {
        const hdf5_id type = ismrmrd_row_type(true);
        std::vector<ismrmrd_row> rows(1);
        read(type, row, rows);
        const auto& there = rows[0].data;
        std::vector<std::complex<float>> data;
        if (there.len <= file_.bytes() / sizeof(float)) {
            const auto* values = static_cast<const float*>(there.p);
            data.reserve(there.len / 2);
            for (std::size_t k = 0; k + 1 < there.len; k += 2) data.emplace_back(values[k], values[k + 1]);
        }
        const hsize_t one = 1;
        const hdf5_id memory(H5Screate_simple(1, &one, nullptr), H5Sclose);
        H5Dvlen_reclaim(type.get(), memory.get(), H5P_DEFAULT, rows.data());
        return data;
    }

private:
    /// Rows `first`, `first` + 1, ...
    void read(const hdf5_id& type, hsize_t first, std::vector<ismrmrd_row>& rows) const {
        const hdf5_silence silence;
        std::vector<hsize_t> start(start_), count(start.size(), 1);
        start[axis_] = first;
        count[axis_] = rows.size();
        const hdf5_id memory(H5Screate_simple(1, &count[axis_], nullptr), H5Sclose);
        if (H5Sselect_hyperslab(space_.get(), H5S_SELECT_SET, start.data(), nullptr, count.data(), nullptr) < 0 ||
            H5Dread(set_.get(), type.get(), memory.get(), space_.get(), H5P_DEFAULT, rows.data()) < 0)
            file_.fail(name_, "cannot be read: damaged or truncated");
    }

    hdf5_file file_;
    std::string name_;
    hdf5_id set_, space_;
    std::vector<hsize_t> start_;
    std::size_t axis_ = 0;
    hsize_t rows_ = 0;
};

/// Whether the group of an HDF5 file holds raw data of ISMRMRD.
[[nodiscard]] inline bool is_ismrmrd(const hdf5_file& file, const std::string& group) {
    return file.contains(group) && file.contains(group + "/xml") && file.contains(group + "/data");
}
/// The heads of the table stay in memory, about 200 bytes a line; samples are read with their slice.
[[nodiscard]] inline kspace_source open_ismrmrd(const hdf5_file& file, const std::string& group) {
    const std::string where = file.path().string() + ": data set \"" + group;
    auto header = parse_ismrmrd_header(file.text(group + "/xml"), where + "/xml\"");
    const auto table = std::make_shared<const ismrmrd_table>(file.path(), group + "/data");
    return sorted_lines(std::move(header), table->heads(), where + "/data\"",
                        [table](std::size_t row) { return table->samples(row); });
}

}  // namespace detail

/// K-space of raw data: `sort_cartesian` of the lines in `group`. Readout oversampling is still there, see
/// `kspace_data::readout`. Throws io_error with file and data set.
[[nodiscard]] inline kspace_data load_ismrmrd(const std::filesystem::path& path, const std::string& group = "dataset") {
    const detail::hdf5_file file(path);
    if (!detail::is_ismrmrd(file, group))
        throw io_error(path.string() + ": no raw data of ISMRMRD: there is no \"" + group + "/xml\" and \"" + group +
                       "/data\"");
    return load(detail::open_ismrmrd(file, group));
}

}  // namespace diem::io
