// SPDX-License-Identifier: Apache-2.0
#pragma once

// Needs HDF5's C library (Debian: libhdf5-dev): <diem/diem.hpp> leaves out what includes this header.

#include <hdf5.h>

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include <diem/core/check.hpp>
#include <diem/core/view.hpp>
#include <diem/io/array.hpp>
#include <diem/io/atomic.hpp>
#include <diem/io/detail/hdf5.hpp>

/// \file
/// HDF5 files, written as a whole.
/// \snippet tests/examples/io.cpp io/hdf5_writer.hpp

namespace diem::io {

/// Writes data sets into a new file, atomically: it is at its path after `commit`. Until then it is in memory, since the
/// library does not bear a full disk.
class hdf5_writer {
public:
    explicit hdf5_writer(const std::filesystem::path& path) : path_(path), target_(path) {
        const detail::hdf5_silence silence;
        const detail::hdf5_id access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
        H5Pset_fapl_core(access.get(), std::size_t{1} << 20, false);
        file_ = detail::hdf5_id(H5Fcreate(".in-memory", H5F_ACC_TRUNC, H5P_DEFAULT, access.get()), H5Fclose);
        if (!file_) fail("cannot be created");
    }
    /// Real numbers or complex ones. `dimensions`: the extents as HDF5 shall have them, of the same number of elements.
    template <class T>
    void add(const std::string& name, const shape_type& dimensions, std::span<const T> values, const char* real = "r",
             const char* imaginary = "i") {
        check_size("hdf5_writer::add", "elements", static_cast<index_t>(values.size()), io::element_count(dimensions));
        const detail::hdf5_silence silence;
        const std::vector<hsize_t> extents(dimensions.begin(), dimensions.end());
        const detail::hdf5_id space(extents.empty()
                                        ? H5Screate(H5S_SCALAR)
                                        : H5Screate_simple(static_cast<int>(extents.size()), extents.data(), nullptr),
                                    H5Sclose);
        const detail::hdf5_id type = detail::hdf5_memory_type<T>(real, imaginary);
        const detail::hdf5_id set(
            H5Dcreate2(file_.get(), name.c_str(), type.get(), space.get(), H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT),
            H5Dclose);
        if (!set ||
            (!values.empty() && H5Dwrite(set.get(), type.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()) < 0))
            fail("data set \"" + name + "\" cannot be written");
    }
    /// A text as an attribute of a data set of this file, or ("") of the file.
    void text_attribute(const std::string& set, const std::string& name, const std::string& value) {
        const detail::hdf5_silence silence;
        const detail::hdf5_id object(H5Oopen(file_.get(), set.empty() ? "/" : set.c_str(), H5P_DEFAULT), H5Oclose);
        const detail::hdf5_id type(H5Tcopy(H5T_C_S1), H5Tclose), space(H5Screate(H5S_SCALAR), H5Sclose);
        H5Tset_size(type.get(), std::max<std::size_t>(value.size(), 1));
        const detail::hdf5_id attribute(
            H5Acreate2(object.get(), name.c_str(), type.get(), space.get(), H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
        if (!attribute || H5Awrite(attribute.get(), type.get(), value.c_str()) < 0)
            fail("attribute \"" + name + "\" cannot be written");
    }
    /// `user_block`: what other programs want before the HDF5 signature, 0 bytes or a power of two from 512 on.
    void commit(const std::string& user_block = "") {
        const detail::hdf5_silence silence;
        const ssize_t size =
            H5Fflush(file_.get(), H5F_SCOPE_GLOBAL) < 0 ? -1 : H5Fget_file_image(file_.get(), nullptr, 0);
        std::vector<std::byte> image(static_cast<std::size_t>(std::max<ssize_t>(size, 0)));
        if (size < 0 || H5Fget_file_image(file_.get(), image.data(), image.size()) != size) fail("cannot be flushed");
        file_ = detail::hdf5_id();
        target_.write(user_block);
        target_.write(image);
        target_.commit();
    }

private:
    [[noreturn]] void fail(const std::string& what) const { throw io_error(path_.string() + ": " + what); }

    std::filesystem::path path_;
    atomic_file target_;
    detail::hdf5_id file_;
};

}  // namespace diem::io
